/**
 * What every telemetry store has to do, whatever engine is behind it: one suite, called with a
 * connection to each.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { zstdCompressSync } from 'node:zlib'
import { createClient } from '@clickhouse/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import {
  bestCounted,
  type CountedTraffic,
  countedTraffic,
  interfaceColumns,
  interfaceTraffic,
} from '../../src/query/interfaces.ts'
import type { Sql } from '../../src/query/question.ts'
import { trafficSeries, trafficTop, trafficTotal } from '../../src/query/traffic.ts'
import { piecesFor, tableFor, trafficTables } from '../../src/query/traffic-tables.ts'
import { createEngineClient } from '../../src/store/clickhouse/client.ts'
import type { Connection } from '../../src/store/clickhouse/connection.ts'
import { QueryFailed, SegmentRefused } from '../../src/store/clickhouse/errors.ts'
import { geoLists } from '../../src/store/clickhouse/lookups.ts'
import { readPresent } from '../../src/store/clickhouse/present.ts'
import {
  createTelemetryStore,
  type TelemetryStore,
  type TelemetryStoreConfig,
} from '../../src/store/clickhouse/telemetry-store.ts'
import { parseAddress } from '../../src/telemetry/address.ts'
import { createBatch } from '../../src/telemetry/batch.ts'
import { writeCounters } from '../../src/telemetry/counter.ts'
import { codecsSql } from '../../src/telemetry/ddl.ts'
import { decodeNative, encodeNative } from '../../src/telemetry/native.ts'
import { rollupColumns, rollups } from '../../src/telemetry/rollups.ts'
import { type ColumnType, type Kind, kinds, type Table } from '../../src/telemetry/table.ts'
import { tables } from '../../src/telemetry/tables.ts'

export interface Backend {
  start(): Promise<Connection>
  stop(): Promise<void>
  /** Kills the engine with no warning; undefined where that is not ours to do. */
  kill?: () => void
}

/** A store on a connection, with nothing but silence around it. */
export function storeOn(connection: Connection, config: TelemetryStoreConfig = {}): TelemetryStore {
  const log = createLog({ level: 'silent', part: 'test' })
  return createTelemetryStore(
    { connection, log, metrics: createMetrics({}), clock: systemClock },
    config,
  )
}

/** Traps numbered `from` … `from + rows − 1` in the column `request`, received now. */
export function numberedTraps(from: number, rows: number): Uint8Array {
  const batch = createBatch(tables.trap, rows, () => {})
  const now = Date.now()
  for (let i = 0; i < rows; i++) {
    const row = batch.claim()
    batch.cells.received.set(row, now)
    batch.cells.request.values[row] = from + i
    batch.cells.oid.setText(row, '1.3.6.1.6.3.1.1.5.3')
    batch.commit()
  }
  return encodeNative(batch)
}

/** How many rows there are, how many numbers, and how many numbers are there more than once. */
export async function countNumbers(store: TelemetryStore) {
  const { rows } = await store.query<{ rows: number; numbers: number }>(
    'SELECT count() AS rows, uniqExact(request) AS numbers FROM trap',
  )
  return rows[0]!
}

