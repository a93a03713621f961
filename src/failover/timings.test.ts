import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checkTimings,
  defaultTimings,
  elapsed,
  timingsOf,
  UnsafeTimings,
  workingMs,
} from './timings.ts'

describe('timings', () => {
  test('of the defaults are safe', () => {
    expect(checkTimings(defaultTimings)).toEqual([])
  })

  test.for([
    [{ leaseMs: 4000 }, 'one slow renewal ends the lease'],
    [{ heartbeatIntervalMs: 3000 }, 'one slow renewal ends the lease'],
    [{ stepDownMs: 100 }, 'nobody can let go of everything'],
    [{ heartbeatTimeoutMs: 9000 }, 'while the active still holds its lease'],
    [{ peerTimeoutMs: 6000 }, 'whether the peer answers'],
    [{ heartbeatIntervalMs: 50 }, 'only loads the database'],
    [{ leaseMs: -1 }, 'whole number of milliseconds above 0'],
    [{ leaseMs: Number.NaN }, 'whole number of milliseconds above 0'],
  ] as const)('with %o are refused with the reason', ([change, reason]) => {
    expect(checkTimings({ ...defaultTimings, ...change }).join()).toContain(reason)
  })

  test('that are accepted let the active work for three heartbeats, and end before the timeout', () => {
    const upTo = (max: number) => fc.integer({ min: 1, max })
    const any = fc.record({
      heartbeatIntervalMs: upTo(5000),
      leaseMs: upTo(30_000),
      stepDownMs: upTo(10_000),
      heartbeatTimeoutMs: upTo(100_000),
      peerTimeoutMs: upTo(10_000),
    })
    fc.assert(
      fc.property(any, timings => {
        fc.pre(checkTimings(timings).length === 0)
        expect(workingMs(timings)).toBeGreaterThanOrEqual(3 * timings.heartbeatIntervalMs)
        expect(timings.leaseMs).toBeLessThanOrEqual(timings.heartbeatTimeoutMs)
      }),
      { maxSkipsPerRun: 1000 },
    )
  })
})

describe('the settings of a person', () => {
  const upTo = (max: number) => fc.integer({ min: 1, max })

  test('give the defaults, and a lease of 2 s', () => {
    const settings = { heartbeatMs: 1000, leaseMs: 10_000, timeoutMs: 60_000 }
    expect(timingsOf(settings)).toEqual(defaultTimings)
    for (const heartbeatMs of [300, 400]) {
      const short = timingsOf({ heartbeatMs, leaseMs: 2000, timeoutMs: 10_000 })
      expect(short).toMatchObject({ leaseMs: 2000, stepDownMs: 400, peerTimeoutMs: 666 })
      expect(checkTimings(short)).toEqual([])
    }
  })

  test.for([
    [{ heartbeatMs: 50 }, 'heartbeatMs', 'must be at least 100'],
    [{ heartbeatMs: 600 }, 'leaseMs', 'with a heartbeatMs of 600 it must be at least 2250'],
    [{ timeoutMs: 1999 }, 'timeoutMs', 'must be at least leaseMs, 2000, not 1999'],
    [{ leaseMs: -5 }, 'leaseMs', 'must be a whole number above 0, not -5'],
  ] as const)('%o are refused with what would be right', ([change, setting, message]) => {
    const settings = { heartbeatMs: 400, leaseMs: 2000, timeoutMs: 10_000, ...change }
    try {
      timingsOf(settings)
      expect.unreachable('they were taken')
    } catch (error) {
      expect(error).toMatchObject({ name: 'UnsafeTimings', setting })
      expect((error as Error).message).toContain(message)
    }
  })

  test('that are taken are safe, and the least that a refusal names is taken', () => {
    const any = fc.record({
      heartbeatMs: upTo(5000),
      leaseMs: upTo(30_000),
      timeoutMs: upTo(60_000),
    })
    fc.assert(
      fc.property(any, settings => {
        try {
          expect(checkTimings(timingsOf(settings))).toEqual([])
        } catch (error) {
          if (!(error instanceof UnsafeTimings)) throw error
          const least = /it must be at least (\d+)/.exec(error.message)?.[1]
          if (least === undefined) return
          const leaseMs = Number(least)
          const longer = { ...settings, leaseMs, timeoutMs: Math.max(leaseMs, settings.timeoutMs) }
          expect(checkTimings(timingsOf(longer))).toEqual([])
        }
      }),
    )
  })
})

describe('elapsed time', () => {
  const since = { monotonic: 1000, wall: 50_000 }

  test('is the longer of what both clocks say', () => {
    expect(elapsed(since, { monotonic: 1300, wall: 50_310 })).toBe(310)
    expect(elapsed(since, { monotonic: 1100, wall: 60_000 })).toBe(10_000)
  })

  test('is without end when the wall clock was set back', () => {
    expect(elapsed(since, { monotonic: 2000, wall: 50_400 })).toBe(Number.POSITIVE_INFINITY)
  })

  test('bears the small steps by which a clock is corrected', () => {
    expect(elapsed(since, { monotonic: 2000, wall: 50_900 })).toBe(1000)
  })
})
