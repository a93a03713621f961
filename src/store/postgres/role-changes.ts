import type { Queries } from './database.ts'
import { idBefore, type Page, type PageRequest, pageOf } from './paging.ts'

export interface RoleChange {
  id: number
  at: Date
  server: string
  role: 'active' | 'standby' | 'stopped'
  term: number
  /** For programs: one word. */
  cause: string
  /** For people: what, and why. */
  sentence: string
}

/** The history of the pair. Not fenced: who loses its role says so too. */
export interface RoleChanges {
  /** Newest first. */
  list(request: PageRequest): Promise<Page<RoleChange>>
  append(change: Omit<RoleChange, 'id' | 'at'>): Promise<RoleChange>
}

const columns = 'id, at, server, role, term, cause, sentence'

export function createRoleChanges(deps: { database: Queries }): RoleChanges {
  return {
    async list({ limit, cursor }) {
      const rows = await deps.database.query<RoleChange>(
        `SELECT ${columns} FROM role_changes
         WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`,
        [idBefore(cursor), limit + 1],
      )
      return pageOf(rows, limit, last => `${last.id}`)
    },

    async append({ server, role, term, cause, sentence }) {
      const [change] = await deps.database.query<RoleChange>(
        `INSERT INTO role_changes (server, role, term, cause, sentence)
         VALUES ($1, $2, $3, $4, $5) RETURNING ${columns}`,
        [server, role, term, cause, sentence],
      )
      return change!
    },
  }
}
