import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { createZstdCompress } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { createSequence } from '../../lib/component.ts'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import { createBatch } from '../../telemetry/batch.ts'
import { flowTable } from '../../telemetry/flow.ts'
import { encodeNative } from '../../telemetry/native.ts'
import { createEmbeddedEngine } from './engine.ts'
import type { Has, History, OfferRequest, Window } from './history.ts'
import { createTelemetryStore, type TelemetryStore } from './telemetry-store.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

/** One that has something, and one that lacks some of it. */
type Name = 'a' | 'b'
let folder: string
let stores: Record<Name, TelemetryStore>
let stops: (() => Promise<void>)[]
const collectors = { one: randomUUID(), two: randomUUID() }
const began = Date.now() - 6 * 3_600_000
const untilMs = Date.now()
const mostRows = 1_000_000

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-history-'))
  stops = []
  stores = { a: await open('a'), b: await open('b') }
})
afterEach(async () => {
  for (const stop of stops) await stop()
  rmSync(folder, { recursive: true, force: true })
})

async function open(name: string): Promise<TelemetryStore> {
  const deps = { log: createLog({ level: 'silent', part: name }), metrics: createMetrics({}) }
  const connection = createEmbeddedEngine(deps, { dataDir: join(folder, name) })
  const store = createTelemetryStore({ ...deps, connection, clock: systemClock })
  const opened = createSequence([connection, store])
  await opened.start()
  stops.push(opened.stop)
  return store
}

const rowsOfSegment = 100

/** The flows of a second, with numbers; every tenth is like the one before, the first like the other collector's. */
function flows(collector: string, second: number): Uint8Array {
  const batch = createBatch(flowTable, rowsOfSegment, () => {})
  const { cells } = batch
  for (let row = 0; row < rowsOfSegment; row++) {
    const at = batch.claim()
    const received = began + 1000 * second + 10 * row - (row % 10 === 9 ? 10 : 0)
    const number = rowsOfSegment * second + row - (row % 10 === 9 ? 1 : 0)
    cells.received.set(at, received)
    cells.start.set(at, received - 5000)
    cells.end.set(at, received - 1000)
    cells.time.values[at] = Math.floor((received - 1000) / 1000)
    cells.sampling.values[at] = 1
    cells.packets.set(at, number)
    cells.domain.values[at] = row === 0 ? 0 : collector === collectors.one ? 1 : 2
    batch.commit()
  }
  return encodeNative(batch)
}

async function store(names: readonly Name[], collector: string, sequences: readonly number[]) {
  await Promise.all(
    sequences.flatMap(sequence => {
      const id = { collector, kind: 'flow' as const, sequence, rows: rowsOfSegment }
      return names.map(name => stores[name].insertSegment(id, flows(collector, sequence)))
    }),
  )
}

const from = (first: number, count: number) => Array.from({ length: count }, (_, at) => first + at)

async function contents(name: Name) {
  const { rows } = await stores[name].query<{ domain: number; rows: number; numbers: number }>(
    `SELECT domain, count() AS rows, uniqExact(packets) AS numbers FROM flow
     GROUP BY domain ORDER BY domain`,
  )
  return rows
}
/** Everything that so many collectors have sent in so many seconds, each row once. */
const whole = (count: number, seconds: number) => [
  { domain: 0, rows: count * seconds, numbers: seconds },
  ...[1, 2].slice(0, count).map(domain => ({
    ...{ domain, rows: (rowsOfSegment - 1) * seconds },
    numbers: (0.9 * rowsOfSegment - 1) * seconds,
  })),
]

/** What a server does to get what it lacks. @returns the windows that it took */
async function catchUp(request: Partial<OfferRequest> = {}, most = 100): Promise<Window[]> {
  const [a, b] = [stores.a.history, stores.b.history]
  const before: OfferRequest['before'] = {}
  const windows: Window[] = []
  while (windows.length < most) {
    const offer = await a.offer({ has: b.has(), before, untilMs, mostRows, ...request })
    if (offer.window === undefined) break
    await b.expect(offer.ranges)
    if ((await b.compare(offer.window)) !== 'same') await copy(a, b, offer.window)
    await b.record(offer.window.completes)
    before[offer.window.kind] = offer.window.fromMs
    windows.push(offer.window)
  }
  return windows
}

