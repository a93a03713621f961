import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../../lib/clock.ts'
import { createLog } from '../../../lib/log.ts'
import { createMetrics } from '../../../lib/metrics.ts'
import { freePort } from '../../../lib/ports.ts'
import { openAuthority } from '../../../lib/tls.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import type { BackupProgress } from './base-backup.ts'
import {
  acknowledgeWith,
  clusterIn,
  copyCluster,
  followersOf,
  followFrom,
  isLeftBehind,
  openSession,
  promote,
  type Session,
} from './replica.ts'
import { createTunnelEntry, createTunnelExit } from './tunnel.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const log = createLog({ level: 'silent', part: 'replica' })
const deadlineMs = 30_000
/** Stands in the table, many times. */
const known = createHash('md5').update('1').digest('hex')
let folder: string
let primary: EmbeddedPostgres
let follower: EmbeddedPostgres
/** The one that writes numbers, until it is told to stop or cannot. */
let writer: { stop(): Promise<number> } | undefined

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-replica-'))
  primary = await postgres('one')
  await primary.start()
  await ask(primary.url, 'CREATE TABLE numbers (number integer PRIMARY KEY, filling text)')
  await ask(
    primary.url,
    `INSERT INTO numbers SELECT -n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) AS n`,
  )
})

afterAll(async () => {
  await writer?.stop()
  await follower?.stop()
  await primary?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function postgres(name: string) {
  return createEmbeddedPostgres({ log }, { dataDir: join(folder, name), port: await freePort() })
}

async function ask<Row extends object>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql)).rows as Row[]
  } finally {
    await client.end()
  }
}

const highest = async (url: string) =>
  (await ask<{ max: number }>(url, 'SELECT max(number) AS max FROM numbers'))[0]!.max

/** Numbers from `first` on, each acknowledged before the next. @returns the last that was */
async function startWriter(url: string, first: number) {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  let acknowledged = first - 1
  let stopped = false
  const done = (async () => {
    while (!stopped) {
      try {
        await client.query('INSERT INTO numbers VALUES ($1)', [acknowledged + 1])
        acknowledged++
      } catch {
        return
      }
    }
  })()
  return {
    get acknowledged() {
      return acknowledged
    },
    async stop() {
      stopped = true
      await Promise.race([done, client.end().catch(() => {})])
      await done
      return acknowledged
    },
  }
}

async function asked<T>(url: string, work: (session: Session) => Promise<T>): Promise<T> {
  const session = await openSession(url)
  return work(session).finally(session.end)
}

const state = async () =>
  (await asked(primary.url, followersOf)).find(each => each.follower === 'b')

/** The way that another server has to the primary. */
async function createTunnel() {
  const authority = await openAuthority(join(folder, 'authority'))
  const issue = (name: string) => authority.issue({ role: 'server', name, hosts: ['127.0.0.1'] })
  const target = Number(new URL(primary.url).port)
  const exit = createTunnelExit(
    { clock: systemClock, log, metrics: createMetrics({}) },
    { port: () => target, self: 'a' },
  )
  const link = createHttps({ ...(await issue('a')), requestCert: true, rejectUnauthorized: true })
  link.on('upgrade', (request, socket, head) => void exit.upgrade(request, socket, head))
  link.listen(0, '127.0.0.1')
  await once(link, 'listening')
  const { port } = link.address() as AddressInfo
  const server = { name: 'a', host: '127.0.0.1', port }
  const entry = createTunnelEntry({ identity: await issue('b') }, { server: () => server, port: 0 })
  await entry.start()
  const url = new URL(primary.url)
  url.port = String(entry.port)
  return {
    url: url.href,
    async stop() {
      await entry.stop()
      exit.stop()
      link.closeAllConnections()
      link.close()
    },
  }
}

/**
 * A way to the primary that is not sound.
 *
 * @param pass what becomes of what comes from there, after so many bytes; undefined: it breaks
 */
