/** Two servers with a collector inside each, and devices that send the same numbers to both. */
import { createSocket, type Socket } from 'node:dgram'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bootBefore, createNetflow5, createSflow } from '../../src/apps/simulation/flow-export.ts'
import { linkTrap } from '../../src/apps/simulation/notifications.ts'
import type { CollectorState } from '../../src/collect/link.ts'
import { freePort } from '../../src/lib/ports.ts'
import { decodeNative } from '../../src/telemetry/native.ts'
import { tables } from '../../src/telemetry/tables.ts'
import { numberedFlow } from '../e2e/numbered.ts'
import type { StoredSegment } from './folder-store.ts'
import { type Lab, numbered, type Ports, type Program, until } from './lab.ts'
import type { Member } from './pair-process.ts'

export type Name = 'a' | 'b'

export interface PairMember {
  program: Program
  ports: Ports
  /** Of the collector's process. */
  collectorPid: number
  /** @returns milliseconds until the collector had it */
  active(term: number): Promise<number>
  standby(term: number): Promise<number>
  state(): Promise<CollectorState & { pair: NonNullable<CollectorState['pair']> }>
  /** Its store fails from now on, or works again. */
  failing(on: boolean): Promise<void>
  /** Who the servers are from now on. */
  servers(names: readonly Name[]): Promise<void>
}

export interface Pair {
  readonly members: Record<Name, PairMember>
  start(name: Name, knows?: readonly Name[]): Promise<PairMember>
  dataDir(name: Name): string
  linkPort(name: Name): number
}

const listeners = 'netflow ipfix sflow syslog_udp syslog_tcp traps ipfix_tcp'.split(' ')

/** The same at each start, so none that somebody else may be given meanwhile. */
async function portsOfItsOwn(): Promise<object> {
  const ports: Record<string, number> = {}
  for (const name of listeners) ports[name] = await freePort()
  return ports
}

export function createPair(
  lab: Lab,
  options: { goneAfterMs?: number; ring?: object; quotaBytes?: number } = {},
): Pair {
  const { goneAfterMs = 4000, ...settings } = options
  const linkPorts: Record<Name, number> = { a: 0, b: 0 }
  const listen: Partial<Record<Name, object>> = {}
  const members = {} as Record<Name, PairMember>
  const serverOf = (name: Name) => ({ name, url: `https://127.0.0.1:${linkPorts[name]}` })
  const dataDir = (name: Name) => join(lab.dir, `data-${name}`)

  return {
    members,
    dataDir,
    linkPort: name => linkPorts[name],
    async start(name, knows = ['a', 'b']) {
      if (linkPorts[name] === 0) linkPorts[name] = await freePort()
      for (const other of knows) if (linkPorts[other] === 0) linkPorts[other] = await freePort()
      listen[name] ??= await portsOfItsOwn()
      const program = lab.start(
        'pair-process.ts',
        JSON.stringify({
          name,
          port: linkPorts[name],
          store: join(lab.dir, `store-${name}`),
          dataDir: dataDir(name),
          identities: join(lab.dir, 'identities'),
          goneAfterMs,
          settings: { ...settings, listen: listen[name] },
          servers: knows.map(serverOf),
        } satisfies Member),
      )
      const began = await program.answer()
      const member: PairMember = {
        program,
        ports: began.ports as Ports,
        collectorPid: began.pid as number,
        active: async term => (await program.ask(`active ${term}`)).ms as number,
        standby: async term => (await program.ask(`standby ${term}`)).ms as number,
        async state() {
          for (;;) {
            const { state } = await program.ask('state')
            if (state !== undefined) return state as Awaited<ReturnType<PairMember['state']>>
            await sleep(50)
          }
        },
        failing: async on => void (await program.ask(`failing ${on ? 'on' : 'off'}`)),
        servers: async names =>
          void (await program.ask(`servers ${JSON.stringify(names.map(serverOf))}`)),
      }
      members[name] = member
      return member
    },
  }
}

export const sources = ['netflow5', 'netflow9', 'ipfix', 'sflow', 'syslog', 'traps'] as const
export type Source = (typeof sources)[number]

