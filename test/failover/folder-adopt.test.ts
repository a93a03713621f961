/** What a dead server had sealed and not delivered is in the other’s store, once. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Adoption, createAdoption } from '../../src/collect/adopt.ts'
import type { SegmentStore } from '../../src/collect/receive.ts'
import type { SharedFolder } from '../../src/failover/folder/folder.ts'
import { createFolderStore, readStore } from '../collect/folder-store.ts'
import {
  createLab,
  createSender,
  type Lab,
  numbered,
  numbersIn,
  segmentFiles,
  settingsOf,
} from '../collect/lab.ts'
import { base, createFolderLab, type FolderLab, filesUnder, hasSshfs, until } from './folder-lab.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

let folders: FolderLab
let lab: Lab
let adoptions: Adoption[]
beforeEach(async () => {
  folders = createFolderLab()
  lab = await createLab()
  adoptions = []
})
afterEach(async () => {
  await Promise.all(adoptions.map(adoption => adoption.stop()))
  await lab.close()
  await folders.close()
})

/** At this port nobody listens. */
const nowhere = 9
const range = (to: number) => Array.from({ length: to }, (_, number) => number)
const sorted = (numbers: number[]) => numbers.toSorted((a, b) => a - b)

/** A server that seals numbered messages, delivers none, and dies with its disk. */
async function deadServer(path: string, count: number) {
  const spool = join(lab.dir, 'spool')
  const { program, ports } = await lab.collector(settingsOf(spool, { b: nowhere }))
  const copying = folders.shared(path, { server: 'a', spool })
  await copying.start()
  const sender = createSender()
  for (let number = 0; number < count; number++) {
    await sender.send(numbered(number), ports.syslog_udp)
    // Several segments.
    if (number % 200 === 199) await new Promise(resolve => setTimeout(resolve, 700))
  }
  await sender.close()
  const sealed = () => readAll(spool)
  await until('all is sealed', () => sealed() === count, sealed)
  const there = () => filesUnder(join(path, 'spool')).filter(name => name.endsWith('.segment'))
  await until(
    'all is in the shared folder',
    () => there().length === segmentFiles(spool, 'syslog').length,
    there,
  )
  await program.kill('SIGKILL')
  await copying.stop()
  return there()

  function readAll(of: string): number {
    if (!existsSync(join(of, 'syslog'))) return 0
    return segmentFiles(of, 'syslog').reduce(
      (sum, name) => sum + readFileSync(join(of, 'syslog', name)).readUInt32LE(12),
      0,
    )
  }
}

function adoption(folder: SharedFolder, store: SegmentStore, config = {}) {
  const one = createAdoption(
    { ...base(), folder: folder.segments, store, own: () => undefined },
    { scanMs: 100, ...config },
  )
  adoptions.push(one)
  return one
}

async function successor(path: string) {
  const folder = folders.shared(path, { server: 'b' })
  await folder.start()
  await until('the other reaches the folder', () => folder.state().usable, folder.state)
  return folder
}

const storeFile = () => join(lab.dir, 'store-b')
const stored = () => readStore(storeFile())

test('numbered messages of a dead server are all stored, each once, also when it is done twice', async () => {
  const path = folders.folder('shared')
  const segments = await deadServer(path, 1000)
  expect(segments.length).toBeGreaterThan(2)
  const folder = await successor(path)
  const store = createFolderStore(storeFile())
  let calls = 0
  const first = adoption(folder, {
    received: collector => store.received(collector),
    insertSegment: (id, native) =>
      ++calls > 1 ? Promise.reject(new Error('it is stopping')) : store.insertSegment(id, native),
  })
  await first.start()
  // It is stopped in the middle, as by a switchover, and another goes on.
  await until('it has begun', () => first.state().adopted > 0 && calls > 1, first.state)
  await first.stop()
  const second = adoption(folder, createFolderStore(storeFile()))
  await second.start()
  await until(
    'everything is adopted',
    () => second.state().lookedAt !== undefined && second.state().waiting === 0,
    second.state,
  )
  const third = adoption(folder, createFolderStore(storeFile()))
  await third.start()
  await until('it has looked', () => third.state().lookedAt !== undefined, third.state)
  expect(third.state().adopted).toBe(0)
  expect(sorted(numbersIn(stored()))).toEqual(range(1000))
  console.log(
    `${segments.length} segments adopted: ${first.state().adopted} + ${second.state().adopted}`,
  )
})

test('a store that is away for a while, and a segment that rotted, hold up nothing else', async () => {
  const path = folders.folder('shared')
  const [rotten, ...sound] = await deadServer(path, 800)
  const file = join(path, 'spool', rotten!)
  const bytes = readFileSync(file)
  const lostRows = bytes.readUInt32LE(12)
  bytes[bytes.length - 5]! ^= 1
  writeFileSync(file, bytes)
  const folder = await successor(path)
  const store = createFolderStore(storeFile())
  let away = 3
  const one = adoption(folder, {
    received: collector => store.received(collector),
    insertSegment: (id, native) =>
      away-- > 0
        ? Promise.reject(new Error('the engine is away'))
        : store.insertSegment(id, native),
  })
  await one.start()
  await until('the sound ones are stored', () => stored().length === sound.length, one.state)
  expect(one.state().damaged).toBe(1)
  expect(numbersIn(stored())).toHaveLength(800 - lostRows)
  expect(existsSync(file), 'it stays for a person to look at').toBe(true)
})

test('what was stored is removed after a while if its owner does not come back', async () => {
  const path = folders.folder('shared')
  await deadServer(path, 300)
  const folder = await successor(path)
  const one = adoption(folder, createFolderStore(storeFile()), { keepMs: 500 })
  await one.start()
  await until('the folder is empty', () => filesUnder(join(path, 'spool')).length === 0, one.state)
  expect(sorted(numbersIn(stored()))).toEqual(range(300))
})

test.skipIf(!hasSshfs)(
  'a folder that hangs in the middle of it is gone on with when it answers (needs root, FUSE and sshfs)',
  async () => {
    const mounted = await folders.sshfs('shared')
    await deadServer(mounted.path, 600)
    const folder = await successor(mounted.path)
    mounted.hang()
    const one = adoption(folder, createFolderStore(storeFile()))
    await one.start()
    await until('the fault', () => folder.state().fault?.kind === 'hung', folder.state)
    expect(one.state().adopted).toBe(0)
    mounted.recover()
    await until('everything is adopted', () => numbersIn(stored()).length === 600, one.state)
    expect(sorted(numbersIn(stored()))).toEqual(range(600))
  },
)
