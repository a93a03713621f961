/**
 * What a database can lose: it failed over to a replica that lagged, or was restored. A term whose
 * row is gone may still be worked in until its lease is over, and must never be begun again. Pure.
 */
import type { DatabaseIdentity, EventOf, Memory, Row, State, Wary } from './states.ts'
import type { Moment } from './timings.ts'

/**
 * The terms of each timeline of the database have their own range: one that was begun on the timeline
 * before, and lost, cannot be begun again, even by a server that never heard of it.
 */
const termsOfTimeline = 10_000

/** What a reading says about the database itself; `unbroken`: it follows closely upon another. */
export function notice<S extends State>(
  state: S,
  event: EventOf<'observed'>,
  unbroken: boolean,
  now: Moment,
): S {
  const { row, sentAt } = event
  const { highestTerm, identity, raisedAt, settings } = state
  const other = identity !== undefined && row.database !== undefined && row.database !== identity
  // Only a reading that was sent after the higher term was known proves that it is gone.
  const lost = row.term < highestTerm && sentAt.monotonic >= raisedAt.monotonic
  const ms = Math.max(settings.timings.leaseMs, state.holderLeaseMs, row.leaseMs)
  const begins = (because: Wary['because']) => {
    return { since: now, ms, over: false, because, before: identity }
  }
  let { wary } = state
  if (other) wary = begins('another database')
  else if (lost && wary === undefined) wary = begins('lost terms')
  // Somebody has begun a term since, above all that may have been lost.
  else if (row.term > highestTerm) wary = undefined
  else if (wary !== undefined && !wary.over) {
    // Like silence it counts only while readings follow each other: whoever was without a database
    // has promised not to take over for a lease from then.
    wary = unbroken
      ? { ...wary, over: now.monotonic - wary.since.monotonic >= wary.ms }
      : { ...wary, since: now }
  }
  return {
    ...state,
    wary,
    identity: row.database ?? identity,
    // While in doubt, the longest: the row may be that of an earlier holder.
    holderLeaseMs: wary === undefined ? row.leaseMs : Math.max(state.holderLeaseMs, row.leaseMs),
    paused: row.paused,
  }
}

/** Whether a term that the database has lost may still be worked in. */
export function mustWait({ wary }: State): boolean {
  return wary !== undefined && !wary.over
}

/** The term to begin: above every one that was seen, and every one that may have been lost unseen. */
export function nextTerm({ highestTerm }: State, { database, term }: Row): number {
  return Math.max(term, highestTerm, lastTermBefore(database)) + 1
}

function lastTermBefore(database: DatabaseIdentity): number {
  return (timelineOf(database) - 1) * termsOfTimeline
}

/** Rises when the database fails over; 1 where it is not known. */
export function timelineOf(database: DatabaseIdentity): number {
  return Number.parseInt(database?.split('/')[1] ?? '1', 16)
}

/** What has to be on the disk: a crash while it waits must not shorten the wait. */
export function memoryOf(state: State): Memory {
  const { highestTerm, holderLeaseMs, identity, wary } = state
  return {
    term: highestTerm,
    database: wary && !wary.over ? wary.before : identity,
    leaseMs: holderLeaseMs,
  }
}
