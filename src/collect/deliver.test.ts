import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import { createLog } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import { type Authority, openAuthority } from '../lib/tls.ts'
import { createBatch } from '../telemetry/batch.ts'
import { encodeNative } from '../telemetry/native.ts'
import { readRuns } from '../telemetry/runs.ts'
import { tables } from '../telemetry/tables.ts'
import { createDelivery } from './deliver.ts'
import type { ReceivedSegments } from './link.ts'
import { createReceiver, type SegmentStore } from './receive.ts'
import { compressBody, decompressBody } from './segment.ts'
import { createSpool, type Spool } from './spool.ts'
import { loadZstd } from './zstd.ts'

let dir: string
let authority: Authority
let running: Component[]

beforeEach(async () => {
  running = []
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-deliver-'))
  authority = await openAuthority(join(dir, 'authority'))
})
afterEach(async () => {
  for (const component of running.reverse()) await component.stop()
  rmSync(dir, { recursive: true })
})

const parts = () => ({
  log: createLog({ level: 'silent', part: 'test' }),
  metrics: createMetrics({}),
  clock: systemClock,
})
async function started<C extends Component>(component: C): Promise<C> {
  await component.start()
  running.push(component)
  return component
}
async function stopped(component: Component) {
  running.splice(running.indexOf(component), 1)
  await component.stop()
}

/** A store in memory that notes every insert. */
function memoryStore(fail: (sequence: number) => Error | undefined = () => undefined) {
  const inserts: number[] = []
  const has = new Set<number>()
  const store: SegmentStore = {
    async insertSegment({ sequence }) {
      const error = fail(sequence)
      if (error) throw error
      inserts.push(sequence)
      if (has.has(sequence)) return 'duplicate'
      has.add(sequence)
      return 'stored'
    },
    async received(): Promise<ReceivedSegments> {
      const syslog = [...has].sort((a, b) => a - b).map((s): [number, number] => [s, s])
      return { flow: [], syslog, trap: [], counter: [], name: [] }
    },
  }
  return { store, inserts, has }
}

async function receiver(
  store: SegmentStore,
  port = 0,
  role: 'server' | 'collector' = 'server',
  storeTimeoutMs = 5000,
) {
  const identity = await authority.issue({ role, name: 's', hosts: [] })
  return started(
    createReceiver(
      {
        zstd: loadZstd(),
        ...parts(),
        store,
        identity,
        linkState: () => ({}),
      },
      { host: '127.0.0.1', port, storeTimeoutMs },
    ),
  )
}
const spoolOf = (...servers: string[]) =>
  started(createSpool(parts(), { dir: join(dir, 'spool'), quotaBytes: 1e9, servers }))
async function delivery(
  spool: Spool,
  name: string,
  port: number,
  deps: { onReached?(): Promise<void> } = {},
) {
  const identity = await authority.issue({ role: 'collector', name: 'c', hosts: [] })
  return started(
    createDelivery(
      { ...parts(), ...deps, spool, identity },
      { server: { name, url: `https://127.0.0.1:${port}` } },
    ),
  )
}
async function seal(spool: Spool, count: number) {
  const batch = createBatch(tables.syslog, 4, () => {})
  batch.cells.raw.setText(batch.claim(), 'message')
  batch.commit()
  const native = encodeNative(batch)
  const body = await compressBody(native)
  for (let i = 0; i < count; i++) {
    const sealed = { rows: 1, nativeBytes: native.length, firstMs: 1, lastMs: 2, body }
    await spool.append('syslog', sealed)
  }
}
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)
const sorted = (numbers: number[]) => numbers.toSorted((a, b) => a - b)

