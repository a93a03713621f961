import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { version as ownVersion } from '../../lib/version.ts'
import {
  type AppliedMigration,
  compatibilityOf,
  firstVersion,
  type KnownMigration,
  planSchema,
} from './schema-plan.ts'

/** The database's schema and this program do not fit; the message says which side to change. */
export class MigrationError extends Error {
  override name = 'MigrationError'
  /** It may pass by itself: what is in the way is another server that runs. */
  readonly passing: boolean
  constructor(message: string, options: ErrorOptions & { passing?: boolean } = {}) {
    super(message, options)
    this.passing = options.passing ?? false
  }
}

export interface Program {
  /** Of the package. */
  version?: string
  /** Name of the server that this is, which is not in its own way. */
  server?: string
  /** The version that runs again if this one, on trial, does not prove itself. */
  previous?: string | undefined
  /** Where the numbered files are: `0001-state.sql` and on, without gaps. */
  folder?: string
}

/** What a start of this program would do to the database. */
export interface PendingMigrations {
  /** Names of those that can be applied now. */
  apply: string[]
  /** Names of those that wait for another server. */
  later: string[]
  /** Why they wait, and what to do. */
  reason: string | undefined
}

interface Migration extends KnownMigration {
  sql: string
}

export const migrationFolder = fileURLToPath(new URL('./migrations/', import.meta.url))

/** Anything, as long as every Keepwatch takes the same. */
const lockKey = 0x6b65_6570
const deadlineMs = 600_000
/** Who waits for a lock on a table holds up all who come after: an active could lose its lease. */
const lockMs = 2_000
const notPermitted = '42501'
const lockNotAvailable = '55P03'

/**
 * Brings the schema to what this program needs, in one transaction, under a lock that makes others
 * who try wait. Both servers of a pair do it at their start. What a server of an older version that
 * runs could not live with is not applied. On a replica it only checks.
 *
 * @returns the names of the migrations applied
 * @throws MigrationError if program and database do not fit
 */
export async function migrate(client: pg.ClientBase, program: Program = {}): Promise<string[]> {
  const known = await readMigrations(program.folder)
  const replica = await client.query('SELECT pg_is_in_recovery() AS yes')
  if (replica.rows[0].yes) {
    const { apply } = await planOn(client, known, program)
    if (apply.length === 0) return []
    throw new MigrationError(
      `the database is a replica and lacks migration ${apply[0]!.name}: start the active first`,
    )
  }
  await client.query('BEGIN')
  try {
    await client.query(`SET LOCAL statement_timeout = ${deadlineMs}`)
    await client.query(`SET LOCAL lock_timeout = ${deadlineMs}`)
    await client.query('SELECT pg_advisory_xact_lock($1)', [lockKey])
    await client.query(`SET LOCAL lock_timeout = ${lockMs}`)
    await createTable(client)
    const { apply } = await planOn(client, known, program)
    for (const { number, name, sql, hash, compatibleFrom } of apply) {
      await client.query(sql).catch(error => {
        if (error.code === lockNotAvailable) throw error
        throw new MigrationError(`migration ${name} failed: ${error.message}`, { cause: error })
      })
      await client.query(
        `INSERT INTO migrations (number, name, hash, compatible_from, applied_by)
         VALUES ($1, $2, $3, $4, $5)`,
        [number, name, hash, compatibleFrom, program.version ?? ownVersion],
      )
    }
    await client.query('COMMIT')
    return apply.map(migration => migration.name)
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

/** @throws MigrationError if program and database do not fit */
export async function pendingMigrations(
  client: pg.ClientBase,
  program: Program = {},
): Promise<PendingMigrations> {
  const known = await readMigrations(program.folder)
  const { apply, later, reason } = await planOn(client, known, program)
  const names = (migrations: Migration[]) => migrations.map(({ name }) => name)
  return { apply: names(apply), later: names(later), reason }
}

async function planOn(client: pg.ClientBase, known: readonly Migration[], program: Program) {
  const applied = await readApplied(client)
  const plan = planSchema({
    program: { version: program.version ?? ownVersion, previous: program.previous },
    known,
    applied,
    running: applied.length > 0 ? await readRunning(client, program.server) : [],
  })
  if ('refusal' in plan) throw new MigrationError(plan.refusal, { passing: plan.passing })
  return plan
}

async function createTable(client: pg.ClientBase) {
  const { rows } = await client.query<{ columns: number }>(
    `SELECT count(*)::integer AS columns FROM pg_attribute
     WHERE attrelid = to_regclass('migrations') AND attname IN ('number', 'compatible_from')`,
  )
  if (rows[0]!.columns === 2) return
  try {
    await client.query(`
      CREATE TABLE IF NOT EXISTS migrations (
        number  integer PRIMARY KEY,
        name    text NOT NULL,
        hash    text NOT NULL,
        applied timestamptz NOT NULL DEFAULT clock_timestamp()
      )`)
    await client.query(`
      ALTER TABLE migrations
        ADD COLUMN IF NOT EXISTS compatible_from text NOT NULL DEFAULT '${firstVersion}',
        ADD COLUMN IF NOT EXISTS applied_by text`)
  } catch (error) {
    if ((error as { code?: string }).code !== notPermitted) throw error
    throw new MigrationError(
      'the role may not create tables in this database; make it the owner: ' +
        'ALTER DATABASE … OWNER TO …',
      { cause: error },
    )
  }
}

/** Also from a table that a program before 0.2.0 has made, without the later columns, or from none. */
async function readApplied(client: pg.ClientBase): Promise<AppliedMigration[]> {
  const made = await client.query(`SELECT to_regclass('migrations') IS NOT NULL AS yes`)
  if (!made.rows[0].yes) return []
  const { rows } = await client.query<AppliedMigration>(
    `SELECT number, name, hash, coalesce(to_jsonb(m)->>'compatible_from', $1) AS "compatibleFrom",
       to_jsonb(m)->>'applied_by' AS "appliedBy"
     FROM migrations m ORDER BY number`,
    [firstVersion],
  )
  return rows
}

/** Other servers that were there in the last moments, by the database's clock. */
async function readRunning(client: pg.ClientBase, server = '') {
  const { rows } = await client.query<{ name: string; version: string }>(
    `SELECT name, version FROM servers
     WHERE name <> $1 AND (seen_at > clock_timestamp() - interval '10 s' OR name = (
       SELECT holder FROM leadership l JOIN heartbeat h ON h.term = l.term
       WHERE NOT l.released AND h.beaten_at > clock_timestamp() - interval '60 s'
     )) ORDER BY name`,
    [server],
  )
  return rows
}

async function readMigrations(folder = migrationFolder): Promise<Migration[]> {
  const names = (await readdir(folder)).filter(name => name.endsWith('.sql')).sort()
  const migrations: Migration[] = []
  let before = firstVersion
  for (const [index, file] of names.entries()) {
    const path = join(folder, file)
    const number = Number(/^(\d{4})-[a-z0-9-]+\.sql$/.exec(file)?.[1])
    if (number !== index + 1) throw new MigrationError(`${path}: expected the number ${index + 1}`)
    const sql = await readFile(path, 'utf8')
    const hash = createHash('sha256').update(sql).digest('hex')
    const compatibility = readCompatibility(path, sql, before)
    before = compatibility.compatibleFrom
    migrations.push({ number, name: file.slice(0, -'.sql'.length), sql, hash, ...compatibility })
  }
  return migrations
}

function readCompatibility(path: string, sql: string, before: string) {
  try {
    return compatibilityOf(sql, before)
  } catch (error) {
    throw new MigrationError(`${path}: ${(error as Error).message}`)
  }
}
