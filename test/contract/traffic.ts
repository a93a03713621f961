/**
 * What a telemetry store has to say of traffic, whatever engine is behind it: sums that agree with the
 * flows, and names that are looked up when a question is asked.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
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
import { geoLists } from '../../src/store/clickhouse/lookups.ts'
import type { TelemetryStore } from '../../src/store/clickhouse/telemetry-store.ts'
import { parseAddress } from '../../src/telemetry/address.ts'
import { createBatch } from '../../src/telemetry/batch.ts'
import { writeCounters } from '../../src/telemetry/counter.ts'
import { encodeNative } from '../../src/telemetry/native.ts'
import { rollups } from '../../src/telemetry/rollups.ts'
import { tables } from '../../src/telemetry/tables.ts'
import { type Backend, describeStore } from './store-suite.ts'
import { addressTexts, flowsOfThings, namedFlows, saidName, someFlows } from './telemetry-rows.ts'

export function trafficContract(name: string, createBackend: () => Backend) {
  describeStore(`traffic in a telemetry store on ${name}`, createBackend, suite => {
    test('every rollup says the same as the flows, also when segments come twice', async () => {
      const before = Math.floor(Date.now() / 1000)
      const segments = [1, 2, 3].map(() => ({
        segment: suite.id('flow', 400),
        native: someFlows(400, before),
      }))
      for (const { segment, native } of [...segments, segments[1]!]) {
        await suite.store.insertSegment(segment, native)
      }
      await suite.command(
        `ALTER TABLE segments DELETE WHERE collector = '${suite.collector}'
           AND sequence = ${segments[2]!.segment.sequence} SETTINGS mutations_sync = 1`,
      )
      await suite.restart()
      await suite.store.insertSegment(segments[2]!.segment, segments[2]!.native)
      await expectRollupsAgree(suite.store)
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
        const { rows } = await suite.store.query<{ keys: string[]; flows: number }>(text, params)
        return Object.fromEntries(rows.map(({ keys, flows }) => [keys[0], flows]))
      }
      await suite.store.fillNames({
        networks: [
          { prefix: '192.0.0.0/8', name: 'all of it', site: '' },
          { prefix: '192.0.2.0/24', name: 'office', site: 'Berlin' },
          { prefix: '2001:db8::/32', name: 'lab', site: 'Paris' },
        ],
        applications: [{ protocol: 6, port: 443, name: 'our shop' }],
        interfaces: [{ exporter: '192.0.2.9', index: 7, name: 'ge-0/0/7 (uplink)' }],
      })
      await suite.store.insertSegment(suite.id('flow', 30), namedFlows(30))
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
      await suite.store.fillNames({ networks: [], applications: [], interfaces: [] })
      expect(Object.keys(await ask('src.network'))).toEqual(['not named'])
      expect(await ask('application', ['src.addr=192.0.2.1'])).toMatchObject({ https: 5 })
      const { text, params } = trafficSeries({
        ...{ ...question, table: raw, step: 60, where: [] },
        ...{ metric: 'bits', sampling: new Map() },
        by: { dimension: 'application', keys: ['https'] },
      })
      const { rows } = await suite.store.query<{ key: string; value: number }>(text, params)
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
        const { rows } = await suite.store.query<{ keys: string[] }>(text, params)
        return rows.map(({ keys }) => keys[0]).sort()
      }
      const things: [what: number, id: number, name: string, description: string][] = [
        [1, 7, 'old', ''],
        [1, 7, 'Gi0/7', 'to Berlin'],
        [2, application, 'webex', 'meetings'],
        [3, 5, 'blue', ''],
      ]
      const flows = [exporter, '192.0.2.78'].map(of => flowsOfThings(of, application))
      for (const native of flows) await suite.store.insertSegment(suite.id('flow', 2), native)
      expect(await ask('application')).toEqual(['13:79', 'https'])
      for (const [index, thing] of things.entries()) {
        await suite.store.insertSegment(suite.id('name', 1), saidName(exporter, index, ...thing))
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
      await suite.store.fillNames({
        ...{ networks: [], applications: [] },
        interfaces: [{ exporter, index: 7, name: 'by SNMP' }],
      })
      expect(await ask('in.interface')).toContain('by SNMP')
      await suite.store.fillNames({ networks: [], applications: [], interfaces: [] })
    })

    test('a picture and a table of names say the same, at the rate that a person set', async () => {
      const exporter = '192.0.2.80'
      await suite.store.insertSegment(
        suite.id('flow', 2),
        flowsOfThings(exporter, 13 * 2 ** 24 + 81),
      )
      await suite.store.insertSegment(
        suite.id('flow', 2),
        flowsOfThings(exporter, 3 * 2 ** 24 + 443),
      )
      const now = Math.ceil(Date.now() / 3_600_000) * 3_600_000
      const range = { from: now - 4 * 3_600_000, to: now }
      const where = [`exporter=${exporter}`]
      const names = ['flow', 'flow_application_5m', 'flow_service_1m']
      for (const table of trafficTables.filter(({ name }) => names.includes(name))) {
        const step = Math.max(60, table.step)
        const question = { table, range, where, sampling: new Map([[exporter, 10]]) }
        const top = trafficTop({ ...question, by: ['application'], metric: 'bits', limit: 10 })
        const { rows } = await suite.store.query<{ keys: string[]; bytes: number }>(
          top.text,
          top.params,
        )
        const inTable = Object.fromEntries(rows.map(({ keys, bytes }) => [keys[0], bytes]))
        expect(inTable).toEqual({ '13:81': 1000, '3:443': 1000, https: 2000 })
        const by = { dimension: 'application', keys: ['https', '13:81'] }
        const series = trafficSeries({ ...question, step, metric: 'bits', by })
        const picture: Record<string, number> = {}
        const buckets = await suite.store.query<{ key: string; value: number }>(
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
      await suite.store.insertSegment(suite.id('counter', readings.length), encodeNative(batch))
      const range = { from: 1000 * begin, to: 1000 * (begin + 300) }
      const ask = async <Row>({ text, params }: Sql) =>
        (await suite.store.query<Row>(text, params)).rows
      const counted = await ask<CountedTraffic>(countedTraffic({ range, exporter }))
      expect(counted).toMatchObject([
        { exporter, index: 7, source: 1, seconds: 180, inOctets: 240, outOctets: 480, oper: 1 },
        { exporter, index: 7, source: 2, seconds: 240, inOctets: 240, outOctets: 480 },
      ])
      expect([...bestCounted(counted).values()]).toMatchObject([{ source: 2 }])

      await suite.store.insertSegment(suite.id('flow', 2), flowsOfThings(exporter, 0))
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
        const { rows } = await suite.store.query<{ keys: string[] }>(text, params)
        return rows.map(({ keys }) => keys[0])
      }
      await suite.store.insertSegment(suite.id('flow', 30), namedFlows(30))
      expect(await ask('src.country')).toEqual(['not named'])
      const network = {
        prefix: '192.9.0.0/16',
        asn: 64_500,
        organisation: 'Example',
        country: 'DE',
      }
      for (const list of geoLists) {
        expect(await suite.store.geoVersion(list)).toBe(undefined)
        await suite.store.fillGeo({ list, version: '1', networks: [network] })
        expect(await suite.store.geoVersion(list)).toBe('1')
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
            return (await suite.store.query(text, params)).rows[0]
          }),
        )
        for (const answer of answers) expect(answer).toEqual(answers[0])
        const uneven = { from: range.from + 1_260_000, to: range.to - 660_000 }
        const choice = tableFor([], uneven, 60, suite.store.keptSince)
        const whole = { table: choice.table, range: uneven, where: [], sampling }
        const pieces = piecesFor(choice, [], uneven, suite.store.keptSince)
        expect(pieces.length).toBeGreaterThan(1)
        const sums = [trafficTotal({ ...whole, pieces }), trafficTotal(whole)]
        const [inPieces, inOne] = await Promise.all(
          sums.map(async ({ text, params }) => (await suite.store.query(text, params)).rows[0]),
        )
        expect(inPieces).toEqual(inOne)
        const one = { table: trafficTables[0]!, range, where: [`exporter=${addressTexts[0]}`] }
        const asked = trafficTotal({ ...one, sampling })
        const raw = trafficTotal({ ...one, table: trafficTables.at(-1)!, sampling: new Map() })
        const byHand = `SELECT sum(bytes) * 7 AS bytes FROM (${raw.text.replace(/sum\(bytes \* sampling\)/, 'sum(bytes)')})`
        if (rates.length === 0) continue
        const [rated] = (await suite.store.query<{ bytes: number }>(asked.text, asked.params)).rows
        const [expected] = (await suite.store.query<{ bytes: number }>(byHand, raw.params)).rows
        expect(rated!.bytes).toBe(expected!.bytes)
        expect(rated!.bytes).toBeGreaterThan(0)
      }
    })

    test.skipIf(!suite.kill)(
      'has every flow in every rollup after kills amid the inserts',
      async () => {
        const now = Math.floor(Date.now() / 1000)
        const segments = Array.from({ length: 60 }, () => ({
          id: suite.id('flow', 300),
          native: someFlows(300, now),
        }))
        for (let from = 0; from < segments.length; from += 20) {
          const underway = segments.slice(from, from + 20).map((segment, index) =>
            suite.store.insertSegment(segment.id, segment.native).then(
              () => {
                if (index === 3) suite.kill?.()
              },
              () => {},
            ),
          )
          await Promise.all(underway)
        }
        for (const { id, native } of segments) await suite.store.insertSegment(id, native)
        await expectRollupsAgree(suite.store)
      },
    )

    test.skipIf(!suite.kill)(
      'has every flow once in every rollup after kills amid the summing up',
      async () => {
        const now = Math.floor(Date.now() / 1000)
        for (const afterMs of [10, 50, 120]) {
          await suite.store.insertSegment(suite.id('flow', 300), someFlows(300, now))
          const rolling = suite.store.rollUp().catch(() => {})
          await sleep(afterMs)
          suite.kill?.()
          await rolling
          await rollUpAtLast(suite.store)
        }
        await suite.restart()
        await expectRollupsAgree(suite.store)
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
