import type { Batch } from './batch.ts'
import type { WideCells } from './cells.ts'
import { defineTable } from './table.ts'

/** Who counted, as it stands in the column `source`. */
export const counterSource = { sflow: 1, snmp: 2 } as const

/**
 * What interfaces have counted by themselves, beside the flows: totals since the device started, one
 * row a reading. Where sFlow says them, packets wrap at 2^32.
 */
export const counterTable = defineTable({
  kind: 'counter',
  doc: 'Counters of interfaces, by sFlow counter samples and by SNMP; totals as the device has them.',
  orderBy: ['toStartOfHour(time)', 'exporter', 'if_index', 'time'],
  partitionBy: 'toYYYYMMDD(time)',
  receipt: { column: 'time' },
  keepDays: 90,
  // biome-ignore format: one line a column, to be read as a table
  columns: [
    { name: 'time', type: 'DateTime', codec: 'DoubleDelta, ZSTD(1)', doc: 'When the counters were received.' },
    { name: 'exporter', type: 'IPv6', steady: true, codec: 'ZSTD(1)', doc: 'The device, as the flow table has it.' },
    { name: 'if_index', type: 'UInt32', codec: 'T64, ZSTD(1)', doc: 'ifIndex.' },
    { name: 'source', type: 'UInt8', codec: 'ZSTD(1)', doc: 'Who said so: 1 sFlow, 2 SNMP.' },
    { name: 'speed', type: 'UInt64', codec: 'T64, ZSTD(1)', doc: 'Bits per second, 0 = not said.' },
    { name: 'oper', type: 'UInt8', codec: 'ZSTD(1)', doc: 'ifOperStatus (RFC 2863): 1 up, 2 down, 0 = not said.' },
    { name: 'in_octets', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCInOctets: bytes with the link layer’s headers.' },
    { name: 'in_unicast', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCInUcastPkts.' },
    { name: 'in_multicast', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCInMulticastPkts.' },
    { name: 'in_broadcast', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCInBroadcastPkts.' },
    { name: 'in_discards', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifInDiscards.' },
    { name: 'in_errors', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifInErrors.' },
    { name: 'out_octets', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCOutOctets.' },
    { name: 'out_unicast', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCOutUcastPkts.' },
    { name: 'out_multicast', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCOutMulticastPkts.' },
    { name: 'out_broadcast', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifHCOutBroadcastPkts.' },
    { name: 'out_discards', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifOutDiscards.' },
    { name: 'out_errors', type: 'UInt64', codec: 'Delta, ZSTD(1)', doc: 'ifOutErrors.' },
  ],
})

/** Totals since the device started; 0 where it does not say. */
export interface InterfaceCounters {
  /** ifIndex. */
  index: number
  /** ifOperStatus: 1 up, 2 down. */
  oper: number
  inOctets: bigint
  inUnicast: bigint
  inMulticast: bigint
  inBroadcast: bigint
  inDiscards: bigint
  inErrors: bigint
  outOctets: bigint
  outUnicast: bigint
  outMulticast: bigint
  outBroadcast: bigint
  outDiscards: bigint
  outErrors: bigint
}

const low = 0xffff_ffffn

/**
 * What a device told by SNMP as a row.
 * @param exporter 16 bytes
 * @param received milliseconds since 1970
 */
export function writeCounters(
  batch: Batch<typeof counterTable>,
  exporter: Uint8Array,
  counters: InterfaceCounters,
  received: number,
) {
  const row = batch.claim()
  const { cells } = batch
  cells.time.values[row] = received / 1000
  cells.exporter.setV6(row, exporter, 0)
  cells.if_index.values[row] = counters.index
  cells.source.values[row] = counterSource.snmp
  cells.oper.values[row] = counters.oper
  put(cells.in_octets, row, counters.inOctets)
  put(cells.in_unicast, row, counters.inUnicast)
  put(cells.in_multicast, row, counters.inMulticast)
  put(cells.in_broadcast, row, counters.inBroadcast)
  put(cells.in_discards, row, counters.inDiscards)
  put(cells.in_errors, row, counters.inErrors)
  put(cells.out_octets, row, counters.outOctets)
  put(cells.out_unicast, row, counters.outUnicast)
  put(cells.out_multicast, row, counters.outMulticast)
  put(cells.out_broadcast, row, counters.outBroadcast)
  put(cells.out_discards, row, counters.outDiscards)
  put(cells.out_errors, row, counters.outErrors)
  batch.commit()
}

function put({ words }: WideCells, row: number, value: bigint) {
  words[2 * row] = Number(value & low)
  words[2 * row + 1] = Number((value >> 32n) & low)
}
