/** What is said to the database about the lease row. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Row } from '../states.ts'
import type { Moment } from '../timings.ts'
import type { Claim, LeaseEvent } from './lease.ts'
import { type LeaseSession, OutcomeUnknown, type Query } from './session.ts'

interface Self {
  server: string
  incarnation: string
}

type ClaimOutcome = Extract<LeaseEvent, { type: 'claimWon' | 'claimLost' | 'claimUnknown' }>

/** Pause between two attempts of a takeover. */
const retryMs = 50
/** The last writes of one that released are waited for, before its sessions are ended. */
const lastWritesMs = 250
/** PostgreSQL cuts application names there. */
const maxApplicationName = 63

export async function readRow(session: LeaseSession): Promise<Row> {
  const [row] = await session.query(
    `SELECT term, holder, incarnation, released, counter
     FROM (SELECT term, holder, incarnation, released FROM leadership) AS leadership,
       (SELECT counter FROM heartbeat) AS heartbeat`,
  )
  if (row === undefined) throw new Error('the lease row is missing')
  return {
    term: Number(row.term),
    holder: (row.holder as string | null) ?? undefined,
    incarnation: (row.incarnation as string | null) ?? undefined,
    released: row.released as boolean,
    counter: Number(row.counter),
  }
}

/** @returns the term that stands in the way, if it was not renewed */
export async function renewRow(
  session: LeaseSession,
  self: Self,
  term: number,
): Promise<{ renewed: true } | { renewed: false; term: number }> {
  const beaten = await session.query(
    `UPDATE heartbeat SET counter = counter + 1, beaten_at = clock_timestamp()
     WHERE term = $1 AND incarnation = $2 RETURNING counter`,
    [term, self.incarnation],
  )
  if (beaten.length > 0) return { renewed: true }
  const row = await readRow(session)
  return { renewed: false, term: row.term }
}

/**
 * Begins a term. The sessions of the old holder are ended first, unless it released the term, so
 * that no frozen transaction of its own can hold the term against us; the heartbeat row is taken before the leadership row, so
 * that a renewal either is seen here, or finds the new term.
 */
export async function claimRow(
  session: LeaseSession,
  self: Self,
  claim: Claim,
  time: { now(): number; until: number; sending(): Moment },
): Promise<ClaimOutcome> {
  for (let attempt = 0; ; attempt++) {
    const sentAt = time.sending()
    const gentle = claim.over.released && attempt === 0
    try {
      if (!gentle) await endSessions(session, self, claim.over)
      const won = await session.transaction(async query => {
        await query('SET LOCAL synchronous_commit = on')
        if (gentle) await query(`SET LOCAL lock_timeout = ${lastWritesMs}`)
        return begin(query, self, claim)
      })
      if (won) return { type: 'claimWon', term: claim.term, sentAt }
      const row = await readRow(session)
      const reason =
        row.term === claim.over.term
          ? `${row.holder ?? 'nobody'} has renewed its lease`
          : `${row.holder ?? 'nobody'} holds term ${row.term}`
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

async function begin(query: Query, self: Self, claim: Claim): Promise<true | undefined> {
  const { over, reason, term, whileSilent } = claim
  const beaten = await query(
    `UPDATE heartbeat
     SET term = $1, incarnation = $2, counter = counter + 1, beaten_at = clock_timestamp()
     WHERE $3::bigint IS NULL OR counter = $3 RETURNING counter`,
    [term, self.incarnation, whileSilent ? over.counter : null],
  )
  if (beaten.length === 0) return undefined
  const taken = await query(
    `UPDATE leadership
     SET term = $1, holder = $2, incarnation = $3, since = clock_timestamp(), reason = $4,
       released = false
     WHERE term = $5 AND incarnation IS NOT DISTINCT FROM $6 AND term < $1 RETURNING term`,
    [term, self.server, self.incarnation, reason, over.term, over.incarnation ?? null],
  )
  return taken.length > 0 ? true : undefined
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

/** Says that the term is free; those who watch hear of it at once. */
export async function releaseRow(
  session: LeaseSession,
  self: Self,
  term: number,
  reason: string,
): Promise<void> {
  await session.query(
    `WITH freed AS (
       UPDATE leadership SET released = true, since = clock_timestamp(), reason = $3
       WHERE term = $1 AND incarnation = $2 RETURNING term
     ) SELECT pg_notify('keepwatch_leadership', '') FROM freed`,
    [term, self.incarnation, reason],
  )
}
