/** The state's PostgreSQL: a pool of connections, and transactions that are fenced by the term. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Counter, Gauge, Histogram } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import { DatabaseAway, Overloaded, TermOver } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import { failureOf, isFatal } from './failures.ts'
import { migrate } from './migrate.ts'

/** Where statements go. `bigint` comes out as number, `timestamptz` as Date, `bytea` as Buffer. */
export interface Queries {
  query<Row extends object>(sql: string, params?: readonly unknown[]): Promise<Row[]>
}

/** A transaction that has shown its term; of no use once its function has ended. */
export interface Tx extends Queries {
  readonly term: number
  /** The person or the part of the program in whose name it writes. */
  readonly who: string
}

export interface DatabaseHealth {
  reachable: boolean
  /** Of one empty question; null if there was no answer. */
  latencyMs: number | null
}

export interface Database extends Component, Queries {
  /**
   * Runs `work` in a transaction that commits only if `term` is the current one, and that holds the
   * term until then. Never repeats anything.
   *
   * @throws TermOver, DatabaseAway (whose `outcome` says whether it may have been committed), Conflict
   */
  fenced<T>(term: number, who: { name: string }, work: (tx: Tx) => Promise<T>): Promise<T>
  health(): Promise<DatabaseHealth>
}

export interface DatabaseConfig {
  url: string
  /** `keepwatch/<server>/<incarnation>`: by this a takeover finds, and ends, the old active's sessions. */
  applicationName: string
  poolSize: number
}

const startDeadlineMs = 30_000
const connectDeadlineMs = 5_000
const healthDeadlineMs = 2_000
const idleMs = 60_000
const maxWaiting = 500
/** PostgreSQL cuts longer names off, and a takeover would look for the whole one. */
const maxApplicationName = 63

/** A frozen transaction may hold the term no longer than this; the lease is 10 s. */
const timeouts = {
  statement_timeout: 10_000,
  lock_timeout: 5_000,
  idle_in_transaction_session_timeout: 5_000,
  /** Judged here, for a server that has vanished without a word. */
  query_timeout: 15_000,
}

const int8 = 20

const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === int8 && format !== 'binary' ? toSafeInteger : pg.types.getTypeParser(oid, format),
}

