import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'

/** The database's schema and this program do not fit; the message says which side to change. */
export class MigrationError extends Error {
  override name = 'MigrationError'
}

interface Migration {
  number: number
  name: string
  sql: string
  hash: string
}

/** Where the numbered files are: `0001-state.sql` and on, without gaps. */
export const migrationFolder = fileURLToPath(new URL('./migrations/', import.meta.url))

/** Anything, as long as every Keepwatch takes the same. */
const lockKey = 0x6b65_6570
const deadlineMs = 600_000

/**
 * Brings the schema to what this program needs, in one transaction, under a lock that makes others
 * who try wait. Both servers of a pair do it at their start: a migration must leave the version
 * before it working. On a replica it only checks.
 *
 * @returns the names of the migrations applied
 * @throws MigrationError if one was changed after it was applied, or the database is ahead
 */
export async function migrate(
  client: pg.ClientBase,
  folder: string = migrationFolder,
): Promise<string[]> {
  const migrations = await readMigrations(folder)
  const replica = await client.query('SELECT pg_is_in_recovery() AS yes')
  if (replica.rows[0].yes) {
    const missing = await missingOf(client, migrations)
    if (missing.length === 0) return []
    throw new MigrationError(
      `the database is a replica and lacks migration ${missing[0]!.name}: start the active first`,
    )
  }
  await client.query('BEGIN')
  try {
    await client.query(`SET LOCAL statement_timeout = ${deadlineMs}`)
    await client.query(`SET LOCAL lock_timeout = ${deadlineMs}`)
    await client.query('SELECT pg_advisory_xact_lock($1)', [lockKey])
    await client.query(`
      CREATE TABLE IF NOT EXISTS migrations (
        number  integer PRIMARY KEY,
        name    text NOT NULL,
        hash    text NOT NULL,
        applied timestamptz NOT NULL DEFAULT clock_timestamp()
      )`)
    const missing = await missingOf(client, migrations)
    for (const { number, name, sql, hash } of missing) {
      await client.query(sql).catch(error => {
        throw new MigrationError(`migration ${name} failed: ${error.message}`, { cause: error })
      })
      await client.query('INSERT INTO migrations (number, name, hash) VALUES ($1, $2, $3)', [
        number,
        name,
        hash,
      ])
    }
    await client.query('COMMIT')
    return missing.map(migration => migration.name)
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

async function missingOf(client: pg.ClientBase, migrations: readonly Migration[]) {
  const { rows } = await client.query<{ number: number; name: string; hash: string }>(
    'SELECT number, name, hash FROM migrations ORDER BY number',
  )
  for (const [index, applied] of rows.entries()) {
    const known = migrations[index]
    if (known === undefined) {
      throw new MigrationError(
        `the database has migration ${applied.name}, which this version of Keepwatch does not ` +
          'know: a newer version has been here; run that one',
      )
    }
    if (known.number !== applied.number || known.hash !== applied.hash) {
      throw new MigrationError(
        `migration ${known.name} is not the ${applied.name} that this database was made with: ` +
          'a migration must not change once it was applied',
      )
    }
  }
  return migrations.slice(rows.length)
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter(name => name.endsWith('.sql')).sort()
  return Promise.all(
    names.map(async (file, index) => {
      const number = Number(/^(\d{4})-[a-z0-9-]+\.sql$/.exec(file)?.[1])
      if (number !== index + 1) {
        throw new MigrationError(`${join(folder, file)}: expected the number ${index + 1}`)
      }
      const sql = await readFile(join(folder, file), 'utf8')
      const hash = createHash('sha256').update(sql).digest('hex')
      return { number, name: file.slice(0, -'.sql'.length), sql, hash }
    }),
  )
}
