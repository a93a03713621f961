/** Facts about two servers → what is fit for a pair, and what is to be done about the rest. Pure. */
import {
  certificateCheck,
  portsCheck,
  receptionCheck,
  staticAddressCheck,
  toolsCheck,
} from './checks-each.ts'
import { folderElsewhereCheck, folderFindings } from './checks-folder.ts'
import {
  bandwidthCheck,
  clockCheck,
  databaseCheck,
  databaseElsewhereCheck,
  domainCheck,
  hardwareCheck,
  latencyCheck,
  portAndProtocolCheck,
  resolveCheck,
  timeZoneCheck,
  versionCheck,
} from './checks-pair.ts'
import {
  diskCheck,
  fileDescriptorsCheck,
  gitCheck,
  memoryCheck,
  receiveBufferCheck,
} from './checks-resources.ts'
import { virtualAddressCheck } from './checks-virtual.ts'
import type { Facts } from './facts.ts'
import type { Finding, Outcome } from './finding.ts'

interface Check {
  id: string
  title: string
  judge(facts: Facts): Outcome
}

/** In the order in which a person reads them. */
const checks: readonly Check[] = [
  { id: 'version', title: 'Same version', judge: versionCheck },
  { id: 'port-and-protocol', title: 'Same port and protocol', judge: portAndProtocolCheck },
  { id: 'clock', title: 'Clocks', judge: clockCheck },
  { id: 'time-zone', title: 'Same time zone', judge: timeZoneCheck },
  { id: 'hardware', title: 'Same hardware', judge: hardwareCheck },
  { id: 'static-address', title: 'Static addresses', judge: staticAddressCheck },
  { id: 'resolve', title: 'Names and addresses of each other', judge: resolveCheck },
  { id: 'latency', title: 'Latency between the servers', judge: latencyCheck },
  { id: 'bandwidth', title: 'Bandwidth between the servers', judge: bandwidthCheck },
  { id: 'database', title: 'Database', judge: databaseCheck },
  {
    id: 'database-elsewhere',
    title: 'Database on neither server',
    judge: databaseElsewhereCheck,
  },
  { id: 'folder-elsewhere', title: 'Shared folder on neither server', judge: folderElsewhereCheck },
  { id: 'domain', title: 'Same domain', judge: domainCheck },
  { id: 'tools', title: 'Programs and rights for the connection type', judge: toolsCheck },
  { id: 'ports', title: 'Free ports', judge: portsCheck },
  { id: 'reception', title: 'Free ports for devices', judge: receptionCheck },
  { id: 'virtual-address', title: 'Virtual address', judge: virtualAddressCheck },
  { id: 'certificate', title: 'Certificate of the console', judge: certificateCheck },
  { id: 'git', title: 'git', judge: gitCheck },
  { id: 'disk', title: 'Disk space', judge: diskCheck },
  { id: 'memory', title: 'Memory', judge: memoryCheck },
  { id: 'file-descriptors', title: 'Open files', judge: fileDescriptorsCheck },
  { id: 'receive-buffer', title: 'Receive buffer of the kernel', judge: receiveBufferCheck },
]

/** One finding for each prerequisite, of both servers together; the folder's own after them. */
export function judge(facts: Facts): Finding[] {
  return [
    ...checks.map(({ id, title, judge: check }) => ({ id, title, ...check(facts) })),
    ...folderFindings(facts),
  ]
}
