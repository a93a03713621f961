import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { step } from '../../src/failover/machine.ts'
import { defaultTimings, type Timings } from '../../src/failover/timings.ts'
import * as broken from './mutations.ts'
import { type Fault, type Sabotage, type Schedule, simulate } from './simulation.ts'

const quick: Timings = {
  heartbeatIntervalMs: 300,
  leaseMs: 3000,
  stepDownMs: 800,
  heartbeatTimeoutMs: 12_000,
  peerTimeoutMs: 500,
}

/** As of a server with other settings. */
const long: Timings = {
  ...{ heartbeatIntervalMs: 800, leaseMs: 8000, stepDownMs: 1600 },
  ...{ heartbeatTimeoutMs: 12_000, peerTimeoutMs: 1000 },
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
    ['the default timings', [defaultTimings, defaultTimings], 60],
    ['a lease of 3 s', [quick, quick], 300],
    ['leases that differ', [quick, long], 150],
  ] as const)('keep every invariant with %s', { timeout: 240_000 }, ([, timings, runs]) => {
    let takeovers = 0
    let writes = 0
    let stopped = 0
    fc.assert(
      fc.property(schedules(timings[0]), plan => {
        const outcome = simulate(step, timings, plan)
        takeovers += outcome.takeovers
        writes += outcome.writes
        if (outcome.stopped) stopped++
      }),
      { numRuns: runs },
    )
    console.log(
      `${runs} runs: ${takeovers} takeovers, ${writes} writes; ${stopped} came to a stop by too many`,
    )
    expect(takeovers).toBeGreaterThan(runs)
  })
})

test('a pair that changes roles too often stops, and calls for a person', () => {
  const crashes = [0, 1, 0, 1, 0, 1, 0, 1].map((node, index) => ({
    ...{ kind: 'crash' as const, node: node as 0 | 1, at: 5000 + 5000 * index, forMs: 3000 },
  }))
  const outcome = simulate(step, quick, { seed: 1, faults: crashes })
  expect(outcome.stopped).toBe(true)
  expect(outcome.story.join('\n')).toContain(
    'takeovers are paused by keepwatch until somebody resumes: 4 takeovers within a minute: a person has to look and resume',
  )
})

describe('the invariants notice', () => {
  test.for<[string, Sabotage]>([
    ['a server that never lets go by itself', { step: broken.neverLetsGo, noGuard: true }],
    ['a release before it has let go', { step: broken.releasesFirst }],
    ['silence taken for death', { step: broken.believesSilence }],
    ['silence counted over time that was not read', { step: broken.countsUnread }],
    ['an answer taken for a promise', { step: broken.trustsAnyAnswer }],
    ['a suspend that the wall clock alone shows', { step: broken.monotonicOnly, noGuard: true }],
    ['a clock that is set back', { step: broken.wallOnly, noGuard: true }],
    ['a claim over a term that has begun', { grants: broken.noTermCheck }],
    ['a pause that nobody heeds', { step: broken.ignoresPause, grants: broken.noPauseCheck }],
    ['a takeover at once over a database that has lost terms', { step: broken.neverWary }],
    ['a write whose term is not checked', { noFence: true }],
    ['work that hangs and is not ended', { noGuard: true }],
  ])('%s', { timeout: 120_000 }, ([, sabotage]) => {
    const sabotaged = fc.property(schedules(quick), plan => {
      simulate(step, quick, plan, sabotage)
    })
    const { failed, numRuns } = fc.check(sabotaged, { seed: 1, numRuns: 3000, endOnFailure: true })
    expect(failed, `not within ${numRuns} runs`).toBe(true)
  })
})
