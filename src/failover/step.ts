/** What every step of the state machine is made from. Pure. */
import type { Action, Cause, EventOf, In, Role, State } from './states.ts'
import type { Moment } from './timings.ts'

export interface Step {
  state: State
  actions: readonly Action[]
  /** What the server does and why; changes only when one of them does. */
  sentence: string
}

/** What a server is for everybody else: active only while it may act as such. */
export function roleOf(state: State): Role {
  if (state.kind === 'active' || state.kind === 'held') return 'active'
  return state.kind === 'stopped' ? 'stopped' : 'standby'
}

export function stay(state: State): Step {
  return { state, actions: [], sentence: state.sentence }
}

export function say(state: State, sentence: string, actions: readonly Action[] = []): Step {
  return { state: { ...state, sentence }, actions, sentence }
}

/** Says it, and writes it into the history if it is a change of role. */
export function become(
  state: State,
  cause: Cause,
  sentence: string,
  actions: readonly Action[] = [],
) {
  const role = roleOf(state)
  if (role === state.recorded) return say(state, sentence, actions)
  const change = { server: state.settings.name, role, term: state.highestTerm, cause, sentence }
  return say({ ...state, recorded: role }, sentence, [...actions, { do: 'record', change }])
}

export function end(state: State, why: string, now: Moment, cause: Cause = 'stop'): Step {
  const { recorded } = state
  const stopped: State = { ...known(state), kind: 'stopped', since: now }
  const sentence = `stopped: ${why}`
  // One that never learnt what it was has no part in the history.
  if (recorded === undefined) return say(stopped, sentence, [{ do: 'end' }])
  const step = become(stopped, cause, sentence)
  return { ...step, actions: [...step.actions, { do: 'end' }] }
}

export function raise<S extends State>(state: S, term: number, now: Moment): S {
  return term > state.highestTerm ? { ...state, highestTerm: term, raisedAt: now } : state
}

export function noteHealth<S extends State>(state: S, event: EventOf<'health'>): S {
  return { ...state, unhealthy: event.fault }
}

export function notePeer<S extends State>(state: S, event: EventOf<'peer'>, now: Moment): S {
  const { evidence, askedAt } = event
  const known = evidence.kind === 'alive' ? raise(state, evidence.term, now) : state
  const noted = { ...known, peer: { evidence, askedAt } }
  // Each of these proves that for one lease from when it was asked the peer will not take over:
  // it counts the silence from its first reading after its start, or after the database is back.
  const promises =
    evidence.kind === 'refused' ||
    evidence.kind === 'nobody' ||
    (evidence.kind === 'alive' &&
      (evidence.state === 'starting' || evidence.state === 'standby') &&
      evidence.database !== 'there')
  return promises ? { ...noted, promisedAt: askedAt } : noted
}

/** The state without what belongs to its kind alone. */
export function known(state: State): Omit<In<'standby'>, 'kind'> {
  const { settings, since, sentence, highestTerm, raisedAt, seen, database, identity } = state
  const { holderLeaseMs, wary, paused, heardAt, peer, promisedAt } = state
  const { unhealthy, asideSince, recorded } = state
  return {
    ...{ settings, since, sentence, highestTerm, raisedAt, seen, database, identity },
    ...{ holderLeaseMs, wary, paused, heardAt, peer, promisedAt },
    ...{ unhealthy, asideSince, recorded },
  }
}
