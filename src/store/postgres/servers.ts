import type { Queries, Tx } from './database.ts'

export interface Server {
  name: string
  /** How it was installed; not what it does now. */
  installed: 'primary' | 'secondary'
  /** Random for each start. */
  incarnation: string
  version: string
  consoleUrl: string
  /** Where its peer and the collectors reach it. */
  linkHost: string
  linkPort: number
  startedAt: Date
  seenAt: Date
}

/** The servers of the deployment. Not fenced: a standby says of itself that it is there. */
export interface Servers {
  list(): Promise<Server[]>
  /** At each start: takes the place of the former incarnation of the same name. */
  register(server: Omit<Server, 'startedAt' | 'seenAt'>): Promise<void>
  /** @returns false if another incarnation has taken the name since */
  seen(name: string, incarnation: string): Promise<boolean>
  /** Forgets all others: those that a new second server replaces. */
  keepOnly(tx: Tx, names: readonly string[]): Promise<void>
}

export function createServers(deps: { database: Queries }): Servers {
  const { database } = deps
  return {
    list: () =>
      database.query<Server>(
        `SELECT name, installed, incarnation, version, console_url AS "consoleUrl",
           link_host AS "linkHost", link_port AS "linkPort",
           started_at AS "startedAt", seen_at AS "seenAt"
         FROM servers ORDER BY installed, name`,
      ),

    async register(server) {
      await database.query(
        `INSERT INTO servers (name, installed, incarnation, version, console_url, link_host,
           link_port, started_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
         ON CONFLICT (name) DO UPDATE SET
           (installed, incarnation, version, console_url, link_host, link_port, started_at, seen_at)
           = (excluded.installed, excluded.incarnation, excluded.version, excluded.console_url,
              excluded.link_host, excluded.link_port, excluded.started_at, clock_timestamp())`,
        [
          server.name,
          server.installed,
          server.incarnation,
          server.version,
          server.consoleUrl,
          server.linkHost,
          server.linkPort,
        ],
      )
    },

    async seen(name, incarnation) {
      const seen = await database.query(
        `UPDATE servers SET seen_at = clock_timestamp() WHERE name = $1 AND incarnation = $2
         RETURNING name`,
        [name, incarnation],
      )
      return seen.length > 0
    },

    async keepOnly(tx, names) {
      await tx.query('DELETE FROM servers WHERE name <> ALL ($1)', [names])
    },
  }
}
