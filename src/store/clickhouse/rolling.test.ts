import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@clickhouse/client'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { storeOn } from '../../../test/contract/store-suite.ts'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import { trafficTop } from '../../query/traffic.ts'
import { largestFor, tableFor } from '../../query/traffic-tables.ts'
import { parseAddress } from '../../telemetry/address.ts'
import { createBatch } from '../../telemetry/batch.ts'
import { encodeNative } from '../../telemetry/native.ts'
import { rollups } from '../../telemetry/rollups.ts'
import { tables } from '../../telemetry/tables.ts'
import { createEmbeddedEngine } from './engine.ts'
import type { TelemetryStore, TelemetryStoreConfig } from './telemetry-store.ts'

vi.setConfig({ testTimeout: 60_000 })

const dataDir = mkdtempSync(join(tmpdir(), 'keepwatch-rolling-'))
const engine = createEmbeddedEngine(
  { log: createLog({ level: 'silent', part: 'test' }), metrics: createMetrics({}) },
  { dataDir },
)
const collector = randomUUID()
const hourMs = 3_600_000
/** A whole hour that is over. */
const begin = (Math.floor(Date.now() / hourMs) - 2) * hourMs
let store: TelemetryStore
let sequence = 0

beforeAll(async () => {
  await engine.start()
}, 120_000)

afterAll(async () => {
  await store?.stop()
  await engine.stop()
  rmSync(dataDir, { recursive: true, force: true })
})

async function restart(config: TelemetryStoreConfig = {}) {
  await store?.stop()
  store = storeOn(engine, config)
  await store.start()
}

/** What only a test does, past the store. */
async function command(query: string) {
  const { url, username, password } = engine
  const client = createClient({ url, username, password, database: 'keepwatch' })
  await client.command({ query }).finally(() => client.close())
}

interface Flow {
  atMs: number
  source: string
  bytes: number
  exporter?: string
  sampling?: number
  input?: number
}

async function insert(flows: readonly Flow[]) {
  const batch = createBatch(tables.flow, flows.length, () => {})
  for (const flow of flows) {
    const row = batch.claim()
    const { cells } = batch
    cells.time.values[row] = flow.atMs / 1000
    for (const column of ['received', 'start', 'end'] as const) cells[column].set(row, flow.atMs)
    cells.exporter.setV6(row, parseAddress(flow.exporter ?? '192.0.2.1')!, 0)
    cells.src_addr.setV6(row, parseAddress(flow.source)!, 0)
    cells.in_if.values[row] = flow.input ?? 1
    cells.out_if.values[row] = 2
    cells.sampling.values[row] = flow.sampling ?? 1
    cells.traffic.values[row] = 1
    cells.bytes.set(row, flow.bytes)
    cells.packets.set(row, 1)
    batch.commit()
  }
  const id = { collector, kind: 'flow' as const, sequence: ++sequence, rows: flows.length }
  await store.insertSegment(id, encodeNative(batch))
}

const everything = {
  range: { from: begin, to: begin + 2 * hourMs },
  where: [],
  sampling: new Map(),
}

/** The largest sources of an exporter, by bytes. */
async function largestSources(where: readonly string[] = []) {
  const { range } = everything
  const { table } = largestFor(['src_addr', 'exporter', 'in_if'], [], range, 3600, store.keptSince)!
  const { text, params } = trafficTop({
    ...{ ...everything, where, table, by: ['src.addr'], metric: 'bits', limit: 100 },
  })
  const { rows } = await store.query<{ keys: string[]; bytes: number }>(text, params)
  return rows.map(({ keys, bytes }) => [keys[0], bytes])
}

