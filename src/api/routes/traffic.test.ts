import { describe, expect, test } from 'vitest'
import type { Sql } from '../../query/question.ts'
import { largestTables, type TrafficTable, trafficTables } from '../../query/traffic-tables.ts'
import { ApiError, type HandlerCall } from '../handler.ts'
import { type AskOptions, trafficRoutes } from './traffic.ts'

const id = '7c9e6679-7425-40de-944b-e07fc1f90ae7'

function setUp(options: {
  rowsToRead: number
  rowsRead?: number
  elapsedMs?: number
  answer?: (sql: Sql) => object[]
  tables?: readonly TrafficTable[]
}) {
  const asked: AskOptions[] = []
  const state = { ...{ rowsRead: 1, elapsedMs: 1 }, ...options, asked, tags: [] as string[] }
  const routes = trafficRoutes({
    async ask<Row>(sql: Sql, _: AbortSignal, how: AskOptions = {}) {
      asked.push(how)
      const rows = options.answer?.(sql) ?? []
      return { rows: rows as Row[], rowsRead: state.rowsRead, elapsedMs: state.elapsedMs }
    },
    now: () => Date.parse('2026-05-01T12:00:00Z'),
    keptSince: name =>
      (options.tables ?? trafficTables).some(table => table.name === name) ? 0 : undefined,
    sampling: () => new Map(),
    estimate: async () => state.rowsToRead,
    async progress(tag) {
      state.tags.push(tag)
      return { rowsRead: 1, rowsTotal: 2, elapsedMs: 3 }
    },
  })
  const series = (query: object = {}) =>
    routes.getTrafficSeries({
      ...{ signal: AbortSignal.timeout(1000), query: { metric: 'bits', where: [], ...query } },
    } as unknown as HandlerCall<never>)
  return { routes, state, series }
}

test('a question that is too large says how large before it is asked', async () => {
  const { series, state } = setUp({ rowsToRead: 830e6 })
  const refused = await series().catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(ApiError)
  expect(refused).toMatchObject({
    ...{ code: 'too-large', message: expect.stringMatching(/830 million rows .* 83 seconds/) },
  })
  expect(state.asked).toEqual([])
})

test('it is asked anyway for somebody who wants it, and for longer', async () => {
  const { series, state } = setUp({ rowsToRead: 830e6 })
  await series({ anyway: 'true' })
  expect(state.asked).toEqual([{ timeoutMs: 600_000 }])
})

test('what is too large follows from how fast rows are read here', async () => {
  const { series, state } = setUp({ rowsToRead: 300e6 })
  await expect(series()).rejects.toThrow('300 million rows')
  Object.assign(state, { rowsToRead: 100e6, rowsRead: 100e6, elapsedMs: 1000 })
  for (let i = 0; i < 5; i++) await series()
  state.rowsToRead = 300e6
  await series()
  expect(state.asked).toHaveLength(6)
})

test('a question with a name can be looked up by it, and by nothing shorter', async () => {
  const { routes, state, series } = setUp({ rowsToRead: 1 })
  await series({ ask: id })
  expect(state.asked).toEqual([{ tag: `ask-${id}-all` }])
  const call = { params: { ask: id } } as unknown as HandlerCall<never>
  expect(await routes.getTrafficProgress(call)).toEqual({
    progress: { rowsRead: 1, rowsTotal: 2, elapsedMs: 3 },
  })
  expect(state.tags).toEqual([`ask-${id}-`])
})

describe('a question by address', () => {
  const tables = [...trafficTables, ...largestTables]
  const query = { by: 'src.addr', groups: 2 }

  test('is answered from the flows if that takes no more than a moment', async () => {
    const { series } = setUp({ rowsToRead: 1e6, tables })
    expect((await series(query)).source).toMatchObject({ table: 'flow', approximate: false })
  })

  test('is answered from the largest addresses if it does, unless somebody wants every flow', async () => {
    const { series } = setUp({ rowsToRead: 20e6, tables })
    const source = { table: 'flow_exporter_source_1m', approximate: true }
    expect((await series(query)).source).toMatchObject(source)
    const exact = await series({ ...query, exact: 'true' })
    expect(exact.source).toMatchObject({ table: 'flow', approximate: false })
  })

  test('that filters by one is always answered from the flows', async () => {
    const { series } = setUp({ rowsToRead: 20e6, tables })
    const answered = await series({ ...query, where: ['dst.addr=192.0.2.1'] })
    expect(answered.source).toMatchObject({ table: 'flow', approximate: false })
  })

  test('shows what is in no group as the rest, however few groups there are', async () => {
    const begin = Date.parse('2026-05-01T11:00:00Z') / 1000
    const answer = ({ text }: Sql) => {
      if (/AS keys/.test(text)) return [{ keys: ['192.0.2.1'], bytes: 30, packets: 1, flows: 1 }]
      return [
        {
          bucket: begin,
          key: /among/.test(text) ? '192.0.2.1' : '',
          value: /among/.test(text) ? 30 : 50,
        },
      ]
    }
    const { series } = setUp({ rowsToRead: 20e6, tables, answer })
    const answered = await series(query)
    expect(answered.series.map(({ key, values }) => [key, values[0]])).toEqual([
      ['192.0.2.1', 30],
      ['', 20],
    ])
  })
})

describe('a picture of groups and the table beneath it', () => {
  const group = (key: string, bytes: number) => ({ keys: [key], bytes, packets: 1, flows: 1 })
  const begin = Date.parse('2026-05-01T11:00:00Z') / 1000
  /** Three addresses, in the first minute of the hour. */
  function answer(sql: Sql): object[] {
    if (/AS keys/.test(sql.text))
      return [group('192.0.2.1', 30), group('192.0.2.2', 20), group('::1', 10)]
    if (!/AS bucket/.test(sql.text)) return [{ bytes: 60, packets: 3, flows: 3 }]
    if (!/among/.test(sql.text)) return [{ bucket: begin, key: '', value: 60 }]
    expect(sql.params.among).toEqual(['::ffff:192.0.2.1', '::ffff:192.0.2.2'])
    return [
      { bucket: begin, key: '192.0.2.1', value: 30 },
      { bucket: begin, key: '192.0.2.2', value: 20 },
    ]
  }
  const query = { metric: 'bits', where: [], by: 'src.addr', groups: 2, limit: 2 }

  test('show the largest groups, and the rest of all traffic', async () => {
    const { series } = setUp({ rowsToRead: 1, answer })
    const answered = await series(query)
    expect(answered.series.map(({ key, values }) => [key, values[0]])).toEqual([
      ['192.0.2.1', 30],
      ['192.0.2.2', 20],
      ['', 10],
    ])
  })

  test('ask for the largest groups once', async () => {
    const { routes, state, series } = setUp({ rowsToRead: 1, answer })
    const call = { signal: AbortSignal.timeout(1000), query: { ...query, by: ['src.addr'] } }
    const [, top] = await Promise.all([
      series(query),
      routes.getTrafficTop(call as unknown as HandlerCall<never>),
    ])
    expect(top.rows.map(({ keys }) => keys)).toEqual([['192.0.2.1'], ['192.0.2.2']])
    expect(top.total.bytes).toBe(60)
    // The groups, their series, the series of all, and the sum of all.
    expect(state.asked).toHaveLength(4)
  })
})