/** Where each sends from; the number tells them apart in what is stored. */
const addressOf: Record<Source, string> = {
  netflow5: '127.9.1.1',
  netflow9: '127.9.1.2',
  ipfix: '127.9.1.3',
  sflow: '127.9.1.4',
  syslog: '127.9.1.5',
  traps: '127.9.1.6',
}

/** A datagram of flows with these numbers as NetFlow 9 (RFC 3954) or IPFIX (RFC 7011), template 300: packets. */
export function dataOf(version: 9 | 10, numbers: readonly number[], sequence: number): Buffer {
  const set = Buffer.alloc(4 + 8 * numbers.length)
  set.writeUInt16BE(300, 0)
  set.writeUInt16BE(set.length, 2)
  for (const [index, number] of numbers.entries()) {
    set.writeBigUInt64BE(BigInt(number), 4 + 8 * index)
  }
  return message(version, set, numbers.length, sequence)
}

export function templateOf(version: 9 | 10, sequence: number): Buffer {
  const set = Buffer.from([0, version === 9 ? 0 : 2, 0, 12, 1, 44, 0, 1, 0, 2, 0, 8])
  return message(version, set, 1, sequence)
}

function message(version: 9 | 10, set: Buffer, count: number, sequence: number): Buffer {
  const header = Buffer.alloc(version === 9 ? 20 : 16)
  const seconds = Math.floor(Date.now() / 1000)
  header.writeUInt16BE(version, 0)
  if (version === 9) {
    header.writeUInt16BE(count, 2)
    header.writeUInt32BE(1_000_000, 4)
    header.writeUInt32BE(seconds, 8)
    header.writeUInt32BE(sequence, 12)
    header.writeUInt32BE(7, 16)
  } else {
    header.writeUInt16BE(header.length + set.length, 2)
    header.writeUInt32BE(seconds, 4)
    header.writeUInt32BE(sequence, 8)
    header.writeUInt32BE(7, 12)
  }
  return Buffer.concat([header, set])
}

export interface Devices {
  /** How many numbers each has sent; the first is 1. */
  readonly sent: Record<Source, number>
  /** Sends to each of the members so many datagrams a second, until `stop`. */
  start(perSecond: number): void
  stop(): Promise<void>
  /** One datagram of each device. */
  round(): void
  /** Sends the templates of NetFlow 9 and IPFIX; nothing else ever does. */
  templates(to?: readonly Ports[]): Promise<void>
  close(): Promise<void>
}

/** Every datagram goes to each of these at once. */
export async function createDevices(to: readonly Ports[]): Promise<Devices> {
  const sockets = new Map<Source, Socket>()
  for (const source of sources) {
    const socket = createSocket('udp4')
    socket.on('error', () => {})
    await new Promise<void>(resolve => socket.bind(0, addressOf[source], resolve))
    sockets.set(source, socket)
  }
  const boot = bootBefore(Date.now())
  const netflow5 = createNetflow5(boot)
  const sflow = createSflow(boot, addressOf.sflow, 1)
  const sent = Object.fromEntries(sources.map(source => [source, 0])) as Record<Source, number>
  const sequences = { netflow9: 0, ipfix: 0 }
  let timer: NodeJS.Timeout | undefined

  function numbers(source: Source, count: number): number[] {
    return Array.from({ length: count }, () => ++sent[source])
  }

  function datagramOf(source: Source): { bytes: Uint8Array | string; port: keyof Ports } {
    const now = Date.now()
    switch (source) {
      case 'netflow5':
        return {
          bytes: netflow5.encode(
            numbers(source, 5).map(number => numberedFlow(number, now)),
            now,
          ),
          port: 'netflow',
        }
      case 'netflow9':
        return { bytes: dataOf(9, numbers(source, 5), sequences.netflow9++), port: 'netflow' }
      case 'ipfix': {
        const datagram = dataOf(10, numbers(source, 5), sequences.ipfix)
        sequences.ipfix += 5
        return { bytes: datagram, port: 'ipfix' }
      }
      case 'sflow':
        return {
          bytes: sflow.encode(
            numbers(source, 3).map(number => numberedFlow(number, now)),
            now,
          ),
          port: 'sflow',
        }
      case 'syslog':
        return { bytes: numbered(++sent.syslog), port: 'syslog_udp' }
      case 'traps':
        return { bytes: linkTrap(true, 7, 'eth7', ++sent.traps), port: 'traps' }
    }
  }

  function send(source: Source) {
    const { bytes, port } = datagramOf(source)
    for (const ports of to) sockets.get(source)!.send(bytes, ports[port], '127.0.0.1')
  }

  const devices: Devices = {
    sent,
    round() {
      for (const source of sources) send(source)
    },
    start(perSecond) {
      const began = performance.now()
      let done = 0
      timer = setInterval(() => {
        const due = ((performance.now() - began) / 1000) * perSecond
        // A test process that was held up must not flood the sockets afterwards.
        for (let burst = 0; done < due && burst < 200; burst++)
          send(sources[done++ % sources.length]!)
      }, 10)
    },
    async stop() {
      clearInterval(timer)
      await sleep(100)
    },
    async templates(these = to) {
      for (const ports of these) {
        sockets.get('netflow9')!.send(templateOf(9, 0), ports.netflow, '127.0.0.1')
        sockets.get('ipfix')!.send(templateOf(10, 0), ports.ipfix, '127.0.0.1')
      }
      await sleep(50)
    },
    async close() {
      clearInterval(timer)
      for (const socket of sockets.values()) {
        await new Promise<void>(resolve => socket.close(() => resolve()))
      }
    },
  }
  return devices
}

