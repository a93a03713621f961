/**
 * Who is active, decided: `step(state, event, now)` says what becomes of a server, what it must do,
 * and, in one sentence, why. Pure: it knows neither a clock nor a database nor a peer; `node.ts`
 * carries out its actions and feeds the results back as events. The rules are in SPEC.md.
 */
import {
  check,
  failToWork,
  fenceOff,
  handOver,
  leave,
  meetPeer,
  meetTerm,
  miss,
  release,
  renew,
  retire,
  sicken,
} from './acting.ts'
import { consider, giveBack, listen, lose, observe, win } from './standing.ts'
import {
  type Event,
  type EventOf,
  type In,
  keeperOf,
  type Memory,
  type Settings,
  type State,
  type StateKind,
} from './states.ts'
import { end, noteHealth, notePeer, raise, type Step, say, stay } from './step.ts'
import { elapsed, type Moment, workingMs } from './timings.ts'

export { holdOf, obstacleToSwitchover } from './acting.ts'
export { memoryOf } from './lost-terms.ts'
export { roleOf, type Step } from './step.ts'

/** A server that has just been started: passive, until it has read the lease. */
export function initialState(settings: Settings, now: Moment, memory?: Memory): State {
  return {
    kind: 'starting',
    settings,
    since: now,
    sentence: 'starting: waiting for the first reading of the lease',
    highestTerm: memory?.term ?? 0,
    raisedAt: now,
    seen: undefined,
    database: 'unknown',
    identity: memory?.database,
    holderLeaseMs: memory?.leaseMs ?? 0,
    wary: undefined,
    paused: undefined,
    heardAt: now,
    peer: undefined,
    promisedAt: undefined,
    unhealthy: undefined,
    asideSince: undefined,
    recorded: undefined,
  }
}

export function step(state: State, event: Event, now: Moment): Step {
  const handler = table[state.kind][event.type] as (s: State, e: Event, n: Moment) => Step
  return handler(state, event, now)
}

/** The term in which a server may write state at this instant, if it may. */
export function writableTerm(state: State, now: Moment): number | undefined {
  if (state.kind !== 'active') return undefined
  const working = workingMs(state.settings.timings)
  return elapsed(state.renewedAt, now) < working ? state.term : undefined
}

type Handler<K extends StateKind, E extends Event['type']> = (
  state: In<K>,
  event: EventOf<E>,
  now: Moment,
) => Step

const table: { readonly [K in StateKind]: { readonly [E in Event['type']]: Handler<K, E> } } = {
  starting: {
    tick: stay,
    observed: (state, event, now) => consider(observe(state, event, now), now),
    databaseAway: (state, event) =>
      say(state, `starting: ${keeperOf(state)} does not answer: ${event.reason}`),
    renewed: stay,
    renewalRefused: stay,
    renewalUnknown: stay,
    claimWon: giveBack,
    claimLost: stay,
    claimUnknown: stay,
    peer: (state, event, now) => stay(notePeer(state, event, now)),
    health: (state, event) => stay(noteHealth(state, event)),
    switchover: stay,
    stop: (state, _event, now) => end(state, 'it was asked to stop', now),
    letGo: stay,
    released: stay,
    workFailed: stay,
  },
  standby: {
    tick: (state, _event, now) => consider(listen(state, now), now),
    observed: (state, event, now) => consider(observe(state, event, now), now),
    databaseAway: (state, _event, now) => consider(listen(state, now), now),
    renewed: stay,
    renewalRefused: stay,
    renewalUnknown: stay,
    claimWon: giveBack,
    claimLost: stay,
    claimUnknown: stay,
    peer: (state, event, now) => consider(notePeer(state, event, now), now),
    health: (state, event, now) => consider(noteHealth(state, event), now),
    switchover: stay,
    stop: (state, _event, now) => end(state, 'it was asked to stop', now),
    letGo: stay,
    released: stay,
    workFailed: stay,
  },
  claiming: {
    tick: stay,
    observed: stay,
    databaseAway: stay,
    renewed: stay,
    renewalRefused: stay,
    renewalUnknown: stay,
    claimWon: win,
    claimLost: (state, event, now) =>
      lose(raise(state, event.term, now), `another server was faster: ${event.reason}`, now),
    claimUnknown: (state, event, now) => lose(state, `the takeover failed: ${event.reason}`, now),
    peer: (state, event, now) => stay(notePeer(state, event, now)),
    health: (state, event) => stay(noteHealth(state, event)),
    switchover: stay,
    stop: state => stay({ ...state, stopAsked: true }),
    letGo: stay,
    released: stay,
    workFailed: stay,
  },
  active: {
    tick: (state, _event, now) => check(state, now),
    observed: (state, event, now) => meetTerm(state, event.row.term, now),
    databaseAway: (state, event, now) => miss(state, event.reason, now),
    renewed: renew,
    renewalRefused: (state, event, now) => fenceOff(state, event.term, now),
    renewalUnknown: (state, event, now) => miss(state, event.reason, now),
    claimWon: stay,
    claimLost: stay,
    claimUnknown: stay,
    peer: meetPeer,
    health: sicken,
    switchover: handOver,
    stop: retire,
    letGo: stay,
    released: stay,
    workFailed: failToWork,
  },
  held: {
    tick: (state, _event, now) => check(state, now),
    observed: (state, event, now) => meetTerm(state, event.row.term, now),
    databaseAway: (state, _event, now) => check(state, now),
    renewed: renew,
    renewalRefused: (state, event, now) => fenceOff(state, event.term, now),
    renewalUnknown: (state, _event, now) => check(state, now),
    claimWon: stay,
    claimLost: stay,
    claimUnknown: stay,
    peer: meetPeer,
    health: sicken,
    switchover: (state, _event, now) => check(state, now),
    stop: retire,
    letGo: stay,
    released: stay,
    workFailed: failToWork,
  },
  steppingDown: {
    tick: stay,
    observed: stay,
    databaseAway: stay,
    renewed: stay,
    renewalRefused: (state, event, now) =>
      stay({ ...raise(state, event.term, now), release: false }),
    renewalUnknown: stay,
    claimWon: stay,
    claimLost: stay,
    claimUnknown: stay,
    peer: (state, event, now) => stay(notePeer(state, event, now)),
    health: (state, event) => stay(noteHealth(state, event)),
    switchover: stay,
    stop: state => stay({ ...state, next: 'stopped' }),
    letGo: release,
    released: (state, _event, now) => leave(state, now),
    workFailed: stay,
  },
  stopped: {
    tick: stay,
    observed: stay,
    databaseAway: stay,
    renewed: stay,
    renewalRefused: stay,
    renewalUnknown: stay,
    claimWon: giveBack,
    claimLost: stay,
    claimUnknown: stay,
    peer: stay,
    health: stay,
    switchover: stay,
    stop: stay,
    letGo: stay,
    released: stay,
    workFailed: stay,
  },
}
