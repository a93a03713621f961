/**
 * sFlow version 5 counter samples: what interfaces have counted by themselves.
 * Source: sFlow.org, "sFlow Version 5" (2004), generic interface counters (counter data 0:1), and
 * "sFlow Port NAME Structure" (counter data 0:1005). All numbers are XDR: 4 bytes, big-endian.
 */
import type { Batch } from '../telemetry/batch.ts'
import type { WideCells } from '../telemetry/cells.ts'
import { counterSource, type counterTable } from '../telemetry/counter.ts'
import { type NamedThing, namedThing } from '../telemetry/name.ts'
import { read32 } from './octets.ts'
import type { FlowProblem } from './problems.ts'

/** Counter record types that are read: enterprise 0, format. */
const recordType = { generic: 1, portName: 1005 } as const

const genericBytes = 88
/** A counter that the interface does not have says so (ibid. §5.3). */
const unknown = 0xffff_ffff
const maxName = 255

/** Where counter samples go. */
export interface CounterSink {
  /** 16 bytes. */
  exporter: Uint8Array
  received: number
  counters: Batch<typeof counterTable>
  name(what: NamedThing, id: number, name: string): void
  count(problem: FlowProblem): void
}

/**
 * Decodes one sample into one row for each interface that it tells of.
 * @param at of its sequence number
 */
export function decodeCounterSample(
  bytes: Uint8Array,
  at: number,
  end: number,
  expanded: boolean,
  sink: CounterSink,
) {
  const records = at + (expanded ? 12 : 8)
  if (records + 4 > end) return sink.count('sflow-bad-length')
  const sourceType = expanded ? read32(bytes, at + 4) : bytes[at + 4]!
  const sourceIndex = expanded ? read32(bytes, at + 8) : read32(bytes, at + 4) & 0x00ff_ffff
  let left = read32(bytes, records)
  at = records + 4
  for (; left > 0; left--) {
    if (at + 8 > end) return sink.count('sflow-bad-length')
    const type = read32(bytes, at)
    const length = read32(bytes, at + 4)
    at += 8
    if (at + length > end) return sink.count('sflow-bad-length')
    if (type === recordType.generic) decodeGeneric(bytes, at, length, sink)
    else if (type === recordType.portName && sourceType === 0) {
      decodePortName(bytes, at, length, sourceIndex, sink)
    }
    at += 4 * Math.ceil(length / 4)
  }
}

/**
 * ifIndex, ifType, ifSpeed (8), ifDirection, ifStatus; then in: octets (8), unicast, multicast,
 * broadcast, discards, errors, unknown protocols; the same out without the last; promiscuous mode.
 */
function decodeGeneric(bytes: Uint8Array, at: number, length: number, sink: CounterSink) {
  if (length < genericBytes) return sink.count('sflow-bad-length')
  const { counters, exporter, received } = sink
  const index = read32(bytes, at)
  if (index === 0) return
  const row = counters.claim()
  const { cells } = counters
  cells.time.values[row] = received / 1000
  cells.exporter.setV6(row, exporter, 0)
  cells.if_index.values[row] = index
  cells.source.values[row] = counterSource.sflow
  putWide(cells.speed, row, bytes, at + 8)
  // Bit 0: the administrator wants it up; bit 1: it is.
  cells.oper.values[row] = (read32(bytes, at + 20) & 2) !== 0 ? 1 : 2
  putWide(cells.in_octets, row, bytes, at + 24)
  putNarrow(cells.in_unicast, row, bytes, at + 32)
  putNarrow(cells.in_multicast, row, bytes, at + 36)
  putNarrow(cells.in_broadcast, row, bytes, at + 40)
  putNarrow(cells.in_discards, row, bytes, at + 44)
  putNarrow(cells.in_errors, row, bytes, at + 48)
  putWide(cells.out_octets, row, bytes, at + 56)
  putNarrow(cells.out_unicast, row, bytes, at + 64)
  putNarrow(cells.out_multicast, row, bytes, at + 68)
  putNarrow(cells.out_broadcast, row, bytes, at + 72)
  putNarrow(cells.out_discards, row, bytes, at + 76)
  putNarrow(cells.out_errors, row, bytes, at + 80)
  counters.commit()
}

function decodePortName(
  bytes: Uint8Array,
  at: number,
  length: number,
  index: number,
  sink: CounterSink,
) {
  if (length < 4) return sink.count('sflow-bad-length')
  const used = read32(bytes, at)
  if (used > maxName || 4 + used > length) return sink.count('sflow-bad-length')
  const name = Buffer.from(bytes.buffer, bytes.byteOffset + at + 4, used).toString('utf8')
  sink.name(namedThing.interface, index, name)
}

function putWide(cells: WideCells, row: number, bytes: Uint8Array, at: number) {
  const high = read32(bytes, at)
  const low = read32(bytes, at + 4)
  if (high === unknown && low === unknown) return
  cells.words[2 * row] = low
  cells.words[2 * row + 1] = high
}

function putNarrow(cells: WideCells, row: number, bytes: Uint8Array, at: number) {
  const value = read32(bytes, at)
  if (value !== unknown) cells.words[2 * row] = value
}
