import type { Queries } from './database.ts'

/** Who is active by the database. Whether it lives, the heartbeat tells. */
export interface Leadership {
  term: number
  /** Name of the server; null before the first term. */
  holder: string | null
  incarnation: string | null
  since: Date
  reason: string
  /** True: the holder has let go; nobody is active. */
  released: boolean
  heartbeat: { term: number; incarnation: string | null; counter: number; beatenAt: Date }
}

/** Only reads: taking over is not the store's. */
export async function readLeadership(database: Queries): Promise<Leadership> {
  const [row] = await database.query<
    Omit<Leadership, 'heartbeat'> & {
      beatTerm: number
      beatIncarnation: string | null
      counter: number
      beatenAt: Date
    }
  >(
    `SELECT l.term, l.holder, l.incarnation, l.since, l.reason, l.released,
       h.term AS "beatTerm", h.incarnation AS "beatIncarnation", h.counter, h.beaten_at AS "beatenAt"
     FROM leadership l CROSS JOIN heartbeat h`,
  )
  const { beatTerm, beatIncarnation, counter, beatenAt, ...leadership } = row!
  return {
    ...leadership,
    heartbeat: { term: beatTerm, incarnation: beatIncarnation, counter, beatenAt },
  }
}

/**
 * A term of which somebody else than the database has decided: from now on it takes no writes of an
 * older one. The database is this server's own.
 *
 * @param pause what the voters know; it stands where nobody has asked for another
 */
export async function beginTerm(
  database: Queries,
  leader: { term: number; holder: string; incarnation: string; reason: string; leaseMs: number },
  pause: { by: string; reason: string; until: string | undefined } | undefined,
): Promise<void> {
  const { holder, incarnation, leaseMs, reason, term } = leader
  await database.query(
    `UPDATE leadership
     SET term = $1, holder = $2, incarnation = $3, since = clock_timestamp(), reason = $4,
       released = false, intended = NULL, lease_ms = $5,
       paused_reason = CASE WHEN paused_by IS NULL THEN $7 ELSE paused_reason END,
       paused_until = CASE WHEN paused_by IS NULL THEN $8 ELSE paused_until END,
       paused_by = coalesce(paused_by, $6)`,
    [
      ...[term, holder, incarnation, reason, leaseMs],
      ...[pause?.by ?? null, pause?.reason ?? null, pause?.until ?? null],
    ],
  )
}

/** Who has stopped takeovers, while that lasts by the database's clock. */
export async function readPause(
  database: Queries,
): Promise<{ by: string; reason: string; until: Date | null } | undefined> {
  const [row] = await database.query<{ by: string; reason: string | null; until: Date | null }>(
    `SELECT paused_by AS by, paused_reason AS reason, paused_until AS until FROM leadership
     WHERE paused_by IS NOT NULL AND coalesce(paused_until > clock_timestamp(), true)`,
  )
  return row && { ...row, reason: row.reason ?? 'no reason given' }
}

/** From now on nobody takes over by itself, until `until` by the database's clock, or until `resume`. */
export async function pause(
  tx: Queries,
  pause: { by: string; reason: string; until: Date | null },
): Promise<void> {
  const { by, reason, until } = pause
  await tx.query('UPDATE leadership SET paused_by = $1, paused_reason = $2, paused_until = $3', [
    by,
    reason,
    until,
  ])
  await tell(tx)
}

/**
 * Takeovers are possible again, and those so far are forgotten. Not fenced: it must be possible too
 * when the active is gone and nobody may take over.
 */
export async function resume(tx: Queries): Promise<void> {
  await tx.query(
    `UPDATE leadership
     SET paused_by = NULL, paused_reason = NULL, paused_until = NULL, takeovers = '{}'`,
  )
  await tell(tx)
}

/** Both servers read the lease, or renew it, at once. */
async function tell(tx: Queries): Promise<void> {
  await tx.query(`SELECT pg_notify('keepwatch_leadership', '')`)
}

/** The database's own clock. */
export async function readTime(database: Queries): Promise<Date> {
  const [row] = await database.query<{ now: Date }>('SELECT clock_timestamp() AS now')
  return row!.now
}
