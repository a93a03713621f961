import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { freePort } from '../../../lib/ports.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { saveLeftBehind, transactionsLacking } from './left-behind.ts'
import { copyCluster, followersOf, openSession, promote, type Session } from './replica.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const log = createLog({ level: 'silent', part: 'left-behind' })
let folder: string
let servers: Record<'old' | 'current', EmbeddedPostgres>
let old: Session
let current: Session

async function postgres(name: string) {
  const port = await freePort()
  return createEmbeddedPostgres({ log }, { dataDir: join(folder, name), port, password: 'x' })
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-left-behind-'))
  servers = { old: await postgres('old'), current: await postgres('current') }
  await servers.old.start()
  old = await openSession(servers.old.url)
  await old.query('SET synchronous_commit = off')
  await old.query(
    `CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text,
       at timestamptz DEFAULT clock_timestamp(), action text, subject text, term bigint)`,
  )
  await old.query('CREATE TABLE devices (name text PRIMARY KEY, "where" text, secret bytea)')
  for (let number = 0; number < 5000; number++) await add(old, `before-${number}`)
  const dataDir = join(folder, 'current')
  const upstream = { url: servers.old.url, follower: 'current' }
  await copyCluster(upstream, { dataDir, signal: AbortSignal.timeout(60_000) })
  await servers.current.start()
})

afterAll(async () => {
  await old?.end()
  await current?.end()
  await servers?.current.stop()
  await servers?.old.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function add({ query }: Session, name: string) {
  await query(
    `WITH device AS (INSERT INTO devices VALUES ($1, 'x', '\\x00ff') RETURNING name)
     INSERT INTO audit (who, action, subject, term) SELECT 'anna', 'add', name, 3 FROM device`,
    [name],
  )
}

describe('what a database has that the one after it has not', () => {
  test('is nothing while that one follows it', async () => {
    current = await openSession(servers.current.url)
    await current.query('SET synchronous_commit = off')
    // What was committed without waiting for the disk is on it.
    await old.query('CHECKPOINT')
    await vi.waitFor(
      async () => {
        const [follower] = await followersOf(old)
        expect(follower).toMatchObject({ state: 'streaming', behindBytes: 0 })
      },
      { timeout: 30_000 },
    )
    expect(await transactionsLacking(old.query, current.query)).toEqual(new Set())
  })

  test('is what was written after they parted, also by what began before, and in as many transactions by both', async () => {
    const slow = await openSession(servers.old.url)
    await slow.query('BEGIN')
    await slow.query(`INSERT INTO devices VALUES ('slow', 'x', NULL)`)
    await add(old, 'the last of both')
    await vi.waitUntil(
      async () =>
        (await current.query(`SELECT FROM devices WHERE name = 'the last of both'`)).length > 0,
      { timeout: 30_000 },
    )
    await promote(servers.current.url)
    await slow.query('COMMIT')
    await slow.end()
    for (let number = 0; number < 3000; number++) await add(old, `lost-${number}`)
    await old.query(`UPDATE devices SET "where" = 'moved' WHERE name = 'before-7'`)
    for (let number = 0; number < 6000; number++) await add(current, `after-${number}`)

    const lacking = await transactionsLacking(old.query, current.query)
    expect(lacking.size).toBe(3002)
    const file = join(folder, 'left', 'behind.jsonl')
    const left = await saveLeftBehind(old, lacking, file)
    expect(left).toMatchObject({
      ...{ transactions: 3002, changeCount: 3000 },
      rows: { audit: 3000, devices: 3002 },
    })
    expect(left.changes).toHaveLength(1000)
    expect(left.changes[0]).toMatchObject({
      who: 'anna',
      action: 'add',
      subject: 'lost-0',
      term: 3,
    })
    const saved = readFileSync(file, 'utf8')
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line))
    expect(saved).toHaveLength(6002)
    const devices = saved.filter(({ table }) => table === 'devices').map(({ row }) => row)
    expect(devices).toContainEqual({ name: 'slow', where: 'x', secret: null })
    expect(devices).toContainEqual({ name: 'before-7', where: 'moved', secret: '\\x00ff' })
    expect(devices.filter(({ name }) => /^(before|after|the last)/.test(name))).toHaveLength(1)
  })
})
