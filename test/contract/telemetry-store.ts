/**
 * What every telemetry store has to do, whatever engine is behind it: one suite, called with a
 * connection to each.
 */
import { randomUUID } from 'node:crypto'
import { zstdCompressSync } from 'node:zlib'
import { createClient } from '@clickhouse/client'
import { expect, test } from 'vitest'
import { createEngineClient } from '../../src/store/clickhouse/client.ts'
import { QueryFailed, SegmentRefused } from '../../src/store/clickhouse/errors.ts'
import { readPresent } from '../../src/store/clickhouse/present.ts'
import type { TelemetryStore } from '../../src/store/clickhouse/telemetry-store.ts'
import { codecsSql, settingsSql } from '../../src/telemetry/ddl.ts'
import { decodeNative } from '../../src/telemetry/native.ts'
import { rollupColumns, rollups } from '../../src/telemetry/rollups.ts'
import { type ColumnType, kinds, type Table } from '../../src/telemetry/table.ts'
import { tables } from '../../src/telemetry/tables.ts'
import { type Backend, describeStore } from './store-suite.ts'
import { numberedTraps, variedRows } from './telemetry-rows.ts'

/** How many rows there are, how many numbers, and how many numbers are there more than once. */
export async function countNumbers(store: TelemetryStore) {
  const { rows } = await store.query<{ rows: number; numbers: number }>(
    'SELECT count() AS rows, uniqExact(request) AS numbers FROM trap',
  )
  return rows[0]!
}

