import { describe, expect, test } from 'vitest'
import { step } from '../../src/failover/machine.ts'
import type { Timings } from '../../src/failover/timings.ts'
import type { Exploration } from './breadth-first.ts'
import { type Bounds, explore } from './explore.ts'
import * as broken from './mutations.ts'
import { type Fault, faults, type Rules, tickMs } from './world.ts'

/** How many more faults on one path than in the quick form: each takes about twenty times as long. */
const more = Number(process.env.KEEPWATCH_EXPLORE ?? 0)
/** A machine that others use too may take a while. */
const slow = { timeout: 600_000 }

/** The smallest times that are safe: a lease of four heartbeats, one of them to let go. */
const timings: Timings = {
  heartbeatIntervalMs: tickMs,
  leaseMs: 4 * tickMs,
  stepDownMs: tickMs,
  heartbeatTimeoutMs: 6 * tickMs,
  peerTimeoutMs: 2 * tickMs,
}
const long: Timings = { ...timings, leaseMs: 7 * tickMs, heartbeatTimeoutMs: 8 * tickMs }
/** The heartbeat timeout is the lease: a takeover then waits for no answer. */
const hasty: Timings = { ...timings, heartbeatTimeoutMs: timings.leaseMs }

function rulesWith(names: readonly Fault[], change: Partial<Rules> = {}): Rules {
  return {
    timings: [timings, timings],
    // No takeover is remembered: they are not what is explored.
    limit: { most: 100, withinMs: 0 },
    faults: new Set(names),
    patience: 2,
    step,
    ...change,
  }
}

let total = 0
const bounds: Bounds = {
  beginning: 'steady',
  faults: 2 + more,
  maxStates: 20_000_000,
  healEach: 32,
}

function holds(what: string, exploration: Exploration) {
  const { complete, depth, healed, moves, states, violation } = exploration
  expect(violation && [violation.invariant, ...violation.trace].join('\n')).toBeUndefined()
  expect(complete, 'every state that can be reached was').toBe(true)
  total += states
  console.log(
    `${what}: ${states} states, ${moves} moves, up to ${depth} deep; recovers from all of ${healed}`,
  )
}

describe('every invariant holds in every state', slow, () => {
  test.for<[string, Fault[], Partial<Rules>?]>([
    [
      'messages are lost or late',
      [
        ...(['statement lost', 'answer lost', 'statement slow', 'answer slow'] as const),
        ...(['question lost', 'question slow'] as const),
      ],
    ],
    [
      'servers and the ways between them fail',
      ['crash', 'link cut', 'link deaf', 'database away', 'database down'],
    ],
    ['servers and hosts die, or hang', ['crash', 'host down', 'letting go hangs']],
    [
      'people intervene',
      ['switchover', 'stop', 'pause', 'unwell', 'work fails', 'crash', 'statement lost'],
    ],
    [
      'the database fails over',
      ['database failover', 'database failover with loss', 'crash', 'link cut', 'database away'],
    ],
    ['a server is frozen', ['freeze', 'crash', 'database away'], { once: true }],
    ['a machine sleeps', ['suspend', 'link cut'], { once: true }],
    ['wall clocks jump', ['wall set back', 'wall set forward', 'database away', 'link cut']],
    [
      'the leases differ',
      ['crash', 'link cut', 'database away', 'answer slow'],
      { timings: [long, timings] },
    ],
    [
      'takeovers are counted',
      ['crash', 'link cut', 'pause'],
      { limit: { most: 2, withinMs: 8 * tickMs } },
    ],
  ])('when %s, two of it on each path', ([what, names, change]) => {
    holds(what, explore(rulesWith(names, change), bounds))
  })

  test('when anything happens once, to a pair at work', () => {
    holds(
      'anything, once',
      explore(rulesWith(faults), { ...bounds, faults: 1 + more, healEach: 8 }),
    )
  })

  test('when anything happens once, to servers that start in any order', () => {
    const cold = { ...bounds, beginning: 'cold' as const, faults: 1 + more }
    holds('anything, from the beginning', explore(rulesWith(faults), cold))
    console.log(`${total} states in all`)
  })
})

describe('the exploration finds', slow, () => {
  test.for<[string, Fault[], Partial<Rules>, Partial<Bounds>?]>([
    [
      'a server that never lets go by itself',
      ['link cut', 'database away'],
      { step: broken.neverLetsGo, noGuard: true },
    ],
    [
      'a deadline counted from the reply',
      ['database away', 'answer slow'],
      { step: broken.countsFromTheReply, patience: 3, timings: [hasty, hasty] },
    ],
    ['a release before it has let go', ['switchover'], { step: broken.releasesFirst }],
    ['silence taken for death', ['link cut'], { step: broken.believesSilence }],
    [
      'silence counted over time that was not read',
      ['database down', 'link cut'],
      { step: broken.countsUnread },
    ],
    ['an answer taken for a promise', ['database away'], { step: broken.trustsAnyAnswer }],
    [
      'a suspend that one clock alone shows',
      ['suspend'],
      { step: broken.monotonicOnly },
      { faults: 1 },
    ],
    [
      'a standby that waits for its own lease, not the holder’s',
      ['database away', 'link cut'],
      { step: broken.ownLease, timings: [long, timings] },
    ],
    [
      'a claim for silence over a heartbeat',
      ['statement slow', 'database away'],
      { grants: broken.noCounterCheck, timings: [hasty, hasty] },
    ],
    [
      'a claim over a term that has begun',
      ['link cut', 'database away', 'crash', 'statement slow'],
      { grants: broken.noTermCheck },
    ],
    [
      'a pause that nobody heeds',
      ['pause', 'crash'],
      { step: broken.ignoresPause, grants: broken.noPauseCheck },
    ],
    [
      'a release for somebody that another takes',
      ['switchover', 'crash', 'statement lost'],
      { step: broken.ignoresIntended },
      { faults: 3 },
    ],
    [
      'a takeover at once over a database that has lost terms',
      ['database failover with loss', 'crash', 'link cut'],
      { step: broken.neverWary },
      { faults: 3 },
    ],
    [
      'a server that forgets the highest term',
      ['database failover with loss', 'crash', 'database away'],
      { noMemory: true },
      { faults: 3 },
    ],
    [
      'work that hangs and is not ended',
      ['letting go hangs', 'link cut', 'database away'],
      { noGuard: true },
      { faults: 3 },
    ],
    [
      'a right that a promise brings back',
      ['freeze', 'crash'],
      { step: broken.revives, once: true },
      { healEach: 8 },
    ],
  ])('%s', ([, names, change, bound]) => {
    const { states, violation } = explore(rulesWith(names, change), {
      ...{ beginning: 'steady', faults: 2, maxStates: 3_000_000, ...bound },
    })
    expect(violation, `not within ${states} states`).toBeDefined()
    console.log(
      `after ${states} states: ${violation!.invariant}\n  ${violation!.trace.join('\n  ')}`,
    )
  })
})
