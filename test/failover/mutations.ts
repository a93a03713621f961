/** The rules, broken on purpose one at a time: to see that the invariants notice. */
import { objectionTo } from '../../src/failover/lease/grant.ts'
import { step } from '../../src/failover/machine.ts'
import type { Evidence, Row } from '../../src/failover/states.ts'
import { notePeer, type Step } from '../../src/failover/step.ts'
import type { Grants } from './shared-database.ts'

export type StepFunction = typeof step

/** Hears nothing that would make it let go by itself. */
export const neverLetsGo: StepFunction = (state, event, now) => {
  const holds = state.kind === 'active' || state.kind === 'held'
  const timeOnly = event.type === 'tick' || event.type === 'peer' || event.type === 'renewalUnknown'
  if (holds && timeOnly) return { state, actions: [], sentence: state.sentence }
  return step(state, event, now)
}

export const countsFromTheReply: StepFunction = (state, event, now) =>
  step(state, event.type === 'renewed' ? { ...event, sentAt: now } : event, now)

export const releasesFirst: StepFunction = (state, event, now) => {
  const taken = step(state, event, now)
  if (taken.state.kind !== 'steppingDown' || state.kind === 'steppingDown') return taken
  const { intended, term } = taken.state
  const early = { do: 'release', term, reason: 'too early', intended } as const
  return { ...taken, actions: [...taken.actions, early] }
}

/** Takes a silent peer for a dead one. */
export const believesSilence: StepFunction = (state, event, now) => {
  if (event.type !== 'peer' || event.evidence.kind !== 'silent') return step(state, event, now)
  return step(state, { ...event, evidence: { ...event.evidence, kind: 'refused' } }, now)
}

/** Counts on, over the time in which it could not read. */
export const countsUnread: StepFunction = (state, event, now) => {
  if (event.type !== 'observed' || state.seen === undefined) return step(state, event, now)
  const readAt = { ...state.seen.readAt, monotonic: event.sentAt.monotonic }
  return step({ ...state, database: 'there', seen: { ...state.seen, readAt } }, event, now)
}

/** Thinks that its peer cannot take over as long as it answers. */
export const trustsAnyAnswer: StepFunction = (state, event, now) => {
  if (event.type !== 'peer' || event.evidence.kind !== 'alive') return step(state, event, now)
  const evidence: Evidence = { ...event.evidence, database: 'away' }
  return step(state, { ...event, evidence }, now)
}

/** Lets a promise bring back a right that was over. */
export const revives: StepFunction = (state, event, now) =>
  step(event.type === 'peer' ? notePeer(state, event, now) : state, event, now)

export const monotonicOnly: StepFunction = (state, event, now) => {
  const sent =
    'sentAt' in event ? { sentAt: { ...event.sentAt, wall: event.sentAt.monotonic } } : {}
  return step(state, { ...event, ...sent } as typeof event, { ...now, wall: now.monotonic })
}

export const wallOnly: StepFunction = (state, event, now) => {
  const sent =
    'sentAt' in event ? { sentAt: { ...event.sentAt, monotonic: event.sentAt.wall } } : {}
  return step(state, { ...event, ...sent } as typeof event, { ...now, monotonic: now.wall })
}

function reading(change: (row: Row, own: Parameters<StepFunction>[0]) => Partial<Row>) {
  return (...[state, event, now]: Parameters<StepFunction>): Step => {
    if (event.type !== 'observed') return step(state, event, now)
    return step(state, { ...event, row: { ...event.row, ...change(event.row, state) } }, now)
  }
}

/** Waits for its own lease, not for the holder's. */
export const ownLease: StepFunction = reading((_, { settings }) => ({
  leaseMs: settings.timings.leaseMs,
}))
export const ignoresPause: StepFunction = reading(() => ({ paused: undefined }))
export const ignoresIntended: StepFunction = reading(() => ({ intended: undefined }))

/** Does not wait when the database is another one, or has lost a term. */
export const neverWary: StepFunction = (state, event, now) =>
  step(state.wary ? { ...state, wary: { ...state.wary, over: true } } : state, event, now)

const granting = (change: (...asked: Parameters<typeof objectionTo>) => typeof asked): Grants => ({
  objectionTo: (...asked) => objectionTo(...change(...asked)),
})

/** Grants a claim for silence although the heartbeat goes on. */
export const noCounterCheck = granting((claim, row, server) => [
  { ...claim, whileSilent: false },
  row,
  server,
])
export const noTermCheck: Grants = {
  objectionTo: ({ term }, row) => (row.term >= term ? 'the term is over' : undefined),
}
export const noPauseCheck = granting((claim, row, server) => [
  claim,
  { ...row, paused: undefined },
  server,
])
