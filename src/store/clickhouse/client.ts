/**
 * One way to the engine, embedded or remote: `@clickhouse/client` with every error told apart, and
 * with patience for an engine that is just being restarted.
 */
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ClickHouseClient,
  ClickHouseError,
  ClickHouseLogLevel,
  type ClickHouseSettings,
  createClient,
} from '@clickhouse/client'
import type { Connection } from './connection.ts'
import { EngineUnavailable, QueryFailed, SegmentRefused } from './errors.ts'

export interface QueryOptions {
  /** Ends the question in the engine too. */
  signal?: AbortSignal
  timeoutMs?: number
  /** By which `progress` finds it; of its own. */
  tag?: string
  /** Rows beyond are cut off, and `statistics.truncated` says so. */
  maxRows?: number
}

export interface QueryStatistics {
  elapsedMs: number
  rowsRead: number
  bytesRead: number
  truncated: boolean
}

/** As it is, or compressed. */
export type NativeBlock = { native: Uint8Array } | { zstd: Uint8Array }

export interface Client {
  query<T>(
    sql: string,
    params: Record<string, unknown>,
    options?: QueryOptions,
  ): Promise<{ rows: T[]; statistics: QueryStatistics }>
  command(sql: string): Promise<void>
  /**
   * The same for what must not be done twice: not repeated when the engine does not answer.
   * @param again an insert of rows that may have been inserted and removed before
   */
  commandOnce(sql: string, timeoutMs: number, again?: 'again'): Promise<void>
  insertRows(table: string, rows: readonly Record<string, unknown>[]): Promise<void>
  /**
   * Inserts Native bytes once for each token.
   * @param sql an `INSERT … FORMAT Native`
   * @throws SegmentRefused | EngineUnavailable
   */
  insertNative(sql: string, block: NativeBlock, token: string): Promise<void>
  /** The answer as it comes. It must be read or destroyed. @throws EngineUnavailable, QueryFailed */
  readStream(sql: string, timeoutMs: number): Promise<Readable>
  /**
   * Inserts what comes, once: what came before an error may be there.
   * @param packed compressed with zstd
   */
  insertStream(sql: string, packed: Readable, timeoutMs: number): Promise<void>
  /** Whether the last attempt reached the engine. */
  readonly reachable: boolean
  close(): Promise<void>
}

const defaultTimeoutMs = 30_000
const defaultMaxRows = 10_000
const writeTimeoutMs = 60_000
const graceMs = 2_000
const maxConnections = 16
const tooManyQueries = 202
/** Of inserts that may bring the same rows again on purpose, of any days. */
const onceMore: ClickHouseSettings = {
  insert_deduplicate: 0,
  async_insert: 0,
  max_partitions_per_insert_block: '0',
}
/** How long calls wait for an engine that is being restarted. */
const patienceMs = 10_000
const retryMs = 100
/** An answer's bytes, because it is held in memory whole. */
const maxAnswerBytes = 64 * 1024 * 1024

/** ClickHouse's codes for data that no retry will make fit. */
const unfit = new Set([
  7, // INCORRECT_NUMBER_OF_COLUMNS
  8, // THERE_IS_NO_COLUMN
  10, // NOT_FOUND_COLUMN_IN_BLOCK
  16, // NO_SUCH_COLUMN_IN_TABLE
  20, // NUMBER_OF_COLUMNS_DOESNT_MATCH
  27, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  33, // CANNOT_READ_ALL_DATA
  50, // UNKNOWN_TYPE
  53, // TYPE_MISMATCH
  69, // ARGUMENT_OUT_OF_BOUND
  70, // CANNOT_CONVERT_TYPE
  117, // INCORRECT_DATA
  131, // TOO_LARGE_STRING_SIZE
])

