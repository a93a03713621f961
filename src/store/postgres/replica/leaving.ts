/** A server that is not active any more: before its database is copied over, what it alone has is kept. */
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../../lib/clock.ts'
import type { Log } from '../../../lib/log.ts'
import { freePort } from '../../../lib/ports.ts'
import { createEmbeddedPostgres } from '../embedded.ts'
import { recordLeftBehind } from '../left-behinds.ts'
import { type LeftBehind, saveLeftBehind, transactionsLacking } from './left-behind.ts'
import { clusterIn, openSession, type Session } from './replica.ts'

export interface Leaving {
  /** To be called before a database that led is copied over: until it resolves, it must not be. */
  keep(signal: AbortSignal): Promise<void>
  /** It leads again, or another does in its place: what it has is to be kept anew. */
  forget(): Promise<void>
}

/** A database that does not start so often is put aside as it is. */
const startAttempts = 3
/** Of a question: a table is read from end to end. */
const questionMs = 600_000
/** Lies beside a database that was read. */
const markOf = (dataDir: string) => join(dataDir, 'left-behind-is-kept')
const undefinedTable = '42P01'

/**
 * Keeps what the server's database has and the active's has not, and writes it down there for people.
 * A database that cannot be read is put aside whole.
 */
export function createLeaving(
  deps: { clock: Clock; log: Log },
  config: {
    /** Of the database, which must not run. */
    dataDir: string
    /** Where it is kept. */
    folder: string
    self: string
    /** URL of the active's database. */
    active(): string
  },
): Leaving {
  const { clock, log } = deps
  const { dataDir, folder, self } = config
  let failures = 0

  async function read(current: Session) {
    const settings = { default_transaction_read_only: 'on', synchronous_standby_names: '' }
    // At a port that nobody knows: whoever looks for the database that takes writes must not find it.
    const aside = createEmbeddedPostgres(deps, { dataDir, settings, port: await freePort() })
    let its: Session | undefined
    try {
      await aside.start()
      failures = 0
      its = await openSession(aside.url, questionMs)
      if ((await originOf(its)) !== (await originOf(current))) {
        return { unread: 'it is the database of another deployment' }
      }
      const lacking = await transactionsLacking(its.query, current.query)
      if (lacking.size === 0) return undefined
      const kept = join(folder, `${stamp(clock)}.jsonl`)
      return { kept, ...(await saveLeftBehind(its, lacking, kept)) }
    } catch (error) {
      if (its !== undefined || ++failures < startAttempts) throw error
      return { unread: (error as Error).message }
    } finally {
      await its?.end()
      await aside.stop()
    }
  }

  async function putAside(): Promise<string> {
    const kept = join(folder, `database-${stamp(clock)}`)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await rename(join(dataDir, 'cluster'), kept)
    return kept
  }

  async function tell(current: Session, found: Parameters<typeof recordLeftBehind>[1]) {
    const { changeCount, kept, rows, unread } = found
    log.warn({ kept, rows, changes: changeCount, unread }, 'it had what the active server lacks')
    try {
      await recordLeftBehind(current, found)
    } catch (error) {
      // An active of an older version has no place for it.
      if ((error as { code?: string }).code !== undefinedTable) throw error
    }
  }

  return {
    async keep(signal) {
      if ((await clusterIn(dataDir)) !== 'leads' || (await isThere(markOf(dataDir)))) return
      const current = await openSession(config.active(), questionMs)
      try {
        const found = await read(current)
        signal.throwIfAborted()
        if (found !== undefined && 'unread' in found) {
          const kept = await putAside()
          const nothing = { rows: {}, changes: [], changeCount: 0 }
          return await tell(current, { server: self, kept, unread: found.unread, ...nothing })
        }
        if (found !== undefined && concernsPeople(found)) {
          const { transactions: _, ...left } = found
          await tell(current, { server: self, unread: null, ...left })
        } else if (found !== undefined) {
          await rm(found.kept)
        }
        await writeFile(markOf(dataDir), '', { flush: true })
      } finally {
        await current.end()
      }
    },

    forget: () => rm(markOf(dataDir), { force: true }),
  }
}

/** The rest a server writes by itself, of itself, and again. */
function concernsPeople({ rows }: LeftBehind): boolean {
  return ['audit', 'versions'].some(table => rows[table] !== undefined)
}

async function originOf({ query }: Session): Promise<string> {
  const [row] = await query<{ origin: string }>(
    'SELECT system_identifier::text AS origin FROM pg_control_system()',
  )
  return row!.origin
}

const stamp = (clock: Clock) => new Date(clock.wall()).toISOString().replaceAll(':', '-')

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )
