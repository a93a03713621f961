import { describe, expect, test } from 'vitest'
import {
  formatBitRate,
  formatBytes,
  formatCount,
  formatDuration,
  formatQuantity,
  formatShare,
} from './units.ts'

describe('rates and sizes', () => {
  test.each([
    [0, '0 bit/s'],
    [0.5, '0.50 bit/s'],
    [999, '999 bit/s'],
    [999.7, '1.00 kbit/s'],
    [1500, '1.50 kbit/s'],
    [12_345_678, '12.3 Mbit/s'],
    [999_499_999, '999 Mbit/s'],
    [999_600_000, '1.00 Gbit/s'],
    [4e15, '4.00 Pbit/s'],
    [4e18, '4000 Pbit/s'],
  ])('%d bit/s reads %s', (value, text) => {
    expect(formatBitRate(value)).toBe(text)
  })

  test('bytes are decimal and quantities name their unit', () => {
    expect(formatBytes(1_048_576)).toBe('1.05 MB')
    expect(formatQuantity(20_400, 'flows/s')).toBe('20.4 k flows/s')
    expect(formatQuantity(3, 'flows/s')).toBe('3 flows/s')
  })

  test('counts are grouped in threes', () => {
    expect(formatCount(1_234_567)).toBe('1\u202f234\u202f567')
    expect(formatCount(999)).toBe('999')
  })

  test('a share that is tiny is not shown as nothing', () => {
    expect(formatShare(1, 100_000)).toBe('< 0.1 %')
    expect(formatShare(0, 10)).toBe('0.0 %')
    expect(formatShare(10, 10)).toBe('100 %')
    expect(formatShare(1, 0)).toBe('–')
  })
})

test.each([
  [0, '0 ms'],
  [1.42, '1.4 ms'],
  [12.3, '12 ms'],
  [1500, '1.5 s'],
  [59_999, '59 s'],
  [200_000, '3 min 20 s'],
  [120_000, '2 min'],
  [3_600_000, '1 h'],
  [93_600_000, '1 d 2 h'],
  [-1500, '-1.5 s'],
])('%d ms reads %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text)
})
