/** The steps of a server that is active and lets go. Pure. */
import {
  type Action,
  type Cause,
  type EventOf,
  type Hold,
  type In,
  keeperOf,
  type State,
} from './states.ts'
import { become, end, known, noteHealth, notePeer, raise, type Step, say, stay } from './step.ts'
import { awayMs, elapsed, type Moment, workingMs } from './timings.ts'

type Acting = In<'active' | 'held'>

/** Until when a server may hold the address and work; a thread of its own watches it too. */
export function holdOf(state: State): Hold | undefined {
  if (state.kind === 'steppingDown') return state.until
  if (state.kind !== 'active' && state.kind !== 'held') return undefined
  const { promisedAt, renewedAt } = state
  const promiseIsLater = promisedAt !== undefined && promisedAt.monotonic > renewedAt.monotonic
  return {
    since: promiseIsLater ? promisedAt : renewedAt,
    ms: workingMs(state.settings.timings),
  }
}

/** The active's question at every event: is it still allowed? */
export function check(state: Acting, now: Moment): Step {
  const { timings } = state.settings
  const working = workingMs(timings)
  const sinceRenewal = elapsed(state.renewedAt, now)
  if (state.kind === 'active' && sinceRenewal < working) {
    // Unwell is better than nobody: it lets go when another can take over.
    const another = state.paused === undefined && obstacleToSwitchover(state, now) === undefined
    if (state.unhealthy !== undefined && another) {
      return stepDown(state, 'unhealthy', state.unhealthy, now)
    }
    if (sinceRenewal < awayMs(timings) || state.database === 'away') return stay(state)
    return say({ ...state, database: 'away' }, withoutDatabase(state, 'no renewal succeeds'))
  }
  const promised = state.promisedAt !== undefined && elapsed(state.promisedAt, now) < working
  if (!promised) {
    const why = 'it could not renew its lease, and the other server may take over'
    return stepDown(state, 'expired', why, now)
  }
  if (state.kind === 'held') return stay(state)
  return say(
    { ...state, kind: 'held', since: now, database: 'away' },
    `holding on in term ${state.term}: ${keeperOf(state)} is away, also for the other server; ` +
      'it goes on receiving and writes no state',
  )
}

export function miss(state: In<'active'>, reason: string, now: Moment): Step {
  const step = check(state, now)
  if (step.state.kind !== 'active') return step
  return say({ ...step.state, database: 'away' }, withoutDatabase(state, reason))
}

function withoutDatabase(state: In<'active'>, reason: string): string {
  return `active in term ${state.term}; ${keeperOf(state)} does not answer: ${reason}`
}

export function renew(state: Acting, event: EventOf<'renewed'>, now: Moment): Step {
  const older = event.sentAt.monotonic < state.renewedAt.monotonic
  if (event.term !== state.term || older) return check(state, now)
  const late = elapsed(event.sentAt, now) >= workingMs(state.settings.timings)
  const { database, paused } = event
  const moved =
    state.identity !== undefined && database !== undefined && database !== state.identity
  const identity = database ?? state.identity
  const renewed = { ...state, renewedAt: event.sentAt, heardAt: now, paused, identity }
  if (late) return check(renewed, now)
  const next: State = { ...renewed, kind: 'active', database: 'there' }
  if (moved) {
    const sentence = `active in term ${state.term}: the database is another one now (${identity}), and this term is in it`
    return say({ ...next, since: state.kind === 'held' ? now : state.since }, sentence)
  }
  if (state.kind === 'active' && state.database === 'there') return stay(next)
  return say(
    { ...next, since: state.kind === 'held' ? now : state.since },
    `active in term ${state.term}: ${keeperOf(state)} answers again, and nobody has taken over`,
  )
}

// The active lets go.

export function fenceOff(state: Acting, term: number, now: Moment): Step {
  const why =
    term > state.term ? `term ${term} has begun` : `the lease is no longer its own (term ${term})`
  return stepDown(raise(state, term, now), 'fenced', why, now)
}

export function meetTerm(state: Acting, term: number, now: Moment): Step {
  return term > state.term ? fenceOff(state, term, now) : check(state, now)
}

