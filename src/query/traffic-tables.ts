/** Which table answers a question about traffic: the smallest that has all it asks for. */
import { flowTable } from '../telemetry/flow.ts'
import { rollups } from '../telemetry/rollups.ts'
import type { Range } from './question.ts'

export interface TrafficTable {
  /** In the engine. */
  name: string
  /** Seconds of a bucket; 1: the flow records themselves. */
  step: number
  columns: ReadonlySet<string>
}

export interface Choice {
  table: TrafficTable
  /** What is before it (seconds since 1970) the table does not have, and no other that would do. */
  since: number | undefined
}

const rawTable: TrafficTable = {
  name: flowTable.kind,
  step: 1,
  columns: new Set([...flowTable.columns, ...flowTable.derived].map(({ name }) => name)),
}

/** The smaller families first. */
const rolledUp: readonly TrafficTable[] = rollups.map(({ name, step, keys }) => ({
  name,
  step,
  columns: new Set(keys),
}))

export const trafficTables: readonly TrafficTable[] = [...rolledUp, rawTable]

/**
 * @param needs columns that the question groups and filters by
 * @param step seconds; the question's range begins and ends at a multiple of it
 * @param kept since when a table has everything, seconds since 1970; undefined: it cannot be asked
 */
export function tableFor(
  needs: Iterable<string>,
  range: Range,
  step: number,
  kept: (table: string) => number | undefined,
): Choice {
  const columns = [...needs]
  const from = range.from / 1000
  const able = trafficTables.filter(
    table => step % table.step === 0 && columns.every(column => table.columns.has(column)),
  )
  const since = (table: TrafficTable) => kept(table.name) ?? Number.POSITIVE_INFINITY
  const whole = able.filter(table => since(table) <= from)
  if (whole.length > 0) {
    const coarsest = Math.max(...whole.map(table => table.step))
    return { table: whole.find(table => table.step === coarsest)!, since: undefined }
  }
  // None has all of the range: the one that goes back the furthest.
  const earliest = Math.min(...able.map(since))
  if (!Number.isFinite(earliest)) return { table: rawTable, since: undefined }
  return { table: able.find(one => since(one) === earliest)!, since: earliest }
}
