import { type ColumnRun, isDifference } from './runs.ts'
import type { Table } from './table.ts'

/**
 * When the first and the last of a block's rows were received, milliseconds since 1970.
 * @throws RangeError if the block does not say
 */
export function receivedIn(
  table: Table,
  rows: number,
  runs: readonly ColumnRun[],
): { fromMs: number; toMs: number } {
  if (rows === 0) return { fromMs: 0, toMs: 0 }
  const { column } = table.receipt
  const run = runs.find(each => each.column.name === column)
  if (run === undefined || isDifference(run)) throw new RangeError(`it has no ${column}`)
  const view = new DataView(run.bytes.buffer, run.bytes.byteOffset, run.bytes.byteLength)
  const wide = run.form === 'DateTime64(3)'
  let fromMs = Number.POSITIVE_INFINITY
  let toMs = 0
  for (let row = 0; row < rows; row++) {
    const ms = wide
      ? view.getUint32(8 * row + 4, true) * 0x1_0000_0000 + view.getUint32(8 * row, true)
      : 1000 * view.getUint32(4 * row, true)
    if (ms < fromMs) fromMs = ms
    if (ms > toMs) toMs = ms
  }
  return { fromMs, toMs }
}
