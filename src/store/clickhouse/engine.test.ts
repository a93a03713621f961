import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, expect, test, vi } from 'vitest'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import { createEmbeddedEngine, type EmbeddedEngine } from './engine.ts'

vi.setConfig({ testTimeout: 60_000 })

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

function folder(): string {
  const dataDir = mkdtempSync(join(tmpdir(), 'keepwatch-engine-'))
  undo.push(() => rmSync(dataDir, { recursive: true, force: true }))
  return dataDir
}

function engineIn(dataDir: string): EmbeddedEngine & { metrics: ReturnType<typeof createMetrics> } {
  const metrics = createMetrics({})
  const log = createLog({ level: 'silent', part: 'test' })
  const engine = createEmbeddedEngine({ log, metrics }, { dataDir, sessions: 2, queue: 4 })
  undo.push(() => engine.stop())
  return Object.assign(engine, { metrics })
}

async function ask(engine: EmbeddedEngine, sql: string, headers: Record<string, string> = {}) {
  const response = await fetch(engine.url, {
    method: 'POST',
    body: sql,
    headers: {
      'X-ClickHouse-User': engine.username,
      'X-ClickHouse-Key': engine.password,
      ...headers,
    },
  })
  return { response, text: (await response.text()).trim() }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('nothing runs before start or after stop, and the data stay', async () => {
  const dataDir = folder()
  const engine = engineIn(dataDir)
  expect(engine.pid).toBeUndefined()
  expect(await engine.available(0)).toBe(false)
  await engine.start()
  const pid = engine.pid!
  expect(alive(pid)).toBe(true)
  await ask(engine, 'CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a')
  await ask(engine, 'INSERT INTO t VALUES (7)')
  await engine.stop()
  await engine.stop()
  expect(alive(pid)).toBe(false)
  expect(await engine.available(0)).toBe(false)
  await engine.start()
  expect((await ask(engine, 'SELECT a FROM t')).text).toBe('7')
})

test('a stop amid a start leaves nothing behind', async () => {
  const engine = engineIn(folder())
  const starting = engine.start().catch(error => error)
  await expect.poll(() => engine.pid, { timeout: 20_000 }).toBeDefined()
  const pid = engine.pid!
  await engine.stop()
  await starting
  expect(alive(pid)).toBe(false)
})

test('an engine that is killed comes back by itself, and who waits is told', async () => {
  const engine = engineIn(folder())
  await engine.start()
  const before = engine.pid!
  process.kill(before, 'SIGKILL')
  await expect.poll(() => engine.pid !== before, { timeout: 20_000 }).toBe(true)
  expect(await engine.available(20_000)).toBe(true)
  expect((await ask(engine, 'SELECT 1')).text).toBe('1')
  expect(await engine.metrics.metrics()).toContain('keepwatch_engine_crashes_total 1')
})

test('the engine dies with a parent that is killed, and its successor waits for the directory', async () => {
  const dataDir = folder()
  const parent = spawnParent(dataDir)
  const [line] = (await once(parent.stdout!.setEncoding('utf8'), 'data')) as [string]
  const pid = Number(line)
  expect(alive(pid)).toBe(true)
  writeFileSync(join(dataDir, 'incoming', 'left-over'), 'x')
  parent.kill('SIGKILL')
  const engine = engineIn(dataDir)
  await engine.start()
  // The lock goes before the process's number does.
  await expect.poll(() => alive(pid), { timeout: 20_000 }).toBe(false)
  expect(readdirSync(join(dataDir, 'incoming'))).toEqual([])
})

test.skipIf(process.platform !== 'linux')(
  'all threads of the engine leave the processor to others first',
  async () => {
    const engine = engineIn(folder())
    await engine.start()
    expect((await ask(engine, 'SELECT sum(number) FROM numbers(1e7)')).response.status).toBe(200)
    const tasks = `/proc/${engine.pid}/task`
    const nice = readdirSync(tasks).map(task => {
      const stat = readFileSync(join(tasks, task, 'stat'), 'latin1')
      // proc_pid_stat(5), field 19; the second may hold spaces.
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
    })
    // Below zero are those of the kernel's own (io_uring).
    const own = nice.filter(value => value >= 0)
    expect(new Set(own)).toEqual(new Set([constants.priority.PRIORITY_BELOW_NORMAL]))
  },
)

test('only who has the password gets in', async () => {
  const engine = engineIn(folder())
  await engine.start()
  const wrong = await ask(engine, 'SELECT 1', { 'X-ClickHouse-Key': 'guess' })
  expect(wrong.response.status).toBe(403)
  expect(wrong.response.headers.get('X-ClickHouse-Exception-Code')).toBe('516')
  const basic = Buffer.from(`${engine.username}:${engine.password}`).toString('base64')
  const right = await fetch(`${engine.url}/?query=SELECT+2`, {
    headers: { Authorization: `Basic ${basic}` },
  })
  expect(await right.text()).toBe('2\n')
  expect(await (await fetch(`${engine.url}/ping`)).text()).toBe('Ok.\n')
})

test('data come compressed, matched by name; bad ones are refused and leave no file', async () => {
  const dataDir = folder()
  const engine = engineIn(dataDir)
  await engine.start()
  await ask(engine, 'CREATE TABLE t (a UInt8, b String) ENGINE = MergeTree ORDER BY a')
  const insert = (body: Uint8Array, format: string, headers: Record<string, string> = {}) =>
    fetch(`${engine.url}/?query=${encodeURIComponent(`INSERT INTO t FORMAT ${format}`)}`, {
      method: 'POST',
      body: Uint8Array.from(body),
      headers: {
        'X-ClickHouse-User': engine.username,
        'X-ClickHouse-Key': engine.password,
        ...headers,
      },
    })
  const rows = Buffer.from('{"b":"x","a":1}\n{"a":2}\n')
  const zstd = await insert(zstdCompressSync(rows), 'JSONEachRow', { 'Content-Encoding': 'zstd' })
  expect(zstd.status).toBe(200)
  expect((await ask(engine, 'SELECT * FROM t ORDER BY a')).text).toBe('1\tx\n2')
  const cut = await insert(Buffer.from([1, 100, 1]), 'Native')
  expect(cut.status).toBe(400)
  expect(await cut.text()).toMatch(/^Code: 33\. DB::Exception: /)
  const unknown = await insert(rows, 'JSONEachRow', { 'Content-Encoding': 'lzma' })
  expect(unknown.status).toBe(500)
  expect(existsSync(join(dataDir, 'incoming'))).toBe(true)
  expect(readdirSync(join(dataDir, 'incoming'))).toEqual([])
})

test('more questions than may wait are refused, and none of the others suffers', async () => {
  const engine = engineIn(folder())
  await engine.start()
  const asked = await Promise.all(
    Array.from({ length: 12 }, () => ask(engine, 'SELECT sleep(0.3) FORMAT TabSeparated')),
  )
  const statuses = asked.map(({ response }) => response.status)
  expect(statuses.filter(status => status === 200).length).toBe(6)
  expect(statuses.filter(status => status === 503).length).toBe(6)
  expect((await ask(engine, 'SELECT 1')).text).toBe('1')
})

test('a question is worked on by all the threads that it may have', async () => {
  const engine = engineIn(folder())
  await engine.start()
  await ask(engine, 'CREATE TABLE numbered (number UInt64) ENGINE = MergeTree ORDER BY tuple()')
  await ask(engine, 'INSERT INTO numbered SELECT number FROM numbers(2000000)')
  for (const threads of [2, 4]) {
    const { text } = await ask(
      engine,
      `EXPLAIN PIPELINE SELECT sum(number) FROM numbered SETTINGS max_threads = ${threads}`,
    )
    expect(text).toContain(`AggregatingTransform × ${threads}`)
  }
})

/** A process of its own with an engine in it, which says the engine's process on standard output. */
function spawnParent(dataDir: string): ChildProcess {
  const from = (file: string) => JSON.stringify(new URL(file, import.meta.url).href)
  const program = `
    import { createEmbeddedEngine } from ${from('./engine.ts')}
    import { createLog } from ${from('../../lib/log.ts')}
    import { createMetrics } from ${from('../../lib/metrics.ts')}
    const log = createLog({ level: 'silent', part: 'test' })
    const engine = createEmbeddedEngine(
      { log, metrics: createMetrics({}) },
      { dataDir: ${JSON.stringify(dataDir)} },
    )
    await engine.start()
    console.log(engine.pid)`
  const parent = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  undo.push(() => parent.kill('SIGKILL'))
  return parent
}