export function telemetryStoreContract(name: string, createBackend: () => Backend) {
  describeStore(`a telemetry store on ${name}`, createBackend, suite => {
    test.each(kinds)('gives back the rows of %s as they came, in every column', async kind => {
      // Columns travel as narrow as their cells allow.
      const blocks = [2 ** 8, 2 ** 16, 2 ** 32, 2 ** 53].map(limit => {
        return variedRows(tables[kind], 500, limit)
      })
      for (const [index, native] of blocks.entries()) {
        const packed = index % 2 === 0 ? undefined : zstdCompressSync(native)
        expect(await suite.store.insertSegment(suite.id(kind, 500), native, packed)).toBe('stored')
      }
      const table: Table = tables[kind]
      const columns = table.columns.map(column => readable(column.name, column.type))
      const { rows } = await suite.store.query<Record<string, unknown>>(
        `SELECT ${columns.join(', ')} FROM ${kind}`,
      )
      const came = blocks.flatMap(native => decodeNative(native, tables[kind]).toRows())
      const sorted = (list: object[]) => list.map(row => JSON.stringify(row, plain)).sort()
      expect(sorted(rows)).toEqual(sorted(came))
    })

    test('stores a segment once, however often and at the same time it is delivered', async () => {
      const before = await countNumbers(suite.store)
      const segment = suite.id('trap', 10)
      const native = numberedTraps(1_000_000, 10)
      const outcomes = await Promise.all(
        [1, 2, 3].map(() => suite.store.insertSegment(segment, native)),
      )
      expect(outcomes.sort()).toEqual(['duplicate', 'duplicate', 'stored'])
      expect(await suite.store.insertSegment(segment, native)).toBe('duplicate')
      expect((await countNumbers(suite.store)).rows - before.rows).toBe(10)
    })

    test('knows after a restart what it has, gaps included', async () => {
      const other = randomUUID()
      for (const number of [1, 2, 3, 7, 9]) {
        const segment = { collector: other, kind: 'trap' as const, sequence: number, rows: 1 }
        await suite.store.insertSegment(segment, numberedTraps(2_000_000 + number, 1))
      }
      const held = {
        counter: [],
        name: [],
        flow: [],
        syslog: [],
        trap: [
          [1, 3],
          [7, 7],
          [9, 9],
        ],
      }
      expect(await suite.store.received(other)).toEqual(held)
      await suite.restart()
      expect(await suite.store.received(other)).toEqual(held)
      const again = { collector: other, kind: 'trap' as const, sequence: 7, rows: 1 }
      expect(await suite.store.insertSegment(again, numberedTraps(2_000_007, 1))).toBe('duplicate')
    })

    test('folds the ledger of past days into ranges, and still knows every segment', async () => {
      const other = randomUUID()
      const old = `now64(3) - INTERVAL 5 DAY`
      await suite.command(
        `INSERT INTO segments (collector, kind, sequence, through, rows, stored) SELECT '${other}', 'flow', number, number, 10, ${old}
         FROM numbers(1, 3000) WHERE number % 1000 != 0`,
      )
      await suite.command(
        `INSERT INTO segments (collector, kind, sequence, through, rows, stored) SELECT '${other}', 'flow', 500, 1200, 10, ${old}`,
      )
      await suite.restart()
      // biome-ignore format: one line
      expect((await suite.store.received(other)).flow).toEqual([[1, 1999], [2001, 2999]])
      const { rows } = await suite.store.query(
        `SELECT sequence, through, rows FROM segments
         WHERE collector = {other:String} ORDER BY sequence`,
        { other },
      )
      expect(rows).toEqual([
        { sequence: 1, through: 1999, rows: 10 * (1998 + 1) },
        { sequence: 2001, through: 2999, rows: 10 * 999 },
      ])
    })

    test('drops by its token what is in the table and not in the ledger', async () => {
      const segment = suite.id('trap', 5)
      const native = numberedTraps(3_000_000, 5)
      const before = await countNumbers(suite.store)
      await suite.store.insertSegment(segment, native)
      await suite.command(
        `ALTER TABLE segments DELETE WHERE collector = '${suite.collector}'
           AND sequence = ${segment.sequence} SETTINGS mutations_sync = 1`,
      )
      await suite.restart()
      const last = (await suite.store.received(suite.collector)).trap.at(-1)
      expect(last?.[1]).toBeLessThan(segment.sequence)
      expect(await suite.store.insertSegment(segment, native)).toBe('stored')
      expect((await countNumbers(suite.store)).rows - before.rows).toBe(5)
    })

    test.each([
      ['bytes that are no block', Uint8Array.from([1, 2, 3, 4, 5, 6, 7]), 1],
      ['a block that is cut off', numberedTraps(1, 10).subarray(0, -5), 10],
      ['another number of rows than announced', numberedTraps(1, 10), 11],
      ['a block of another table', variedRows(tables.flow, 3), 3],
    ])('refuses %s for good, and goes on', async (_what, native, rows) => {
      const before = await countNumbers(suite.store)
      await expect(suite.store.insertSegment(suite.id('trap', rows), native)).rejects.toThrow(
        SegmentRefused,
      )
      expect(await countNumbers(suite.store)).toEqual(before)
    })

    test('binds parameters instead of reading them as SQL', async () => {
      const said = `x'; DROP TABLE trap; -- \\' \t\n {y:String}`
      const { rows } = await suite.store.query<{ said: string; list: number[] }>(
        'SELECT {said:String} AS said, {list:Array(UInt16)} AS list',
        { said, list: [1, 2] },
      )
      expect(rows).toEqual([{ said, list: [1, 2] }])
      expect((await countNumbers(suite.store)).rows).toBeGreaterThan(0)
    })

    test('does not lend the parameters of one question to the next', async () => {
      for (let i = 0; i < 8; i++) await suite.store.query('SELECT {lent:UInt8}', { lent: 1 })
      await expect(suite.store.query('SELECT {lent:UInt8}')).rejects.toMatchObject({ code: 456 })
    })

    test('answers many questions at the same time, each with its own parameters', async () => {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, number) =>
          suite.store.query<{ n: number }>('SELECT {n:UInt32} AS n', { n: number }),
        ),
      )
      expect(answers.map(answer => answer.rows[0]!.n)).toEqual(
        Array.from({ length: 40 }, (_, n) => n),
      )
    })

    test.each([
      ['SELEC 1', 62, 'SYNTAX_ERROR'],
      ['SELECT nothing FROM trap', 47, 'UNKNOWN_IDENTIFIER'],
      ['SELECT 1 FROM nothing', 60, 'UNKNOWN_TABLE'],
    ])('says of %s what is wrong with it', async (sql, code, reason) => {
      const failure = await suite.store.query(sql).catch(error => error)
      expect(failure).toBeInstanceOf(QueryFailed)
      expect(failure).toMatchObject({ code, reason })
    })

    test('cuts an answer off at the rows that were asked for, and says so', async () => {
      const sql = 'SELECT number FROM numbers(100000) ORDER BY number DESC'
      const cut = await suite.store.query<{ number: number }>(sql, {}, { maxRows: 3 })
      expect(cut.rows.map(row => row.number)).toEqual([99999, 99998, 99997])
      expect(cut.statistics.truncated).toBe(true)
      const whole = await suite.store.query('SELECT 1', {}, { maxRows: 1 })
      expect(whole.rows.length).toBe(1)
      expect(whole.statistics.truncated).toBe(false)
    })

    test('ends a question at its deadline, and one that nobody waits for any more', async () => {
      const endless = 'SELECT sum(sipHash64(number)) FROM numbers(1000000000000)'
      const began = performance.now()
      await expect(suite.store.query(endless, {}, { timeoutMs: 300 })).rejects.toMatchObject({
        code: 159,
      })
      const impatient = AbortSignal.timeout(300)
      const asked = suite.store.query(endless, {}, { signal: impatient, timeoutMs: 60_000 })
      await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' })
      await expect
        .poll(
          async () => {
            const { rows } = await suite.store.query<{ query: string }>(
              `SELECT query FROM system.processes WHERE query LIKE '%sipHash64%'
                 AND query NOT LIKE '%system.processes%'`,
            )
            return rows.map(row => row.query)
          },
          { timeout: 5_000 },
        )
        .toEqual([])
      expect(performance.now() - began).toBeLessThan(8_000)
    })

    test('streams a large answer to the plain client', async () => {
      const { url, username, password } = suite.connection
      const client = createClient({ url, username, password, database: 'keepwatch' })
      try {
        const answer = await client.query({
          query: 'SELECT number AS n, toString(number) AS text FROM numbers(300000)',
          format: 'JSONEachRow',
        })
        let count = 0
        let sum = 0
        for await (const rows of answer.stream<{ n: number; text: string }>()) {
          count += rows.length
          for (const row of rows) sum += Number(row.json().n)
        }
        expect({ count, sum }).toEqual({ count: 300_000, sum: (300_000 * 299_999) / 2 })
      } finally {
        await client.close()
      }
    })

    test('answers while segments come in', async () => {
      const other = randomUUID()
      const segments = Array.from({ length: 30 }, (_, index) =>
        suite.store.insertSegment(
          { collector: other, kind: 'trap', sequence: index + 1, rows: 1000 },
          numberedTraps(4_000_000 + 1000 * index, 1000),
        ),
      )
      const counts = []
      for (let i = 0; i < 10; i++) counts.push((await countNumbers(suite.store)).rows)
      expect(counts).toEqual([...counts].sort((a, b) => a - b))
      expect(new Set(await Promise.all(segments))).toEqual(new Set(['stored']))
      expect((await suite.store.received(other)).trap).toEqual([[1, 30]])
    })

    test('gives an older table the columns that it lacks', async () => {
      await suite.command('ALTER TABLE flow DROP COLUMN end_reason')
      await suite.command('ALTER TABLE flow DROP COLUMN service_port')
      await suite.restart()
      expect(await suite.store.insertSegment(suite.id('flow', 5), variedRows(tables.flow, 5))).toBe(
        'stored',
      )
      const { rows } = await suite.store.query<{ name: string }>(
        `SELECT name FROM system.columns
         WHERE table = 'flow' AND database = 'keepwatch' ORDER BY position`,
      )
      const { columns, derived } = tables.flow
      expect(rows.map(row => row.name)).toEqual([...columns, ...derived].map(({ name }) => name))
    })

    test('gives older tables the codecs and settings of today, once', async () => {
      const wanted = [
        ['flow', tables.flow.columns],
        ...rollups.map(rollup => [rollup.name, rollupColumns(rollup)] as const),
      ] as const
      const client = createEngineClient(suite, { database: 'keepwatch' })
      const changes = async () => {
        const { columns, tables: made } = await readPresent(client)
        const codecs = wanted.map(([name, all]) => codecsSql(name, all, columns.get(name)!))
        const settings = kinds.map(kind => settingsSql(tables[kind], made.get(kind)!))
        return [...codecs, ...settings].filter(sql => sql !== undefined)
      }
      await suite.command('ALTER TABLE flow MODIFY COLUMN time CODEC(DoubleDelta, ZSTD(1))')
      await suite.command('ALTER TABLE flow_exporter_5m MODIFY COLUMN exporter CODEC(ZSTD(3))')
      await suite.command('ALTER TABLE trap MODIFY SETTING min_bytes_for_wide_part = 1')
      expect(await changes()).toHaveLength(3)
      await suite.restart()
      expect(await changes()).toEqual([])
      await client.close()
      expect(await suite.store.insertSegment(suite.id('flow', 5), variedRows(tables.flow, 5))).toBe(
        'stored',
      )
    })

    test.skipIf(suite.kill === undefined)(
      'holds every number once after kills amid the inserts and delivery of all again',
      async () => {
        const other = randomUUID()
        const before = await countNumbers(suite.store)
        const segments = Array.from({ length: 120 }, (_, index) => ({
          id: { collector: other, kind: 'trap' as const, sequence: index + 1, rows: 200 },
          native: numberedTraps(5_000_000 + 200 * index, 200),
        }))
        const outcomes = { stored: 0, failed: 0 }
        for (let from = 0; from < segments.length; from += 40) {
          const part = segments.slice(from, from + 40)
          const underway = part.map((segment, index) =>
            suite.store.insertSegment(segment.id, segment.native).then(
              () => {
                outcomes.stored++
                if (index === 9) suite.kill?.()
              },
              () => outcomes.failed++,
            ),
          )
          await Promise.all(underway)
        }
        expect(outcomes.stored).toBeGreaterThan(30)
        for (const { id, native } of segments) await suite.store.insertSegment(id, native)
        await suite.restart()
        expect((await suite.store.received(other)).trap).toEqual([[1, 120]])
        for (const { id, native } of segments) {
          expect(await suite.store.insertSegment(id, native)).toBe('duplicate')
        }
        const after = await countNumbers(suite.store)
        expect(after.rows - before.rows).toBe(120 * 200)
        expect(after.numbers - before.numbers).toBe(120 * 200)
      },
    )
  })
}

/** A column as `decodeNative` reads it. */
function readable(name: string, type: ColumnType): string {
  switch (type) {
    case 'DateTime':
      return `toUInt32(${name}) AS ${name}`
    case 'DateTime64(3)':
      return `toUnixTimestamp64Milli(${name}) AS ${name}`
    case 'IPv6':
      return `replaceOne(toString(${name}), '::ffff:', '') AS ${name}`
    default:
      return name
  }
}

function plain(_key: string, value: unknown) {
  return typeof value === 'bigint' ? Number(value) : value
}
