/** Rows left out of a Native block; layouts as in `src/telemetry/native.ts`. */
import { type ColumnType, formNamed, type Table, widths } from '../telemetry/table.ts'

/**
 * The block without some of its rows; undefined if none remains.
 *
 * @param gone ranges [from, to) of rows, in rising order
 * @throws RangeError on bytes that are not one whole block of the table
 */
export function withoutRows(
  native: Uint8Array,
  table: Table,
  gone: readonly (readonly [from: number, to: number])[],
): { native: Uint8Array; rows: number } | undefined {
  const types = new Map<string, ColumnType>(table.columns.map(({ name, type }) => [name, type]))
  const reader = { at: 0 }
  const columns = varint(native, reader)
  const rows = varint(native, reader)
  const kept = remaining(rows, gone)
  const left = kept.reduce((sum, [from, to]) => sum + to - from, 0)
  if (left === 0) return undefined
  const parts: Uint8Array[] = [Uint8Array.from([...varintOf(columns), ...varintOf(left)])]
  for (let column = 0; column < columns; column++) {
    const began = reader.at
    const name = text(native, reader)
    const type = types.get(name)
    const form = type && formNamed(text(native, reader), type)
    if (form === undefined) {
      throw new RangeError(`column ${name} is not one of table ${table.kind}`)
    }
    parts.push(native.subarray(began, reader.at))
    const begins = form === 'String' ? stringBegins(native, reader, rows) : undefined
    const from = reader.at
    const at = (row: number) => begins?.[row] ?? from + widths[form] * row
    for (const [first, end] of kept) parts.push(native.subarray(at(first), at(end)))
    reader.at = at(rows)
    if (reader.at > native.length) throw new RangeError('the block is cut off')
  }
  if (reader.at !== native.length) throw new RangeError('bytes follow the block')
  return { native: Buffer.concat(parts), rows: left }
}

/** What the ranges leave of `rows` rows. */
function remaining(rows: number, gone: readonly (readonly [number, number])[]) {
  const kept: [number, number][] = []
  let at = 0
  for (const [from, to] of gone) {
    if (from > at) kept.push([at, from])
    at = Math.max(at, to)
  }
  if (at < rows) kept.push([at, rows])
  return kept
}

/** Where each string of a column begins, and where the last one ends. */
function stringBegins(native: Uint8Array, reader: { at: number }, rows: number): number[] {
  const begins: number[] = []
  const walk = { at: reader.at }
  for (let row = 0; row < rows; row++) {
    begins.push(walk.at)
    const length = varint(native, walk)
    walk.at += length
  }
  begins.push(walk.at)
  return begins
}

function text(native: Uint8Array, reader: { at: number }): string {
  const length = varint(native, reader)
  reader.at += length
  return Buffer.from(native.subarray(reader.at - length, reader.at)).toString('latin1')
}

function varint(native: Uint8Array, reader: { at: number }): number {
  let value = 0
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = native[reader.at++]
    if (byte === undefined) throw new RangeError('the block ends inside a number')
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return value
  }
  throw new RangeError('a number of more than 35 bits')
}

function varintOf(value: number): number[] {
  const bytes: number[] = []
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value & 0x7f) | 0x80)
  return [...bytes, value]
}
