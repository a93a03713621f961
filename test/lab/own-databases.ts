/** Servers that have a database each: how they begin, and how the witnesses ask whichever leads. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rememberOther } from '../../src/apps/server/other-server.ts'
import { beginDeployment } from '../../src/apps/server/own-database.ts'
import { keyFor } from '../../src/store/postgres/sealed.ts'
import type { Database } from './database.ts'
import type { LabServer } from './server.ts'

/** In each host; only its loopback address has them. */
const own = { port: 15432, otherPort: 15433 }

export const ownDatabaseSettings = { own }

/** As `keepwatch init` and `keepwatch join` leave them. */
export async function beginPair(folder: string): Promise<void> {
  await beginDeployment(join(folder, 'kw1'), 'kw1')
  rememberOther(join(folder, 'kw2'), { name: 'kw1', host: 'kw1', port: 8450 })
}

/** @param active the server whose database leads */
export function createLeadingDatabase(folder: string, active: () => Promise<LabServer>): Database {
  const key = Buffer.from(readFileSync(join(folder, 'deployment.key'), 'utf8').trim(), 'base64')
  const password = keyFor('own-database', key).toString('hex')
  const url = `postgresql://keepwatch:${password}@127.0.0.1:${own.port}/keepwatch`
  const nobodys = () => Promise.reject(new Error('the servers have a database each'))

  async function query<Row extends object>(sql: string, params: unknown[] = []): Promise<Row[]> {
    const { host } = await active()
    const program = join(import.meta.dirname, 'query.ts')
    const args = ['--disable-warning=ExperimentalWarning', program, url, sql]
    const said = await host.run(process.execPath, ...args, JSON.stringify(params))
    return JSON.parse(said, (name, value) =>
      // As `pg` has it.
      name === 'at' ? new Date(value) : value,
    )
  }

  return {
    get host(): never {
      throw new Error('the servers have a database each')
    },
    folder: join(folder, 'kw1'),
    query,
    script: nobodys,
    // What ends with its server begins with it.
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
    ...{ crash: nobodys, restart: nobodys, freeze: nobodys, thaw: nobodys },
    ...{ readOnly: nobodys, promote: nobodys, follow: nobodys },
  }
}
