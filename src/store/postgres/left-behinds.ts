import type { Queries, Tx } from './database.ts'
import { idBefore, type Page, type PageRequest, pageOf } from './paging.ts'

/** What a server had that the active lacks: it is kept there, and in force nowhere. */
export interface LeftBehindRecord {
  id: number
  found: Date
  server: string
  /** On that server: a file with the rows, or the database itself where that could not be read. */
  kept: string
  /** Why it could not be read. */
  unread: string | null
  /** By table. */
  rows: Record<string, number>
  /** Oldest first; not all of them, if there are many. */
  changes: { at: string; who: string; action: string; subject: string; term: number }[]
  changeCount: number
  /** By a person. */
  seenAt: Date | null
  seenBy: string | null
}

export interface LeftBehinds {
  /** Newest first. */
  list(request: PageRequest): Promise<Page<LeftBehindRecord>>
  /** Those that nobody has seen, the newest 100. */
  unseen(): Promise<LeftBehindRecord[]>
  /** In the name of `tx.who`; once seen it stays so. Null: there is no such record. */
  see(tx: Tx, id: number): Promise<LeftBehindRecord | null>
}

const columns = `id, found, server, kept, unread, rows, changes, change_count AS "changeCount",
  seen_at AS "seenAt", seen_by AS "seenBy"`
const mostUnseen = 100

export function createLeftBehinds(deps: { database: Queries }): LeftBehinds {
  const { database } = deps
  return {
    async list({ limit, cursor }) {
      const rows = await database.query<LeftBehindRecord>(
        `SELECT ${columns} FROM left_behind
         WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`,
        [idBefore(cursor), limit + 1],
      )
      return pageOf(rows, limit, last => `${last.id}`)
    },

    unseen: () =>
      database.query<LeftBehindRecord>(
        `SELECT ${columns} FROM left_behind WHERE seen_at IS NULL ORDER BY id DESC LIMIT ${mostUnseen}`,
      ),

    async see(tx, id) {
      const [seen] = await tx.query<LeftBehindRecord>(
        `UPDATE left_behind SET seen_at = coalesce(seen_at, clock_timestamp()),
           seen_by = coalesce(seen_by, $2)
         WHERE id = $1 RETURNING ${columns}`,
        [id, tx.who],
      )
      return seen ?? null
    },
  }
}

/** Into the active's database, by the server that was left behind. */
export async function recordLeftBehind(
  { query }: { query(sql: string, params: unknown[]): Promise<unknown> },
  found: Omit<LeftBehindRecord, 'id' | 'found' | 'seenAt' | 'seenBy'>,
): Promise<void> {
  const { changeCount, changes, kept, rows, server, unread } = found
  await query(
    `INSERT INTO left_behind (server, kept, unread, rows, changes, change_count)
     VALUES ($1, $2, $3, $4, $5, $6)`,
    [server, kept, unread, JSON.stringify(rows), JSON.stringify(changes), changeCount],
  )
}
