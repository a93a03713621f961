import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test, vi } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { createLog } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import { createBatch } from '../telemetry/batch.ts'
import { decodeNative, encodeNative } from '../telemetry/native.ts'
import { tables } from '../telemetry/tables.ts'
import { type Adoption, createAdoption, type SegmentFolder } from './adopt.ts'
import { createManifestBuilder } from './manifest.ts'
import type { SegmentStore } from './receive.ts'
import { compressBody, encodeSegment } from './segment.ts'

const collector = '01234567-89ab-4def-8123-456789abcdef'
const own = 'fedcba98-7654-4321-8fed-cba987654321'
let adoption: Adoption | undefined
afterEach(async () => {
  await adoption?.stop()
  adoption = undefined
})

/** A segment of messages, each a datagram whose hash is its place from 1. */
async function segment(sequence: number, texts: string[]) {
  const batch = createBatch(tables.syslog, 16, () => {})
  const builder = createManifestBuilder()
  texts.forEach((text, index) => {
    builder.open(index + 1, '192.0.2.1')
    batch.cells.raw.setText(batch.claim(), text)
    batch.commit()
    builder.close(batch.rows)
  })
  const native = encodeNative(batch)
  const sealed = {
    rows: texts.length,
    nativeBytes: native.length,
    firstMs: 1,
    lastMs: 2,
    body: await compressBody(native),
    manifest: builder.seal(texts.length, 4),
  }
  return Buffer.concat(encodeSegment({ collector, kind: 'syslog', sequence }, sealed))
}

const textsIn = (native: Uint8Array) => {
  const block = decodeNative(native, tables.syslog)
  const raw = block.column('raw')!
  return Array.from({ length: block.rows }, (_, row) => raw.get(row))
}

/** Adopts what is in the map until a look has come to its end. */
async function adopt(
  files: Map<number, Buffer>,
  more: Partial<Parameters<typeof createAdoption>[0]> = {},
  store: Partial<SegmentStore> = {},
) {
  const stored: { sequence: number; rows: number; texts: unknown[] }[] = []
  const reads: number[] = []
  const removed: number[] = []
  const folder: SegmentFolder = {
    list: async () => [...files.keys()].map(sequence => ({ collector, kind: 'syslog', sequence })),
    read: async ({ sequence }) => {
      reads.push(sequence)
      return files.get(sequence)
    },
    remove: async ({ sequence }) => {
      removed.push(sequence)
      files.delete(sequence)
    },
  }
  adoption = createAdoption(
    {
      folder,
      store: {
        async insertSegment({ sequence, rows }, native) {
          stored.push({ sequence, rows, texts: textsIn(native) })
          return 'stored'
        },
        received: async () => ({
          flow: [],
          syslog: stored.map(({ sequence }): [number, number] => [sequence, sequence]),
          trap: [],
          counter: [],
          name: [],
        }),
        ...store,
      },
      own: () => own,
      log: createLog({ level: 'silent', part: 'test' }),
      metrics: createMetrics({}),
      clock: systemClock,
      ...more,
    },
    { scanMs: 5, keepMs: 30 },
  )
  await adoption.start()
  return { stored, reads, removed, state: adoption.state }
}

test('stores all rows of a segment but those of datagrams that this server took in itself', async () => {
  const files = new Map([[3, await segment(3, ['one', 'two', 'three'])]])
  const { stored, state } = await adopt(files, { taken: async () => [1] })
  await vi.waitUntil(() => state().lookedAt)
  expect(stored).toEqual([{ sequence: 3, rows: 2, texts: ['one', 'three'] }])
})

test('stores nothing of a segment of which it has everything itself, and reads it once', async () => {
  const files = new Map([[3, await segment(3, ['one', 'two'])]])
  const { stored, reads, removed, state } = await adopt(files, { taken: async () => [0, 1] })
  await vi.waitUntil(() => removed.length > 0)
  expect(stored).toEqual([])
  expect(reads).toEqual([3])
  expect(state().duplicates).toBe(1)
})

test('takes a segment of which its owner left everything out as one of which nothing is missing', async () => {
  const nothing = { rows: 0, nativeBytes: 0, firstMs: 1, lastMs: 2, body: new Uint8Array(0) }
  const manifest = createManifestBuilder().seal(0, 4)
  const parts = encodeSegment({ collector, kind: 'syslog', sequence: 3 }, { ...nothing, manifest })
  const { stored, state } = await adopt(new Map([[3, Buffer.concat(parts)]]))
  await vi.waitUntil(() => state().lookedAt)
  expect(stored).toEqual([])
  expect(state()).toMatchObject({ damaged: 0, duplicates: 1 })
})

test('waits while it is not known what this server has taken', async () => {
  const files = new Map([[3, await segment(3, ['one'])]])
  let known = false
  const { stored, state } = await adopt(files, {
    taken: () => (known ? Promise.resolve([]) : Promise.reject(new Error('the collector starts'))),
  })
  await vi.waitUntil(() => state().lastError)
  expect(stored).toEqual([])
  known = true
  await vi.waitUntil(() => stored.length === 1)
})

test('leaves this server’s own segments to its own collector', async () => {
  const files = new Map([[3, await segment(3, ['one'])]])
  const { reads, state } = await adopt(files, { own: () => collector })
  await vi.waitUntil(() => state().lookedAt)
  expect(reads).toEqual([])
})

test('reads a segment that is damaged, or that the store refuses, once', async () => {
  const torn = (await segment(1, ['one'])).subarray(0, 200)
  const files = new Map([
    [1, torn],
    [2, await segment(1, ['of another name'])],
    [3, await segment(3, ['three'])],
  ])
  const refused = Object.assign(new Error('no'), { refused: true })
  const insertSegment = vi.fn(() => Promise.reject(refused))
  const { reads, state } = await adopt(files, {}, { insertSegment })
  await vi.waitUntil(() => state().lookedAt)
  await sleep(30)
  expect(reads).toEqual([1, 2, 3])
  expect(insertSegment).toHaveBeenCalledTimes(1)
  expect(state()).toMatchObject({ damaged: 3, adopted: 0 })
})