async function copy(a: History, b: History, window: Window) {
  const rows = await a.read(window)
  expect(rows).toBeDefined()
  await b.take(window, rows!.pipe(createZstdCompress()))
  expect(await b.compare(window)).toBe('same')
}

describe('a store gets from another', () => {
  test('everything, the newest first, and knows then that it has it', async () => {
    await store(['a'], collectors.one, from(0, 40))
    await store(['a'], collectors.two, from(0, 40))
    const [offer] = await catchUp()
    expect(offer).toMatchObject({ kind: 'flow', rows: 8000 })
    expect(await contents('b')).toEqual(whole(2, 40))
    expect(stores.b.history.has()).toEqual(stores.a.history.has())
    await store(['b'], collectors.one, from(0, 40))
    expect(await contents('b')).toEqual(whole(2, 40))
    const { lacks, window } = await stores.a.history.offer({
      ...{ has: stores.b.history.has(), before: {}, untilMs, mostRows },
    })
    expect({ lacks, window }).toEqual({ lacks: [], window: undefined })
  })

  test('what it lacks among what it has, rows that are all alike as often as they came', async () => {
    await store(['a'], collectors.one, from(0, 40))
    await store(['a'], collectors.two, from(0, 40))
    await store(['b'], collectors.one, [...from(0, 10), ...from(15, 10), 39])
    await store(['b'], collectors.two, from(20, 20))
    const offer = await stores.a.history.offer({
      ...{ has: stores.b.history.has(), before: {}, untilMs, mostRows },
    })
    expect(offer.lacks).toMatchObject([{ kind: 'flow', segments: 39, rows: 3900 }])
    const windows = await catchUp({ mostRows: 700 })
    expect(windows.length).toBeGreaterThan(4)
    const tops = windows.map(({ toMs }) => toMs)
    expect(tops).toEqual(tops.toSorted((one, other) => other - one))
    expect(await contents('b')).toEqual(whole(2, 40))
    expect(stores.b.history.has()).toEqual(stores.a.history.has())
  })

  test('the rest, where a copy was cut off in the middle', async () => {
    await store(['a'], collectors.one, from(0, 60))
    const [a, b] = [stores.a.history, stores.b.history]
    const { ranges, window } = await a.offer({ has: b.has(), before: {}, untilMs, mostRows })
    await b.expect(ranges)
    // Blocks of 1,000 rows: the engine has taken some when the stream ends.
    const half = new PassThrough()
    const rows = (await a.read(window!))!.pipe(createZstdCompress())
    const taken = b.take(window!, half).catch((error: Error) => error)
    for await (const piece of rows) half.write(piece.subarray(0, piece.length / 2))
    half.destroy(new Error('cut'))
    expect(await taken).toBeInstanceOf(Error)
    await catchUp()
    expect(await contents('b')).toEqual(whole(1, 60))
  })

  test('each row once, when a collector brings some of it all the same', async () => {
    await store(['a'], collectors.one, from(0, 40))
    const [a, b] = [stores.a.history, stores.b.history]
    const offer = await a.offer({ has: b.has(), before: {}, untilMs, mostRows })
    await b.expect(offer.ranges)
    await copy(a, b, offer.window!)
    // Copied, but not in the ledger: a restart in between knows it as well.
    await store(['b'], collectors.one, from(30, 5))
    await stops.pop()!()
    stores.b = await open('b')
    await store(['b'], collectors.one, from(10, 5))
    expect(await contents('b')).toEqual(whole(1, 40))
    await catchUp()
    expect(await contents('b')).toEqual(whole(1, 40))
    await stores.b.history.forget()
  })

  test('nothing of a window in which there is more by now', async () => {
    await store(['a'], collectors.one, from(0, 20))
    const { window } = await stores.a.history.offer({ has: {}, before: {}, untilMs, mostRows })
    await store(['a'], collectors.two, [50])
    expect(await stores.a.history.read(window!)).toBeDefined()
    await store(['a'], collectors.two, [19])
    expect(await stores.a.history.read(window!)).toBeUndefined()
  })

  test('nothing that was received too late to be copied', async () => {
    await store(['a'], collectors.one, from(0, 40))
    const [window, ...more] = await catchUp({ untilMs: began + 20_000 })
    expect(more).toEqual([])
    expect(window).toMatchObject({ rows: 2000, toMs: began + 19_980 })
    const has: Has = stores.b.history.has()
    expect(has[collectors.one]!.flow).toEqual([[0, 19]])
  })
})
