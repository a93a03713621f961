import { describe, expect, test } from 'vitest'
import { cursorAfter, formatCursor, logPage, parseCursor } from './logs.ts'
import { bucketsOf, fillSeries, stepOf } from './question.ts'
import { QuestionError, trafficSeries, trafficTop } from './traffic.ts'
import { piecesFor, tableFor, trafficTables } from './traffic-tables.ts'

const table = trafficTables.find(({ name }) => name === 'flow')!
const raw = { table, sampling: new Map<string, number>() }
const hour = { from: 1_700_000_000_000, to: 1_700_003_600_000 }

describe('a traffic question', () => {
  test('carries every value as a parameter', () => {
    const value = '10.0.0.1'
    const sql = trafficTop({
      ...raw,
      range: hour,
      by: ['src.addr', 'dst.port'],
      metric: 'bits',
      limit: 10,
      where: [`src.addr=${value}`, 'dst.port=443'],
    })
    expect(sql.text).not.toContain(value)
    expect(sql.params).toMatchObject({ where0: value, where1: '443', limit: 10 })
  })

  test('about an unknown dimension or with a value that does not fit is refused in words', () => {
    const top = (by: string, where: string) => () =>
      trafficTop({ ...raw, range: hour, by: [by], metric: 'bits', limit: 1, where: [where] })
    expect(top('src.addr); DROP TABLE flow', 'dst.port=1')).toThrow(QuestionError)
    expect(top('src.addr', 'dst.port=1 OR 1')).toThrow('"1 OR 1" is not a number')
    expect(top('src.addr', 'src.addr=x')).toThrow('"x" is not an address')
    expect(top('src.addr', 'dst.port')).toThrow('not of the form dimension=value')
  })

  test('over time divides bits by the step and flows not', () => {
    const of = (metric: 'bits' | 'flows') =>
      trafficSeries({ ...raw, range: hour, step: 30, metric, where: [] }).text
    expect(of('bits')).toContain('/ {step:UInt32}')
    expect(of('flows')).not.toContain('/ {step:UInt32}')
  })
})

describe('the table of a traffic question', () => {
  const day = 86_400
  const now = 20_000 * day
  const range = (days: number) => ({ from: (now - days * day) * 1000, to: now * 1000 })
  const keepDays = { flow: 15, '1m': 30, '5m': 90, '1h': 730 }
  const kept = (table: string) => {
    const [, days] = Object.entries(keepDays).find(([end]) => table.endsWith(end))!
    return now - days * day
  }
  const chosen = (needs: string[], days: number, step: number) =>
    tableFor(needs, range(days), step, kept)

  test('is the smallest that has all that is asked for, at the coarsest step that divides', () => {
    expect(chosen(['exporter'], 1, 600).table.name).toBe('flow_exporter_5m')
    expect(chosen(['protocol'], 1, 600).table.name).toBe('flow_service_5m')
    expect(chosen(['in_if'], 1, 600).table.name).toBe('flow_interface_5m')
    expect(chosen(['protocol', 'in_if'], 1, 120).table.name).toBe('flow_application_1m')
    expect(chosen(['src_as'], 7, 3600).table.name).toBe('flow_routing_1h')
    expect(chosen(['src_as', 'protocol'], 7, 3600).table.name).toBe('flow')
    expect(chosen(['src_addr'], 1, 600).table.name).toBe('flow')
    expect(chosen([], 0.01, 10).table.name).toBe('flow')
  })

  test('goes back as far as the range, or else the furthest, which the answer says', () => {
    expect(chosen(['exporter'], 60, 43_200)).toMatchObject({ since: undefined })
    expect(chosen(['exporter'], 60, 300).table.name).toBe('flow_exporter_5m')
    expect(chosen(['exporter'], 60, 60)).toEqual({
      table: expect.objectContaining({ name: 'flow_exporter_1m' }),
      since: now - 30 * day,
    })
    expect(chosen(['src_addr'], 60, 3600)).toEqual({ table, since: now - 15 * day })
  })

  test('is not a rollup that was made later than the range begins', () => {
    const made = (table: string) => (table === 'flow' ? 0 : now - day / 2)
    expect(tableFor(['exporter'], range(1), 600, made).table.name).toBe('flow')
    expect(tableFor(['exporter'], range(0.5), 300, made).table.name).toBe('flow_exporter_5m')
    expect(tableFor(['exporter'], range(1), 600, () => undefined)).toEqual({
      table,
      since: undefined,
    })
  })
})

