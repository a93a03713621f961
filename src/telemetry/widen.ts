/** A Native block as older programs want it: every column of its table, in the column's own type. */
import { blockOf, type ColumnRun, readRuns } from './runs.ts'
import { type Column, type ColumnType, type Table, widths } from './table.ts'

/** @throws RangeError on bytes that are not one whole block of the table */
export function widened(native: Uint8Array, table: Table): Uint8Array {
  const { rows, runs } = readRuns(native, table)
  const columns: readonly Column[] = table.columns
  const wide = columns.map(({ name, type }) => {
    const run = runs.find(one => one.name === name)
    return { name, form: type, bytes: run ? wideRun(run, rows) : emptyRun(type, rows) }
  })
  return blockOf(rows, wide)
}

/** Of an empty string there is its length. */
function emptyRun(type: ColumnType, rows: number): Uint8Array {
  return new Uint8Array((type === 'String' ? 1 : widths[type]) * rows)
}

function wideRun({ type, form, bytes }: ColumnRun, rows: number): Uint8Array {
  if (form === type) return bytes
  const [from, to] = [widths[form], widths[type]]
  const out = new Uint8Array(to * rows)
  for (let row = 0; row < rows; row++) {
    const cell = bytes.subarray(from * row, from * (row + 1))
    // Numbers are little-endian. An IPv4 address is one, and mapped in network order otherwise.
    if (type === 'IPv6') out.set([0xff, 0xff, ...cell.toReversed()], to * row + 10)
    else out.set(cell, to * row)
  }
  return out
}