describe('delivery', () => {
  test('brings what waits and what comes, each once', async () => {
    const { store, inserts } = memoryStore()
    const server = await receiver(store)
    const spool = await spoolOf('a')
    await seal(spool, 30)
    const lane = await delivery(spool, 'a', server.port)
    await seal(spool, 10)
    await vi.waitFor(() => expect(spool.waiting('a')).toBe(0), 5000)
    expect(sorted(inserts)).toEqual(upTo(40))
    expect(lane.state()).toMatchObject({ reachable: true, delivered: 40, lastError: null })
  })

  test('asks first, and sends nothing that the server has', async () => {
    const { store, inserts, has } = memoryStore()
    for (const sequence of [0, 1, 2, 4]) has.add(sequence)
    const server = await receiver(store)
    const spool = await spoolOf('a')
    await seal(spool, 6)
    await delivery(spool, 'a', server.port)
    await vi.waitFor(() => expect(spool.waiting('a')).toBe(0), 5000)
    expect(sorted(inserts)).toEqual([3, 5])
  })

  test('waits for what it learns of other servers, and keeps for them what this one has', async () => {
    const { store, inserts } = memoryStore()
    const server = await receiver(store)
    const spool = await spoolOf('a')
    await seal(spool, 3)
    const { promise: learnt, resolve: learn } = Promise.withResolvers<void>()
    const lane = await delivery(spool, 'a', server.port, {
      async onReached() {
        await learnt
        spool.setServers(['a', 'b'])
      },
    })
    await vi.waitFor(() => expect(lane.state().reachable).toBe(true), 5000)
    expect(inserts).toEqual([])
    learn()
    await vi.waitFor(() => expect(spool.waiting('a')).toBe(0), 5000)
    expect(spool.waiting('b')).toBe(3)
  })

  test('brings every column in its own type to a server that knows no other', async () => {
    const blocks: Uint8Array[] = []
    const { key, cert, ca } = await authority.issue({ role: 'server', name: 's', hosts: [] })
    const old = createServer({ key, cert, ca, requestCert: true }, async (request, response) => {
      const body = await buffer(request)
      if (request.method === 'GET') {
        return void response.end(JSON.stringify({ flow: [], syslog: [], trap: [] }))
      }
      if (request.method === 'PUT') blocks.push(await decompressBody(body, 1e6))
      response.end('{}')
    })
    await new Promise<void>(resolve => old.listen(0, '127.0.0.1', resolve))
    const spool = await spoolOf('a')
    await seal(spool, 1)
    const lane = await delivery(spool, 'a', (old.address() as AddressInfo).port)
    await vi.waitFor(() => expect(spool.waiting('a')).toBe(0), 5000)
    await stopped(lane)
    old.close()
    const { runs } = readRuns(blocks[0]!, tables.syslog)
    expect(runs.map(({ form }) => form)).toEqual(tables.syslog.columns.map(({ type }) => type))
  })

  test('goes on with the other server while one is away, and catches up when it is back', async () => {
    const [a, b] = [memoryStore(), memoryStore()]
    const [serverA, serverB] = [await receiver(a.store), await receiver(b.store)]
    const spool = await spoolOf('a', 'b')
    await delivery(spool, 'a', serverA.port)
    const toB = await delivery(spool, 'b', serverB.port)
    await seal(spool, 5)
    await vi.waitFor(() => expect(spool.waiting('b')).toBe(0), 5000)
    await stopped(serverB)
    await seal(spool, 5)
    await vi.waitFor(() => expect(spool.waiting('a')).toBe(0), 5000)
    await vi.waitFor(() => expect(toB.state().reachable).toBe(false), 5000)
    expect(spool.waiting('b')).toBe(5)
    expect(toB.state().behindMs).toBeGreaterThan(0)
    await receiver(b.store, serverB.port)
    await vi.waitFor(() => expect(spool.waiting('b')).toBe(0), 15_000)
    expect(toB.state().behindMs).toBe(0)
    expect(sorted(a.inserts)).toEqual(upTo(10))
    expect(sorted(b.inserts)).toEqual(upTo(10))
  })

  test('repeats what failed for a moment, without holding up the others', async () => {
    let failures = 3
    const { store, has } = memoryStore(sequence =>
      sequence === 2 && failures-- > 0 ? new Error('merging') : undefined,
    )
    const server = await receiver(store)
    const spool = await spoolOf('a')
    await seal(spool, 8)
    const lane = await delivery(spool, 'a', server.port)
    await vi.waitFor(() => expect(has.size).toBe(7), 5000)
    expect(lane.state().lastError).toContain('merging')
    await vi.waitFor(() => expect(spool.waiting('a')).toBe(0), 10_000)
    expect(lane.state().lastError).toBeNull()
  })

  test('puts aside what a server refuses, says so, and goes on', async () => {
    const { store, has } = memoryStore(sequence =>
      sequence === 1 ? Object.assign(new Error('no such column'), { refused: true }) : undefined,
    )
    const server = await receiver(store)
    const spool = await spoolOf('a')
    await seal(spool, 4)
    const lane = await delivery(spool, 'a', server.port)
    await vi.waitFor(() => expect(spool.waiting('a')).toBe(0), 5000)
    expect(sorted([...has])).toEqual([0, 2, 3])
    expect(lane.state().lastError).toContain('no such column')
    expect(spool.problems.get('refused-by-server')).toBe(1)
    expect(readdirSync(join(dir, 'spool', 'quarantine'))).toHaveLength(1)
  })

  test('gives nothing to a peer that is not a server', async () => {
    const { store, has } = memoryStore()
    const impostor = await receiver(store, 0, 'collector')
    const spool = await spoolOf('a')
    await seal(spool, 2)
    const lane = await delivery(spool, 'a', impostor.port)
    await vi.waitFor(() => expect(lane.state().lastError).toContain('not a server'), 5000)
    expect(has.size).toBe(0)
  })

  test('stops at once while a server is away or busy', async () => {
    const deaf: SegmentStore = {
      insertSegment: () => new Promise(() => {}),
      received: async () => ({ flow: [], syslog: [], trap: [], counter: [], name: [] }),
    }
    const server = await receiver(deaf, 0, 'server', 1000)
    const spool = await spoolOf('a', 'b')
    await seal(spool, 3)
    const lanes = [await delivery(spool, 'a', server.port), await delivery(spool, 'b', 9)]
    await vi.waitFor(() => expect(lanes[0]!.state().reachable).toBe(true), 5000)
    const began = performance.now()
    for (const lane of lanes) await stopped(lane)
    expect(performance.now() - began).toBeLessThan(500)
  })
})