export function createEngineClient(
  deps: { connection: Connection },
  config: { database: string },
): Client {
  const { connection } = deps
  let current: { url: string; client: ClickHouseClient } | undefined
  let reachable = false

  /** The client for where the engine is now. */
  function clientNow(): ClickHouseClient {
    const { url, username, password } = connection
    if (current?.url === url) return current.client
    current?.client.close().catch(() => {})
    const client = createClient({
      url,
      username,
      password,
      database: config.database,
      max_open_connections: maxConnections,
      request_timeout: 5 * 60_000,
      log: { level: ClickHouseLogLevel.OFF },
    })
    current = { url, client }
    return client
  }

  /**
   * Tries until the engine has answered, `patienceMs` long: for what may be done twice.
   * @throws EngineUnavailable, QueryFailed, or the reason of `signal`
   */
  async function attempt<T>(
    timeoutMs: number,
    act: (client: ClickHouseClient, signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
    patience = patienceMs,
  ): Promise<T> {
    const started = performance.now()
    for (;;) {
      signal?.throwIfAborted()
      const leftMs = patience - (performance.now() - started)
      if (connection.available && !(await connection.available(Math.max(leftMs, 0)))) {
        reachable = false
        throw new EngineUnavailable('the engine is not running')
      }
      const timeout = AbortSignal.timeout(timeoutMs)
      try {
        const either = signal ? AbortSignal.any([signal, timeout]) : timeout
        const result = await act(clientNow(), either)
        reachable = true
        return result
      } catch (error) {
        if (signal?.aborted) throw signal.reason
        reachable = error instanceof ClickHouseError
        if (error instanceof ClickHouseError) throw told(error)
        if (timeout.aborted) throw new EngineUnavailable(`no answer within ${timeoutMs} ms`)
        if (leftMs <= 0) throw new EngineUnavailable((error as Error).message, { cause: error })
        await sleep(retryMs, undefined, signal && { signal }).catch(() => {})
      }
    }
  }

  return {
    get reachable() {
      return reachable
    },
    async query<T>(sql: string, params: Record<string, unknown>, options: QueryOptions = {}) {
      const timeoutMs = options.timeoutMs ?? defaultTimeoutMs
      const maxRows = options.maxRows ?? defaultMaxRows
      const settings: ClickHouseSettings = {
        max_execution_time: timeoutMs / 1000,
        // One row more than is wanted tells that there are more.
        limit: String(maxRows + 1),
        max_result_bytes: String(maxAnswerBytes),
        output_format_json_quote_64bit_integers: 0,
        session_timezone: 'UTC',
        ...(options.tag === undefined ? {} : { log_comment: options.tag }),
      }
      const { data, statistics } = await attempt(
        // The engine ends a long question by itself; this is for an engine that hangs.
        timeoutMs + graceMs,
        async (client, abort_signal) => {
          const result = await client.query({
            query: sql,
            query_params: params,
            format: 'JSON',
            clickhouse_settings: settings,
            abort_signal,
          })
          return result.json<T>()
        },
        options.signal,
      )
      return {
        rows: data.slice(0, maxRows),
        statistics: {
          elapsedMs: (statistics?.elapsed ?? 0) * 1000,
          rowsRead: statistics?.rows_read ?? 0,
          bytesRead: statistics?.bytes_read ?? 0,
          truncated: data.length > maxRows,
        },
      }
    },
    async command(sql) {
      await attempt(writeTimeoutMs, (client, abort_signal) =>
        client.command({ query: sql, abort_signal }),
      )
    },
    async commandOnce(sql, timeoutMs, again) {
      const act = (client: ClickHouseClient, abort_signal: AbortSignal) =>
        client.command({
          query: sql,
          abort_signal,
          ...(again && { clickhouse_settings: onceMore }),
        })
      await attempt(timeoutMs, act, undefined, 0)
    },
    async insertRows(table, rows) {
      await attempt(writeTimeoutMs, (client, abort_signal) =>
        client.insert({ table, values: rows, format: 'JSONEachRow', abort_signal }),
      )
    },
    async insertNative(sql, block, token) {
      const settings: ClickHouseSettings = {
        insert_deduplication_token: token,
        async_insert: 0,
        // Rows of many days, from an exporter that sends its past, are no reason to refuse them.
        max_partitions_per_insert_block: '0',
      }
      const packed = 'zstd' in block
      const body = packed ? block.zstd : block.native
      await attempt(writeTimeoutMs, async (client, abort_signal) => {
        const { stream } = await client.exec({
          query: sql,
          values: Readable.from([body], { objectMode: false }),
          clickhouse_settings: settings,
          abort_signal,
          ...(packed ? { http_headers: { 'Content-Encoding': 'zstd' } } : {}),
        })
        await stream.forEach(() => {})
      }).catch(error => {
        if (error instanceof QueryFailed) {
          throw unfit.has(error.code)
            ? new SegmentRefused(error.message)
            : new EngineUnavailable(error.message, { cause: error })
        }
        throw error
      })
    },
    readStream: (sql, timeoutMs) =>
      attempt(timeoutMs, async (client, abort_signal) => {
        const clickhouse_settings = {
          max_execution_time: timeoutMs / 1000,
          session_timezone: 'UTC',
        }
        const { stream } = await client.exec({ query: sql, clickhouse_settings, abort_signal })
        return stream
      }),
    async insertStream(sql, packed, timeoutMs) {
      const act = async (client: ClickHouseClient, abort_signal: AbortSignal) => {
        const { stream } = await client.exec({
          query: sql,
          values: packed,
          clickhouse_settings: onceMore,
          abort_signal,
          http_headers: { 'Content-Encoding': 'zstd' },
        })
        await stream.forEach(() => {})
      }
      await attempt(timeoutMs, act, undefined, 0)
    },
    async close() {
      await current?.client.close()
      current = undefined
    },
  }
}

function told(error: ClickHouseError): QueryFailed | EngineUnavailable {
  const code = Number(error.code)
  if (code === tooManyQueries) return new EngineUnavailable(error.message)
  return new QueryFailed(error.message.trim(), code, error.type ?? 'UNKNOWN')
}
