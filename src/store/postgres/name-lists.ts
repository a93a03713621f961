import { Conflict } from '../../lib/errors.ts'
import type { Queries, Tx } from './database.ts'

export const nameLists = ['networks', 'applications'] as const
export type NameListName = (typeof nameLists)[number]

/** A list of names that people have given. The form of an entry is the contract's, not the store's. */
export interface NameList {
  entries: unknown[]
  /** Rises by one with each change; 0: nobody has changed it yet. */
  version: number
  changedAt: Date | null
  changedBy: string | null
}

export interface NameLists {
  read(list: NameListName): Promise<NameList>
  versions(): Promise<Record<NameListName, number>>
  /**
   * @param version that was read
   * @throws Conflict on `name_list_version` if somebody changed it since
   */
  replace(
    tx: Tx,
    list: NameListName,
    change: { entries: readonly unknown[]; version: number },
  ): Promise<NameList>
}

const columns = 'entries, version, changed_at AS "changedAt", changed_by AS "changedBy"'

export function createNameLists(deps: { database: Queries }): NameLists {
  const { database } = deps
  return {
    async read(list) {
      const [found] = await database.query<NameList>(
        `SELECT ${columns} FROM name_lists WHERE list = $1`,
        [list],
      )
      return found ?? { entries: [], version: 0, changedAt: null, changedBy: null }
    },

    async versions() {
      const rows = await database.query<{ list: NameListName; version: number }>(
        'SELECT list, version FROM name_lists',
      )
      const found = new Map(rows.map(({ list, version }) => [list, version]))
      return { networks: found.get('networks') ?? 0, applications: found.get('applications') ?? 0 }
    },

    async replace(tx, list, { entries, version }) {
      const json = JSON.stringify(entries)
      const [changed] =
        version === 0
          ? await tx.query<NameList>(
              `INSERT INTO name_lists (list, entries, version, changed_by) VALUES ($1, $2, 1, $3)
               ON CONFLICT DO NOTHING RETURNING ${columns}`,
              [list, json, tx.who],
            )
          : await tx.query<NameList>(
              `UPDATE name_lists SET entries = $2, version = version + 1,
                 changed_at = clock_timestamp(), changed_by = $3
               WHERE list = $1 AND version = $4 RETURNING ${columns}`,
              [list, json, tx.who, version],
            )
      if (changed) return changed
      throw new Conflict(
        `somebody else has changed the ${list} meanwhile: read them again`,
        'name_list_version',
      )
    },
  }
}
