/** Databases for tests: each test has one of its own, cloned from a template that has the schema. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Registry } from 'prom-client'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createDatabase, type Database, type Tx } from '../../src/store/postgres/database.ts'
import type { DeviceFields } from '../../src/store/postgres/devices.ts'
import { migrate } from '../../src/store/postgres/migrate.ts'

export interface TestDatabases {
  /** A database with the schema; its URL. */
  create(): Promise<string>
  /** A database without anything. */
  createEmpty(): Promise<string>
  /** @throws if somebody is still connected to it: a test that leaks fails */
  drop(url: string): Promise<void>
  stop(): Promise<void>
}

export const log = createLog({ level: 'silent', part: 'test' })
export const applicationName = 'keepwatch/one/8c1f1b0e-0000-4000-8000-000000000000'
export const setUpMs = 60_000
/** What a takeover does, without its conditions. */
export async function takeOver(client: pg.ClientBase, term: number): Promise<void> {
  await client.query(
    `UPDATE leadership SET term = $1, holder = 'two', incarnation = gen_random_uuid(),
       since = clock_timestamp(), reason = 'a test', released = false`,
    [term],
  )
}

export function openDatabase(url: string, poolSize = 5): Database {
  return createDatabase(
    { log, metrics: new Registry(), clock: systemClock },
    { url, applicationName, poolSize },
  )
}

/** One test's state: a database of its own, in term 1. */
export interface TestState {
  database: Database
  /** A second server's database, on the same state. */
  other: Database
  write<T>(work: (tx: Tx) => Promise<T>, term?: number): Promise<T>
  raiseTerm(term: number): Promise<void>
}

export const aDevice: DeviceFields = {
  name: 'edge-1',
  address: '192.0.2.1',
  port: 22,
  driver: 'ios',
  credentialId: null,
  schedule: null,
  enabled: true,
  note: '',
}

const leakDeadlineMs = 3_000

/** @param url of a server on which databases may be created */
export async function createTestDatabases(url: string): Promise<TestDatabases> {
  const prefix = `keepwatch_test_${randomBytes(4).toString('hex')}`
  const admin = new pg.Client({ connectionString: url })
  const maker = new pg.Client({ connectionString: url })
  const made = new Set<string>()
  let count = 0
  await admin.connect()
  await maker.connect()
  const template = await make('')
  const client = new pg.Client({ connectionString: template })
  await client.connect()
  await migrate(client)
  await client.end()

  // Cloning takes longer than most tests: the next one is made while a test runs.
  let spare = clone()

  function clone() {
    const made = make(`TEMPLATE ${nameOf(template)}`)
    made.catch(() => {})
    return made
  }

  async function make(from: string) {
    const name = `${prefix}_${count++}`
    await maker.query(`CREATE DATABASE ${name} ${from}`)
    const address = new URL(url)
    address.pathname = `/${name}`
    made.add(address.href)
    return address.href
  }

  async function drop(address: string, how: string) {
    await admin.query(`DROP DATABASE IF EXISTS ${nameOf(address)} ${how}`)
    made.delete(address)
  }

  return {
    async create() {
      const ready = await spare
      spare = clone()
      return ready
    },

    createEmpty: () => make(''),

    async drop(address) {
      const deadline = performance.now() + leakDeadlineMs
      for (;;) {
        const { rows } = await admin.query(
          'SELECT application_name AS name, state, query FROM pg_stat_activity WHERE datname = $1',
          [nameOf(address)],
        )
        if (rows.length === 0) break
        if (performance.now() > deadline) {
          await drop(address, 'WITH (FORCE)')
          throw new Error(`left connected: ${JSON.stringify(rows)}`)
        }
        await sleep(20)
      }
      await drop(address, '')
    },

    async stop() {
      await spare
      await maker.end()
      for (const address of made) await drop(address, 'WITH (FORCE)')
      await admin.end()
    },
  }
}

function nameOf(address: string): string {
  return new URL(address).pathname.slice(1)
}
