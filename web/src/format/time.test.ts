import { expect, test } from 'vitest'
import { formatAgo, formatMoment, formatTick, fromLocalInput, toLocalInput } from './time.ts'

const noon = new Date(2025, 10, 21, 12, 0, 5, 7).getTime()

test('moments are ISO-like in the zone of the viewer', () => {
  expect(formatMoment(new Date(noon))).toBe('2025-11-21 12:00:05')
  expect(formatMoment(new Date(noon), true)).toBe('2025-11-21 12:00:05.007')
  expect(formatMoment('nonsense')).toBe('–')
})

test('ages grow coarser and the future is told apart', () => {
  const ago = (ms: number) => formatAgo(new Date(noon - ms).toISOString(), noon)
  expect(ago(500)).toBe('just now')
  expect(ago(12_300)).toBe('12 s ago')
  expect(ago(3 * 3_600_000)).toBe('3 h ago')
  expect(ago(-5 * 60_000)).toBe('in 5 min')
})

test('ticks are as coarse as the range', () => {
  expect(formatTick(noon, 900_000)).toBe('12:00:05')
  expect(formatTick(noon, 3_600_000)).toBe('12:00')
  expect(formatTick(noon, 7 * 86_400_000)).toBe('11-21 12:00')
  expect(formatTick(noon, 30 * 86_400_000)).toBe('11-21')
})

test('a local date and time goes through its input and back', () => {
  expect(fromLocalInput(toLocalInput(noon))).toBe(noon - 7)
  expect(fromLocalInput('')).toBeUndefined()
})
