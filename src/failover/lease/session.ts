/** One connection to PostgreSQL on which nothing waits for longer than its deadline. */
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { DatabaseTarget } from '../../lib/database-hosts.ts'
import type { DatabaseIdentity } from '../states.ts'

export interface LeaseSession {
  /** Connects first if it must. A failure ends the connection, unless the server itself answered it. */
  query: Query
  /**
   * Runs `work` on one connection between BEGIN and COMMIT, or ROLLBACK when it returns undefined or
   * throws. @throws OutcomeUnknown if nobody knows whether it was committed
   */
  transaction<T>(work: (query: Query) => Promise<T | undefined>): Promise<T | undefined>
  close(): void
  /** Which database the last connection was to. */
  readonly database: DatabaseIdentity
  /** Why that is unknown, if it is. */
  readonly unidentified: string | undefined
}

export type Query = (sql: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>

/** COMMIT was sent and not answered. */
export class OutcomeUnknown extends Error {
  override name = 'OutcomeUnknown'
}

/** A connection to one host, before it is known whether that one takes writes. */
interface Candidate {
  target: DatabaseTarget
  client: pg.Client
  socket: Socket
}

/** PostgreSQL's code for a write where none is taken. */
const readOnly = '25006'

export function createLeaseSession(
  config: { targets: readonly DatabaseTarget[]; applicationName: string; deadlineMs: number },
  notified: () => void,
): LeaseSession {
  let opened: Candidate | undefined
  let last = config.targets[0]
  let database: DatabaseIdentity
  let unidentified: string | undefined

  /**
   * To the host that takes writes. The one that last did is asked first; when it fails, or does not
   * answer soon, all others at once, so that one that is silent costs no more than a part of the wait.
   */
  async function open(): Promise<pg.Client> {
    const tried: Candidate[] = []
    const enough = new AbortController()
    const attempt = async (target: DatabaseTarget) => {
      if (enough.signal.aborted) throw new Error('another host was faster')
      const candidate = createCandidate(target)
      tried.push(candidate)
      await connect(candidate)
      return candidate
    }
    const others = config.targets.filter(target => target !== last)
    const first = last === undefined ? Promise.reject(new Error('there is no host')) : attempt(last)
    const late = sleep(config.deadlineMs / 4, undefined, { signal: enough.signal }).catch(() => {})
    const waited = Promise.race([first.catch(() => {}), late])
    const rest = others.map(target => waited.then(() => attempt(target)))
    try {
      const winner = await Promise.any([first, ...rest])
      opened = winner
      last = winner.target
      await within(identify(winner.client))
      return winner.client
    } catch (error) {
      throw error instanceof AggregateError ? reasonOf(error, [last, ...others]) : error
    } finally {
      enough.abort()
      for (const { client, socket } of tried) if (client !== opened?.client) socket.destroy()
    }
  }

  function createCandidate(target: DatabaseTarget): Candidate {
    const socket = new Socket()
    const client = new pg.Client({
      ...target,
      application_name: config.applicationName,
      stream: () => socket,
      connectionTimeoutMillis: config.deadlineMs,
      statement_timeout: config.deadlineMs,
      lock_timeout: Math.ceil(config.deadlineMs / 2),
      idle_in_transaction_session_timeout: config.deadlineMs,
      keepAlive: true,
    })
    client.on('error', () => close(client))
    client.on('end', () => close(client))
    client.on('notification', notified)
    return { target, client, socket }
  }

  async function connect({ client, socket }: Candidate) {
    try {
      await within(client.connect())
      const { rows } = await within(
        client.query(
          `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS readonly`,
        ),
      )
      // A replica: what it says may be old, and it cannot be written.
      if (rows[0]?.readonly === true) throw new Error('the database is read-only')
      await within(client.query('LISTEN keepwatch_leadership'))
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  /** Once a connection: a server that takes writes keeps its timeline until it restarts. */
  async function identify(client: pg.Client) {
    try {
      const { rows } = await client.query<{ id: string }>(
        `SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) AS id
         FROM pg_control_system()`,
      )
      database = rows[0]?.id
      unidentified = undefined
    } catch (error) {
      // A managed PostgreSQL may keep these functions to itself.
      if (!answeredByServer(error)) throw error
      database = undefined
      unidentified = (error as Error).message
    }
  }

  function close(client = opened?.client) {
    if (opened === undefined || opened.client !== client) return
    const { socket } = opened
    opened = undefined
    // Not `end`: it would wait for a server that may never answer.
    socket.destroy()
  }

  async function within<T>(work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => late.reject(new Error(`no answer within ${config.deadlineMs} ms`)),
      config.deadlineMs,
    )
    try {
      return await Promise.race([work, late.promise])
    } finally {
      clearTimeout(timer)
      work.catch(() => {})
    }
  }

  async function on(client: pg.Client, sql: string, values: readonly unknown[] = []) {
    if (opened?.client !== client) throw new Error('the connection was lost')
    try {
      const { rows } = await within(client.query(sql, [...values]))
      return rows
    } catch (error) {
      // A server that takes no writes any more: another host may.
      if (!answeredByServer(error) || (error as { code?: string }).code === readOnly) close(client)
      throw error
    }
  }

  return {
    close: () => close(),
    get database() {
      return database
    },
    get unidentified() {
      return unidentified
    },

    async query(sql, values) {
      return on(opened?.client ?? (await open()), sql, values)
    },

    async transaction(work) {
      const client = opened?.client ?? (await open())
      try {
        await on(client, 'BEGIN')
        const result = await work((sql, values) => on(client, sql, values))
        if (result === undefined) await on(client, 'ROLLBACK')
        else await commit(client)
        return result
      } catch (error) {
        // A connection that cannot roll back is closed by the failure.
        if (opened?.client === client) await on(client, 'ROLLBACK').catch(() => close(client))
        throw error
      }
    },
  }

  async function commit(client: pg.Client) {
    try {
      await on(client, 'COMMIT')
    } catch (error) {
      if (answeredByServer(error)) throw error
      throw new OutcomeUnknown((error as Error).message)
    }
  }
}

/** What stands in the way at each host; at a single one, that error itself. */
function reasonOf(error: AggregateError, targets: readonly (DatabaseTarget | undefined)[]): Error {
  const reasons = error.errors as Error[]
  if (reasons.length === 1) return reasons[0]!
  const all = reasons.map(({ message }, index) => {
    const { host, port } = targets[index] ?? {}
    return `${host}:${port}: ${message}`
  })
  return new Error(`no host of the database takes writes: ${all.join('; ')}`)
}

/** The statement failed but the connection goes on. */
function answeredByServer(error: unknown): boolean {
  const { severity } = error as { severity?: string }
  return severity === 'ERROR'
}
