/**
 * What a database can lose: it failed over to a replica that lagged, or was restored. A term whose
 * row is gone may still be worked in until its lease is over, and must never be begun again. Pure.
 */
import type { EventOf, Memory, State } from './states.ts'
import type { Moment } from './timings.ts'

/** So many terms may have come and gone in the rows that were lost, seen by nobody here. */
const unseenTerms = 100

/** What a reading says about the database itself. */
export function notice<S extends State>(state: S, event: EventOf<'observed'>, now: Moment): S {
  const { row, sentAt } = event
  const { highestTerm, identity, raisedAt, settings } = state
  const other = identity !== undefined && row.database !== undefined && row.database !== identity
  // Only a reading that was sent after the higher term was known proves that it is gone.
  const lost = row.term < highestTerm && sentAt.monotonic >= raisedAt.monotonic
  const ms = Math.max(settings.timings.leaseMs, state.holderLeaseMs, row.leaseMs)
  let { wary } = state
  if (other) wary = { since: now, ms, because: 'another database', before: identity }
  else if (lost) wary ??= { since: now, ms, because: 'lost terms', before: identity }
  // Somebody has begun a term since, above all that may have been lost.
  else if (row.term > highestTerm) wary = undefined
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
export function mustWait(state: State, now: Moment): boolean {
  // By the clock that never jumps: what is waited for may be too long, not too short.
  return state.wary !== undefined && now.monotonic - state.wary.since.monotonic < state.wary.ms
}

/** The term to begin: above every one that was seen, and that may have been lost unseen. */
export function nextTerm(state: State, rowTerm: number): number {
  return Math.max(rowTerm, state.highestTerm) + (state.wary === undefined ? 1 : unseenTerms)
}

/** What has to be on the disk: a crash while it waits must not shorten the wait. */
export function memoryOf(state: State, now: Moment): Memory {
  const { highestTerm, holderLeaseMs, identity, wary } = state
  return {
    term: highestTerm,
    database: wary && mustWait(state, now) ? wary.before : identity,
    leaseMs: holderLeaseMs,
  }
}