async function createWay(
  pass: (chunk: Buffer, passed: number) => Buffer | undefined,
  to = primary.url,
) {
  const target = new URL(to)
  const server = createServer(socket => {
    const upstream = connect(Number(target.port), target.hostname)
    let passed = 0
    upstream.on('data', chunk => {
      passed += chunk.length
      const rest = pass(chunk, passed)
      if (rest === undefined) socket.destroy()
      else socket.write(rest)
    })
    socket.pipe(upstream)
    for (const each of [socket, upstream]) {
      each.on('error', () => {})
      each.on('close', () => {
        socket.destroy()
        upstream.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(to)
  url.port = String((server.address() as AddressInfo).port)
  return { url: url.href, close: () => server.close() }
}

describe('a follower', () => {
  let way: Awaited<ReturnType<typeof createTunnel>>
  beforeAll(async () => {
    way = await createTunnel()
  })
  afterAll(async () => {
    await way.stop()
  })

  test('is a verified copy, over the link, made while the primary is written to', async () => {
    const running = await startWriter(primary.url, 1)
    writer = running
    const told: BackupProgress[] = []
    const backup = await copyCluster(
      { url: way.url, follower: 'b' },
      {
        ...{ dataDir: join(folder, 'two'), signal: AbortSignal.timeout(60_000) },
        onProgress: progress => void told.push(progress),
      },
    )
    expect(backup.files).toBeGreaterThan(500)
    expect(backup.bytes).toBeGreaterThan(20_000_000)
    for (const { totalBytes } of told) expect(totalBytes).toBeGreaterThan(20_000_000)
    expect(running.acknowledged, 'it went on being written to').toBeGreaterThan(1)
  })

  test('follows, and takes no writes', async () => {
    follower = await postgres('two')
    await follower.start()
    await vi.waitUntil(async () => (await state())?.state === 'streaming', {
      ...{ timeout: deadlineMs, interval: 100 },
    })
    const last = await highest(primary.url)
    await vi.waitUntil(async () => (await highest(follower.url)) >= last, { timeout: deadlineMs })
    await expect(ask(follower.url, 'INSERT INTO numbers VALUES (0)')).rejects.toThrow('read-only')
  })

  test('has what was acknowledged from when that waits for it', async () => {
    await asked(primary.url, session => acknowledgeWith(session, 'b'))
    await vi.waitUntil(async () => (await state())?.synchronous, { timeout: deadlineMs })
    const { behindBytes } = (await state())!
    expect(behindBytes).toBeGreaterThanOrEqual(0)
    const [, from] = await Promise.all([
      new Promise(resolve => setTimeout(resolve, 500)),
      highest(primary.url),
    ])
    await vi.waitUntil(async () => (await highest(primary.url)) > from, { timeout: deadlineMs })
  })

  test('promoted after the primary was killed, has every acknowledged change', async () => {
    process.kill(primary.pid!, 'SIGKILL')
    const acknowledged = await writer!.stop()
    writer = undefined
    const began = performance.now()
    await promote(follower.url)
    console.log(`promoted in ${(performance.now() - began).toFixed(0)} ms`)
    const [row] = await ask<{ count: number; max: number }>(
      follower.url,
      'SELECT count(*)::int AS count, max(number) AS max FROM numbers WHERE number > 0',
    )
    // The last one may have been on its way to be acknowledged.
    expect(row!.max - acknowledged).toBeOneOf([0, 1])
    expect(row!.count).toBe(row!.max)
    await asked(follower.url, session => acknowledgeWith(session, undefined))
    await ask(follower.url, 'INSERT INTO numbers VALUES (0)')
  })

  test('and the old primary, copied anew, follows the new one', async () => {
    await primary.stop()
    await copyCluster(
      { url: follower.url, follower: 'b' },
      { dataDir: join(folder, 'one'), signal: AbortSignal.timeout(60_000) },
    )
    await primary.start()
    const [row] = await ask<{ count: number }>(
      primary.url,
      'SELECT count(*)::int AS count FROM numbers WHERE number = 0',
    )
    expect(row!.count).toBe(1)
    await ask(follower.url, 'DELETE FROM numbers WHERE number = 0')
    await vi.waitUntil(
      async () => (await ask(primary.url, 'SELECT FROM numbers WHERE number = 0')).length === 0,
      { timeout: deadlineMs },
    )
  })

  test('goes on from where it was, also from another place, as long as what it lacks is kept', async () => {
    const other = { url: follower.url, follower: 'b' }
    await primary.stop()
    expect(await clusterIn(join(folder, 'one'))).toBe('follows')
    await ask(follower.url, 'INSERT INTO numbers VALUES (0)')
    const way = await createWay(chunk => chunk, follower.url)
    await followFrom({ ...other, url: way.url }, join(folder, 'one'))
    await primary.start()
    await vi.waitUntil(
      async () => (await ask(primary.url, 'SELECT FROM numbers WHERE number = 0')).length === 1,
      { timeout: deadlineMs },
    )
    expect(await isLeftBehind(other)).toBe(false)
    way.close()
  })

  test('that was away while too much was written is left behind, and copied anew', async () => {
    const other = { url: follower.url, follower: 'b' }
    await primary.stop()
    await ask(follower.url, `ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'`)
    await ask(follower.url, 'SELECT pg_reload_conf()')
    await vi.waitUntil(
      async () => {
        await ask(
          follower.url,
          'CREATE TABLE much AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 60000) AS n',
        )
        await ask(follower.url, 'DROP TABLE much; SELECT pg_switch_wal(); CHECKPOINT')
        return isLeftBehind(other)
      },
      { timeout: deadlineMs },
    )
    await ask(follower.url, 'ALTER SYSTEM RESET max_slot_wal_keep_size')
    await ask(follower.url, 'SELECT pg_reload_conf()')
    await copyCluster(other, {
      ...{ dataDir: join(folder, 'one'), signal: AbortSignal.timeout(60_000) },
    })
    expect(await isLeftBehind(other)).toBe(false)
    await primary.start()
    await ask(follower.url, 'DELETE FROM numbers WHERE number = 0')
    await vi.waitUntil(
      async () => (await ask(primary.url, 'SELECT FROM numbers WHERE number = 0')).length === 0,
      { timeout: deadlineMs },
    )
  })
})

describe('a copy', () => {
  // The second is the primary by now.
  beforeAll(() => {
    ;[primary, follower] = [follower, primary]
  })

  const copy = (url: string, name: string) =>
    copyCluster(
      { url, follower: 'c' },
      { dataDir: join(folder, name), signal: AbortSignal.timeout(60_000) },
    )

  test('that is cut off leaves no cluster behind, and the next attempt is whole', async () => {
    const way = await createWay((chunk, passed) => (passed > 8_000_000 ? undefined : chunk))
    await expect(copy(way.url, 'three')).rejects.toThrow()
    way.close()
    expect(existsSync(join(folder, 'three', 'cluster'))).toBe(false)
    await copy(primary.url, 'three')
    expect(existsSync(join(folder, 'three', 'cluster', 'PG_VERSION'))).toBe(true)
    expect(existsSync(join(folder, 'three', 'cluster.copy'))).toBe(false)
  })

  test('in which one letter is another than was sent is noticed', async () => {
    let changed = 0
    const way = await createWay(chunk => {
      const at = changed === 0 ? chunk.indexOf(known) : -1
      if (at < 0) return chunk
      changed++
      const other = Buffer.from(chunk)
      other[at] = 'x'.charCodeAt(0)
      return other
    })
    await expect(copy(way.url, 'five')).rejects.toThrow(/is not what was sent/)
    way.close()
    expect(changed).toBe(1)
    expect(existsSync(join(folder, 'five', 'cluster'))).toBe(false)
  })

  test('that nobody waits for any more ends', async () => {
    const stop = new AbortController()
    const copying = copyCluster(
      { url: primary.url, follower: 'd' },
      {
        ...{ dataDir: join(folder, 'four'), signal: stop.signal, maxKilobytesPerSecond: 1000 },
        onProgress: () => stop.abort(new Error('nobody waits')),
      },
    )
    await expect(copying).rejects.toThrow('nobody waits')
    expect(existsSync(join(folder, 'four', 'cluster'))).toBe(false)
  })
})
