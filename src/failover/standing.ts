/** The steps of a server that stands by and takes over. Pure. */
import { stepDown } from './acting.ts'
import { nextTerm, notice } from './lost-terms.ts'
import type { Action, EventOf, In, Row, State } from './states.ts'
import { become, end, known, raise, type Step, say } from './step.ts'
import { decide } from './takeover.ts'
import { awayMs, elapsed, type Moment, workingMs } from './timings.ts'

/** The counter stands still only between readings that follow each other closely. */
export function observe<S extends State>(state: S, event: EventOf<'observed'>, now: Moment): S {
  const { row, sentAt } = event
  const before = state.seen
  const unbroken =
    before !== undefined &&
    state.database === 'there' &&
    sentAt.monotonic - before.readAt.monotonic <= awayMs(state.settings.timings)
  const still = unbroken && sameRow(before.row, row)
  return {
    ...raise(notice(state, event, unbroken, now), row.term, now),
    seen: { row, since: still ? before.since : now, readAt: sentAt },
    database: 'there',
    heardAt: now,
  }
}

function sameRow(a: Row, b: Row): boolean {
  return (
    a.term === b.term &&
    a.counter === b.counter &&
    a.incarnation === b.incarnation &&
    a.released === b.released &&
    a.database === b.database
  )
}

export function listen(state: In<'standby'>, now: Moment): In<'standby'> {
  const silent = elapsed(state.heardAt, now) >= awayMs(state.settings.timings)
  return silent ? { ...state, database: 'away' } : state
}

/** The standby's question at every event: is it time? */
export function consider(state: In<'starting' | 'standby'>, now: Moment): Step {
  const decision = decide(state, now)
  if (decision.claim === undefined) {
    const since = state.kind === 'standby' ? state.since : now
    return become({ ...state, kind: 'standby', since }, 'started', `standby: ${decision.sentence}`)
  }
  const { row, cause, whileSilent } = decision.claim
  const term = nextTerm(state, row)
  const because = decision.sentence
  return say(
    { ...state, kind: 'claiming', since: now, term, cause, because, stopAsked: false },
    `taking over in term ${term}: ${because}`,
    [{ do: 'claim', term, over: row, whileSilent, reason: because }],
  )
}

export function win(state: In<'claiming'>, event: EventOf<'claimWon'>, now: Moment): Step {
  const { term, because, cause, stopAsked, unhealthy } = state
  const active: In<'active'> = {
    ...known(raise(state, term, now)),
    kind: 'active',
    since: now,
    term,
    renewedAt: event.sentAt,
    promisedAt: undefined,
    asideSince: undefined,
    wary: undefined,
    holderLeaseMs: state.settings.timings.leaseMs,
    database: 'there',
    heardAt: now,
  }
  if (stopAsked) return stepDown(active, 'stop', 'it was asked to stop', now)
  if (unhealthy !== undefined) return stepDown(active, 'unhealthy', unhealthy, now)
  if (elapsed(event.sentAt, now) >= workingMs(state.settings.timings)) {
    return stepDown(active, 'expired', 'the lease was over before the takeover was', now)
  }
  return become(active, cause, `active in term ${term}: ${because}`, [{ do: 'serve', term }])
}

export function lose(state: In<'claiming'>, why: string, now: Moment): Step {
  // The next decision needs a reading that is younger than this failure.
  const standby: State = { ...known(state), kind: 'standby', since: now, seen: undefined }
  if (state.stopAsked) return end(standby, 'it was asked to stop', now)
  return become(standby, 'claim-failed', `standby: ${why}`)
}

/** A claim won that nobody waits for any more: nothing was begun, so nothing must be let go. */
export function giveBack(state: State, event: EventOf<'claimWon'>, now: Moment): Step {
  const reason = 'the takeover came too late to be used'
  const { term } = event
  const release: Action = { do: 'release', term, reason, intended: undefined }
  return say(raise(state, term, now), state.sentence, [release, { do: 'watch' }])
}
