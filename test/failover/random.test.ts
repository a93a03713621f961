import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { step } from '../../src/failover/machine.ts'
import { defaultTimings, type Timings } from '../../src/failover/timings.ts'
import { type Fault, type Sabotage, type Schedule, simulate } from './simulation.ts'

const quick: Timings = {
  heartbeatIntervalMs: 300,
  leaseMs: 3000,
  stepDownMs: 800,
  heartbeatTimeoutMs: 12_000,
  peerTimeoutMs: 500,
}

const node = fc.constantFrom(0 as const, 1 as const)
const fault: fc.Arbitrary<Fault> = fc.oneof(
  fc.record({
    kind: fc.constantFrom(
      'crash' as const,
      'freeze' as const,
      'suspend' as const,
      'host down' as const,
      'database away' as const,
      'wall jump' as const,
      'unwell' as const,
      'switchover' as const,
      'stop' as const,
      'answers lost' as const,
      'link deaf' as const,
    ),
    node,
  }),
  fc.record({
    kind: fc.constantFrom(
      'database down' as const,
      'database failover' as const,
      'database failover with loss' as const,
      'link cut' as const,
      'paused' as const,
    ),
  }),
)
function schedules({ leaseMs }: Timings): fc.Arbitrary<Schedule> {
  const at = fc.integer({ min: 0, max: 15 * leaseMs })
  const forMs = fc.oneof(
    fc.integer({ min: 10, max: leaseMs }),
    fc.integer({ min: leaseMs, max: 8 * leaseMs }),
  )
  const one = fc.tuple(fault, at, forMs).map(([what, ...when]) => {
    return { ...what, at: when[0], forMs: when[1] }
  })
  return fc.record({ seed: fc.integer(), faults: fc.array(one, { maxLength: 12 }) })
}

describe('two servers under random faults', () => {
  test.for([
    ['the default timings', defaultTimings, 60],
    ['a lease of 3 s', quick, 300],
  ] as const)('keep every invariant with %s', { timeout: 240_000 }, ([, timings, runs]) => {
    let takeovers = 0
    let writes = 0
    fc.assert(
      fc.property(schedules(timings), plan => {
        const outcome = simulate(step, timings, plan)
        takeovers += outcome.takeovers
        writes += outcome.writes
      }),
      { numRuns: runs },
    )
    console.log(`${runs} runs: ${takeovers} takeovers, ${writes} writes`)
    expect(takeovers).toBeGreaterThan(runs)
  })
})

type StepFunction = typeof step

/** Hears nothing that would make it let go by itself. */
const neverLetsGo: StepFunction = (state, event, now) => {
  const holds = state.kind === 'active' || state.kind === 'held'
  const timeOnly = event.type === 'tick' || event.type === 'peer' || event.type === 'renewalUnknown'
  if (holds && timeOnly) return { state, actions: [], sentence: state.sentence }
  return step(state, event, now)
}

const countsFromTheReply: StepFunction = (state, event, now) =>
  step(state, event.type === 'renewed' ? { ...event, sentAt: now } : event, now)

const releasesFirst: StepFunction = (state, event, now) => {
  const taken = step(state, event, now)
  if (taken.state.kind !== 'steppingDown' || state.kind === 'steppingDown') return taken
  const { term } = taken.state
  const early = { do: 'release', term, reason: 'too early', intended: undefined } as const
  return { ...taken, actions: [...taken.actions, early] }
}

/** Takes a silent peer for a dead one. */
const believesSilence: StepFunction = (state, event, now) => {
  if (event.type !== 'peer' || event.evidence.kind !== 'silent') return step(state, event, now)
  return step(state, { ...event, evidence: { ...event.evidence, kind: 'refused' } }, now)
}

/** Counts on, over the time in which it could not read. */
const countsUnread: StepFunction = (state, event, now) => {
  if (event.type !== 'observed' || state.seen === undefined) return step(state, event, now)
  const readAt = { ...state.seen.readAt, monotonic: event.sentAt.monotonic }
  return step({ ...state, database: 'there', seen: { ...state.seen, readAt } }, event, now)
}

/** Thinks that its peer cannot take over as long as it answers. */
const trustsAnyAnswer: StepFunction = (state, event, now) => {
  if (event.type !== 'peer' || event.evidence.kind !== 'alive') return step(state, event, now)
  return step(state, { ...event, evidence: { ...event.evidence, database: 'away' } }, now)
}

const monotonicOnly: StepFunction = (state, event, now) => {
  const wall = { wall: now.monotonic }
  const sent =
    'sentAt' in event ? { sentAt: { ...event.sentAt, wall: event.sentAt.monotonic } } : {}
  return step(state, { ...event, ...sent } as typeof event, { ...now, ...wall })
}

describe('the invariants notice', () => {
  test.for<[string, Sabotage]>([
    ['a server that never lets go by itself', { step: neverLetsGo, noGuard: true }],
    ['a deadline counted from the reply', { step: countsFromTheReply, patienceMs: 6000 }],
    ['a release before it has let go', { step: releasesFirst }],
    ['silence taken for death', { step: believesSilence }],
    ['silence counted over time that was not read', { step: countsUnread }],
    ['an answer taken for a promise', { step: trustsAnyAnswer }],
    ['a suspend that the wall clock alone shows', { step: monotonicOnly, noGuard: true }],
    ['a write whose term is not checked', { noFence: true }],
    ['work that hangs and is not ended', { noGuard: true }],
  ])('%s', { timeout: 120_000 }, ([, sabotage]) => {
    const sabotaged = fc.property(schedules(quick), plan => {
      simulate(step, quick, plan, sabotage)
    })
    const { failed, numRuns } = fc.check(sabotaged, { seed: 1, numRuns: 600, endOnFailure: true })
    expect(failed, `not within ${numRuns} runs`).toBe(true)
  })
})
