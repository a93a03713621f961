import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createSequenceTracker } from './sequence.ts'

function lostAfter(...datagrams: [sequence: number, units: number | undefined][]): number {
  const tracker = createSequenceTracker()
  for (const [sequence, units] of datagrams) tracker.see(sequence, units)
  return tracker.lost
}

describe('loss by sequence numbers', () => {
  test('is what is missing between datagrams', () => {
    expect(lostAfter([100, 30], [130, 30], [190, 30])).toBe(30)
  })

  test('is none where the numbers wrap', () => {
    expect(lostAfter([2 ** 32 - 10, 30], [20, 30])).toBe(0)
  })

  test('is taken back when the datagram comes after all, in whole or in part', () => {
    expect(lostAfter([0, 10], [40, 10], [20, 10])).toBe(20)
    expect(lostAfter([0, 10], [40, 10], [20, 10], [10, 10], [30, 10])).toBe(0)
  })

  test('is not changed by duplicates', () => {
    expect(lostAfter([0, 10], [10, 10], [10, 10], [20, 10], [10, 10], [30, 10])).toBe(0)
    expect(lostAfter([0, 10], [20, 10], [10, 10], [10, 10], [30, 10])).toBe(0)
  })

  test('is none when the exporter restarts', () => {
    expect(lostAfter([1_000_000_000, 30], [0, 30], [30, 30], [60, 30])).toBe(0)
    expect(lostAfter([5000, 30], [0, 30], [30, 30], [60, 30], [90, 30], [150, 30])).toBe(30)
  })

  test('is not guessed after a datagram that could not be counted', () => {
    expect(lostAfter([0, 10], [10, undefined], [35, 10], [45, 10])).toBe(0)
  })

  test('is the number of dropped datagrams, in whatever order the others come within a window', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.array(fc.boolean(), { minLength: 3, maxLength: 60 }),
        fc.array(fc.boolean(), { maxLength: 60 }),
        (first, kept, swaps) => {
          const sent = [true, ...kept, true].map((keep, index) => ({
            keep,
            sequence: (first + index) >>> 0,
          }))
          const arriving = sent.filter(({ keep }) => keep)
          for (let i = 1; i + 2 < arriving.length; i += 2) {
            if (swaps[i]) [arriving[i], arriving[i + 1]] = [arriving[i + 1]!, arriving[i]!]
          }
          const tracker = createSequenceTracker()
          for (const { sequence } of arriving) tracker.see(sequence, 1)
          expect(tracker.lost).toBe(sent.length - arriving.length)
        },
      ),
    )
  })
})