export function createDatabase(
  deps: { log: Log; metrics: Metrics; clock: Clock },
  config: DatabaseConfig,
): Database {
  let pool: pg.Pool | undefined
  let stopped = true
  const tally = createTally<'away' | 'outcome-unknown' | 'term-over' | 'failed' | 'connection'>(
    deps,
    { name: 'database_failures', help: 'Failed statements and lost connections, by reason' },
  )
  const seconds = new Histogram({
    name: 'keepwatch_database_seconds',
    help: 'Duration of statements and of fenced transactions, the wait for a connection included',
    labelNames: ['operation'],
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
    registers: [deps.metrics],
  })
  new Gauge({
    name: 'keepwatch_database_connections',
    help: 'Connections to the database, and callers that wait for one',
    labelNames: ['state'],
    registers: [deps.metrics],
    collect() {
      this.set({ state: 'idle' }, pool?.idleCount ?? 0)
      this.set({ state: 'busy' }, (pool?.totalCount ?? 0) - (pool?.idleCount ?? 0))
      this.set({ state: 'waited-for' }, pool?.waitingCount ?? 0)
    },
  })
  const commits = new Counter({
    name: 'keepwatch_database_commits_total',
    help: 'Fenced transactions that were committed',
    registers: [deps.metrics],
  })

  const connection: pg.PoolConfig = {
    connectionString: config.url,
    application_name: config.applicationName,
    connectionTimeoutMillis: connectDeadlineMs,
    keepAlive: true,
    types,
    ...timeouts,
  }

  async function start() {
    if (!/^[\x21-\x7e]+$/.test(config.applicationName)) {
      throw new Error(`application name "${config.applicationName}": only printable ASCII`)
    }
    if (config.applicationName.length > maxApplicationName) {
      throw new Error(
        `application name "${config.applicationName}": PostgreSQL takes ${maxApplicationName} ` +
          'characters, so the name of the server must be shorter',
      )
    }
    stopped = false
    await prepareSchema()
    if (stopped) throw new Error('stopped while starting')
    pool = new pg.Pool({ ...connection, max: config.poolSize, idleTimeoutMillis: idleMs })
    pool.on('error', error => tally.count('connection', () => ({ error: error.message })))
  }

  async function prepareSchema() {
    const deadline = deps.clock.monotonic() + startDeadlineMs
    for (;;) {
      const client = new pg.Client({ ...connection, query_timeout: 0 })
      client.on('error', () => {})
      let connected = false
      try {
        await client.connect()
        connected = true
        const applied = await migrate(client)
        if (applied.length > 0) deps.log.info({ applied }, 'brought the schema up to date')
        return
      } catch (cause) {
        const error = failureOf(cause, undefined, false)
        if (!(error instanceof DatabaseAway)) throw error
        tally.count('away', () => ({ error: error.message }))
        if (deps.clock.monotonic() > deadline) throw error
      } finally {
        // Of a connection that never stood, `pg` waits for the end for ever.
        if (connected) await client.end().catch(() => {})
      }
      if (stopped) throw new Error('stopped while starting')
      await sleep(200)
    }
  }

  async function stop() {
    stopped = true
    const ending = pool
    pool = undefined
    await ending?.end()
  }

  async function acquire(): Promise<pg.PoolClient> {
    if (!pool) throw new Error('the database has not been started')
    if (pool.waitingCount >= maxWaiting) throw new Overloaded('too many wait for the database')
    return pool.connect()
  }

  function report(error: unknown, term: number | undefined, sent: boolean): unknown {
    const failure = failureOf(error, term, sent)
    const detail = () => ({ error: (failure as Error).message })
    if (failure instanceof DatabaseAway) {
      tally.count(failure.outcome === 'unknown' ? 'outcome-unknown' : 'away', detail)
    } else if (failure instanceof TermOver) tally.count('term-over', detail)
    else if (failure === error && (error as pg.DatabaseError).severity)
      tally.count('failed', detail)
    return failure
  }

  async function query<Row extends object>(sql: string, params: readonly unknown[] = []) {
    const done = seconds.startTimer({ operation: 'query' })
    let client: pg.PoolClient | undefined
    let broken = false
    const onError = () => {
      broken = true
    }
    try {
      client = await acquire()
      client.on('error', onError)
      const { rows } = await client.query<Row>(sql, [...params])
      return rows
    } catch (error) {
      broken ||= isFatal(error)
      throw report(error, undefined, client !== undefined && !/^\s*select/i.test(sql))
    } finally {
      client?.off('error', onError)
      client?.release(broken)
      done()
    }
  }

  async function fenced<T>(term: number, who: { name: string }, work: (tx: Tx) => Promise<T>) {
    if (!Number.isSafeInteger(term)) throw new Error(`${term} is not a term`)
    const done = seconds.startTimer({ operation: 'fenced' })
    const lost = Promise.withResolvers<never>()
    lost.promise.catch(() => {})
    let client: pg.PoolClient | undefined
    let open = false
    let committing = false
    let broken = false
    const onError = (error: Error) => {
      broken = true
      lost.reject(error)
    }
    try {
      const held = await acquire()
      client = held
      client.on('error', onError)
      open = true
      await client.query(`BEGIN; SELECT fence(${term})`)
      const tx: Tx = {
        term,
        who: who.name,
        async query<Row extends object>(sql: string, params: readonly unknown[] = []) {
          if (!open) throw new Error('this transaction has ended')
          return (await held.query<Row>(sql, [...params])).rows
        },
      }
      // The server ends a transaction that idles: without the race, work that hangs would hang us.
      const result = await Promise.race([work(tx), lost.promise])
      open = false
      committing = true
      const { command } = await client.query('COMMIT')
      // So PostgreSQL answers a COMMIT after a statement failed, whoever caught that failure.
      if (command !== 'COMMIT') throw new Error('rolled back: a statement of it had failed')
      commits.inc()
      return result
    } catch (error) {
      open = false
      broken ||= isFatal(error)
      if (client && !broken) {
        await client.query('ROLLBACK').catch(() => {
          broken = true
        })
      }
      throw report(error, term, committing)
    } finally {
      client?.off('error', onError)
      client?.release(broken)
      done()
    }
  }

  async function health(): Promise<DatabaseHealth> {
    const before = deps.clock.monotonic()
    const late = new AbortController()
    const answered = await Promise.race([
      query('SELECT').then(
        () => true,
        () => false,
      ),
      sleep(healthDeadlineMs, false, { signal: late.signal }).catch(() => false),
    ])
    late.abort()
    return { reachable: answered, latencyMs: answered ? deps.clock.monotonic() - before : null }
  }

  return { start, stop, query, fenced, health }
}

function toSafeInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new Error(`${text} is too large for a number`)
  return value
}
