import { InvalidCursor } from '../../lib/errors.ts'
import type { Queries, Tx } from './database.ts'
import { type Page, type PageRequest, pageOf } from './paging.ts'

export interface Alarm {
  id: number
  /** What is wrong, for programs: one open alarm a key. */
  key: string
  severity: 'warning' | 'critical'
  subject: string
  text: string
  raisedAt: Date
  clearedAt: Date | null
  acknowledgedBy: string | null
}

export interface NewAlarm {
  key: string
  severity: Alarm['severity']
  subject: string
  text: string
}

export interface Alarms {
  /** Open ones first, then newest first. */
  list(request: PageRequest & { open?: boolean | undefined }): Promise<Page<Alarm>>
  /** Raised again while open, it is the same alarm; `raised` is false then. */
  raise(tx: Tx, alarm: NewAlarm): Promise<{ alarm: Alarm; raised: boolean }>
  /** @returns the alarm that this ended; null if none was open */
  clear(tx: Tx, key: string): Promise<Alarm | null>
  /** @returns the alarm; null if there is none */
  acknowledge(tx: Tx, id: number): Promise<Alarm | null>
}

const columns = `id, key, severity, subject, text, raised_at AS "raisedAt",
  cleared_at AS "clearedAt", acknowledged_by AS "acknowledgedBy"`

export function createAlarms(deps: { database: Queries }): Alarms {
  return {
    async list({ limit, cursor, open }) {
      const after = position(cursor)
      const rows = await deps.database.query<Alarm>(
        `SELECT ${columns} FROM alarms
         WHERE ($1::boolean IS NULL OR (cleared_at IS NULL) = $1)
           AND ($2::boolean IS NULL OR (cleared_at IS NULL, id) < ($2, $3::bigint))
         ORDER BY (cleared_at IS NULL) DESC, id DESC LIMIT $4`,
        [open ?? null, after?.open ?? null, after?.id ?? null, limit + 1],
      )
      return pageOf(
        rows,
        limit,
        last => `${last.clearedAt === null ? 'open' : 'closed'}-${last.id}`,
      )
    },

    async raise(tx, { key, severity, subject, text }) {
      const [{ raised, ...alarm }] = (await tx.query<Alarm & { raised: boolean }>(
        // xmax is 0 in a row that was inserted, and says who locked it in one that was updated.
        `INSERT INTO alarms (key, severity, subject, text, term) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (key) WHERE cleared_at IS NULL
           DO UPDATE SET severity = excluded.severity, subject = excluded.subject, text = excluded.text
         RETURNING ${columns}, xmax = 0 AS raised`,
        [key, severity, subject, text, tx.term],
      )) as [Alarm & { raised: boolean }]
      return { alarm, raised }
    },

    async clear(tx, key) {
      const [alarm] = await tx.query<Alarm>(
        `UPDATE alarms SET cleared_at = clock_timestamp() WHERE key = $1 AND cleared_at IS NULL
         RETURNING ${columns}`,
        [key],
      )
      return alarm ?? null
    },

    async acknowledge(tx, id) {
      const [alarm] = await tx.query<Alarm>(
        `UPDATE alarms SET acknowledged_by = coalesce(acknowledged_by, $2) WHERE id = $1
         RETURNING ${columns}`,
        [id, tx.who],
      )
      return alarm ?? null
    },
  }
}

function position(cursor: string | undefined): { open: boolean; id: number } | undefined {
  if (cursor === undefined) return undefined
  const parts = /^(open|closed)-(\d{1,15})$/.exec(cursor)
  if (!parts) throw new InvalidCursor(`"${cursor}" is not a cursor of this list`)
  return { open: parts[1] === 'open', id: Number(parts[2]) }
}
