import type { Queries, Tx } from './database.ts'
import { idBefore, type Page, type PageRequest, pageOf } from './paging.ts'

/** Who did what: one line a change, in the transaction of the change. */
export interface AuditEntry {
  id: number
  at: Date
  who: string
  action: string
  subject: string
  detail: Record<string, unknown>
  term: number
}

export interface Audit {
  /** Newest first. */
  list(request: PageRequest): Promise<Page<AuditEntry>>
  /** In the name of `tx.who`. `detail` must hold no secrets. */
  append(
    tx: Tx,
    entry: { action: string; subject: string; detail?: Record<string, unknown> },
  ): Promise<void>
}

export function createAudit(deps: { database: Queries }): Audit {
  return {
    async list({ limit, cursor }) {
      const rows = await deps.database.query<AuditEntry>(
        `SELECT id, at, who, action, subject, detail, term FROM audit
         WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`,
        [idBefore(cursor), limit + 1],
      )
      return pageOf(rows, limit, last => `${last.id}`)
    },

    async append(tx, { action, subject, detail = {} }) {
      await tx.query(
        'INSERT INTO audit (who, action, subject, detail, term) VALUES ($1, $2, $3, $4, $5)',
        [tx.who, action, subject, JSON.stringify(detail), tx.term],
      )
    },
  }
}
