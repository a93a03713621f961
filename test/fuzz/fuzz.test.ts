import { describe, expect, test } from 'vitest'
import { capturesExist } from '../captures/flow-captures.ts'
import { createRandom } from '../fixtures/mutate.ts'
import { feedTarget, targets } from './decoders.ts'

/** `npm run fuzz` feeds a million. */
const inputs = 20_000
const missing = capturesExist ? '' : ' (without the captures in ../shared, which are not here)'

describe(`a decoder that lives through whatever comes${missing}`, () => {
  test.each(targets())('$name', target => {
    const fed = feedTarget(target, inputs, createRandom(Date.now() % 2 ** 31))
    expect(fed.rows).toBeGreaterThan(0)
    expect(fed.problems).toBeGreaterThan(0)
  })
})
