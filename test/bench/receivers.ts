/** The programs that are compared: each is started with a folder, and says at the end what it stored. */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CollectorState } from '../../src/collect/collector.ts'
import { parseSegmentHeader, segmentHeaderBytes } from '../../src/collect/segment.ts'
import { freePort } from '../../src/lib/ports.ts'
import { openAuthority, writeIdentity } from '../../src/lib/tls.ts'
import { udpSocketAt } from './proc.ts'
import { end, messageFrom, type Workshop } from './workshop.ts'

export const receivers = ['keepwatch', 'nfcapd_lzo', 'nfcapd_lz4'] as const
export type ReceiverName = (typeof receivers)[number]

export const labels: Record<ReceiverName, string> = {
  keepwatch: 'keepwatch collector',
  nfcapd_lzo: 'nfcapd -z (LZO)',
  nfcapd_lz4: 'nfcapd -y (LZ4)',
}

/** What a receiver left on disk and what it said. */
export interface Stored {
  flows: number
  bytes: number
  /** Gaps in the sequence numbers: only zero means the same to all. */
  sequenceGaps: number
  /** Anything else that went wrong, in the receiver's words. */
  problems: string[]
}

export interface Receiver {
  readonly pid: number
  readonly port: number
  /** Ends it in its own good time. */
  stop(): Promise<Stored>
}

const root = join(import.meta.dirname, '../..')
/** What Keepwatch is granted of the 32 MB that it asks for, and nfcapd asks for. */
const bufferBytes = Number(readFileSync('/proc/sys/net/core/rmem_max', 'latin1'))
const answerDeadlineMs = 20_000

export function startReceiver(name: ReceiverName, workshop: Workshop, dir: string) {
  mkdirSync(dir)
  switch (name) {
    case 'keepwatch':
      return startKeepwatch(workshop, dir)
    case 'nfcapd_lzo':
      return startNfcapd(workshop, dir, '-z')
    case 'nfcapd_lz4':
      return startNfcapd(workshop, dir, '-y')
  }
}

/** As it is shipped, save the ports; its one server is not reached. */
async function startKeepwatch(workshop: Workshop, dir: string): Promise<Receiver> {
  const authority = await openAuthority(join(workshop.dir, 'authority'))
  const identity = await authority.issue({ role: 'collector', name: 'bench', hosts: [] })
  writeIdentity(join(dir, 'identity'), 'bench', identity)
  const observe = await freePort()
  const settings = {
    name: 'bench',
    identity: 'identity',
    spool: 'spool',
    log: 'error',
    observe: { port: observe },
    listen: {
      netflow: 0,
      ipfix: false,
      sflow: false,
      syslog_udp: false,
      syslog_tcp: false,
      ipfix_tcp: false,
      traps: false,
    },
    servers: [{ name: 'nobody', url: 'https://127.0.0.1:9' }],
  }
  // YAML is a superset of JSON.
  writeFileSync(join(dir, 'settings.yaml'), JSON.stringify(settings))
  const child = workshop.start(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(root, 'src/main.ts'),
      'collector',
      '--settings',
      join(dir, 'settings.yaml'),
    ],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  )
  const { ready } = await messageFrom<{ ready: { ports: { netflow: number } } }>(
    child,
    answerDeadlineMs,
  )
  return {
    pid: child.pid!,
    port: ready.ports.netflow,
    async stop() {
      const response = await fetch(`http://127.0.0.1:${observe}/healthz`, {
        signal: AbortSignal.timeout(answerDeadlineMs),
      })
      const { state } = (await response.json()) as { state: CollectorState }
      await end(child)
      return {
        ...readSpool(join(dir, 'spool', 'flow')),
        sequenceGaps: state.exporters.reduce((sum, { lost }) => sum + lost, 0),
        problems: Object.entries(state.problems).map(([reason, count]) => `${reason}: ${count}`),
      }
    },
  }
}

function readSpool(dir: string): Pick<Stored, 'flows' | 'bytes'> {
  const header = Buffer.alloc(segmentHeaderBytes)
  let flows = 0
  let bytes = 0
  for (const name of readdirSync(dir)) {
    const { size } = statSync(join(dir, name))
    const file = openSync(join(dir, name), 'r')
    readSync(file, header, 0, header.length, 0)
    closeSync(file)
    flows += parseSegmentHeader(header, size).rows
    bytes += size
  }
  return { flows, bytes }
}

async function startNfcapd(workshop: Workshop, dir: string, compression: string) {
  const files = join(dir, 'files')
  mkdirSync(files)
  const port = await freePort()
  const log = join(dir, 'log')
  const out = openSync(log, 'w')
  const child = workshop.start(
    'nfcapd',
    ['-w', files, '-p', String(port), '-B', String(bufferBytes), '-t', '3600', compression],
    { stdio: ['ignore', out, out] },
  )
  closeSync(out)
  let failed: Error | undefined
  child.on('error', error => {
    failed = error
  })
  const deadline = performance.now() + answerDeadlineMs
  while (udpSocketAt(port) === undefined) {
    if (failed !== undefined || child.exitCode !== null || performance.now() > deadline) {
      throw new Error(`nfcapd did not start: ${failed?.message ?? readFileSync(log, 'utf8')}`)
    }
    await sleep(20)
  }
  return {
    pid: child.pid!,
    port,
    async stop() {
      await end(child)
      return { ...readFiles(files), problems: complaintsIn(readFileSync(log, 'utf8')) }
    },
  }
}

/** By nfdump's own reading of the statistics in the files. */
function readFiles(dir: string): Pick<Stored, 'flows' | 'bytes' | 'sequenceGaps'> {
  const said = execFileSync('nfdump', ['-R', dir, '-I'], { encoding: 'utf8' })
  const number = (label: string) => {
    const match = new RegExp(`^${label}: (\\d+)$`, 'm').exec(said)
    if (match === null) throw new Error(`nfdump said nothing of ${label}:\n${said}`)
    return Number(match[1])
  }
  const sizes = readdirSync(dir).map(name => statSync(join(dir, name)).size)
  return {
    flows: number('Flows'),
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    sequenceGaps: number('Sequence failures'),
  }
}

function complaintsIn(log: string): string[] {
  return [...log.matchAll(/Bad Packets: ([1-9]\d*)/g)].map(([all]) => all)
}
