/** What is said to the database about the lease row. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseIdentity, Pause, Row } from '../states.ts'
import type { Moment } from '../timings.ts'
import { isUnplanned, objectionTo, pauseAfter, type TakeoverLimit } from './grant.ts'
import type { Claim, LeaseEvent, Release } from './lease.ts'
import { type LeaseSession, OutcomeUnknown, type Query } from './session.ts'

interface Self {
  server: string
  incarnation: string
  leaseMs: number
}

type ClaimOutcome = Extract<LeaseEvent, { type: 'claimWon' | 'claimLost' | 'claimUnknown' }>

/** Pause between two attempts of a takeover. */
const retryMs = 50
/** The last writes of one that released are waited for, before its sessions are ended. */
const lastWritesMs = 250
/** PostgreSQL cuts application names there. */
const maxApplicationName = 63

/** What the columns say, with the pause only while it lasts by the database's clock. */
const columns = `term, holder, incarnation, released, lease_ms, intended,
  CASE WHEN paused_by IS NOT NULL AND coalesce(paused_until > clock_timestamp(), true)
    THEN json_build_object('by', paused_by, 'reason', paused_reason, 'until', paused_until)
  END AS paused`

export async function readRow(session: LeaseSession): Promise<Row> {
  const [row] = await session.query(
    `SELECT leadership.*, counter
     FROM (SELECT ${columns} FROM leadership) AS leadership,
       (SELECT counter FROM heartbeat) AS heartbeat`,
  )
  if (row === undefined) throw new Error('the lease row is missing')
  return { ...rowOf(row, session.database), counter: Number(row.counter) }
}

function rowOf(row: Record<string, unknown>, database: string | undefined): Omit<Row, 'counter'> {
  return {
    term: Number(row.term),
    holder: (row.holder as string | null) ?? undefined,
    incarnation: (row.incarnation as string | null) ?? undefined,
    released: row.released as boolean,
    leaseMs: row.lease_ms as number,
    intended: (row.intended as string | null) ?? undefined,
    paused: pauseOf(row.paused),
    database,
  }
}

function pauseOf(value: unknown): Pause | undefined {
  if (value === null) return undefined
  const { by, reason, until } = value as { by: string; reason: string | null; until: string | null }
  return {
    by,
    reason: reason ?? 'no reason given',
    until: until === null ? undefined : new Date(until).toISOString(),
  }
}

type Renewal =
  | ({ renewed: true } & Pick<Row, 'counter' | 'paused' | 'database'>)
  /** The term that stands in the way. */
  | { renewed: false; term: number }

export async function renewRow(session: LeaseSession, self: Self, term: number): Promise<Renewal> {
  const [beaten] = await session.query(
    `UPDATE heartbeat SET counter = counter + 1, beaten_at = clock_timestamp()
     WHERE term = $1 AND incarnation = $2
     RETURNING counter, (SELECT paused FROM (SELECT ${columns} FROM leadership) AS leadership)`,
    [term, self.incarnation],
  )
  if (beaten === undefined) {
    const row = await readRow(session)
    return { renewed: false, term: row.term }
  }
  const { counter, paused } = beaten
  return {
    renewed: true,
    counter: Number(counter),
    paused: pauseOf(paused),
    database: session.database,
  }
}

/**
 * Begins a term. The sessions of the old holder are ended first, unless it released the term, so
 * that no frozen transaction of its own can hold the term against us.
 */
