/** A Native block as older programs want it: every column of its table, in the column's own type. */
import { blockOf, type ColumnRun, isDifference, readRuns } from './runs.ts'
import { type Column, type Table, widths } from './table.ts'

/** @throws RangeError on bytes that are not one whole block of the table */
export function widened(native: Uint8Array, table: Table): Uint8Array {
  const { rows, runs } = readRuns(native, table)
  const columns: readonly Column[] = table.columns
  const done = new Map<string, Uint8Array>()

  function wideOf(column: Column): Uint8Array {
    const known = done.get(column.name)
    if (known !== undefined) return known
    const run = runs.find(one => one.column === column)
    const later = columns.find(({ name }) => name === column.before)
    const wide =
      later !== undefined && (run === undefined || isDifference(run))
        ? timesBefore(wideOf(later), column, run, rows)
        : run === undefined
          ? emptyRun(column, rows)
          : wideRun(run, rows)
    done.set(column.name, wide)
    return wide
  }

  return blockOf(
    rows,
    columns.map(column => ({ column, form: column.type, bytes: wideOf(column) })),
  )
}

/** Of an empty string there is its length. */
function emptyRun({ type }: Column, rows: number): Uint8Array {
  return new Uint8Array((type === 'String' ? 1 : widths[type]) * rows)
}

function wideRun({ column: { type }, form, bytes }: ColumnRun, rows: number): Uint8Array {
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

/** @param later milliseconds since 1970 in 8 bytes each */
function timesBefore(
  later: Uint8Array,
  { type }: Column,
  run: ColumnRun | undefined,
  rows: number,
): Uint8Array {
  const from = Buffer.from(later.buffer, later.byteOffset, later.byteLength)
  const differences = run && Buffer.from(run.bytes.buffer, run.bytes.byteOffset, run.bytes.length)
  const width = run === undefined ? 0 : widths[run.form]
  const out = Buffer.alloc(widths[type] * rows)
  for (let row = 0; row < rows; row++) {
    const at = width * row
    const difference =
      run?.form === 'Int32'
        ? differences!.readInt32LE(at)
        : (differences?.readUIntLE(at, width) ?? 0)
    const time = from.readBigUInt64LE(8 * row)
    if (type === 'DateTime') out.writeUInt32LE(Number(time / 1000n) - difference, 4 * row)
    else out.writeBigUInt64LE(time - BigInt(difference), 8 * row)
  }
  return out
}
