import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isPlausible, uptimeSince, wallOfNtp, wallOfUptime } from './flow-time.ts'

const exported = Date.UTC(2026, 4, 1)

test('an uptime is as far from the export as the two uptimes are apart, across the wrap', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      fc.integer({ min: -60_000, max: 20 * 86_400_000 }),
      (uptime, age) => {
        expect(wallOfUptime(exported, uptime, (uptime - age) >>> 0)).toBe(exported - age)
      },
    ),
  )
})

test('the boot and the export give the uptime that uptimes in a record count from', () => {
  const boot = exported - 60 * 86_400_000
  const uptime = uptimeSince(boot, exported)
  expect(wallOfUptime(exported, uptime, (60 * 86_400_000 - 1000) % 2 ** 32)).toBe(exported - 1000)
})

test('an NTP timestamp has seconds since 1900 and a binary fraction', () => {
  expect(wallOfNtp(2_208_988_800 + 10, 2 ** 31)).toBe(10_500)
})

test('a flow is believed to have ended from 25 hours before to a minute after its arrival', () => {
  expect(isPlausible(exported - 25 * 3_600_000, exported)).toBe(true)
  expect(isPlausible(exported - 25 * 3_600_000 - 1, exported)).toBe(false)
  expect(isPlausible(exported + 60_000, exported)).toBe(true)
  expect(isPlausible(exported + 60_001, exported)).toBe(false)
})