export function telemetryStoreContract(name: string, createBackend: () => Backend) {
  describe(`a telemetry store on ${name}`, { timeout: 60_000 }, () => {
    const backend = createBackend()
    const collector = randomUUID()
    let connection: Connection
    let store: TelemetryStore
    let sequence = 0

    const id = (kind: Kind, rows: number, number = ++sequence) => ({
      collector,
      kind,
      sequence: number,
      rows,
    })

    /** What only a test does, past the store. */
    async function command(query: string) {
      const { url, username, password } = connection
      const client = createClient({ url, username, password, database: 'keepwatch' })
      await client.command({ query }).finally(() => client.close())
    }

    beforeAll(async () => {
      connection = await backend.start()
      store = storeOn(connection)
      await store.start()
    }, 120_000)

    afterAll(async () => {
      await store?.stop()
      await backend.stop()
    }, 60_000)

    test.each(kinds)('gives back the rows of %s as they came, in every column', async kind => {
      // Columns travel as narrow as their cells allow.
      const blocks = [2 ** 8, 2 ** 16, 2 ** 32, 2 ** 53].map(limit => {
        return variedRows(tables[kind], 500, limit)
      })
      for (const [index, native] of blocks.entries()) {
        const packed = index % 2 === 0 ? undefined : zstdCompressSync(native)
        expect(await store.insertSegment(id(kind, 500), native, packed)).toBe('stored')
      }
      const table: Table = tables[kind]
      const columns = table.columns.map(column => readable(column.name, column.type))
      const { rows } = await store.query<Record<string, unknown>>(
        `SELECT ${columns.join(', ')} FROM ${kind}`,
      )
      const came = blocks.flatMap(native => decodeNative(native, tables[kind]).toRows())
      const sorted = (list: object[]) => list.map(row => JSON.stringify(row, plain)).sort()
      expect(sorted(rows)).toEqual(sorted(came))
    })

    test('stores a segment once, however often and at the same time it is delivered', async () => {
      const before = await countNumbers(store)
      const segment = id('trap', 10)
      const native = numberedTraps(1_000_000, 10)
      const outcomes = await Promise.all([1, 2, 3].map(() => store.insertSegment(segment, native)))
      expect(outcomes.sort()).toEqual(['duplicate', 'duplicate', 'stored'])
      expect(await store.insertSegment(segment, native)).toBe('duplicate')
      expect((await countNumbers(store)).rows - before.rows).toBe(10)
    })

    test('knows after a restart what it has, gaps included', async () => {
      const other = randomUUID()
      for (const number of [1, 2, 3, 7, 9]) {
        const segment = { collector: other, kind: 'trap' as const, sequence: number, rows: 1 }
        await store.insertSegment(segment, numberedTraps(2_000_000 + number, 1))
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
      expect(await store.received(other)).toEqual(held)
      await store.stop()
      store = storeOn(connection)
      await store.start()
      expect(await store.received(other)).toEqual(held)
      const again = { collector: other, kind: 'trap' as const, sequence: 7, rows: 1 }
      expect(await store.insertSegment(again, numberedTraps(2_000_007, 1))).toBe('duplicate')
    })

    test('folds the ledger of past days into ranges, and still knows every segment', async () => {
      const other = randomUUID()
      const old = `now64(3) - INTERVAL 5 DAY`
      await command(
        `INSERT INTO segments SELECT '${other}', 'flow', number, number, 10, ${old}
         FROM numbers(1, 3000) WHERE number % 1000 != 0`,
      )
      await command(`INSERT INTO segments SELECT '${other}', 'flow', 500, 1200, 10, ${old}`)
      await store.stop()
      store = storeOn(connection)
      await store.start()
      // biome-ignore format: one line
      expect((await store.received(other)).flow).toEqual([[1, 1999], [2001, 2999]])
      const { rows } = await store.query(
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
      const segment = id('trap', 5)
      const native = numberedTraps(3_000_000, 5)
      const before = await countNumbers(store)
      await store.insertSegment(segment, native)
      await command(
        `ALTER TABLE segments DELETE WHERE collector = '${collector}'
           AND sequence = ${segment.sequence} SETTINGS mutations_sync = 1`,
      )
      await store.stop()
      store = storeOn(connection)
      await store.start()
      const last = (await store.received(collector)).trap.at(-1)
      expect(last?.[1]).toBeLessThan(segment.sequence)
      expect(await store.insertSegment(segment, native)).toBe('stored')
      expect((await countNumbers(store)).rows - before.rows).toBe(5)
    })

    test('every rollup says the same as the flows, also when segments come twice', async () => {
      const before = Math.floor(Date.now() / 1000)
      const segments = [1, 2, 3].map(() => ({
        segment: id('flow', 400),
        native: someFlows(400, before),
      }))
      for (const { segment, native } of [...segments, segments[1]!]) {
        await store.insertSegment(segment, native)
      }
      await command(
        `ALTER TABLE segments DELETE WHERE collector = '${collector}'
           AND sequence = ${segments[2]!.segment.sequence} SETTINGS mutations_sync = 1`,
      )
      await store.stop()
      store = storeOn(connection)
      await store.start()
      await store.insertSegment(segments[2]!.segment, segments[2]!.native)
      await expectRollupsAgree(store)
    })

    test('names are looked up when a question is asked, the smallest network first', async () => {
      const now = Math.ceil(Date.now() / 3_600_000) * 3_600_000
      const question = { range: { from: now - 4 * 3_600_000, to: now }, limit: 10 }
      const raw = trafficTables.at(-1)!
      const ask = async (by: string, where: string[] = [], table = raw) => {
        const { text, params } = trafficTop({
          ...{ ...question, table, by: by.split(','), where: ['exporter=192.0.2.9', ...where] },
          ...{ metric: 'flows', sampling: new Map() },
        })
        const { rows } = await store.query<{ keys: string[]; flows: number }>(text, params)
        return Object.fromEntries(rows.map(({ keys, flows }) => [keys[0], flows]))
      }
      await store.fillNames({
        networks: [
          { prefix: '192.0.0.0/8', name: 'all of it', site: '' },
          { prefix: '192.0.2.0/24', name: 'office', site: 'Berlin' },
          { prefix: '2001:db8::/32', name: 'lab', site: 'Paris' },
        ],
        applications: [{ protocol: 6, port: 443, name: 'our shop' }],
        interfaces: [{ exporter: '192.0.2.9', index: 7, name: 'ge-0/0/7 (uplink)' }],
      })
      await store.insertSegment(id('flow', 30), namedFlows(30))
      const before = await ask('src.network')
      expect(before).toEqual({ office: 10, lab: 10, 'all of it': 10 })
      expect(await ask('src.site')).toEqual({ Berlin: 10, Paris: 10, 'not named': 10 })
      expect(await ask('src.site', ['src.network=all of it'])).toEqual({ 'not named': 10 })
      const applications = await ask('application', ['src.network=office'])
      expect(await ask('application,exporter')).toEqual(await ask('application'))
      expect(applications).toEqual({ 'our shop': 5, dns: 5 })
      const rolledUp = trafficTables.find(({ name }) => name === 'flow_application_5m')!
      expect(await ask('application', [], rolledUp)).toEqual(await ask('application'))
      const interfaces = trafficTables.find(({ name }) => name === 'flow_interface_1m')!
      for (const table of [raw, interfaces]) {
        const named = await ask('in.interface', [], table)
        expect(named).toEqual({ 'ge-0/0/7 (uplink)': 15, 'ifIndex 8': 15 })
      }
      await store.fillNames({ networks: [], applications: [], interfaces: [] })
      expect(Object.keys(await ask('src.network'))).toEqual(['not named'])
      expect(await ask('application', ['src.addr=192.0.2.1'])).toMatchObject({ https: 5 })
      const { text, params } = trafficSeries({
        ...{ ...question, table: raw, step: 60, where: [] },
        ...{ metric: 'bits', sampling: new Map() },
        by: { dimension: 'application', keys: ['https'] },
      })
      const { rows } = await store.query<{ key: string; value: number }>(text, params)
      expect(rows.length).toBeGreaterThan(0)
      expect(new Set(rows.map(({ key }) => key))).toEqual(new Set(['https']))
    })

    test('what an exporter calls its own things is looked up, the newest of what it said', async () => {
      const exporter = '192.0.2.77'
      const application = 13 * 2 ** 24 + 79
      const now = Math.ceil(Date.now() / 3_600_000) * 3_600_000
      const ask = async (by: string, of = exporter) => {
        const { text, params } = trafficTop({
          ...{ table: trafficTables.at(-1)!, range: { from: now - 4 * 3_600_000, to: now } },
          ...{ by: [by], where: [`exporter=${of}`], metric: 'flows', sampling: new Map() },
          limit: 10,
        })
        const { rows } = await store.query<{ keys: string[] }>(text, params)
        return rows.map(({ keys }) => keys[0]).sort()
      }
      const things: [what: number, id: number, name: string, description: string][] = [
        [1, 7, 'old', ''],
        [1, 7, 'Gi0/7', 'to Berlin'],
        [2, application, 'webex', 'meetings'],
        [3, 5, 'blue', ''],
      ]
      const flows = [exporter, '192.0.2.78'].map(of => flowsOfThings(of, application))
      for (const native of flows) await store.insertSegment(id('flow', 2), native)
      expect(await ask('application')).toEqual(['13:79', 'https'])
      for (const [index, thing] of things.entries()) {
        await store.insertSegment(id('name', 1), saidName(exporter, index, ...thing))
      }
      const deadline = performance.now() + 20_000
      while (!(await ask('application')).includes('webex')) {
        if (performance.now() > deadline) throw new Error('the name was never looked up')
        await sleep(100)
      }
      expect(await ask('application')).toEqual(['https', 'webex'])
      expect(await ask('in.interface')).toEqual(['Gi0/7 (to Berlin)', 'ifIndex 8'])
      expect(await ask('vrf.name')).toEqual(['0', 'blue'])
      expect(await ask('application', '192.0.2.78')).toEqual(['13:79', 'https'])
      await store.fillNames({
        ...{ networks: [], applications: [] },
        interfaces: [{ exporter, index: 7, name: 'by SNMP' }],
      })
      expect(await ask('in.interface')).toContain('by SNMP')
      await store.fillNames({ networks: [], applications: [], interfaces: [] })
    })

    test('a picture and a table of names say the same, at the rate that a person set', async () => {
      const exporter = '192.0.2.80'
      await store.insertSegment(id('flow', 2), flowsOfThings(exporter, 13 * 2 ** 24 + 81))
      await store.insertSegment(id('flow', 2), flowsOfThings(exporter, 3 * 2 ** 24 + 443))
      const now = Math.ceil(Date.now() / 3_600_000) * 3_600_000
      const range = { from: now - 4 * 3_600_000, to: now }
      const where = [`exporter=${exporter}`]
      const names = ['flow', 'flow_application_5m', 'flow_service_1m']
      for (const table of trafficTables.filter(({ name }) => names.includes(name))) {
        const step = Math.max(60, table.step)
        const question = { table, range, where, sampling: new Map([[exporter, 10]]) }
        const top = trafficTop({ ...question, by: ['application'], metric: 'bits', limit: 10 })
        const { rows } = await store.query<{ keys: string[]; bytes: number }>(top.text, top.params)
        const inTable = Object.fromEntries(rows.map(({ keys, bytes }) => [keys[0], bytes]))
        expect(inTable).toEqual({ '13:81': 1000, '3:443': 1000, https: 2000 })
        const by = { dimension: 'application', keys: ['https', '13:81'] }
        const series = trafficSeries({ ...question, step, metric: 'bits', by })
        const picture: Record<string, number> = {}
        const buckets = await store.query<{ key: string; value: number }>(
          series.text,
          series.params,
        )
        for (const { key, value } of buckets.rows) {
          picture[key] = (picture[key] ?? 0) + (value * step) / 8
        }
        expect(Object.keys(picture).sort()).toEqual(['13:81', 'https'])
        expect(picture['13:81']).toBeCloseTo(1000)
        expect(picture.https).toBeCloseTo(2000)
      }
    })

    test('flows and counters of an interface are told side by side, restarts left out', async () => {
      const exporter = '192.0.2.79'
      const begin = Math.floor(Date.now() / 60_000) * 60 - 600
      const readings: [source: 1 | 2, after: number, inOctets: bigint][] = [
        ...([0, 60, 120].map(after => [1, after, 2n ** 40n + BigInt(after)]) as never[]),
        // It was restarted, and counted from zero.
        [1, 180, 5n],
        [1, 240, 125n],
        [2, 0, 7n],
        [2, 240, 247n],
      ]
      const batch = createBatch(tables.counter, 100, () => {})
      for (const [source, after, inOctets] of readings) {
        writeCounters(
          batch,
          parseAddress(exporter)!,
          { ...noCounters, index: 7, oper: 1, inOctets, outOctets: 2n * inOctets },
          1000 * (begin + after),
        )
        batch.cells.source.values[batch.rows - 1] = source
      }
      await store.insertSegment(id('counter', readings.length), encodeNative(batch))
      const range = { from: 1000 * begin, to: 1000 * (begin + 300) }
      const ask = async <Row>({ text, params }: Sql) => (await store.query<Row>(text, params)).rows
      const counted = await ask<CountedTraffic>(countedTraffic({ range, exporter }))
      expect(counted).toMatchObject([
        { exporter, index: 7, source: 1, seconds: 180, inOctets: 240, outOctets: 480, oper: 1 },
        { exporter, index: 7, source: 2, seconds: 240, inOctets: 240, outOctets: 480 },
      ])
      expect([...bestCounted(counted).values()]).toMatchObject([{ source: 2 }])

      await store.insertSegment(id('flow', 2), flowsOfThings(exporter, 0))
      const now = Math.ceil(Date.now() / 60_000) * 60_000
      const today = { from: now - 600_000, to: now }
      for (const table of trafficTables) {
        if (!interfaceColumns.every(name => table.columns.has(name)) || table.step > 60) continue
        const traffic = { pieces: [{ table, range: today }], table, range: today, exporter }
        const rows = await ask(
          interfaceTraffic({ ...traffic, sampling: new Map([[exporter, 10]]) }),
        )
        expect(rows).toMatchObject([
          { exporter, index: 7, inIngress: 1000, inEgress: 0 },
          { exporter, index: 8, inIngress: 1000, outIngress: 0 },
        ])
        const within = (from: number) =>
          ask(
            interfaceTraffic({
              ...{ ...traffic, sampling: new Map() },
              spans: new Map([[exporter, { from, to: from + 600 }]]),
            }),
          )
        expect(await within(today.from / 1000)).toHaveLength(2)
        expect(await within(today.from / 1000 - 600)).toEqual([])
      }
    })

    test('an address has the country and the system that are known of it', async () => {
      const now = Math.ceil(Date.now() / 3_600_000) * 3_600_000
      const raw = trafficTables.at(-1)!
      const ask = async (by: string) => {
        const { text, params } = trafficTop({
          ...{ table: raw, range: { from: now - 4 * 3_600_000, to: now }, limit: 100 },
          ...{ by: [by], where: ['src.addr=192.9.9.9'], metric: 'flows', sampling: new Map() },
        })
        const { rows } = await store.query<{ keys: string[] }>(text, params)
        return rows.map(({ keys }) => keys[0])
      }
      await store.insertSegment(id('flow', 30), namedFlows(30))
      expect(await ask('src.country')).toEqual(['not named'])
      const network = {
        prefix: '192.9.0.0/16',
        asn: 64_500,
        organisation: 'Example',
        country: 'DE',
      }
      for (const list of geoLists) {
        expect(await store.geoVersion(list)).toBe(undefined)
        await store.fillGeo({ list, version: '1', networks: [network] })
        expect(await store.geoVersion(list)).toBe('1')
      }
      expect(await ask('src.country')).toEqual(['DE'])
      expect(await ask('src.asn')).toEqual(['64500'])
      expect(await ask('src.organisation')).toEqual(['Example'])
      expect(await ask('dst.organisation')).toEqual(['not named'])
    })

    test('a question has one answer, whichever table and whatever rate a person set', async () => {
      const now = Math.ceil(Date.now() / 3_600_000) * 3_600_000
      const range = { from: now - 4 * 3_600_000, to: now }
      for (const rates of [[], [7], [7, 4_294_967_295]]) {
        const sampling = new Map(rates.map((rate, index) => [addressTexts[index]!, rate]))
        const answers = await Promise.all(
          trafficTables.map(async table => {
            const { text, params } = trafficTotal({ table, range, where: [], sampling })
            return (await store.query(text, params)).rows[0]
          }),
        )
        for (const answer of answers) expect(answer).toEqual(answers[0])
        const uneven = { from: range.from + 1_260_000, to: range.to - 660_000 }
        const choice = tableFor([], uneven, 60, store.keptSince)
        const whole = { table: choice.table, range: uneven, where: [], sampling }
        const pieces = piecesFor(choice, [], uneven, store.keptSince)
        expect(pieces.length).toBeGreaterThan(1)
        const sums = [trafficTotal({ ...whole, pieces }), trafficTotal(whole)]
        const [inPieces, inOne] = await Promise.all(
          sums.map(async ({ text, params }) => (await store.query(text, params)).rows[0]),
        )
        expect(inPieces).toEqual(inOne)
        const one = { table: trafficTables[0]!, range, where: [`exporter=${addressTexts[0]}`] }
        const asked = trafficTotal({ ...one, sampling })
        const raw = trafficTotal({ ...one, table: trafficTables.at(-1)!, sampling: new Map() })
        const byHand = `SELECT sum(bytes) * 7 AS bytes FROM (${raw.text.replace(/sum\(bytes \* sampling\)/, 'sum(bytes)')})`
        if (rates.length === 0) continue
        const [rated] = (await store.query<{ bytes: number }>(asked.text, asked.params)).rows
        const [expected] = (await store.query<{ bytes: number }>(byHand, raw.params)).rows
        expect(rated!.bytes).toBe(expected!.bytes)
        expect(rated!.bytes).toBeGreaterThan(0)
      }
    })

    test.each([
      ['bytes that are no block', Uint8Array.from([1, 2, 3, 4, 5, 6, 7]), 1],
      ['a block that is cut off', numberedTraps(1, 10).subarray(0, -5), 10],
      ['another number of rows than announced', numberedTraps(1, 10), 11],
      ['a block of another table', variedRows(tables.flow, 3), 3],
    ])('refuses %s for good, and goes on', async (_what, native, rows) => {
      const before = await countNumbers(store)
      await expect(store.insertSegment(id('trap', rows), native)).rejects.toThrow(SegmentRefused)
      expect(await countNumbers(store)).toEqual(before)
    })

    test('binds parameters instead of reading them as SQL', async () => {
      const said = `x'; DROP TABLE trap; -- \\' \t\n {y:String}`
      const { rows } = await store.query<{ said: string; list: number[] }>(
        'SELECT {said:String} AS said, {list:Array(UInt16)} AS list',
        { said, list: [1, 2] },
      )
      expect(rows).toEqual([{ said, list: [1, 2] }])
      expect((await countNumbers(store)).rows).toBeGreaterThan(0)
    })

    test('does not lend the parameters of one question to the next', async () => {
      for (let i = 0; i < 8; i++) await store.query('SELECT {lent:UInt8}', { lent: 1 })
      await expect(store.query('SELECT {lent:UInt8}')).rejects.toMatchObject({ code: 456 })
    })

    test('answers many questions at the same time, each with its own parameters', async () => {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, number) =>
          store.query<{ n: number }>('SELECT {n:UInt32} AS n', { n: number }),
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
      const failure = await store.query(sql).catch(error => error)
      expect(failure).toBeInstanceOf(QueryFailed)
      expect(failure).toMatchObject({ code, reason })
    })

    test('cuts an answer off at the rows that were asked for, and says so', async () => {
      const sql = 'SELECT number FROM numbers(100000) ORDER BY number DESC'
      const cut = await store.query<{ number: number }>(sql, {}, { maxRows: 3 })
      expect(cut.rows.map(row => row.number)).toEqual([99999, 99998, 99997])
      expect(cut.statistics.truncated).toBe(true)
      const whole = await store.query('SELECT 1', {}, { maxRows: 1 })
      expect(whole.rows.length).toBe(1)
      expect(whole.statistics.truncated).toBe(false)
    })

    test('ends a question at its deadline, and one that nobody waits for any more', async () => {
      const endless = 'SELECT sum(sipHash64(number)) FROM numbers(1000000000000)'
      const began = performance.now()
      await expect(store.query(endless, {}, { timeoutMs: 300 })).rejects.toMatchObject({
        code: 159,
      })
      const impatient = AbortSignal.timeout(300)
      const asked = store.query(endless, {}, { signal: impatient, timeoutMs: 60_000 })
      await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' })
      await expect
        .poll(
          async () => {
            const { rows } = await store.query<{ query: string }>(
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
      const { url, username, password } = connection
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
        store.insertSegment(
          { collector: other, kind: 'trap', sequence: index + 1, rows: 1000 },
          numberedTraps(4_000_000 + 1000 * index, 1000),
        ),
      )
      const counts = []
      for (let i = 0; i < 10; i++) counts.push((await countNumbers(store)).rows)
      expect(counts).toEqual([...counts].sort((a, b) => a - b))
      expect(new Set(await Promise.all(segments))).toEqual(new Set(['stored']))
      expect((await store.received(other)).trap).toEqual([[1, 30]])
    })

    test('gives an older table the columns that it lacks', async () => {
      await command('ALTER TABLE flow DROP COLUMN end_reason')
      await command('ALTER TABLE flow DROP COLUMN service_port')
      await store.stop()
      store = storeOn(connection)
      await store.start()
      expect(await store.insertSegment(id('flow', 5), variedRows(tables.flow, 5))).toBe('stored')
      const { rows } = await store.query<{ name: string }>(
        `SELECT name FROM system.columns
         WHERE table = 'flow' AND database = 'keepwatch' ORDER BY position`,
      )
      const { columns, derived } = tables.flow
      expect(rows.map(row => row.name)).toEqual([...columns, ...derived].map(({ name }) => name))
    })

    test('gives older tables the codecs of today, once', async () => {
      const wanted = [
        ['flow', tables.flow.columns],
        ...rollups.map(rollup => [rollup.name, rollupColumns(rollup)] as const),
      ] as const
      const client = createEngineClient({ connection }, { database: 'keepwatch' })
      const changes = async () => {
        const { columns } = await readPresent(client)
        return wanted.flatMap(([name, all]) => codecsSql(name, all, columns.get(name)!) ?? [])
      }
      await command('ALTER TABLE flow MODIFY COLUMN time CODEC(DoubleDelta, ZSTD(1))')
      await command('ALTER TABLE flow_exporter_5m MODIFY COLUMN exporter CODEC(ZSTD(3))')
      expect(await changes()).toHaveLength(2)
      await store.stop()
      store = storeOn(connection)
      await store.start()
      expect(await changes()).toEqual([])
      await client.close()
      expect(await store.insertSegment(id('flow', 5), variedRows(tables.flow, 5))).toBe('stored')
    })

    const { kill } = backend
    test.skipIf(kill === undefined)(
      'holds every number once after kills amid the inserts and delivery of all again',
      async () => {
        const other = randomUUID()
        const before = await countNumbers(store)
        const segments = Array.from({ length: 120 }, (_, index) => ({
          id: { collector: other, kind: 'trap' as const, sequence: index + 1, rows: 200 },
          native: numberedTraps(5_000_000 + 200 * index, 200),
        }))
        const outcomes = { stored: 0, failed: 0 }
        for (let from = 0; from < segments.length; from += 40) {
          const part = segments.slice(from, from + 40)
          const underway = part.map((segment, index) =>
            store.insertSegment(segment.id, segment.native).then(
              () => {
                outcomes.stored++
                if (index === 9) kill?.()
              },
              () => outcomes.failed++,
            ),
          )
          await Promise.all(underway)
        }
        expect(outcomes.stored).toBeGreaterThan(30)
        for (const { id, native } of segments) await store.insertSegment(id, native)
        await store.stop()
        store = storeOn(connection)
        await store.start()
        expect((await store.received(other)).trap).toEqual([[1, 120]])
        for (const { id, native } of segments) {
          expect(await store.insertSegment(id, native)).toBe('duplicate')
        }
        const after = await countNumbers(store)
        expect(after.rows - before.rows).toBe(120 * 200)
        expect(after.numbers - before.numbers).toBe(120 * 200)
      },
    )

    test.skipIf(!kill)('has every flow in every rollup after kills amid the inserts', async () => {
      const now = Math.floor(Date.now() / 1000)
      const segments = Array.from({ length: 60 }, () => ({
        id: id('flow', 300),
        native: someFlows(300, now),
      }))
      for (let from = 0; from < segments.length; from += 20) {
        const underway = segments.slice(from, from + 20).map((segment, index) =>
          store.insertSegment(segment.id, segment.native).then(
            () => {
              if (index === 3) kill?.()
            },
            () => {},
          ),
        )
        await Promise.all(underway)
      }
      for (const { id, native } of segments) await store.insertSegment(id, native)
      await expectRollupsAgree(store)
    })

    test.skipIf(!kill)(
      'has every flow once in every rollup after kills amid the summing up',
      async () => {
        const now = Math.floor(Date.now() / 1000)
        for (const afterMs of [10, 50, 120]) {
          await store.insertSegment(id('flow', 300), someFlows(300, now))
          const rolling = store.rollUp().catch(() => {})
          await sleep(afterMs)
          kill?.()
          await rolling
          await rollUpAtLast(store)
        }
        await store.stop()
        store = storeOn(connection)
        await store.start()
        await expectRollupsAgree(store)
      },
      120_000,
    )
  })
}

/** Engines are restarted by whoever watches them, a little later. */
async function rollUpAtLast(store: TelemetryStore) {
  const deadline = performance.now() + 60_000
  for (;;) {
    try {
      return await store.rollUp()
    } catch (error) {
      if (performance.now() > deadline) throw error
    }
  }
}

const noCounters = {
  ...{ index: 0, oper: 0, inOctets: 0n, inUnicast: 0n, inMulticast: 0n, inBroadcast: 0n },
  ...{ inDiscards: 0n, inErrors: 0n, outOctets: 0n, outUnicast: 0n, outMulticast: 0n },
  ...{ outBroadcast: 0n, outDiscards: 0n, outErrors: 0n },
}

/** One flow with everything that an exporter has names of, and one without. */
function flowsOfThings(exporter: string, application: number): Uint8Array {
  const batch = createBatch(tables.flow, 2, () => {})
  const { cells } = batch
  const now = Date.now()
  for (const named of [true, false]) {
    const row = batch.claim()
    cells.time.values[row] = now / 1000
    for (const column of ['received', 'start', 'end'] as const) cells[column].set(row, now)
    cells.exporter.setV6(row, parseAddress(exporter)!, 0)
    cells.traffic.values[row] = 1
    cells.sampling.values[row] = 1
    cells.bytes.set(row, 100)
    cells.protocol.values[row] = 6
    cells.src_port.values[row] = 443
    cells.dst_port.values[row] = 50_000
    cells.in_if.values[row] = named ? 7 : 8
    cells.application.values[row] = named ? application : 0
    cells.vrf.values[row] = named ? 5 : 0
    batch.commit()
  }
  return encodeNative(batch)
}

function saidName(
  exporter: string,
  time: number,
  what: number,
  id: number,
  name: string,
  description: string,
): Uint8Array {
  const batch = createBatch(tables.name, 1, () => {})
  const { cells } = batch
  const row = batch.claim()
  cells.time.values[row] = Date.now() / 1000 + time
  cells.exporter.setV6(row, parseAddress(exporter)!, 0)
  cells.what.values[row] = what
  cells.id.values[row] = id
  cells.name.setText(row, name)
  cells.description.setText(row, description)
  batch.commit()
  return encodeNative(batch)
}

/** From three networks in turn, to a web server and to a name server. */
function namedFlows(count: number): Uint8Array {
  const batch = createBatch(tables.flow, count, () => {})
  const sources = ['192.0.2.1', '2001:db8::7', '192.9.9.9'].map(text => parseAddress(text)!)
  for (let i = 0; i < count; i++) {
    const row = batch.claim()
    const { cells } = batch
    cells.time.values[row] = Math.floor(Date.now() / 1000) - 60
    cells.exporter.setV6(row, parseAddress('192.0.2.9')!, 0)
    cells.in_if.values[row] = 7 + (i % 2)
    cells.src_addr.setV6(row, sources[i % 3]!, 0)
    cells.protocol.values[row] = i < count / 2 ? 6 : 17
    cells.src_port.values[row] = 50_000
    cells.dst_port.values[row] = i < count / 2 ? 443 : 53
    cells.sampling.values[row] = 1
    cells.traffic.values[row] = 1
    batch.commit()
  }
  return encodeNative(batch)
}

/** Each rollup has what the flows come to. */
async function expectRollupsAgree(store: TelemetryStore) {
  await store.rollUp()
  for (const { name, step, keys } of rollups) {
    const bucket = `toUInt32(intDiv(toUInt32(time), ${step}) * ${step})`
    const by = [`${bucket} AS bucket`, ...keys].join(', ')
    const groups = ['bucket', ...keys].join(', ')
    const sums = (flows: string) =>
      `SELECT ${by}, sum(bytes) AS b, sum(packets) AS p, ${flows} AS f`
    const { rows } = await store.query<{ raw: number; rolled: number; different: number }>(
      `WITH raw AS (${sums('count()')} FROM flow WHERE traffic = 1 GROUP BY ${groups}),
         rolled AS (${sums('sum(flows)')} FROM ${name} GROUP BY ${groups})
       SELECT (SELECT count() FROM raw) AS raw, (SELECT count() FROM rolled) AS rolled,
         (SELECT count() FROM (SELECT * FROM raw EXCEPT SELECT * FROM rolled)) AS different`,
    )
    expect({ name, ...rows[0] }).toEqual({
      name,
      raw: expect.any(Number),
      rolled: rows[0]!.raw,
      different: 0,
    })
    expect(rows[0]!.raw).toBeGreaterThan(0)
  }
}

/** Of a few interfaces and services in the two hours before, some of them events. */
function someFlows(count: number, before: number): Uint8Array {
  const batch = createBatch(tables.flow, count, () => {})
  for (let i = 0; i < count; i++) {
    const row = batch.claim()
    const { cells } = batch
    cells.time.values[row] = before - ((i * 7919) % 7200)
    cells.exporter.setV6(row, addresses[i % 2]!, 0)
    cells.in_if.values[row] = i % 3
    cells.out_if.values[row] = i % 5
    cells.protocol.values[row] = i % 2 === 0 ? 6 : 17
    cells.src_port.values[row] = 40_000 + i
    cells.dst_port.values[row] = i % 7 === 0 ? 443 : 53
    cells.src_as.values[row] = i % 4
    cells.sampling.values[row] = i % 6 === 0 ? 1000 : 1
    cells.traffic.values[row] = i % 10 === 0 ? 0 : 1
    cells.bytes.set(row, 1000 + i)
    cells.packets.set(row, 1 + (i % 9))
    batch.commit()
  }
  return encodeNative(batch)
}

/**
 * Rows with something else in every cell, of the last hour.
 * @param limit numbers are below it; below 2^32 all addresses are IPv4
 */
function variedRows(table: Table, count: number, limit = 2 ** 53): Uint8Array {
  const batch = createBatch(table, count, () => {})
  const now = Math.floor(Date.now() / 1000) - 3600
  // Without the literal type the cells are of no known type; each is written by its column's type.
  const cells = batch.cells as unknown as Record<string, never>
  for (let i = 0; i < count; i++) {
    const row = batch.claim()
    for (const [index, column] of table.columns.entries()) {
      write(cells[column.name]!, column.type, row, i * 31 + index, now + (i % 3600), limit)
    }
    batch.commit()
  }
  return encodeNative(batch)
}

const addressTexts = ['192.0.2.1', '2001:db8::1', '::', '203.0.113.255']
const addresses = addressTexts.map(text => parseAddress(text)!)

function write(
  cells: never,
  type: ColumnType,
  row: number,
  seed: number,
  now: number,
  limit: number,
) {
  const numbers = cells as { values: Uint32Array }
  const wide = cells as { set(row: number, value: number): void }
  const address = cells as { setV6(row: number, from: Uint8Array, offset: number): void }
  const text = cells as { setText(row: number, text: string): void }
  switch (type) {
    case 'DateTime':
      numbers.values[row] = now
      return
    case 'DateTime64(3)':
      wide.set(row, now * 1000 + (seed % 1000))
      return
    case 'UInt8':
    case 'UInt16':
    case 'UInt32':
      numbers.values[row] = (seed * 2_654_435) % limit
      return
    case 'UInt64':
      wide.set(row, (seed * 87_654_321_987) % limit)
      return
    case 'IPv6':
      address.setV6(row, addresses[limit < 2 ** 32 ? 0 : seed % addresses.length]!, 0)
      return
    case 'String':
      text.setText(row, ['', 'plain', `tab\tquote'back\\slash`, 'Zürich ⚡ 東京'][seed % 4]!)
  }
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
