import { bucketsOf, fillSeries, type Range, type Sql, stepOf } from '../../query/question.ts'
import { QuestionError, trafficSeries, trafficTop, trafficTotal } from '../../query/traffic.ts'
import { ApiError, type Handlers } from '../handler.ts'
import { readRange } from './range.ts'

/** Asks the telemetry engine. */
export type Ask = <Row>(
  sql: Sql,
  signal: AbortSignal,
) => Promise<{ rows: Row[]; rowsRead: number; elapsedMs: number }>

interface Sums {
  bytes: number
  packets: number
  flows: number
}

export function trafficRoutes(deps: {
  ask: Ask
  now(): number
}): Handlers<'getTrafficSeries' | 'getTrafficTop'> {
  return {
    async getTrafficSeries({ query, signal }) {
      const range = readRange(query, deps.now())
      const step = stepOf(range)
      const sql = question(() => trafficSeries({ ...query, range, step }))
      const answer = await deps.ask<{ bucket: number; key: string; value: number }>(sql, signal)
      const buckets = bucketsOf(range, step)
      return {
        ...rangeOf(range),
        step,
        times: buckets.map(bucket => new Date(bucket * 1000).toISOString()),
        series: fillSeries(answer.rows, buckets),
        source: { table: 'flow', rowsRead: answer.rowsRead, elapsedMs: answer.elapsedMs },
      }
    },

    async getTrafficTop({ query, signal }) {
      const range = readRange(query, deps.now())
      const [top, total] = await Promise.all([
        deps.ask<Sums & { keys: string[] }>(
          question(() => trafficTop({ ...query, range })),
          signal,
        ),
        deps.ask<Sums>(
          question(() => trafficTotal({ range, where: query.where })),
          signal,
        ),
      ])
      return {
        ...rangeOf(range),
        rows: top.rows.map(row => ({ keys: row.keys, ...sumsOf(row) })),
        total: sumsOf(total.rows[0] ?? { bytes: 0, packets: 0, flows: 0 }),
        source: {
          table: 'flow',
          rowsRead: top.rowsRead + total.rowsRead,
          elapsedMs: Math.max(top.elapsedMs, total.elapsedMs),
        },
      }
    },
  }
}

function question(build: () => Sql): Sql {
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
