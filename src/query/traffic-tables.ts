/** Which table answers a question about traffic: the smallest that has all it asks for. */
import { flowTable } from '../telemetry/flow.ts'
import { type RollupGroup, rollups } from '../telemetry/rollups.ts'
import type { Range } from './question.ts'

export interface TrafficTable {
  /** In the engine. */
  name: string
  /** Seconds of a bucket; 1: the flow records themselves. */
  step: number
  /** Of rollups. */
  group?: RollupGroup
  columns: ReadonlySet<string>
}

export interface Choice {
  table: TrafficTable
  /** What is before it (seconds since 1970) the table does not have, and no other that would do. */
  since: number | undefined
}

/** A part of a question's range, and the table that it is read from. */
export interface Piece {
  table: TrafficTable
  range: Range
}

const rawTable: TrafficTable = {
  name: flowTable.kind,
  step: 1,
  columns: new Set([...flowTable.columns, ...flowTable.derived].map(({ name }) => name)),
}

/** The smaller families first. */
const rolledUp: readonly TrafficTable[] = rollups
  .toSorted((a, b) => a.keys.length - b.keys.length)
  .map(({ name, step, group, keys }) => ({ name, step, group, columns: new Set(keys) }))

/** Each has all traffic. */
export const trafficTables: readonly TrafficTable[] = [
  ...rolledUp.filter(({ group }) => group === 'sums'),
  rawTable,
]

/** Of addresses those with the most traffic alone. */
export const largestTables = rolledUp.filter(({ group }) => group === 'largest')

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
  return (
    chooseFrom(trafficTables, needs, range, step, kept) ?? { table: rawTable, since: undefined }
  )
}

/**
 * The same among the tables that have of addresses only the largest; undefined if none has all of the
 * range.
 * @param filters columns that the question filters by: not by addresses, of which not all are there
 */
export function largestFor(
  needs: Iterable<string>,
  filters: Iterable<string>,
  ...[range, step, kept]: [Range, number, (table: string) => number | undefined]
): Choice | undefined {
  if ([...filters].some(column => addresses.includes(column))) return undefined
  const choice = chooseFrom(largestTables, needs, range, step, kept)
  return choice?.since === undefined ? choice : undefined
}

const addresses = ['src_addr', 'dst_addr']

function chooseFrom(
  tables: readonly TrafficTable[],
  needs: Iterable<string>,
  range: Range,
  step: number,
  kept: (table: string) => number | undefined,
): Choice | undefined {
  const columns = [...needs]
  const from = range.from / 1000
  const able = tables.filter(
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
  if (!Number.isFinite(earliest)) return undefined
  return { table: able.find(one => since(one) === earliest)!, since: earliest }
}

/**
 * Where sums over all of a range are read from: its whole hours from a table by the hour if there is
 * one, what is left at both ends from finer ones.
 *
 * @param choice for the same question
 */
export function piecesFor(
  choice: Choice,
  needs: Iterable<string>,
  range: Range,
  kept: (table: string) => number | undefined,
): Piece[] {
  if (choice.since !== undefined) return [{ table: choice.table, range }]
  const columns = [...needs]
  const coarser = rolledUp.filter(
    table =>
      table.step > choice.table.step &&
      table.group === (choice.table.group ?? 'sums') &&
      columns.every(column => table.columns.has(column)) &&
      (kept(table.name) ?? Number.POSITIVE_INFINITY) <= range.from / 1000,
  )
  const byStep = [...new Set(coarser.map(({ step }) => step))].sort((a, b) => b - a)
  const tables = byStep.map(step => coarser.find(table => table.step === step)!)
  return cut(range, [...tables, choice.table])
}

/** @param tables from the coarsest to one whose buckets the range consists of */
function cut(range: Range, [table, ...finer]: readonly TrafficTable[]): Piece[] {
  if (table === undefined || range.from >= range.to) return []
  if (finer.length === 0) return [{ table, range }]
  const ms = table.step * 1000
  const from = Math.ceil(range.from / ms) * ms
  const to = Math.floor(range.to / ms) * ms
  if (from >= to) return cut(range, finer)
  return [
    ...cut({ from: range.from, to: from }, finer),
    { table, range: { from, to } },
    ...cut({ from: to, to: range.to }, finer),
  ]
}
