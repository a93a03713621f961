import {
  bucketsOf,
  fillSeries,
  type Range,
  type Sql,
  stepOf,
  wholeBuckets,
} from '../../query/question.ts'
import {
  columnsOf,
  QuestionError,
  restKey,
  type TrafficMetric,
  trafficSeries,
  trafficTop,
  trafficTotal,
} from '../../query/traffic.ts'
import {
  type Choice,
  largestFor,
  type Piece,
  piecesFor,
  tableFor,
} from '../../query/traffic-tables.ts'
import { ApiError, type Handlers } from '../handler.ts'
import { createSharedWork } from '../shared-work.ts'
import { readRange } from './range.ts'

/** Asks the telemetry engine. */
export type Ask = <Row>(sql: Sql, signal: AbortSignal, options?: AskOptions) => Promise<Answer<Row>>

export interface AskOptions {
  /** By which the engine finds it while it is at work. */
  tag?: string
  timeoutMs?: number
}

interface Answer<Row> {
  rows: Row[]
  rowsRead: number
  elapsedMs: number
}

interface Sums {
  bytes: number
  packets: number
  flows: number
}

type TopRow = Sums & { keys: string[] }
type SeriesRow = { bucket: number; key: string; value: number }

/** A question with groups. */
interface Grouped {
  by: readonly string[]
  where: readonly string[]
  metric: TrafficMetric
  limit?: number
  ask?: string | undefined
  anyway?: 'true' | undefined
  exact?: 'true' | undefined
}

/** Rows a second, until questions have shown how many it is here. */
const usualPace = 10e6
/** An answer from fewer rows says nothing of the pace. */
const enoughToTell = 5e6
const longestSeconds = 20
/** What takes longer is answered from the largest addresses, if they have what is asked for. */
const momentSeconds = 0.7
const anywayMs = 600_000
/** Groups that are asked for at least, so that the questions of one page are the same. */
const sharedLimit = 51
const sharedMs = 2000
/** What is less of the whole comes of adding up in another order. */
const rounding = 1e-9