export async function claimRow(
  session: LeaseSession,
  self: Self,
  claim: Claim,
  time: { now(): number; until: number; sending(): Moment },
  limit: TakeoverLimit,
): Promise<ClaimOutcome> {
  for (let attempt = 0; ; attempt++) {
    const sentAt = time.sending()
    const gentle = claim.over.released && attempt === 0
    try {
      if (!gentle) await endSessions(session, self, claim.over)
      const won = await session.transaction(async query => {
        await query('SET LOCAL synchronous_commit = on')
        if (gentle) await query(`SET LOCAL lock_timeout = ${lastWritesMs}`)
        return begin(query, session.database, self, claim, limit)
      })
      if (won) return { type: 'claimWon', term: claim.term, sentAt }
      const row = await readRow(session)
      const reason = objectionTo(claim, row, self.server) ?? 'the lease was not as it was read'
      return { type: 'claimLost', term: row.term, reason }
    } catch (error) {
      const reason = (error as Error).message
      if (error instanceof OutcomeUnknown || time.now() + retryMs >= time.until) {
        return { type: 'claimUnknown', reason }
      }
      await sleep(retryMs)
    }
  }
}

async function begin(
  query: Query,
  database: DatabaseIdentity,
  self: Self,
  claim: Claim,
  limit: TakeoverLimit,
): Promise<true | undefined> {
  // The heartbeat row first: a renewal either is seen here, or finds the new term.
  const [beat] = await query('SELECT counter FROM heartbeat FOR UPDATE')
  const [row] = await query(
    `SELECT ${columns},
       ARRAY(SELECT at FROM unnest(takeovers) AS at
             WHERE at > clock_timestamp() - $1 * interval '1 millisecond')::text[] AS recent
     FROM leadership FOR UPDATE`,
    [limit.withinMs],
  )
  if (beat === undefined || row === undefined) throw new Error('the lease row is missing')
  const found: Row = { ...rowOf(row, database), counter: Number(beat.counter) }
  if (objectionTo(claim, found, self.server) !== undefined) return undefined
  const unplanned = isUnplanned(found, self.server)
  const recent = row.recent as string[]
  const stop = unplanned ? pauseAfter(recent.length + 1, limit) : undefined
  await query(
    `WITH beaten AS (
       UPDATE heartbeat
       SET term = $1, incarnation = $3, counter = counter + 1, beaten_at = clock_timestamp()
     )
     UPDATE leadership
     SET term = $1, holder = $2, incarnation = $3, since = clock_timestamp(), reason = $4,
       released = false, intended = NULL, lease_ms = $5,
       takeovers = CASE WHEN $7 THEN $6::timestamptz[] || clock_timestamp() ELSE $6 END,
       paused_by = CASE WHEN $8::text IS NULL THEN paused_by ELSE 'keepwatch' END,
       paused_reason = coalesce($8, paused_reason),
       paused_until = CASE WHEN $8 IS NULL THEN paused_until END`,
    [
      claim.term,
      self.server,
      self.incarnation,
      claim.reason,
      self.leaseMs,
      recent,
      unplanned,
      stop,
    ],
  )
  return true
}

/** Ends what the old holder has open; what it could still commit waits for the rows anyway. */
async function endSessions(session: LeaseSession, self: Self, over: Row) {
  if (over.holder === undefined || over.incarnation === undefined) return
  if (over.incarnation === self.incarnation) return
  const theirs = applicationPrefix(over.holder, over.incarnation)
  const ours = applicationPrefix(self.server, self.incarnation)
  if (theirs === ours) return
  await session.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE starts_with(application_name, $1) AND pid <> pg_backend_pid()`,
    [theirs],
  )
}

function applicationPrefix(server: string, incarnation: string): string {
  return `keepwatch/${server}/${incarnation}`.slice(0, maxApplicationName)
}

/** Says that the term is free, and for whom; those who watch hear of it at once. */
export async function releaseRow(
  session: LeaseSession,
  self: Self,
  { term, reason, intended }: Release,
): Promise<void> {
  await session.query(
    `WITH freed AS (
       UPDATE leadership
       SET released = true, since = clock_timestamp(), reason = $3, intended = $4
       WHERE term = $1 AND incarnation = $2 RETURNING term
     ) SELECT pg_notify('keepwatch_leadership', '') FROM freed`,
    [term, self.incarnation, reason, intended ?? null],
  )
}
