import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLog } from '../lib/log.ts'
import { createAloneFile } from './alone-file.ts'
import { emptyManifest, type Manifest, rankOf } from './manifest.ts'
import type { WholeSegment } from './segment.ts'
import { createSettlement } from './settlement.ts'

const log = createLog({ level: 'silent', part: 'test' })
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-settlement-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const segment = (sequence: number, term: number) =>
  ({ kind: 'flow', sequence, rows: 1, bytes: 1, lastMs: 1, rank: rankOf(term, true) }) as const

function setup() {
  let now = 0
  let role = { active: true, term: 5, otherTerm: -1 }
  let others = ['b']
  /** By the own server. */
  const stored = new Set<number>()
  const alone = createAloneFile(
    {
      clock: { wall: () => 0, monotonic: () => now },
      log,
      stored: ({ sequence }) => stored.has(sequence),
    },
    { file: join(dir, 'alone'), bounds: { ms: 1e9, datagrams: 1e6 } },
  )
  const settlement = createSettlement(
    {
      spool: { has: (_, { sequence }) => stored.has(sequence) },
      clock: { wall: () => 0, monotonic: () => now },
      role: () => role,
      others: () => others,
      alone,
    },
    { own: 'a', goneAfterMs: 12_000 },
  )
  return {
    settlement,
    alone,
    has({ sequence }: { sequence: number }) {
      stored.add(sequence)
    },
    /** As time goes by where nothing is frozen. */
    after(ms: number) {
      for (let left = ms; left > 0; left -= 1000) {
        now += Math.min(1000, left)
        settlement.tick()
      }
    },
    frozen(ms: number) {
      now += ms
    },
    is(next: typeof role) {
      role = next
    },
    knows(names: string[]) {
      others = names
    },
  }
}

test('a segment is the own server’s when it is settled with the other', () => {
  const { settlement } = setup()
  expect(settlement.ready(segment(1, 5))).toBe(false)
  settlement.settle(segment(1, 5))
  expect(settlement.ready(segment(1, 5))).toBe(true)
  expect(settlement.ready(segment(2, 5))).toBe(false)
})

test('nobody is asked where there is nobody, or where there was nobody when it was sealed', () => {
  const { settlement, knows } = setup()
  expect(settlement.ready({ ...segment(1, 5), rank: undefined })).toBe(true)
  knows([])
  expect(settlement.ready(segment(1, 5))).toBe(true)
})

test('an active whose other server is dead stores alone at once', () => {
  const { settlement, is } = setup()
  settlement.failed('b', true)
  expect(settlement.ready(segment(1, 5))).toBe(true)
  // Nobody was active between two terms that follow each other.
  expect(settlement.ready(segment(1, 4))).toBe(true)
  expect(settlement.ready(segment(1, 3))).toBe(false)
  is({ active: false, term: 5, otherTerm: -1 })
  expect(settlement.ready(segment(1, 5))).toBe(false)
})

test('one that is silent is waited for as long as a lease lasts, not counting what was slept', () => {
  const { settlement, after, frozen } = setup()
  settlement.reached('b')
  after(5000)
  settlement.failed('b', false)
  after(6000)
  expect(settlement.ready(segment(1, 5))).toBe(false)
  frozen(60_000)
  expect(settlement.ready(segment(1, 5))).toBe(false)
  after(11_000)
  expect(settlement.ready(segment(1, 5))).toBe(false)
  after(3000)
  expect(settlement.ready(segment(1, 5))).toBe(true)
  settlement.reached('b')
  expect(settlement.ready(segment(1, 5))).toBe(false)
})

test('one that was not asked for long has not been silent', () => {
  const { settlement, after } = setup()
  settlement.reached('b')
  after(60_000)
  settlement.failed('b', false)
  expect(settlement.ready(segment(1, 5))).toBe(false)
})

test('what the other may have brought here already is not stored alone', () => {
  const { settlement, is } = setup()
  settlement.failed('b', true)
  is({ active: true, term: 5, otherTerm: 6 })
  expect(settlement.ready(segment(1, 5))).toBe(false)
})

test('what is stored alone goes to the own server as it is, whatever the other says later', async () => {
  const { settlement, alone, has } = setup()
  const manifest = manifestOf(11, 12)
  settlement.failed('b', true)
  const read = async () => ({ manifest }) as WholeSegment
  expect(await settlement.read(segment(1, 5), read)).toEqual({ manifest })
  settlement.reached('b')
  expect(settlement.ready(segment(1, 5))).toBe(true)
  let written = 0
  const write = async () => void written++
  expect(await settlement.leaveOut(segment(1, 5), [11], write)).toBe(false)
  has(segment(1, 5))
  expect(await settlement.leaveOut(segment(1, 5), [11], write)).toBe(true)
  expect(written).toBe(1)
  settlement.agreed(segment(1, 5))
  expect(alone.places('x/flow/1', manifestOf(12, 11), [])).toEqual([1])
})

test('a segment is not read for the own server while something is left out of it', async () => {
  const { settlement } = setup()
  settlement.failed('b', true)
  const write = Promise.withResolvers<void>()
  const leavingOut = settlement.leaveOut(segment(1, 5), [], () => write.promise)
  const read = async () => undefined
  expect(await settlement.read(segment(1, 5), read)).toBe('not-now')
  write.resolve()
  await leavingOut
  expect(await settlement.read(segment(1, 5), read)).toBe(undefined)
})

function manifestOf(...hashes: number[]): Manifest {
  const ends = Uint32Array.from(hashes, (_, index) => index + 1)
  return { ...emptyManifest, rank: rankOf(5, true), hashes: Float64Array.from(hashes), ends }
}
