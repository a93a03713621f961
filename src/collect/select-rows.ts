/** Rows left out of a Native block. */
import { blockOf, type ColumnRun, readRuns, stringBegins } from '../telemetry/runs.ts'
import { type Table, widths } from '../telemetry/table.ts'

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
  const { rows, runs } = readRuns(native, table)
  const kept = remaining(rows, gone)
  const left = kept.reduce((sum, [from, to]) => sum + to - from, 0)
  if (left === 0) return undefined
  const parts = runs.map(run => ({ ...run, bytes: partsOf(run, rows, kept) }))
  return { native: blockOf(left, parts), rows: left }
}

function partsOf(
  { form, bytes }: ColumnRun,
  rows: number,
  kept: readonly (readonly [number, number])[],
): Uint8Array {
  const begins = form === 'String' ? stringBegins(bytes, rows) : undefined
  const at = (row: number) => begins?.[row] ?? widths[form] * row
  return Buffer.concat(kept.map(([from, to]) => bytes.subarray(at(from), at(to))))
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
