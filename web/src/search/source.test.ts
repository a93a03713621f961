import { expect, test } from 'vitest'
import { formatMoment } from '../format/time.ts'
import { sourceText } from './source.ts'

const source = { approximate: false, rowsRead: 1234, elapsedMs: 11.6, since: null }

test('an answer says what was read for it', () => {
  expect(sourceText({ ...source, table: 'flow' })).toBe('1\u202f234 flows read in 12 ms')
  expect(sourceText({ ...source, table: 'flow_routing_5m' })).toBe(
    '1\u202f234 sums of five minutes read in 12 ms',
  )
  const both = 'flow_exporter_1h, flow_exporter_5m'
  expect(sourceText({ ...source, table: both })).toContain('sums of an hour and five minutes read')
})

test('an answer says that it knows of the largest addresses alone', () => {
  expect(sourceText({ ...source, table: 'flow_source_1h', approximate: true })).toBe(
    '1\u202f234 largest addresses of an hour read in 12 ms',
  )
})

test('an answer says before when nothing is kept', () => {
  const since = '2026-01-02T03:04:05.000Z'
  expect(sourceText({ ...source, table: 'flow', since })).toContain(
    `nothing as fine is kept before ${formatMoment(since)}`,
  )
})
