import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { createLog } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import type { Kind } from '../telemetry/table.ts'
import { emptyManifest } from './manifest.ts'
import { createSpool, type Spool } from './spool.ts'
import { SpoolError } from './spool-folder.ts'

let dir: string
const open: Spool[] = []
const servers = ['a', 'b']

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-spool-'))
})
afterEach(async () => {
  for (const spool of open.splice(0)) await spool.stop()
  rmSync(dir, { recursive: true, force: true })
})

async function start(
  config: { quotaBytes?: number; servers?: string[] } = {},
  write?: (file: string, chunks: Uint8Array[]) => Promise<void>,
) {
  const deps = {
    log: createLog({ level: 'silent', part: 'test' }),
    metrics: createMetrics({}),
    clock: systemClock,
  }
  const spool = createSpool(write === undefined ? deps : { ...deps, write }, {
    dir,
    quotaBytes: 1_000_000,
    servers,
    ...config,
  })
  await spool.start()
  open.push(spool)
  return spool
}

let tick = 1_700_000_000_000
const seal = (spool: Spool, kind: Kind = 'flow', body = 'body') => {
  tick++
  return spool.append(kind, {
    rows: 1,
    nativeBytes: 4,
    firstMs: tick,
    lastMs: tick,
    body: Buffer.from(body),
  })
}
const files = (kind: Kind) => readdirSync(join(dir, kind))
const stopped = async (spool: Spool) => {
  await spool.stop()
  open.splice(open.indexOf(spool), 1)
}

