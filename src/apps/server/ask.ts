import { ApiError } from '../../api/handler.ts'
import type { Ask, AskOptions } from '../../api/routes/traffic.ts'
import { EngineUnavailable, QueryFailed } from '../../store/clickhouse/errors.ts'
import type { TelemetryStore } from '../../store/clickhouse/telemetry-store.ts'

/** ClickHouse's names for the limits of a question. */
const tooLong = new Set(['TIMEOUT_EXCEEDED', 'TOO_SLOW'])
const tooLarge = new Set(['MEMORY_LIMIT_EXCEEDED', 'TOO_MANY_BYTES', 'TOO_MANY_ROWS_OR_BYTES'])

/** Questions to the engine, its errors as answers of the API. */
export function askOf(telemetry: Pick<TelemetryStore, 'query'>): Ask {
  return async <Row>(
    sql: { text: string; params: Record<string, unknown> },
    signal: AbortSignal,
    options: AskOptions = {},
  ) => {
    try {
      const { rows, statistics } = await telemetry.query<Row>(sql.text, sql.params, {
        ...options,
        signal,
      })
      return { rows, rowsRead: statistics.rowsRead, elapsedMs: statistics.elapsedMs }
    } catch (error) {
      if (error instanceof EngineUnavailable) throw new ApiError('unavailable', error.message)
      if (error instanceof QueryFailed && tooLong.has(error.reason)) {
        throw new ApiError('timeout', 'the question took too long; ask for a shorter time')
      }
      if (error instanceof QueryFailed && tooLarge.has(error.reason)) {
        throw new ApiError('unavailable', 'the question needs too much; ask for a shorter time')
      }
      throw error
    }
  }
}
