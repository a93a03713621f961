import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLog } from '../lib/log.ts'
import { createAloneFile } from './alone-file.ts'
import { emptyManifest, type Manifest, rankOf } from './manifest.ts'

const log = createLog({ level: 'silent', part: 'test' })
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-alone-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const file = () => join(dir, 'alone')
const segment = (sequence: number) => ({ kind: 'syslog', sequence }) as const

function manifest(rank: number, ...hashes: number[]): Manifest {
  return { ...emptyManifest, rank, hashes: Float64Array.from(hashes) }
}

function open() {
  const alone = createAloneFile(
    { log, clock: { wall: () => 0, monotonic: () => 0 }, stored: () => true },
    { file: file(), bounds: { ms: 1000, datagrams: 1000 } },
  )
  alone.start()
  return alone
}

test('what was stored alone is known after a restart', () => {
  const before = open()
  before.add(segment(1), manifest(3, 11, 0, 12), 5000)
  before.add(segment(2), manifest(3, 13), 5500)
  before.took(segment(1), [12])
  before.agreed(segment(1))
  const after = open()
  expect(after.has(segment(1))).toBe(true)
  expect(after.places('x/syslog/1', manifest(5, 11, 12, 13), [])).toEqual([1, 2])
  after.came('x/syslog/1')
  expect(open().places('x/syslog/1', manifest(5, 11, 12, 13), [])).toEqual([])
})

test('what the other cannot have any more is not read again', () => {
  const before = open()
  before.add(segment(1), manifest(rankOf(1, true), 11), 1000)
  before.add(segment(2), manifest(rankOf(2, true), 12), 1000)
  before.add(segment(3), manifest(rankOf(2, true), 13), 5000)
  expect(open().places('x/syslog/1', manifest(9, 11, 12, 13), [])).toEqual([0, 2])
})

test('an entry that a crash left half written is cut off, and what follows is read', () => {
  open().add(segment(1), manifest(3, 11), 5000)
  const whole = readFileSync(file())
  appendFileSync(file(), whole.subarray(0, whole.length - 3))
  open().add(segment(2), manifest(3, 12), 5000)
  expect(open().places('x/syslog/1', manifest(5, 11, 12), [])).toEqual([0, 1])
})

test('the file is not written again each second for segments without datagrams', () => {
  const alone = open()
  alone.add(segment(1), manifest(3, 0), 5000)
  const written = statSync(file()).ino
  alone.tick()
  // Written anew it would be another file.
  expect(statSync(file()).ino).toBe(written)
  expect(open().has(segment(1))).toBe(true)
})

test('the file goes when nothing in it is of use', () => {
  const alone = open()
  alone.add(segment(1), manifest(3, 11), 5000)
  alone.agreed(segment(1))
  alone.tick()
  expect(existsSync(file())).toBe(false)
})
