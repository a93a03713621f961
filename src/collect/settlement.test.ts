import { expect, test } from 'vitest'
import { rankOf } from './manifest.ts'
import { createSettlement } from './settlement.ts'

const segment = (sequence: number, term: number) =>
  ({ kind: 'flow', sequence, rows: 1, bytes: 1, lastMs: 1, rank: rankOf(term, true) }) as const

function setup() {
  let now = 0
  let role = { active: true, term: 5 }
  let others = ['b']
  const settlement = createSettlement(
    {
      spool: { has: () => false },
      clock: { wall: () => 0, monotonic: () => now },
      role: () => role,
      others: () => others,
    },
    { own: 'a', goneAfterMs: 12_000 },
  )
  return {
    settlement,
    /** As time goes by where nothing is frozen. */
    after(ms: number) {
      for (let left = ms; left > 0; left -= 1000) {
        now += Math.min(1000, left)
        settlement.tick()
      }
    },
    frozen(ms: number) {
      now += ms
    },
    is(next: typeof role) {
      role = next
    },
    knows(names: string[]) {
      others = names
    },
  }
}

test('a segment is the own server’s when it is settled with the other', () => {
  const { settlement } = setup()
  expect(settlement.ready(segment(1, 5))).toBe(false)
  settlement.settle(segment(1, 5))
  expect(settlement.ready(segment(1, 5))).toBe(true)
  expect(settlement.ready(segment(2, 5))).toBe(false)
})

test('nobody is asked where there is nobody, or where there was nobody when it was sealed', () => {
  const { settlement, knows } = setup()
  expect(settlement.ready({ ...segment(1, 5), rank: undefined })).toBe(true)
  knows([])
  expect(settlement.ready(segment(1, 5))).toBe(true)
})

test('an active whose other server is dead stores alone at once', () => {
  const { settlement, is } = setup()
  settlement.failed('b', true)
  expect(settlement.ready(segment(1, 5))).toBe(true)
  // Nobody was active between two terms that follow each other.
  expect(settlement.ready(segment(1, 4))).toBe(true)
  expect(settlement.ready(segment(1, 3))).toBe(false)
  is({ active: false, term: 5 })
  expect(settlement.ready(segment(1, 5))).toBe(false)
})

test('one that is silent is waited for as long as a lease lasts, not counting what was slept', () => {
  const { settlement, after, frozen } = setup()
  settlement.reached('b')
  after(5000)
  settlement.failed('b', false)
  after(6000)
  expect(settlement.ready(segment(1, 5))).toBe(false)
  frozen(60_000)
  expect(settlement.ready(segment(1, 5))).toBe(false)
  after(11_000)
  expect(settlement.ready(segment(1, 5))).toBe(false)
  after(3000)
  expect(settlement.ready(segment(1, 5))).toBe(true)
  settlement.reached('b')
  expect(settlement.ready(segment(1, 5))).toBe(false)
})
