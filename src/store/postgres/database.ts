/** The state's PostgreSQL: a pool of connections, and transactions that are fenced by the term. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Counter, Histogram } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import { databaseTargets } from '../../lib/database-hosts.ts'
import { DatabaseAway, TermOver } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import { failureOf, isFatal, isReadOnly } from './failures.ts'
import { createFollowingPool } from './following-pool.ts'
import { MigrationError, migrate, type PendingMigrations, pendingMigrations } from './migrate.ts'

/** Where statements go. `bigint` comes out as number, `timestamptz` as Date, `bytea` as Buffer. */
export interface Queries {
  /** @param patience `long`: it may take its time; who waits for it knows */
  query<Row extends object>(
    sql: string,
    params?: readonly unknown[],
    patience?: 'everyday' | 'long',
  ): Promise<Row[]>
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
  /** `host:port` of the one that is used, or was used last. */
  host: string | null
  /** Whether it takes writes; null if there was no answer. */
  writable: boolean | null
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
  /** Another host may take writes by now: the next statement looks which one does. */
  recheck(): void
  /** What `migrate` would do. @throws MigrationError if program and database do not fit, DatabaseAway */
  pendingMigrations(): Promise<PendingMigrations>
  /** What a start does, done later, when an older server has gone. @returns the names of those applied */
  migrate(): Promise<string[]>
}

export interface DatabaseConfig {
  /** Of one host or several; the one that takes writes is used. */
  url: string
  /** `keepwatch/<server>/<incarnation>`: by this a takeover finds, and ends, the old active's sessions. */
  applicationName: string
  poolSize: number
  /** The version to which this server goes back unless it proves itself; undefined: to none. */
  previous?: (() => string | undefined) | undefined
}

const startDeadlineMs = 30_000
const connectDeadlineMs = 5_000
const healthDeadlineMs = 2_000
const migrationDeadlineMs = 610_000
/** PostgreSQL cuts longer names off, and a takeover would look for the whole one. */
const maxApplicationName = 63

/** A frozen transaction may hold the term no longer than this; the lease is 10 s. */
const timeouts = {
  statement_timeout: 10_000,
  lock_timeout: 5_000,
  idle_in_transaction_session_timeout: 5_000,
}

/** Judged here, for a server that has fallen silent; after each, the connection is given up. */
const deadlines = {
  /** People wait for it, and the peer's news. */
  everyday: 5_000,
  /** Longer than waiting for a lock may take. */
  begin: timeouts.lock_timeout + 2_000,
  /** Longer than a statement may take. */
  long: timeouts.statement_timeout + 2_000,
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
  let stopped = true
  /** Its tables are there. */
  let prepared = false
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
  const commits = new Counter({
    name: 'keepwatch_database_commits_total',
    help: 'Fenced transactions that were committed',
    registers: [deps.metrics],
  })

  const connection: pg.ClientConfig = {
    application_name: config.applicationName,
    connectionTimeoutMillis: connectDeadlineMs,
    keepAlive: true,
    types,
    query_timeout: deadlines.long,
    ...timeouts,
  }
  const pool = createFollowingPool(
    { ...deps, lost: error => tally.count('connection', () => ({ error: error.message })) },
    {
      targets: databaseTargets(config.url),
      connection,
      size: config.poolSize,
      longestMs: deadlines.long,
    },
  )
  const program = () => ({
    server: config.applicationName.split('/')[1] ?? '',
    previous: config.previous?.(),
  })

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
    prepared = true
  }

  async function prepareSchema() {
    const deadline = deps.clock.monotonic() + startDeadlineMs
    for (;;) {
      try {
        const applied = await migrateNow()
        if (applied.length > 0) deps.log.info({ applied }, 'brought the schema up to date')
        return
      } catch (cause) {
        const error = failureOf(cause, undefined, false)
        const passing = error instanceof MigrationError && error.passing
        if (!passing && !(error instanceof DatabaseAway)) throw error
        if (!passing) tally.count('away', () => ({ error: error.message }))
        pool.suspect()
        if (deps.clock.monotonic() > deadline) throw error
      }
      if (stopped) throw new Error('stopped while starting')
      await sleep(200)
    }
  }

  async function acquire(): Promise<pg.PoolClient> {
    if (!prepared)
      throw new DatabaseAway('the database has not been reached yet', 'nothing-written')
    return pool.acquire()
  }

  const migrateNow = () => alone(client => migrate(client, program()))

  /** On a connection of its own, on which a statement may take minutes. */
  async function alone<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const target = await pool.target()
    const client = new pg.Client({ ...connection, ...target, query_timeout: migrationDeadlineMs })
    client.on('error', () => {})
    let connected = false
    try {
      await client.connect()
      connected = true
      return await work(client)
    } finally {
      // Of a connection that never stood, `pg` waits for the end for ever.
      if (connected) await client.end().catch(() => {})
    }
  }

  async function reported<T>(work: Promise<T>): Promise<T> {
    return work.catch(error => {
      throw report(error, undefined, false)
    })
  }

  async function stop() {
    stopped = true
    prepared = false
    await pool.stop()
  }

  function report(error: unknown, term: number | undefined, sent: boolean): unknown {
    const failure = failureOf(error, term, sent)
    if (isFatal(error) || isReadOnly(error)) pool.suspect()
    const detail = () => ({ error: (failure as Error).message })
    if (failure instanceof DatabaseAway) {
      tally.count(failure.outcome === 'unknown' ? 'outcome-unknown' : 'away', detail)
    } else if (failure instanceof TermOver) tally.count('term-over', detail)
    else if (failure === error && (error as pg.DatabaseError).severity)
      tally.count('failed', detail)
    return failure
  }

  async function query<Row extends object>(
    sql: string,
    params: readonly unknown[] = [],
    patience: 'everyday' | 'long' = 'everyday',
  ) {
    const done = seconds.startTimer({ operation: 'query' })
    let client: pg.PoolClient | undefined
    let broken = false
    const onError = () => {
      broken = true
    }
    try {
      client = await acquire()
      client.on('error', onError)
      const { rows } = await client.query<Row>(within(deadlines[patience], sql, params))
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
      await client.query(within(deadlines.begin, `BEGIN; SELECT fence(${term})`))
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
      query<{ readOnly: boolean }>(
        `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "readOnly"`,
      ).catch(() => undefined),
      sleep(healthDeadlineMs, undefined, { signal: late.signal }).catch(() => undefined),
    ])
    late.abort()
    const host = pool.host ?? null
    if (!answered) return { reachable: false, latencyMs: null, host, writable: null }
    const writable = !answered[0]!.readOnly
    if (!writable) pool.suspect()
    return { reachable: true, latencyMs: deps.clock.monotonic() - before, host, writable }
  }

  return {
    start,
    stop,
    query,
    fenced,
    health,
    recheck: pool.recheck,
    pendingMigrations: () => reported(alone(client => pendingMigrations(client, program()))),
    migrate: () => reported(migrateNow()),
  }
}

/** `pg` knows a deadline for one statement, its types do not. */
function within(deadlineMs: number, text: string, params: readonly unknown[] = []) {
  const statement: pg.QueryConfig & { query_timeout: number } = {
    text,
    values: [...params],
    query_timeout: deadlineMs,
  }
  return statement
}

function toSafeInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new Error(`${text} is too large for a number`)
  return value
}
