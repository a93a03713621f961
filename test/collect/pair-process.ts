/**
 * What of a server of a pair has to do with reception, as a process: receiver, own collector, and a
 * store that is a file. `pair-process.ts <what it is, as JSON>`; its role is said to it line by line.
 */
import { createInterface } from 'node:readline'
import { createOwnCollector, type OwnCollector } from '../../src/apps/server/own-collector.ts'
import { createReceiver } from '../../src/collect/receive.ts'
import { ownCollectorSettings } from '../../src/collect/settings.ts'
import { loadZstd } from '../../src/collect/zstd.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { readIdentity } from '../../src/lib/tls.ts'
import { createFolderStore } from './folder-store.ts'

export interface Member {
  name: string
  port: number
  store: string
  dataDir: string
  identities: string
  goneAfterMs: number
  settings: object
  servers: { name: string; url: string }[]
}

const member = JSON.parse(process.argv[2]!) as Member
const log = createLog({ level: 'info', part: member.name })
const base = { log, metrics: createMetrics({}), clock: systemClock }
const identity = readIdentity(member.identities, 'server')
let { servers } = member
let failing = false
const store = createFolderStore(member.store)

const own: OwnCollector = createOwnCollector(
  { ...base, identity, version: 'test', servers: () => servers, heldAddresses: () => [] },
  {
    name: member.name,
    dataDir: member.dataDir,
    goneAfterMs: member.goneAfterMs,
    settings: ownCollectorSettings.parse(member.settings),
    log: 'info',
  },
)
const receiver = createReceiver(
  {
    ...base,
    zstd: loadZstd(),
    store: {
      insertSegment: (id, native) =>
        failing ? Promise.reject(new Error('it fails by order')) : store.insertSegment(id, native),
      received: store.received,
    },
    identity,
    linkState: () => ({}),
    routes: own.routes,
    gate: own.gate,
    servers: () => ({ server: member.name, servers: [...servers] }),
  },
  { host: '127.0.0.1', port: member.port },
)
await receiver.start()
servers = servers.map(one =>
  one.name === member.name ? { ...one, url: `https://127.0.0.1:${receiver.port}` } : one,
)
await own.start()
console.log(JSON.stringify({ port: receiver.port, ports: own.ports, pid: own.pid }))

const lines = createInterface(process.stdin)
lines.on('line', async line => {
  const [word, rest = ''] = line.split(' ', 2)
  if (word === 'active' || word === 'standby') {
    const began = performance.now()
    await own.setMode(word, Number(rest))
    console.log(JSON.stringify({ ms: performance.now() - began }))
  } else if (word === 'servers') {
    servers = JSON.parse(rest)
    console.log('{}')
  } else if (word === 'failing') {
    failing = rest === 'on'
    console.log('{}')
  } else console.log(JSON.stringify({ state: own.state(), ports: own.ports, pid: own.pid }))
})
process.on('SIGTERM', async () => {
  lines.close()
  await own.stop()
  await receiver.stop()
})
