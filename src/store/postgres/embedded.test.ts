import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { log, setUpMs } from '../../../test/contract/databases.ts'
import { freePort } from '../../lib/ports.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from './embedded.ts'

const isRoot = process.getuid?.() === 0
const isLinux = process.platform === 'linux'
const hasSetpriv = spawnSync('setpriv', ['--version']).status === 0
const nobody = 65_534
const nobodyReachesUs =
  isRoot &&
  spawnSync(
    'test',
    ['-r', join(import.meta.dirname, 'embedded.ts'), '-a', '-x', process.execPath],
    {
      uid: nobody,
      gid: nobody,
    },
  ).status === 0

/** What a server does: starts the database, says its address, and serves until it is killed. */
const program = `
  const { createEmbeddedPostgres } = await import(${JSON.stringify(join(import.meta.dirname, 'embedded.ts'))})
  const { createLog } = await import(${JSON.stringify(join(import.meta.dirname, '../../lib/log.ts'))})
  const [dataDir, port] = process.argv.slice(1)
  const log = createLog({ level: 'silent', part: 'test' })
  const postgres = createEmbeddedPostgres({ log }, { dataDir, port: Number(port) })
  await postgres.start()
  process.on('SIGTERM', () => postgres.stop().then(() => process.exit(0)))
  console.log(JSON.stringify({ url: postgres.url, pid: postgres.pid }))
`

describe('an embedded PostgreSQL', { timeout: 60_000 }, () => {
  let folder: string
  let dataDir: string
  let port: number
  let postgres: EmbeddedPostgres
  const children = new Set<ChildProcess>()

  beforeAll(async () => {
    // A folder of mode 700: as root, PostgreSQL runs as somebody who may not pass it.
    folder = await mkdtemp(join(tmpdir(), 'keepwatch-embedded-'))
    dataDir = join(folder, 'postgres')
    port = await freePort()
    postgres = createEmbeddedPostgres({ log }, { dataDir, port })
    await postgres.start()
    await ask(postgres.url, 'CREATE TABLE kept AS SELECT 42 AS answer')
    await postgres.stop()
  }, setUpMs)
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL')
    children.clear()
    await postgres.stop()
  }, setUpMs)
  afterAll(() => rm(folder, { recursive: true }))

  async function ask(url: string, sql: string) {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    try {
      await client.connect()
      return (await client.query(sql)).rows
    } finally {
      await client.end().catch(() => {})
    }
  }

  async function startProgram(dir: string, on: number, user?: { uid: number; gid: number }) {
    const args = ['--input-type=module', '-e', program, dir, `${on}`]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], ...user })
    children.add(child)
    const [line] = await once(createInterface(child.stdout!), 'line')
    return { child, ...(JSON.parse(line) as { url: string; pid: number }) }
  }

  async function isGone(pid: number, deadlineMs: number) {
    const deadline = performance.now() + deadlineMs
    while (performance.now() < deadline) {
      try {
        process.kill(pid, 0)
      } catch {
        return true
      }
      await sleep(20)
    }
    return false
  }

  test('goes on with its data, and nothing of it runs after it stopped', async () => {
    expect(() => postgres.url).toThrow('does not run')
    await postgres.start()
    const { pid } = postgres
    expect(await ask(postgres.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
    await postgres.stop()
    expect(postgres.pid).toBeUndefined()
    expect(await isGone(pid!, 1_000)).toBe(true)
    await postgres.stop()
  })

  test('lets in who has the password, which only its owner can read, and only from this machine', async () => {
    await postgres.start()
    const file = await stat(join(dataDir, 'password'))
    expect(file.mode & 0o777).toBe(0o600)
    const wrong = new URL(postgres.url)
    wrong.password = 'guess'
    await expect(ask(wrong.href, 'SELECT')).rejects.toMatchObject({ code: '28P01' })
    const settings = await ask(
      postgres.url,
      `SELECT name, setting FROM pg_settings WHERE name IN ('listen_addresses', 'fsync',
        'track_commit_timestamp', 'unix_socket_directories', 'password_encryption') ORDER BY 1`,
    )
    expect(settings.map(row => row.setting)).toEqual(['on', '127.0.0.1', 'scram-sha-256', 'on', ''])
  })

  test('says that its port is taken', async () => {
    const taken = createServer(socket => socket.destroy()).listen(port, '127.0.0.1')
    await once(taken, 'listening')
    await expect(postgres.start()).rejects.toThrow(/could not bind|Address already in use/)
    taken.close()
    await once(taken, 'close')
    await postgres.start()
  })

  test('is not started twice on the same data', async () => {
    await startProgram(dataDir, port)
    await expect(postgres.start()).rejects.toThrow('is in use by process')
  })

  test.skipIf(!hasSetpriv)('ends with a parent that is killed (needs setpriv)', async () => {
    const { child, pid } = await startProgram(dataDir, port)
    child.kill('SIGKILL')
    expect(await isGone(pid, 10_000)).toBe(true)
  })

  test.skipIf(!isLinux)(
    'hears no Ctrl-C from the terminal of its parent (needs /proc)',
    async () => {
      await postgres.start()
      const line = await readFile(`/proc/${postgres.pid}/stat`, 'utf8')
      const [, , group, session] = line.slice(line.lastIndexOf(')') + 2).split(' ')
      expect([group, session]).toEqual([`${postgres.pid}`, `${postgres.pid}`])
    },
  )

  test('is started anew after its postmaster was killed', async () => {
    await postgres.start()
    process.kill(postgres.pid!, 'SIGKILL')
    await postgres.stop()
    await postgres.start()
    expect(await ask(postgres.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
  })

  test('ends one that a killed parent left in its data', async () => {
    const { child, pid, url } = await startProgram(dataDir, port)
    // As if nothing had bound it to its parent: it is busy when the signal comes, and then frozen.
    process.kill(pid, 'SIGSTOP')
    child.kill('SIGKILL')
    await once(child, 'exit')
    setTimeout(() => process.kill(pid, 'SIGCONT'), 500)
    await postgres.start()
    expect(postgres.pid).not.toBe(pid)
    expect(await isGone(pid, 10_000)).toBe(true)
    expect(await ask(url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
  })

  test.skipIf(!isLinux)(
    'is not held up by a stranger with the number of an old one (needs /proc)',
    async () => {
      await writeFile(join(dataDir, 'cluster', 'postmaster.pid'), `${process.pid}\n`)
      await postgres.start()
    },
  )

  test.skipIf(!nobodyReachesUs)(
    'runs as an ordinary user, and as root goes on with what that user began (needs root, and a checkout that nobody is kept from)',
    async () => {
      const theirs = await mkdtemp(join(tmpdir(), 'keepwatch-nobody-'))
      try {
        await chmod(theirs, 0o777)
        const dir = join(theirs, 'data')
        const { child, url } = await startProgram(dir, port, { uid: nobody, gid: nobody })
        await ask(url, 'CREATE TABLE theirs AS SELECT 1 AS one')
        child.kill('SIGTERM')
        await once(child, 'exit')
        expect((await stat(join(dir, 'password'))).uid).toBe(nobody)
        const ours = createEmbeddedPostgres({ log }, { dataDir: dir, port })
        await ours.start()
        expect(await ask(ours.url, 'SELECT one FROM theirs')).toEqual([{ one: 1 }])
        await ours.stop()
        expect((await stat(join(dir, 'cluster', 'PG_VERSION'))).uid).toBe(nobody)
      } finally {
        await rm(theirs, { recursive: true })
      }
    },
  )
})
