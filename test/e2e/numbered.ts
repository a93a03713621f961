/** Good devices, one for each way in: whatever they send carries a number, from 1 without gaps. */
import { once } from 'node:events'
import { connect } from 'node:net'
import {
  bootBefore,
  createIpfix,
  createNetflow5,
  createNetflow9,
  createSflow,
  type FlowExport,
} from '../../src/apps/simulation/flow-export.ts'
import { linkTrap } from '../../src/apps/simulation/notifications.ts'
import type { SimulatedFlow } from '../../src/apps/simulation/traffic.ts'
import type { ListenerName } from '../../src/collect/listen.ts'
import type { Devices } from './exporters.ts'

export type Ports = Record<ListenerName, number>

/** Where each of them sends from, and how the engine tells its numbers. */
export const sources = {
  netflow5: { address: '127.9.0.1', table: 'flow', by: 'exporter', number: 'packets' },
  netflow9: { address: '127.9.0.2', table: 'flow', by: 'exporter', number: 'packets' },
  ipfix: { address: '127.9.0.3', table: 'flow', by: 'exporter', number: 'packets' },
  sflow: { address: '127.9.0.4', table: 'flow', by: 'exporter', number: 'in_if' },
  syslog_udp: { address: '127.9.0.5', table: 'syslog', by: 'sender', number: 'said' },
  syslog_tcp: { address: '127.9.0.6', table: 'syslog', by: 'sender', number: 'said' },
  traps: { address: '127.9.0.7', table: 'trap', by: 'sender', number: 'request' },
} as const
export type Source = keyof typeof sources

export interface Numbered {
  /** How many each has sent. */
  readonly sent: Readonly<Record<Source, number>>
  /** Every device sends some more. */
  round(): Promise<void>
  close(): Promise<void>
}

/** A flow whose number stands in the packets and in the input interface. */
export function numberedFlow(number: number, now: number): SimulatedFlow {
  return {
    srcAddr: '10.0.0.1',
    dstAddr: '192.0.2.1',
    srcPort: 1024 + (number % 60_000),
    dstPort: 443,
    protocol: 6,
    tcpFlags: 0x1b,
    tos: 0,
    inIf: number % 65_536,
    outIf: 2,
    bytes: 1500 * number,
    packets: number,
    start: now - 1000,
    end: now,
    srcAs: 64_500,
    dstAs: 64_501,
    nextHop: '10.0.0.254',
  }
}

export const numberedMessage = (number: number) => `<134>numbered: message number=${number};`

/** The number of a stored message, 0 if it has none. */
export const saidNumber = `toUInt64OrZero(extract(raw, 'number=(\\\\d+);'))`

export async function createNumbered(devices: Devices, ports: Ports): Promise<Numbered> {
  const boot = bootBefore(Date.now())
  const sent: Record<Source, number> = {
    netflow5: 0,
    netflow9: 0,
    ipfix: 0,
    sflow: 0,
    syslog_udp: 0,
    syslog_tcp: 0,
    traps: 0,
  }
  const exports: [Source, FlowExport, number][] = [
    ['netflow5', createNetflow5(boot), ports.netflow],
    ['netflow9', createNetflow9(boot, 7), ports.netflow],
    ['ipfix', createIpfix(7), ports.ipfix],
    ['sflow', createSflow(boot, sources.sflow.address, 1), ports.sflow],
  ]
  const tcp = connect({
    host: '127.0.0.1',
    port: ports.syslog_tcp,
    localAddress: sources.syslog_tcp.address,
  })
  await once(tcp, 'connect')

  return {
    sent,
    async round() {
      const now = Date.now()
      for (const [source, { encode, perDatagram }, port] of exports) {
        const flows = Array.from({ length: perDatagram }, () => numberedFlow(++sent[source], now))
        await devices.send(sources[source].address, encode(flows, now), port)
      }
      for (let i = 0; i < 5; i++) {
        const udp = numberedMessage(++sent.syslog_udp)
        await devices.send(sources.syslog_udp.address, udp, ports.syslog_udp)
        const line = numberedMessage(++sent.syslog_tcp)
        tcp.write(i % 2 === 0 ? `${line}\n` : `${line.length} ${line}`)
        const trap = linkTrap(true, 7, 'eth7', ++sent.traps)
        await devices.send(sources.traps.address, trap, ports.traps)
      }
    },
    async close() {
      tcp.end()
      await once(tcp.resume(), 'close')
    },
  }
}

export interface Count {
  rows: number
  distinct: number
  least: number
  greatest: number
}

/** What an engine holds of a source. */
export async function countStored(
  query: <T>(sql: string) => Promise<T[]>,
  source: Source,
): Promise<Count> {
  const { address, table, by, number } = sources[source]
  const value = number === 'said' ? saidNumber : `toUInt64(${number})`
  const [row] = await query<Record<keyof Count, unknown>>(
    `SELECT count() AS rows, uniqExact(${value}) AS distinct, min(${value}) AS least,
       max(${value}) AS greatest
     FROM ${table} WHERE ${by} = toIPv6('${address}')`,
  )
  return {
    rows: Number(row!.rows),
    distinct: Number(row!.distinct),
    least: Number(row!.least),
    greatest: Number(row!.greatest),
  }
}