describe('the spool', () => {
  test('gives sequences per kind from 0 that go on after a restart', async () => {
    const first = await start()
    expect([await seal(first), await seal(first), await seal(first, 'trap')]).toEqual([0, 1, 0])
    const { collector } = first
    await stopped(first)
    const second = await start()
    expect(second.collector).toBe(collector)
    expect([await seal(second), await seal(second, 'syslog')]).toEqual([2, 0])
  })

  test('removes a segment when every server has it, and keeps the newest for its sequence', async () => {
    const spool = await start()
    for (let i = 0; i < 3; i++) await seal(spool)
    for (const sequence of [0, 1, 2]) spool.acknowledged('a', 'flow', sequence)
    expect(spool.next('a', 'flow', -1)).toBeUndefined()
    expect(spool.next('b', 'flow', 0)).toMatchObject({ sequence: 1 })
    expect(spool.state()[0]).toMatchObject({ backlog: 3, lost: 0 })
    for (const sequence of [0, 1, 2]) spool.acknowledged('b', 'flow', sequence)
    expect(spool.state()[0]).toMatchObject({ backlog: 0, backlogBytes: 0 })
    await stopped(spool)
    expect(files('flow')).toEqual(['000000000002.seg'])
    const again = await start()
    expect(await seal(again)).toBe(3)
    again.received('a', 'flow', [[0, 2]])
    again.received('b', 'flow', [[0, 2]])
    await stopped(again)
    expect(files('flow')).toEqual(['000000000003.seg'])
  })

  test('takes the servers’ word for what they have, in ranges with holes', async () => {
    const spool = await start()
    for (let i = 0; i < 8; i++) await seal(spool)
    const ranges = [
      [0, 1],
      [3, 3],
      [6, 6],
    ] as const
    spool.received('a', 'flow', ranges)
    const waiting: number[] = []
    for (let after = -1; ; ) {
      const segment = spool.next('a', 'flow', after)
      if (segment === undefined) break
      waiting.push(segment.sequence)
      after = segment.sequence
    }
    expect(waiting).toEqual([2, 4, 5, 7])
    expect([spool.waiting('a'), spool.waiting('b')]).toEqual([4, 8])
    expect(spool.oldest('a')).toBe(spool.next('a', 'flow', -1)!.lastMs)
    spool.received('a', 'flow', [[0, 7]])
    expect([spool.oldest('a'), spool.oldest('b')]).toEqual([undefined, expect.any(Number)])
  })

  test('reads back what was sealed', async () => {
    const spool = await start()
    await seal(spool, 'syslog', 'hello')
    const segment = await spool.read(spool.next('a', 'syslog', -1)!)
    expect(segment!.body.toString()).toBe('hello')
    expect(segment!.header).toMatchObject({ kind: 'syslog', sequence: 0, rows: 1 })
  })

  test('removes what a crash left half written and puts torn files aside', async () => {
    const first = await start()
    for (let i = 0; i < 3; i++) await seal(first)
    await stopped(first)
    writeFileSync(join(dir, 'flow', '000000000003.seg.tmp'), 'half')
    truncateSync(join(dir, 'flow', '000000000002.seg'), 50)
    const second = await start()
    expect(second.problems.get('damaged')).toBe(1)
    expect(files('flow')).toEqual(['000000000000.seg', '000000000001.seg'])
    expect(readdirSync(join(dir, 'quarantine'))).toEqual(['flow-000000000002.seg'])
    expect(await seal(second)).toBe(3)
  })

  test('finds a damaged body when it is read, puts it aside and counts it as lost', async () => {
    const spool = await start()
    await seal(spool)
    await seal(spool)
    const file = join(dir, 'flow', '000000000000.seg')
    const bytes = readFileSync(file)
    bytes[bytes.length - 1]! ^= 1
    writeFileSync(file, bytes)
    expect(await spool.read(spool.next('a', 'flow', -1)!)).toBeUndefined()
    expect(spool.state()[0]).toMatchObject({ backlog: 1, lost: 1 })
    expect(spool.next('b', 'flow', -1)).toMatchObject({ sequence: 1 })
    expect(readdirSync(join(dir, 'quarantine'))).toEqual(['flow-000000000000.seg'])
  })

  test('gives up the oldest of any kind beyond the quota, and says so', async () => {
    const spool = await start({ quotaBytes: 3 * 208 })
    const body = 'x'.repeat(100)
    await seal(spool, 'trap', body)
    await seal(spool, 'flow', body)
    await seal(spool, 'flow', body)
    await seal(spool, 'trap', body)
    await seal(spool, 'trap', body)
    const lost = Object.fromEntries(spool.state().map(({ kind, lost }) => [kind, lost]))
    expect(lost).toMatchObject({ flow: 1, syslog: 0, trap: 1 })
    expect(spool.problems.get('quota')).toBe(2)
    expect(spool.next('a', 'trap', -1)).toMatchObject({ sequence: 1 })
    expect(spool.waiting('a')).toBe(3)
  })

  test('keeps within the quota even if only the newest is left, and uses no sequence twice', async () => {
    const spool = await start({ quotaBytes: 208 })
    const body = 'x'.repeat(100)
    await seal(spool, 'flow', body)
    await seal(spool, 'flow', body)
    await seal(spool, 'trap', body)
    expect(spool.state().map(({ lost }) => lost)).toEqual([2, 0, 0, 0, 0])
    await stopped(spool)
    expect(files('flow')).toEqual([])
    const again = await start()
    expect(await seal(again, 'flow')).toBeGreaterThan(1)
    expect(await seal(again, 'trap')).toBe(1)
  })

  test('does not use a sequence up when the disk refuses', async () => {
    let full = true
    const spool = await start({}, async () => {
      if (full) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    })
    await expect(seal(spool)).rejects.toThrow('no space')
    full = false
    expect(await seal(spool)).toBe(0)
  })

  test('gives a full disk back what every server has, the newest too', async () => {
    const first = await start()
    await seal(first)
    await stopped(first)
    const second = await start({}, async () => {
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    })
    second.acknowledged('a', 'flow', 0)
    second.acknowledged('b', 'flow', 0)
    expect(files('flow')).toHaveLength(1)
    await expect(seal(second, 'trap')).rejects.toThrow('no space')
    await stopped(second)
    expect(files('flow')).toEqual([])
    const third = await start()
    expect(await seal(third)).toBeGreaterThan(1)
  })

  test('keeps a copy of what a server refuses, and owes it to the other only', async () => {
    const spool = await start()
    await seal(spool)
    await seal(spool)
    await spool.refused('a', 'flow', 0)
    expect(spool.problems.get('refused-by-server')).toBe(1)
    expect([spool.waiting('a'), spool.waiting('b')]).toEqual([1, 2])
    spool.acknowledged('b', 'flow', 0)
    await stopped(spool)
    expect(files('flow')).toEqual(['000000000001.seg'])
    expect(readdirSync(join(dir, 'quarantine'))).toEqual(['flow-000000000000.seg'])
  })

  test('never uses a sequence twice, also when somebody emptied the folder', async () => {
    const first = await start()
    await seal(first)
    await stopped(first)
    rmSync(join(dir, 'flow'), { recursive: true })
    const second = await start()
    expect(second.collector).toBe(first.collector)
    expect(await seal(second)).toBeGreaterThan(1_000_000)
  })

  test('goes on behind what a server already has, if an old copy was put back', async () => {
    const spool = await start()
    await seal(spool)
    spool.received('a', 'flow', [[0, 41]])
    expect(spool.problems.get('server-is-ahead')).toBe(1)
    expect(await seal(spool)).toBe(42)
  })

  test('keeps its identity when only the file that names it is lost', async () => {
    const first = await start()
    await seal(first)
    await stopped(first)
    rmSync(join(dir, 'id'))
    const second = await start()
    expect(second.collector).toBe(first.collector)
    expect(await seal(second)).toBe(1)
  })

  test.skipIf(process.platform !== 'linux')(
    'refuses a second collector with the same identity',
    async () => {
      const first = await start()
      await seal(first)
      await expect(start()).rejects.toThrow(SpoolError)
      expect(await seal(first)).toBe(1)
    },
  )
})

