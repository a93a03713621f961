import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  applicationName,
  log,
  openDatabase,
  setUpMs,
  takeOver,
} from '../../../test/contract/databases.ts'
import { fencingContract } from '../../../test/contract/fencing.ts'
import { stateContract } from '../../../test/contract/state.ts'
import { freePort } from '../../lib/ports.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from './embedded.ts'
import { migrate } from './migrate.ts'
import { describeSchema } from './schema.ts'

describe('on an embedded PostgreSQL', () => {
  let folder: string
  let postgres: EmbeddedPostgres

  beforeAll(async () => {
    folder = await mkdtemp(join(await quickFolder(), 'keepwatch-state-'))
    postgres = createEmbeddedPostgres(
      { log },
      { dataDir: join(folder, 'postgres'), port: await freePort() },
    )
    await postgres.start()
  }, setUpMs)
  afterAll(async () => {
    await postgres?.stop()
    await rm(folder, { recursive: true })
  }, setUpMs)

  fencingContract(() => postgres.url)
  stateContract(() => postgres.url)

  describe('with a role that has no rights but its own', () => {
    const plain = 'plain_role'

    /** A database for the role; its URL. */
    async function prepared(name: string, owner: string) {
      const admin = new pg.Client({ connectionString: postgres.url })
      await admin.connect()
      await admin.query(`CREATE DATABASE ${name} OWNER ${owner}`)
      await admin.end()
      const address = new URL(postgres.url)
      Object.assign(address, { username: plain, password: 'secret', pathname: `/${name}` })
      return address.href
    }

    beforeAll(async () => {
      const admin = new pg.Client({ connectionString: postgres.url })
      await admin.connect()
      await admin.query(`CREATE ROLE ${plain} LOGIN NOSUPERUSER PASSWORD 'secret'`)
      await admin.end()
    })

    test('everything works in a database that it owns: schema, writes, a takeover', async () => {
      const url = await prepared('plainly_owned', plain)
      const database = openDatabase(url)
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      try {
        await database.start()
        expect(await database.pendingMigrations()).toEqual({
          apply: [],
          later: [],
          reason: undefined,
        })
        expect(await database.health()).toMatchObject({ reachable: true, writable: true })
        const write = (term: number) =>
          database.fenced(term, { name: 'a test' }, tx =>
            tx.query("INSERT INTO audit (who, action, subject, term) VALUES ('a', 'b', 'c', $1)", [
              tx.term,
            ]),
          )
        await write(0)
        const { rows } = await client.query(
          'SELECT pg_terminate_backend(pid, 2000) AS ended FROM pg_stat_activity WHERE application_name = $1',
          [applicationName],
        )
        expect(rows.map(row => row.ended)).toEqual(rows.map(() => true))
        expect(rows.length).toBeGreaterThan(0)
        await takeOver(client, 1)
        await expect(write(0)).rejects.toBeInstanceOf(Error)
        await write(1)
      } finally {
        await client.end()
        await database.stop()
      }
    })

    test('a database that it may not use for its tables is refused with what to do', async () => {
      const database = openDatabase(await prepared('not_its_own', 'keepwatch'))
      await expect(database.start()).rejects.toThrow('make it the owner: ALTER DATABASE')
      await database.stop()
    })
  })

  test('the committed schema is what the migrations make (npm run schema writes it anew)', async () => {
    const client = new pg.Client({ connectionString: postgres.url })
    await client.connect()
    await migrate(client)
    const schema = await describeSchema(client)
    await client.end()
    await expect(schema).toMatchFileSnapshot('schema.sql')
  })
})

const server = process.env.KEEPWATCH_TEST_POSTGRES

describe.skipIf(!server)('on the PostgreSQL of KEEPWATCH_TEST_POSTGRES, if that is set', () => {
  fencingContract(() => server!)
  stateContract(() => server!)
})

/** In memory where there is room for it: making a database on a disk takes longer than a test. */
async function quickFolder(): Promise<string> {
  const memory = await statfs('/dev/shm').catch(() => undefined)
  return memory && memory.bavail * memory.bsize > 2 ** 30 ? '/dev/shm' : tmpdir()
}