test('of addresses those with the most traffic of a pair of interfaces stay, whole', async () => {
  await restart({ mostAddresses: { 60: 4, 300: 4, 3600: 3 } })
  const where = ['exporter=192.0.2.1']
  // Ten sources, each in two flows of two inserts; one small one is sampled and so a large one.
  const source = (index: number) => `10.0.0.${index}`
  for (const minute of [0, 7]) {
    await insert(
      Array.from({ length: 10 }, (_, index) => ({
        ...{ atMs: begin + 60_000 * minute, source: source(index), bytes: 100 + index },
        ...(index === 0 ? { sampling: 1000 } : {}),
      })),
    )
  }
  await insert([{ atMs: begin, source: source(5), bytes: 1, exporter: '192.0.2.2' }])
  const every = await largestSources(where)
  expect(every).toHaveLength(10)
  await store.rollUp()
  expect(await largestSources(where)).toEqual([
    [source(0), 200_000],
    [source(9), 218],
    [source(8), 216],
  ])
  expect(await largestSources(['exporter=192.0.2.2'])).toEqual([[source(5), 1]])
})

test('of an exporter four times as many stay', async () => {
  const exporter = '192.0.2.3'
  // Five interfaces with six sources each.
  await insert(
    Array.from({ length: 30 }, (_, index) => ({
      ...{ atMs: begin, source: `10.0.1.${index}`, bytes: 100 + index },
      ...{ exporter, input: index % 5 },
    })),
  )
  await store.rollUp()
  const kept = async (table: string) => {
    const { rows } = await store.query<{ least: number; addresses: number }>(
      `SELECT min(bytes) AS least, uniq(src_addr) AS addresses FROM ${table}
       WHERE exporter = toIPv6('${exporter}')`,
    )
    return rows[0]
  }
  expect(await kept('flow_source_1m')).toEqual({ least: 110, addresses: 20 })
  expect(await kept('flow_exporter_source_1m')).toEqual({ least: 114, addresses: 16 })
  expect(await kept('flow_exporter_source_1h')).toEqual({ least: 118, addresses: 12 })
})

test('flows that come late are beside what was picked out', async () => {
  const where = ['exporter=192.0.2.1']
  await insert([{ atMs: begin + 1000, source: '10.0.0.9', bytes: 1000 }])
  const late = [
    ['10.0.0.0', 200_000],
    ['10.0.0.9', 1218],
    ['10.0.0.8', 216],
  ]
  expect(await largestSources(where)).toEqual(late)
  await store.rollUp()
  expect(await largestSources(where)).toEqual(late)
})

test('no table of the largest answers what filters by an address', () => {
  const { range } = everything
  const kept = store.keptSince
  expect(largestFor(['src_addr'], ['src_addr'], range, 3600, kept)).toBeUndefined()
  expect(largestFor(['src_addr', 'dst_addr'], [], range, 3600, kept)).toBeUndefined()
  const source = (...columns: string[]) =>
    largestFor(['src_addr', ...columns], columns, range, 3600, kept)?.table.name
  expect(source('in_if')).toBe('flow_source_1h')
  expect(source('exporter')).toBe('flow_exporter_source_1h')
  expect(tableFor(['src_addr'], range, 3600, kept).table.name).toBe('flow')
})

test('flows of a table that did not number its inserts stay out, later ones are in once', async () => {
  await command('ALTER TABLE flow MODIFY SETTING enable_block_number_column = 0')
  await store.stop()
  for (const { name } of rollups) await command(`DROP TABLE ${name}`)
  await command('DROP TABLE rollups')
  await command('DROP TABLE rolled')
  await command('OPTIMIZE TABLE flow FINAL')
  await restart()
  const keptSince = store.keptSince('flow_exporter_1m')! * 1000
  expect(keptSince).toBeGreaterThan(Date.now())
  const since = Math.ceil(keptSince / hourMs) * hourMs
  for (const bytes of [3, 4]) await insert([{ atMs: since + 1000, source: '10.0.0.1', bytes }])
  await store.rollUp()
  await command('OPTIMIZE TABLE flow FINAL')
  const { rows } = await store.query('SELECT sum(bytes) AS bytes FROM flow_exporter_1m')
  expect(rows).toEqual([{ bytes: 7 }])
  const range = { from: since, to: since + hourMs }
  const table = tableFor([], range, 60, store.keptSince).table
  expect(table.step).toBe(60)
  const { text, params } = trafficTop({
    ...{ ...everything, range, table, by: ['exporter'], metric: 'bits', limit: 1 },
  })
  expect((await store.query(text, params)).rows).toMatchObject([{ bytes: 7, flows: 2 }])
})
