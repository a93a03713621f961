/** One connection to PostgreSQL on which nothing waits for longer than its deadline. */
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { DatabaseTarget } from '../../lib/database-hosts.ts'
import { timelineOf } from '../lost-terms.ts'
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
  /** Which database the connection is to, once it stands. */
  readonly database: DatabaseIdentity
  /** Why that is unknown, if it is. */
  readonly unidentified: string | undefined
}

export type Query = (sql: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>

/** COMMIT was sent and not answered. */
export class OutcomeUnknown extends Error {
  override name = 'OutcomeUnknown'
}

/** A connection to one host. */
interface Candidate {
  target: DatabaseTarget
  client: pg.Client
  socket: Socket
  /** It takes writes, and is not one that was left behind. */
  ready: boolean
  database: DatabaseIdentity
  unidentified: string | undefined
}

/** PostgreSQL's code for a write where none is taken. */
const readOnly = '25006'

/** @param config.known which database it was before this process; one that is older is not used */
export function createLeaseSession(
  config: {
    targets: readonly DatabaseTarget[]
    applicationName: string
    deadlineMs: number
    known: DatabaseIdentity
  },
  notified: () => void,
): LeaseSession {
  let opened: Candidate | undefined
  let last = config.targets[0]
  let database = config.known
  let unidentified: string | undefined

  /**
   * To the host that takes writes. The one that last did is asked first; when it fails, or does not
   * answer soon, all others at once, so that one that is silent costs no more than a part of the wait.
   */
  async function open(): Promise<pg.Client> {
    const tried: Candidate[] = []
    const enough = new AbortController()
    const soon = () =>
      sleep(config.deadlineMs / 4, undefined, { signal: enough.signal }).catch(() => {})
    const attempt = async (target: DatabaseTarget) => {
      if (enough.signal.aborted) throw new Error('another host was faster')
      const candidate = createCandidate(target)
      tried.push(candidate)
      await connect(candidate)
      return candidate
    }
    const others = config.targets.filter(target => target !== last)
    const first = last === undefined ? Promise.reject(new Error('there is no host')) : attempt(last)
    const waited = Promise.race([first.catch(() => {}), soon()])
    const rest = others.map(target => waited.then(() => attempt(target)))
    try {
      let winner = await Promise.any([first, ...rest])
      if (database === undefined && others.length > 0) {
        // Of two that take writes, one was left behind when the other was promoted.
        await Promise.race([Promise.allSettled([first, ...rest]), soon()])
        winner = tried.filter(({ ready }) => ready).toSorted(byTimeline)[0] ?? winner
      }
      opened = winner
      last = winner.target
      database = winner.database ?? database
      unidentified = winner.unidentified
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
    return { target, client, socket, ready: false, database: undefined, unidentified: undefined }
  }

  async function connect(candidate: Candidate) {
    const { client, socket } = candidate
    try {
      await within(client.connect())
      const { rows } = await within(
        client.query(
          `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS readonly`,
        ),
      )
      // A replica: what it says may be old, and it cannot be written.
      if (rows[0]?.readonly === true) throw new Error('the database is read-only')
      await within(identify(candidate))
      if (config.targets.length > 1 && isBehind(candidate.database, database)) {
        throw new Error(
          'it was left behind when another host was promoted: make it a replica of that one, or, if ' +
            'it was restored on purpose, remove term.json from the data folder of this server',
        )
      }
      await within(client.query('LISTEN keepwatch_leadership'))
      candidate.ready = true
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  /** Once a connection: a server that takes writes keeps its timeline until it restarts. */
  async function identify(candidate: Candidate) {
    try {
      const { rows } = await candidate.client.query<{ id: string }>(
        `SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) AS id
         FROM pg_control_system()`,
      )
      candidate.database = rows[0]?.id
    } catch (error) {
      // A managed PostgreSQL may keep these functions to itself.
      if (!answeredByServer(error)) throw error
      candidate.unidentified = (error as Error).message
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
      return opened?.database
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

function byTimeline(a: Candidate, b: Candidate): number {
  return timelineOf(b.database) - timelineOf(a.database)
}

/** The same database as before a failover of it, come back without having noticed. */
function isBehind(found: DatabaseIdentity, known: DatabaseIdentity): boolean {
  if (found === undefined || known === undefined) return false
  return found.split('/')[0] === known.split('/')[0] && timelineOf(found) < timelineOf(known)
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
