import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { boundsOf, boundsQuery, parseRange, rangeSearch, refreshOf } from './range.ts'
import { bySize, latestComplete, perSecond, settled, type TrafficSeries } from './series.ts'
import { listOf, parseSearch, stringifySearch, textOf } from './url.ts'
import { addConditions, dimensions, parseCondition } from './where.ts'

describe('the URL', () => {
  test('keeps any text values, in order', () => {
    const search = fc.dictionary(
      fc.string({ minLength: 1 }).filter(key => key !== '__proto__'),
      fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 1, maxLength: 3 }),
      { noNullPrototype: true },
    )
    fc.assert(
      fc.property(search, values => {
        const back = parseSearch(stringifySearch(values))
        for (const [key, list] of Object.entries(values)) expect(listOf(back[key])).toEqual(list)
      }),
    )
  })

  test('reads well: addresses and conditions stay legible, what is not set is left out', () => {
    expect(
      stringifySearch({
        by: 'src.addr',
        where: ['dst.addr=2001:db8::1'],
        text: '',
        from: undefined,
      }),
    ).toBe('?by=src.addr&where=dst.addr%3D2001:db8::1')
    expect(stringifySearch({})).toBe('')
  })

  test('takes the first of several values where one is wanted', () => {
    expect(textOf(['a', 'b'])).toBe('a')
    expect(textOf(undefined)).toBeUndefined()
  })
})

describe('the range', () => {
  test('goes through the URL and back', () => {
    for (const range of [
      { preset: '6h' as const },
      { from: 1_700_000_000_000, to: 1_700_000_060_000 },
    ]) {
      expect(parseRange(parseSearch(stringifySearch({ ...rangeSearch(range) })))).toEqual(range)
    }
  })

  test('falls back where the URL makes no sense', () => {
    expect(parseRange({ range: 'forever' })).toEqual({ preset: '1h' })
    expect(
      parseRange({ range: '7d', from: '2025-01-02T00:00:00Z', to: '2025-01-01T00:00:00Z' }),
    ).toEqual({
      preset: '7d',
    })
    expect(parseRange({ from: 'x', to: 'y' }, '15m')).toEqual({ preset: '15m' })
  })

  test('moves with the clock only if it is relative', () => {
    expect(boundsOf({ preset: '15m' }, 1_000_000)).toEqual({ from: 100_000, to: 1_000_000 })
    expect(boundsOf({ from: 1, to: 2 }, 1_000_000)).toEqual({ from: 1, to: 2 })
    expect(boundsQuery({ from: 0, to: 1000 })).toEqual({
      from: '1970-01-01T00:00:00.000Z',
      to: '1970-01-01T00:00:01.000Z',
    })
    expect(refreshOf({ from: 1, to: 2 })).toBe(false)
  })
})

describe('conditions', () => {
  test('come from the dimensions of the flow table', () => {
    expect(dimensions.map(dimension => dimension.name)).toContain('src.addr')
    expect(parseCondition('src.addr=::1')).toEqual({ dimension: 'src.addr', value: '::1' })
    expect(parseCondition('nonsense=1')).toBeUndefined()
    expect(parseCondition('dst.port=')).toBeUndefined()
  })

  test('replace one of the same dimension, for two values of one can never both hold', () => {
    expect(
      addConditions(['dst.port=443', 'protocol=6'], [{ dimension: 'dst.port', value: '53' }]),
    ).toEqual(['protocol=6', 'dst.port=53'])
  })
})

describe('series', () => {
  const answer: TrafficSeries = {
    from: '1970-01-01T00:00:00Z',
    to: '1970-01-01T00:00:30Z',
    step: 10,
    times: ['1970-01-01T00:00:00Z', '1970-01-01T00:00:10Z', '1970-01-01T00:00:20Z'],
    series: [
      { key: 'a', values: [10, 20, 30] },
      { key: '', values: [1, 2, 3] },
    ],
    source: { table: 'flow', approximate: false, since: null, rowsRead: 0, elapsedMs: 0 },
  }

  test('of flows are divided by the bucket, others are rates already', () => {
    expect(perSecond(answer, 'flows')[0]!.values).toEqual([1, 2, 3])
    expect(perSecond(answer, 'bits')[0]!.values).toEqual([10, 20, 30])
  })

  test('stack the largest first and the rest last, however large', () => {
    const series = [
      { key: '', values: [100] },
      { key: 'small', values: [1] },
      { key: 'large', values: [50] },
    ]
    expect(bySize(series).map(({ key }) => key)).toEqual(['large', 'small', ''])
  })

  test('say what is now by the newest bucket that is complete', () => {
    expect(latestComplete(answer, 'bits', 30_000)).toBe(22)
    expect(latestComplete(answer, 'bits', 35_000)).toBe(33)
    expect(latestComplete(answer, 'bits', 9_000)).toBeNull()
  })

  test('are drawn without the buckets that are still filling', () => {
    expect(settled(answer, 1e6)).toBe(answer)
    expect(settled(answer, 30_000).series[0]!.values).toEqual([10, 20])
    expect(settled({ ...answer, to: '1970-01-01T00:00:25Z' }, 1e6).times).toHaveLength(2)
    expect(settled(answer, 15_000)).toBe(answer)
  })
})
