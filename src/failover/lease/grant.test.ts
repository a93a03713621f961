import { describe, expect, test } from 'vitest'
import type { Row } from '../states.ts'
import { isUnplanned, objectionTo, pauseAfter } from './grant.ts'

const row: Row = {
  ...{ term: 5, holder: 'a', incarnation: 'a-1', released: false, counter: 100, leaseMs: 10_000 },
  ...{ intended: undefined, paused: undefined, database: 'x/00000001' },
}
const claim = { term: 6, over: row, whileSilent: true, reason: 'silent' }
const pause = { by: 'anna', reason: 'a new switch', until: undefined }

describe('a claim', () => {
  test('is granted over the row that was read', () => {
    expect(objectionTo(claim, row, 'b')).toBeUndefined()
  })

  test.for<[string, Partial<Row>, string]>([
    ['another has taken', { term: 6, holder: 'c' }, 'c holds term 6'],
    ['has another incarnation', { incarnation: 'a-2' }, 'a holds term 5'],
    ['is renewed', { counter: 101 }, 'a has renewed its lease'],
    ['is released meanwhile', { released: true }, 'a has released its lease meanwhile'],
    ['is paused', { paused: pause }, 'takeovers are paused'],
    ['is in another database', { database: 'x/00000002' }, 'the database is another one'],
  ])('is not granted over a lease that %s', ([, change, objection]) => {
    expect(objectionTo(claim, { ...row, ...change }, 'b')).toContain(objection)
  })

  test('counts as unplanned when the lease goes to another server without anybody’s wish', () => {
    expect(isUnplanned(row, 'b')).toBe(true)
    expect(isUnplanned({ ...row, released: true }, 'b'), 'unwell, or its work failed').toBe(true)
    expect(isUnplanned({ ...row, released: true, intended: 'b' }, 'b')).toBe(false)
    expect(isUnplanned(row, 'a'), 'its own').toBe(false)
    expect(isUnplanned({ ...row, holder: undefined }, 'b'), 'the first').toBe(false)
  })

  test('pauses takeovers when it is one too many', () => {
    const limit = { most: 3, withinMs: 600_000 }
    expect(pauseAfter(2, limit)).toBeUndefined()
    expect(pauseAfter(3, limit)).toBe(
      '3 takeovers within 10 minutes: a person has to look and resume',
    )
  })
})