describe('sums over all of a range', () => {
  const minute = 60_000
  const hourMs = 60 * minute
  const begin = 480_000 * hourMs
  const pieces = (needs: string[], from: number, to: number, step: number, made = 0) => {
    const range = { from: begin + from * minute, to: begin + to * minute }
    const kept = (table: string) => (table.endsWith('1h') ? begin / 1000 + made * 60 : 0)
    const choice = tableFor(needs, range, step, kept)
    return piecesFor(choice, needs, range, kept).map(({ table, range }) => {
      const ends = [range.from, range.to].map(at => (at - begin) / minute)
      return `${table.name} ${ends.join('-')}`
    })
  }

  test('are read from whole hours, and what is left at the ends from finer tables', () => {
    expect(pieces(['in_if'], 50, 240, 600)).toEqual([
      'flow_interface_5m 50-60',
      'flow_interface_1h 60-240',
    ])
    expect(pieces(['protocol'], 58, 123, 60)).toEqual([
      'flow_service_1m 58-60',
      'flow_service_1h 60-120',
      'flow_service_1m 120-123',
    ])
    expect(pieces(['in_if'], 10, 50, 600)).toEqual(['flow_interface_5m 10-50'])
    expect(pieces([], 7.5, 11, 10)).toEqual(['flow 7.5-8', 'flow_exporter_1m 8-11'])
  })

  test('are read from one table where no other has the columns or all of the range', () => {
    expect(pieces(['src_addr'], 0, 600, 600)).toEqual(['flow 0-600'])
    expect(pieces(['in_if'], 0, 240, 600, 30)).toEqual(['flow_interface_5m 0-240'])
  })
})

describe('buckets', () => {
  test('are about 180 a range and cover it', () => {
    for (const minutes of [1, 15, 60, 360, 1440, 10_080, 43_200]) {
      const range = { from: hour.from + 7, to: hour.from + 7 + minutes * 60_000 }
      const step = stepOf(range)
      const buckets = bucketsOf(range, step)
      expect(buckets.length).toBeLessThanOrEqual(182)
      expect(buckets[0]! * 1000).toBeLessThanOrEqual(range.from)
      expect((buckets.at(-1)! + step) * 1000).toBeGreaterThanOrEqual(range.to)
    }
  })

  test('without a row hold zero', () => {
    const rows = [{ bucket: 20, key: 'a', value: 3 }]
    expect(fillSeries(rows, [10, 20, 30])).toEqual([{ key: 'a', values: [0, 3, 0] }])
  })
})

describe('a page of logs', () => {
  test('searches each word, and the words are parameters', () => {
    const sql = logPage({ range: hour, filter: { text: "link ' down" }, limit: 2 })
    expect(Object.values(sql.params)).toEqual(expect.arrayContaining(['link', "'", 'down']))
    expect(sql.text.match(/positionCaseInsensitiveUTF8/g)).toHaveLength(3)
  })

  test('ends with a cursor that gives no row twice and leaves none out', () => {
    const times = [9, 8, 8, 8, 8, 7]
    const seen: number[] = []
    let cursor: ReturnType<typeof parseCursor>
    do {
      const after = cursor
      const candidates = after ? times.filter(time => time <= after.time).slice(after.skip) : times
      const page = candidates.slice(0, 3)
      cursor = cursorAfter(page, 2, after)
      seen.push(...page.slice(0, 2))
      cursor = cursor && parseCursor(formatCursor(cursor)!)
    } while (cursor)
    expect(seen).toEqual(times)
  })
})
