import { describe, expect, test } from 'vitest'
import { cursorAfter, formatCursor, logPage, parseCursor } from './logs.ts'
import { bucketsOf, fillSeries, stepOf } from './question.ts'
import { QuestionError, trafficSeries, trafficTop } from './traffic.ts'

const hour = { from: 1_700_000_000_000, to: 1_700_003_600_000 }

describe('a traffic question', () => {
  test('carries every value as a parameter', () => {
    const value = '10.0.0.1'
    const sql = trafficTop({
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
      trafficTop({ range: hour, by: [by], metric: 'bits', limit: 1, where: [where] })
    expect(top('src.addr); DROP TABLE flow', 'dst.port=1')).toThrow(QuestionError)
    expect(top('src.addr', 'dst.port=1 OR 1')).toThrow('"1 OR 1" is not a number')
    expect(top('src.addr', 'src.addr=x')).toThrow('"x" is not an address')
    expect(top('src.addr', 'dst.port')).toThrow('not of the form dimension=value')
  })

  test('over time divides bits by the step and flows not', () => {
    const of = (metric: 'bits' | 'flows') =>
      trafficSeries({ range: hour, step: 30, metric, groups: 5, where: [] }).text
    expect(of('bits')).toContain('/ {step:UInt32}')
    expect(of('flows')).not.toContain('/ {step:UInt32}')
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