/** The numbers of each device in a store, as often as they are there. */
export function storedNumbers(segments: readonly StoredSegment[]): Record<Source, number[]> {
  const found = Object.fromEntries(sources.map(source => [source, [] as number[]])) as Record<
    Source,
    number[]
  >
  const byAddress = new Map(Object.entries(addressOf).map(([source, address]) => [address, source]))
  for (const { kind, native } of segments) {
    const block = decodeNative(native, tables[kind])
    const who = block.column(kind === 'flow' ? 'exporter' : 'sender')!
    for (let row = 0; row < block.rows; row++) {
      const source = byAddress.get(String(who.get(row)).replace('::ffff:', '')) as Source
      if (source === undefined) continue
      found[source].push(numberOf(source, name => block.column(name)!.get(row)))
    }
  }
  return found
}

function numberOf(source: Source, cell: (name: string) => unknown): number {
  switch (source) {
    case 'syslog':
      return Number(/number=(\d+);/.exec(String(cell('raw')))?.[1])
    case 'traps':
      return Number(cell('request'))
    case 'sflow':
      return Number(cell('in_if'))
    default:
      return Number(cell('packets'))
  }
}

/** What of the sent numbers a store lacks, and what it has more than once. */
export function compare(
  sent: Record<Source, number>,
  segments: readonly StoredSegment[],
): Record<Source, { lost: string; doubled: string }> {
  const stored = storedNumbers(segments)
  return Object.fromEntries(
    sources.map(source => {
      const times = new Map<number, number>()
      for (const number of stored[source]) times.set(number, (times.get(number) ?? 0) + 1)
      const all = Array.from({ length: sent[source] }, (_, index) => index + 1)
      return [
        source,
        {
          lost: rangesOf(all.filter(number => !times.has(number))),
          doubled: rangesOf(
            [...times]
              .flatMap(([number, count]) => (count > 1 ? [number] : []))
              .sort((a, b) => a - b),
          ),
        },
      ]
    }),
  ) as Record<Source, { lost: string; doubled: string }>
}

/** `1-7, 9`: rising numbers in short. */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const number of numbers) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(', ')
}

export const nothingAmiss = Object.fromEntries(
  sources.map(source => [source, { lost: '', doubled: '' }]),
)

/** Waits until everything is sealed and delivered to whoever is there. */
export async function settled(members: readonly PairMember[]) {
  for (const member of members) {
    let before = ''
    await until(
      'all is sealed and delivered',
      async () => {
        const { kinds, deliveries, pair } = await member.state()
        const now = JSON.stringify(kinds)
        const still = now === before
        before = now
        await sleep(1100)
        return (
          still &&
          (pair.role === 'standby' || pair.ring.datagrams === 0) &&
          deliveries.every(({ reachable, waiting }) => !reachable || waiting === 0)
        )
      },
      60_000,
    )
  }
}
