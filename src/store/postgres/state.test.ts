import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort, log, setUpMs } from '../../../test/contract/databases.ts'
import { fencingContract } from '../../../test/contract/fencing.ts'
import { stateContract } from '../../../test/contract/state.ts'
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
