/** One connection to PostgreSQL on which nothing waits for longer than its deadline. */
import { Socket } from 'node:net'
import pg from 'pg'

/** Connection settings as `pg` takes them, as far as they can be passed to a thread. */
export type DatabaseTarget = Pick<
  pg.ClientConfig,
  'connectionString' | 'host' | 'port' | 'user' | 'database' | 'options'
> & { password?: string; ssl?: boolean | { ca?: string; cert?: string; key?: string } }

export interface LeaseSession {
  /** Connects first if it must. A failure ends the connection, unless the server itself answered it. */
  query: Query
  /**
   * Runs `work` on one connection between BEGIN and COMMIT, or ROLLBACK when it returns undefined or
   * throws. @throws OutcomeUnknown if nobody knows whether it was committed
   */
  transaction<T>(work: (query: Query) => Promise<T | undefined>): Promise<T | undefined>
  close(): void
}

export type Query = (sql: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>

/** COMMIT was sent and not answered. */
export class OutcomeUnknown extends Error {
  override name = 'OutcomeUnknown'
}

export function createLeaseSession(
  config: { target: DatabaseTarget; applicationName: string; deadlineMs: number },
  notified: () => void,
): LeaseSession {
  let opened: { client: pg.Client; socket: Socket } | undefined

  async function open(): Promise<pg.Client> {
    const socket = new Socket()
    const client = new pg.Client({
      ...config.target,
      application_name: config.applicationName,
      stream: () => socket,
      connectionTimeoutMillis: config.deadlineMs,
      statement_timeout: config.deadlineMs,
      lock_timeout: Math.ceil(config.deadlineMs / 2),
      idle_in_transaction_session_timeout: config.deadlineMs,
      keepAlive: true,
    })
    opened = { client, socket }
    client.on('error', () => close(client))
    client.on('end', () => close(client))
    client.on('notification', notified)
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
      return client
    } catch (error) {
      close(client)
      throw error
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
      if (!answeredByServer(error)) close(client)
      throw error
    }
  }

  return {
    close: () => close(),

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

/** The statement failed but the connection goes on. */
function answeredByServer(error: unknown): boolean {
  const { severity } = error as { severity?: string }
  return severity === 'ERROR'
}