describe('the servers of a spool', () => {
  test('may become more: the new one gets what waits, and the newest for its sequence', async () => {
    const spool = await start({ servers: ['a'] })
    for (let i = 0; i < 3; i++) await seal(spool)
    spool.acknowledged('a', 'flow', 0)
    spool.acknowledged('a', 'flow', 2)
    spool.setServers(['a', 'b'])
    expect(spool.waiting('a')).toBe(1)
    expect(spool.waiting('b')).toBe(2)
    expect(spool.next('b', 'flow', -1)).toMatchObject({ sequence: 1 })
    expect(spool.next('b', 'flow', 1)).toMatchObject({ sequence: 2 })
    for (const server of ['a', 'b']) spool.acknowledged(server, 'flow', 1)
    await vi.waitFor(() => expect(files('flow')).toEqual(['000000000002.seg']))
    await seal(spool)
    expect(spool.state()[0]).toMatchObject({ backlog: 2 })
  })

  test('may become fewer: one that is gone holds nothing back, and may come again', async () => {
    const spool = await start({ servers: ['a', 'b'] })
    for (let i = 0; i < 3; i++) await seal(spool)
    for (let i = 0; i < 3; i++) spool.acknowledged('a', 'flow', i)
    expect(spool.state()[0]).toMatchObject({ backlog: 3 })
    spool.setServers(['a'])
    expect(spool.state()[0]).toMatchObject({ backlog: 0, backlogBytes: 0 })
    expect(spool.waiting('b')).toBe(0)
    await vi.waitFor(() => expect(files('flow')).toHaveLength(1))
    spool.setServers(['c', 'a', 'b'])
    await seal(spool)
    expect(spool.waiting('a')).toBe(1)
    expect(spool.waiting('b')).toBe(2)
    expect(spool.waiting('c')).toBe(2)
    spool.acknowledged('nobody', 'flow', 3)
    for (const server of ['a', 'b', 'c']) spool.acknowledged(server, 'flow', 3)
    expect(['a', 'b', 'c'].map(server => spool.waiting(server))).toEqual([0, 1, 1])
  })

  test('the quota forces out what some server has before what nobody has', async () => {
    const spool = await start({ quotaBytes: 3 * 208 })
    const body = 'x'.repeat(100)
    await seal(spool, 'flow', body)
    await seal(spool, 'flow', body)
    await seal(spool, 'trap', body)
    spool.acknowledged('a', 'flow', 1)
    spool.acknowledged('a', 'trap', 0)
    await seal(spool, 'syslog', body)
    expect(spool.state().slice(0, 3)).toMatchObject([
      { kind: 'flow', lost: 0, notEverywhere: 0 },
      { kind: 'syslog', lost: 0, notEverywhere: 0 },
      { kind: 'trap', lost: 0, notEverywhere: 1 },
    ])
    // The newest is known to a server, but without it its sequence would be used again.
    await seal(spool, 'syslog', body)
    expect(spool.state()[0]).toMatchObject({ lost: 1, notEverywhere: 0 })
    expect(spool.next('b', 'flow', -1)).toMatchObject({ sequence: 1 })
    await seal(spool, 'syslog', body)
    expect(spool.state()[0]).toMatchObject({ lost: 1, notEverywhere: 1 })
    expect(Object.fromEntries(spool.problems)).toEqual({ 'quota-not-everywhere': 2, quota: 1 })
  })
})

test('a segment of which less remains, or nothing, stays so over a restart', async () => {
  const spool = await start()
  const manifest = { ...emptyManifest, rank: 5 }
  for (let i = 0; i < 3; i++) {
    const sealed = {
      rows: 9,
      nativeBytes: 4,
      firstMs: 1,
      lastMs: 2,
      body: Buffer.from('whole'),
      manifest,
    }
    await spool.append('trap', sealed)
  }
  const [one, two, three] = [-1, 0, 1].map(after => spool.next('a', 'trap', after)!)
  const less = {
    rows: 4,
    nativeBytes: 4,
    firstMs: 1,
    lastMs: 2,
    body: Buffer.from('less'),
    manifest,
  }
  await spool.replace(one!, less)
  await spool.replace(two!, undefined)
  await spool.replace(three!, undefined)
  expect(spool.waiting('a')).toBe(1)
  await stopped(spool)
  const again = await start()
  expect(again.waiting('a')).toBe(1)
  const left = again.next('b', 'trap', -1)!
  expect(left).toMatchObject({ sequence: 0, rows: 4, rank: 5 })
  expect((await again.read(left))!.body.toString()).toBe('less')
  expect(await seal(again, 'trap')).toBe(3)
})
