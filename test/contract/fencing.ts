/** What every PostgreSQL that holds the state must hold to: migrations and the fence. */
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/lib/clock.ts'
import { DatabaseAway, TermOver } from '../../src/lib/errors.ts'
import { createDatabase, type Database } from '../../src/store/postgres/database.ts'
import {
  MigrationError,
  migrate,
  migrationFolder,
  type Program,
  pendingMigrations,
} from '../../src/store/postgres/migrate.ts'
import {
  applicationName,
  createTestDatabases,
  log,
  openDatabase,
  setUpMs,
  type TestDatabases,
  takeOver,
} from './databases.ts'
import { startProxy } from './proxy.ts'

const who = { name: 'a test' }

/** Written by everybody, at any time. */
const unfenced = [
  'hand_overs',
  'heartbeat',
  'leadership',
  'left_behind',
  'migrations',
  'operations',
  'role_changes',
  'servers',
  'sessions',
]

const slow = { timeout: 30_000 }

/** @param server gives the URL of a running server, once the tests run */
export function fencingContract(server: () => string): void {
  let databases: TestDatabases
  let url: string
  let client: pg.Client

  beforeAll(async () => {
    databases = await createTestDatabases(server())
  }, setUpMs)
  afterAll(() => databases.stop())
  beforeEach(async () => {
    url = await databases.create()
    client = await connected(url)
  })
  afterEach(async () => {
    await client.end()
    await databases.drop(url)
  })

  async function connected(address: string) {
    const made = new pg.Client({ connectionString: address })
    made.on('error', () => {})
    await made.connect()
    return made
  }

  async function using<T>(address: string, work: (database: Database) => Promise<T>): Promise<T> {
    const database = openDatabase(address)
    await database.start()
    try {
      return await work(database)
    } finally {
      await database.stop()
    }
  }

  const insert = (tx: { query: Database['query'] }, subject: string, term: number) =>
    tx.query('INSERT INTO audit (who, action, subject, term) VALUES ($1, $2, $3, $4)', [
      'a test',
      'write',
      subject,
      term,
    ])

  const subjects = async () =>
    (await client.query('SELECT subject FROM audit ORDER BY id')).rows.map(row => row.subject)

  describe('the fence', () => {
    test('lets the current term write', async () => {
      await takeOver(client, 3)
      await using(url, async database => {
        const result = await database.fenced(3, who, async tx => {
          expect(tx).toMatchObject({ term: 3, who: 'a test' })
          await insert(tx, 'kept', 3)
          return 'done'
        })
        expect(result).toBe('done')
      })
      expect(await subjects()).toEqual(['kept'])
    })

    test('refuses a term that is over, and says which is the current one', async () => {
      await takeOver(client, 4)
      await using(url, async database => {
        const error = await database
          .fenced(3, who, tx => insert(tx, 'stale', 3))
          .catch(caught => caught)
        expect(error).toBeInstanceOf(TermOver)
        expect(error).toMatchObject({ term: 3, current: 4 })
        await expect(database.fenced(5, who, tx => insert(tx, 'early', 5))).rejects.toThrow(
          TermOver,
        )
      })
      expect(await subjects()).toEqual([])
    })

    test('holds up a takeover while a transaction is paused, and ending its session stops its commit', async () => {
      await using(url, async database => {
        const paused = Promise.withResolvers<void>()
        const goOn = Promise.withResolvers<void>()
        const writing = database.fenced(0, who, async tx => {
          await insert(tx, 'paused', 0)
          paused.resolve()
          await goOn.promise
          await insert(tx, 'after the pause', 0)
        })
        const outcome = writing.catch(error => error)
        await paused.promise

        await client.query("SET lock_timeout = '200ms'")
        await expect(takeOver(client, 1)).rejects.toMatchObject({ code: '55P03' })

        const { rows } = await client.query(
          'SELECT pg_terminate_backend(pid, 2000) AS ended FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()',
          [applicationName],
        )
        expect(rows.length).toBeGreaterThan(0)
        expect(rows.every(row => row.ended)).toBe(true)
        await takeOver(client, 1)
        goOn.resolve()
        const error = await outcome
        expect(error).toBeInstanceOf(DatabaseAway)
        expect(error.outcome).toBe('nothing-written')
        expect(await subjects()).toEqual([])
        await expect(database.fenced(0, who, tx => insert(tx, 'again', 0))).rejects.toThrow(
          TermOver,
        )
      })
      expect(await subjects()).toEqual([])
    })

    test('lets a frozen transaction hold up a takeover for less than a lease', slow, async () => {
      await using(url, async database => {
        const paused = Promise.withResolvers<void>()
        const frozen = database.fenced(0, who, async tx => {
          await insert(tx, 'frozen', 0)
          paused.resolve()
          await new Promise<never>(() => {})
        })
        const outcome = frozen.catch(error => error)
        await paused.promise
        await client.query("SET lock_timeout = '9s'")
        await takeOver(client, 1)
        expect(await outcome).toBeInstanceOf(DatabaseAway)
      })
      expect(await subjects()).toEqual([])
    })

    test('lets no write of an old term commit after the first of the new one', async ({ skip }) => {
      const tracked = await client.query('SHOW track_commit_timestamp')
      skip(
        tracked.rows[0].track_commit_timestamp !== 'on',
        'the server does not keep the times of commits',
      )
      await using(url, async old => {
        await using(url, async fresh => {
          const failures: unknown[] = []
          const hammer = Array.from({ length: 4 }, async () => {
            for (let i = 0; i < 200; i++) {
              await old.fenced(0, who, tx => insert(tx, 'old', 0)).catch(e => failures.push(e))
            }
          })
          while ((await subjects()).length < 20) await client.query('SELECT')
          await takeOver(client, 1)
          await fresh.fenced(1, who, tx => insert(tx, 'new', 1))
          await Promise.all(hammer)
          expect(failures.length).toBeGreaterThan(0)
          expect(failures.every(failure => failure instanceof TermOver)).toBe(true)
        })
      })
      const { rows } = await client.query(
        'SELECT term FROM audit ORDER BY pg_xact_commit_timestamp(xmin), term',
      )
      const terms = rows.map(row => Number(row.term))
      expect(terms.filter(term => term === 1)).toHaveLength(1)
      expect(terms.at(-1)).toBe(1)
    })

    test('stands before every table that is not known to be without it', async () => {
      const { rows } = await client.query(
        `SELECT c.relname AS name,
           EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'fence'
             AND t.tgfoid = 'fence_check'::regproc AND t.tgenabled = 'O') AS fenced
         FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
         ORDER BY 1`,
      )
      expect(rows.filter(row => !row.fenced).map(row => row.name)).toEqual(unfenced)
      const fenced = rows.filter(row => row.fenced).map(row => row.name)
      expect(fenced.length).toBeGreaterThan(5)
      for (const table of fenced) {
        const { rows: columns } = await client.query(
          `SELECT attname AS name FROM pg_attribute
           WHERE attrelid = $1::regclass AND attnum > 0 AND attidentity = '' LIMIT 1`,
          [table],
        )
        const column = columns[0].name
        for (const statement of [
          `INSERT INTO ${table} DEFAULT VALUES`,
          `UPDATE ${table} SET ${column} = ${column}`,
          `DELETE FROM ${table}`,
        ]) {
          await expect(client.query(statement), statement).rejects.toMatchObject({ code: 'KW002' })
        }
      }
    })

    test('is not passed by a term that was set without asking', async () => {
      await takeOver(client, 2)
      await client.query("BEGIN; SET LOCAL keepwatch.term = '1'")
      await expect(client.query('DELETE FROM audit')).rejects.toMatchObject({ code: 'KW001' })
      await client.query('ROLLBACK')
    })

    test('leaves no term behind for the next who uses the connection', async () => {
      await client.query('BEGIN; SELECT fence(0); COMMIT')
      await expect(client.query('DELETE FROM audit')).rejects.toMatchObject({ code: 'KW002' })
    })
  })

  describe('a fenced transaction', () => {
    test('is not done when a statement failed, even if the failure was caught', async () => {
      await using(url, async database => {
        const writing = database.fenced(0, who, async tx => {
          await insert(tx, 'first', 0)
          await tx.query('SELECT 1/0').catch(() => {})
        })
        await expect(writing).rejects.toThrow('rolled back')
      })
      expect(await subjects()).toEqual([])
    })

    test('is of no use once it has ended', async () => {
      await using(url, async database => {
        const tx = await database.fenced(0, who, async open => open)
        await expect(tx.query('SELECT')).rejects.toThrow('this transaction has ended')
      })
    })

    test('says that the outcome is unknown when the answer to its COMMIT is lost, and does not repeat it', async () => {
      const address = new URL(url)
      const proxy = await startProxy({ host: address.hostname, port: Number(address.port || 5432) })
      try {
        address.host = `127.0.0.1:${proxy.port}`
        await using(address.href, async database => {
          proxy.cutAtAnswerTo('COMMIT')
          const error = await database
            .fenced(0, who, tx => insert(tx, 'once', 0))
            .catch(caught => caught)
          expect(error).toBeInstanceOf(DatabaseAway)
          expect(error.outcome).toBe('unknown')
        })
      } finally {
        await proxy.stop()
      }
      expect(await subjects()).toEqual(['once'])
    })
  })

  describe('the database', () => {
    test('is away while it is cut off, and there again afterwards', async () => {
      const address = new URL(url)
      const proxy = await startProxy({ host: address.hostname, port: Number(address.port || 5432) })
      try {
        address.host = `127.0.0.1:${proxy.port}`
        await using(address.href, async database => {
          expect(await database.health()).toMatchObject({ reachable: true })
          proxy.cut()
          const error = await database.fenced(0, who, tx => insert(tx, 'cut', 0)).catch(e => e)
          expect(error).toBeInstanceOf(DatabaseAway)
          expect(error.outcome).toBe('nothing-written')
          expect(await database.health()).toMatchObject({ reachable: false, latencyMs: null })
          proxy.mend()
          await database.fenced(0, who, tx => insert(tx, 'mended', 0))
        })
      } finally {
        await proxy.stop()
      }
      expect(await subjects()).toEqual(['mended'])
    })

    test('gives counters as numbers, moments as dates, and refuses what a number cannot hold', async () => {
      await using(url, async database => {
        const [row] = await database.query<{ id: number; at: Date }>(
          'SELECT 42::bigint AS id, clock_timestamp() AS at',
        )
        expect(row!.id).toBe(42)
        expect(row!.at).toBeInstanceOf(Date)
        await expect(database.query('SELECT 9007199254740993::bigint AS id')).rejects.toThrow(
          'too large',
        )
      })
    })

    test('does not take a name that PostgreSQL would cut off', async () => {
      const database = createDatabase(
        { log, metrics: new Registry(), clock: systemClock },
        { url, applicationName: `keepwatch/${'x'.repeat(60)}`, poolSize: 1 },
      )
      await expect(database.start()).rejects.toThrow('must be shorter')
    })
  })

  describe('migrations', () => {
    let empty: string
    let folder: string
    beforeEach(async () => {
      empty = await databases.createEmpty()
      folder = await mkdtemp(join(tmpdir(), 'keepwatch-migrations-'))
      await cp(migrationFolder, folder, { recursive: true })
    })
    afterEach(async () => {
      await rm(folder, { recursive: true })
      await databases.drop(empty)
    })

    async function migrateOnce(program: Program = {}) {
      const one = await connected(empty)
      try {
        return await migrate(one, program)
      } finally {
        await one.end()
      }
    }

    const inDatabase = async (sql: string) => {
      const one = await connected(empty)
      await one.query(sql).finally(() => one.end())
    }

    /** One more migration, as a later version brings it. */
    async function addLater(sql: string) {
      const number = `${(await readdir(folder)).length + 1}`.padStart(4, '0')
      await writeFile(join(folder, `${number}-later.sql`), sql)
      return `${number}-later`
    }

    test('run once when several start at the same moment', async () => {
      const applied = await Promise.all(Array.from({ length: 4 }, () => migrateOnce()))
      expect(applied.filter(names => names.length > 0)).toHaveLength(1)
      expect(applied.flat()).toContain('0001-state')
      expect(await migrateOnce()).toEqual([])
    })

    test('are refused when one was changed after it was applied', async () => {
      await migrateOnce()
      await writeFile(join(folder, '0001-state.sql'), 'SELECT 1;')
      await expect(migrateOnce({ folder })).rejects.toThrow(MigrationError)
      await expect(migrateOnce({ folder })).rejects.toThrow('must not change')
    })

    test('of a later version let this one go on, unless they say that they do not', async () => {
      await addLater('CREATE TABLE later (x integer);')
      await migrateOnce({ folder, version: '99.1.0' })
      expect(await migrateOnce()).toEqual([])
      const name = await addLater('-- compatible-from: 99.0.0\nDROP TABLE later;')
      expect(await migrateOnce({ folder, version: '99.2.0' })).toEqual([name])
      await expect(migrateOnce()).rejects.toThrow(
        `this database was upgraded by 99.2.0, with ${name}, and needs at least 99.0.0`,
      )
      expect(await migrateOnce({ version: '99.0.0' })).toEqual([])
    })

    test('wait for an older server that runs, and are told of', async () => {
      await migrateOnce()
      await inDatabase(
        `INSERT INTO servers (name, installed, incarnation, version, console_url, link_host,
           link_port, started_at)
         VALUES ('two', 'secondary', gen_random_uuid(), '0.9.0', '', '', 1, now())`,
      )
      const name = await addLater('-- compatible-from: 99.0.0\n-- may-wait\nSELECT 1;')
      const one = { folder, version: '99.0.0', server: 'one' }
      expect(await migrateOnce(one)).toEqual([])
      const client = await connected(empty)
      expect(await pendingMigrations(client, one)).toEqual({
        apply: [],
        later: [name],
        reason: expect.stringContaining('server two runs 0.9.0'),
      })
      await client.end()
      const needed = await addLater('CREATE TABLE later (x integer);')
      await expect(migrateOnce(one)).rejects.toMatchObject({ passing: true })
      expect(await migrateOnce({ ...one, server: 'two' })).toEqual([name, needed])
    })

    test('do not wait for a server that has gone', async () => {
      await migrateOnce()
      await inDatabase(
        `INSERT INTO servers (name, installed, incarnation, version, console_url, link_host,
           link_port, started_at, seen_at)
         VALUES ('two', 'secondary', gen_random_uuid(), '0.9.0', '', '', 1, now(), now() - interval '1 minute')`,
      )
      const name = await addLater('-- compatible-from: 99.0.0\nSELECT 1;')
      const one = { folder, version: '99.0.0', server: 'one' }
      await inDatabase(
        `UPDATE leadership SET holder = 'two', term = 1, released = false;
         UPDATE heartbeat SET term = 1, beaten_at = clock_timestamp()`,
      )
      await expect(migrateOnce(one)).rejects.toThrow('server two runs 0.9.0')
      await inDatabase('UPDATE leadership SET released = true')
      expect(await migrateOnce(one)).toEqual([name])
    })

    test('find the table of a version before 0.2.0, which did not say who made it', async () => {
      await migrateOnce()
      await inDatabase(`ALTER TABLE migrations DROP COLUMN compatible_from, DROP COLUMN applied_by`)
      const name = await addLater('SELECT 1;')
      expect(await migrateOnce({ folder })).toEqual([name])
    })

    test('do not hold up an active that writes: they give up their wait for a table', async () => {
      await migrateOnce()
      await addLater('ALTER TABLE audit ADD COLUMN later integer;')
      const busy = await connected(empty)
      await busy.query('BEGIN; LOCK TABLE audit IN ROW EXCLUSIVE MODE')
      await expect(migrateOnce({ folder })).rejects.toMatchObject({ code: '55P03' })
      await busy.end()
    })

    test('leave nothing of themselves when one of them fails', async () => {
      const name = await addLater('CREATE TABLE half (x integer); SELECT 1/0;')
      await expect(migrateOnce({ folder })).rejects.toThrow(`migration ${name} failed`)
      expect(await migrateOnce()).toContain('0001-state')
    })
  })
}