export function meetPeer(state: Acting, event: EventOf<'peer'>, now: Moment): Step {
  const { evidence } = event
  // A promise prolongs a right, it does not bring one back: what happened since that was over, while
  // this process was frozen perhaps, the peer of now cannot know.
  const before = check(state, now)
  if (before.state.kind === 'steppingDown') {
    return { ...before, state: notePeer(before.state, event, now) }
  }
  const noted = notePeer(state, event, now)
  return evidence.kind === 'alive' ? meetTerm(noted, evidence.term, now) : check(noted, now)
}

export function sicken(state: Acting, event: EventOf<'health'>, now: Moment): Step {
  return check(noteHealth(state, event), now)
}

export function failToWork(state: Acting, event: EventOf<'workFailed'>, now: Moment): Step {
  return stepDown(state, 'work-failed', `its work could not start: ${event.reason}`, now)
}

export function retire(state: Acting, _event: EventOf<'stop'>, now: Moment): Step {
  return stepDown(state, 'stop', 'it was asked to stop', now)
}

export function handOver(state: In<'active'>, _event: EventOf<'switchover'>, now: Moment): Step {
  if (obstacleToSwitchover(state, now) !== undefined) return check(state, now)
  return stepDown(state, 'switchover', 'a switchover was asked', now)
}

/** Why there can be no planned hand-over at this instant; undefined if there can. */
export function obstacleToSwitchover(state: State, now: Moment): string | undefined {
  if (state.kind !== 'active') return `this server is ${state.kind}, not active`
  const { timings } = state.settings
  if (state.peer === undefined) return 'the other server has not been asked yet'
  const { evidence, askedAt } = state.peer
  if (evidence.kind === 'nobody') return 'there is no other server'
  const fresh = elapsed(askedAt, now) < awayMs(timings) + timings.peerTimeoutMs
  if (evidence.kind !== 'alive' || !fresh) return `${evidence.server} does not answer`
  if (evidence.state !== 'standby') return `${evidence.server} is ${evidence.state}, not standby`
  if (evidence.database !== 'there') return `${evidence.server} does not reach ${keeperOf(state)}`
  if (!evidence.healthy) return `${evidence.server} says that it could not take over`
  return undefined
}

function nameOfPeer({ peer }: State): string | undefined {
  return peer === undefined || peer.evidence.kind === 'nobody' ? undefined : peer.evidence.server
}

/** Address first, then the work; then it says so, unless another term has begun. */
export function stepDown(state: Acting, cause: Cause, why: string, now: Moment): Step {
  const involuntary = cause === 'fenced' || cause === 'expired'
  const aside = cause === 'switchover' || cause === 'work-failed'
  const { paused, term } = state
  // By a person's wish, and to one that is ready: nobody else then takes it first.
  const orderly = cause === 'switchover' || (cause === 'stop' && paused === undefined)
  const ready = orderly && obstacleToSwitchover(state, now) === undefined
  return say(
    {
      ...known(state),
      kind: 'steppingDown',
      since: now,
      term,
      cause,
      because: why,
      release: cause !== 'fenced',
      intended: ready ? nameOfPeer(state) : undefined,
      next: cause === 'stop' ? 'stopped' : 'standby',
      until: involuntary ? { since: now, ms: 0 } : holdOf(state),
      asideSince: aside ? now : undefined,
    },
    `letting go of term ${term}: ${why}`,
    [{ do: 'letGo' }],
  )
}

export function release(state: In<'steppingDown'>, _event: EventOf<'letGo'>, now: Moment): Step {
  const { intended, sentence, term } = state
  if (!state.release) return leave(state, now)
  const action: Action = { do: 'release', term, reason: sentence, intended }
  return say({ ...state, until: undefined }, sentence, [action])
}

export function leave(state: In<'steppingDown'>, now: Moment): Step {
  const { because, cause, term } = state
  if (state.next === 'stopped') return end(state, because, now, cause)
  // From now on the other can have it.
  const asideSince = state.asideSince && now
  const standby: State = {
    ...known(state),
    kind: 'standby',
    since: now,
    seen: undefined,
    asideSince,
  }
  const sentence = `standby: gave up term ${term}: ${because}`
  return become(standby, cause, sentence, [{ do: 'watch' }])
}