export function trafficRoutes(deps: {
  ask: Ask
  now(): number
  /** Since when a table has everything, seconds since 1970; undefined: it cannot be asked. */
  keptSince(table: string): number | undefined
  /** Rates that a person has set, by exporter. */
  sampling(): ReadonlyMap<string, number>
  /** How many rows a question would read. */
  estimate(sql: Sql): Promise<number>
  /** How far questions are whose tags begin so. */
  progress(
    tag: string,
  ): Promise<{ rowsRead: number; rowsTotal: number; elapsedMs: number } | undefined>
}): Handlers<'getTrafficSeries' | 'getTrafficTop' | 'getTrafficProgress'> {
  let pace = usualPace
  const largest = createSharedWork<Answer<TopRow>>({ keepMs: sharedMs, most: 100 })

  /** Asks, unless that would take too long. @throws ApiError */
  async function askWithin<Row>(
    sql: Sql,
    part: string,
    { ask, anyway }: { ask?: string | undefined; anyway?: 'true' | undefined },
    signal: AbortSignal,
    estimated?: number,
  ) {
    if (anyway === undefined) {
      const rows = estimated ?? (await deps.estimate(sql))
      const seconds = rows / pace
      if (seconds > longestSeconds) {
        throw new ApiError(
          'too-large',
          `this reads about ${Math.round(rows / 1e6)} million rows and takes about ${Math.round(seconds)} seconds; ask for a shorter time, for a dimension without addresses, or for it anyway`,
        )
      }
    }
    const answer = await deps.ask<Row>(sql, signal, {
      ...(ask === undefined ? {} : { tag: `${tagOf(ask)}${part}` }),
      ...(anyway === undefined ? {} : { timeoutMs: anywayMs }),
    })
    if (answer.rowsRead > enoughToTell) {
      pace += (answer.rowsRead / (answer.elapsedMs / 1000) - pace) / 4
    }
    return answer
  }

  type Plan = ReturnType<typeof planFrom>

  /** The question's range in whole buckets, and the table that answers it. */
  function plan(asked: Range, by: readonly string[], where: readonly string[]) {
    const step = stepOf(asked)
    const range = wholeBuckets(asked, step)
    const columns = columnsOf({ by, where })
    return planFrom(tableFor(columns, range, step, deps.keptSince), { columns, range, step })
  }

  function planFrom(
    choice: Choice,
    asked: { columns: readonly string[]; range: Range; step: number },
  ) {
    const pieces = piecesFor(choice, asked.columns, asked.range, deps.keptSince)
    return { ...asked, sampling: deps.sampling(), pieces, ...choice }
  }

  /**
   * The same, from the largest addresses if there are no others, or if to look at all of them takes
   * more than a moment and nobody insists.
   */
  async function planGroups(
    asked: Range,
    query: Pick<Grouped, 'by' | 'where' | 'metric' | 'exact'>,
  ): Promise<Plan & { estimated?: number }> {
    const exact = question(() => plan(asked, query.by, query.where))
    if (exact.table.group !== undefined || query.exact) return exact
    const filters = columnsOf({ by: [], where: query.where })
    const choice = largestFor(exact.columns, filters, exact.range, exact.step, deps.keptSince)
    if (choice === undefined) return exact
    if (exact.since === undefined) {
      const rows = await deps.estimate(trafficTop({ ...query, ...exact, limit: sharedLimit }))
      if (rows / pace <= momentSeconds) return { ...exact, estimated: rows }
    }
    return planFrom(choice, exact)
  }

  return {
    async getTrafficProgress({ params }) {
      return { progress: (await deps.progress(tagOf(params.ask))) ?? null }
    },

    async getTrafficSeries({ query, signal }) {
      const asked = readRange(query, deps.now())
      const { by } = query
      const groupedBy = by === undefined ? [] : [by]
      const planned = await planGroups(asked, { ...query, by: groupedBy })
      const { step, range } = planned
      const buckets = bucketsOf(range, step)
      const largest =
        by === undefined ? undefined : await largestOf({ ...query, by: groupedBy }, planned, signal)
      const keys = largest?.rows.slice(0, query.groups).map(row => row.keys[0]!) ?? []
      const rest = largest === undefined || largest.rows.length > query.groups || isRough(planned)
      const overall = rest ? overallOf(planned, asked, query.where) : undefined
      const series = (plan: typeof planned, groups?: { dimension: string; keys: string[] }) =>
        askWithin<SeriesRow>(
          question(() => trafficSeries({ ...query, ...plan, by: groups })),
          ...([groups ? 'series' : 'all', query, signal] as const),
        )
      const [all, groups] = await Promise.all([
        overall && series(overall),
        keys.length === 0 || by === undefined
          ? undefined
          : series(planned, { dimension: by, keys }),
      ])
      const answers = [largest, all, groups].filter(one => one !== undefined)
      return {
        ...rangeOf(range),
        step,
        times: buckets.map(bucket => new Date(bucket * 1000).toISOString()),
        series: withRest(
          fillSeries(groups?.rows ?? [], buckets),
          fillSeries(all?.rows ?? [], buckets)[0]?.values,
        ),
        source: sourceOf(planned, answers),
      }
    },

    async getTrafficTop({ query, signal }) {
      const asked = readRange(query, deps.now())
      const planned = await planGroups(asked, query)
      const overall = overallOf(planned, asked, query.where)
      const [top, total] = await Promise.all([
        largestOf(query, planned, signal),
        askWithin<Sums>(
          question(() => trafficTotal({ ...query, ...overall })),
          ...(['total', query, signal] as const),
        ),
      ])
      return {
        ...rangeOf(planned.range),
        rows: top.rows.slice(0, query.limit).map(row => ({ keys: row.keys, ...sumsOf(row) })),
        total: sumsOf(total.rows[0] ?? { bytes: 0, packets: 0, flows: 0 }),
        source: sourceOf(planned, [top, total], planned.pieces),
      }
    },
  }

  /** The largest groups: a picture and the table beneath it want the same at the same time. */
  function largestOf(
    query: Grouped,
    planned: Plan & { estimated?: number },
    signal: AbortSignal,
  ): Promise<Answer<TopRow>> {
    const { by, where, metric, anyway } = query
    const limit = Math.max(sharedLimit, query.limit ?? 0)
    const { range, step, sampling, estimated } = planned
    const { name } = planned.table
    const key = JSON.stringify([name, by, where, metric, limit, anyway, range, step, [...sampling]])
    const sql = question(() => trafficTop({ ...query, ...planned, limit }))
    return largest.get(key, signal, wanted =>
      askWithin<TopRow>(sql, 'top', query, wanted, estimated),
    )
  }

  /** Where all traffic that meets the conditions is read from: that needs no column to group by. */
  function overallOf(planned: Plan, asked: Range, where: readonly string[]) {
    const overall = plan(asked, [], where)
    // Not of a longer time than the groups.
    return planned.since === undefined && overall.since === undefined ? overall : planned
  }
}

/** What is in no group's series comes last; none where there is nothing. */
function withRest(
  groups: readonly { key: string; values: number[] }[],
  all: readonly number[] | undefined,
) {
  if (all === undefined) return [...groups]
  const values = all.map((value, index) => {
    const left = groups.reduce((rest, one) => rest - one.values[index]!, value)
    return left > rounding * value ? left : 0
  })
  return values.some(value => value > 0) ? [...groups, { key: restKey, values }] : [...groups]
}

/** Of no other question: the id is the caller's own. */
function tagOf(ask: string): string {
  return `ask-${ask}-`
}

/** Not everything is in some group of it. */
function isRough({ table }: Choice): boolean {
  return table.group === 'largest'
}

function sourceOf(
  choice: Choice,
  answers: readonly { rowsRead: number; elapsedMs: number }[],
  pieces: readonly Pick<Piece, 'table'>[] = [choice],
) {
  const { since } = choice
  const names = new Set(pieces.map(piece => piece.table.name))
  return {
    table: [...names].join(', '),
    approximate: isRough(choice),
    since: since === undefined ? null : new Date(since * 1000).toISOString(),
    rowsRead: answers.reduce((sum, { rowsRead }) => sum + rowsRead, 0),
    elapsedMs: Math.max(...answers.map(({ elapsedMs }) => elapsedMs)),
  }
}

function question<T>(build: () => T): T {
  try {
    return build()
  } catch (error) {
    if (error instanceof QuestionError) throw new ApiError('bad-request', error.message)
    throw error
  }
}

/** The engine may write 64-bit sums as text. */
function sumsOf(row: Sums): Sums {
  return { bytes: Number(row.bytes), packets: Number(row.packets), flows: Number(row.flows) }
}

function rangeOf(range: Range) {
  return { from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() }
}
