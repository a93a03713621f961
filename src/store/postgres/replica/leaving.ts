/**
 * A server that is not active any more: before its database is copied over, what it alone has is kept,
 * and written down in the active's database for people. A database that cannot be read is put aside whole.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../../lib/clock.ts'
import type { Log } from '../../../lib/log.ts'
import { recordLeftBehind } from '../left-behinds.ts'
import { type LeftBehind, saveLeftBehind, transactionsLacking } from './left-behind.ts'
import { clusterIn, openSession, type Session } from './replica.ts'

export interface Leaving {
  /** Whether the database led, and it is not known yet whether the active's has all of it. */
  isPending(): Promise<boolean>
  /** From now on it is, until it is said otherwise, whatever ends in between. */
  begin(): Promise<void>
  /** Of one that runs, and can be read. @returns false: it is of another deployment, and to be put aside */
  keep(url: string): Promise<boolean>
  /** One more attempt to start it has failed. @returns whether it is to be put aside */
  failed(): boolean
  /** One that does not run, for that reason: it is kept as it is. */
  putAside(reason: string): Promise<void>
  /** It leads, or follows, or another is in its place: there is nothing to be kept. */
  forget(): Promise<void>
}

/** A database that does not start so often is put aside as it is. */
const startAttempts = 3
/** Of a question: a table is read from end to end. */
const questionMs = 600_000
const undefinedTable = '42P01'

export function createLeaving(
  deps: { clock: Clock; log: Log },
  config: {
    /** Of the database. */
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
  /** Beside the database: `led`, then `kept`. */
  const mark = join(dataDir, 'leaving')
  let failures = 0

  const marked = () => readFile(mark, 'utf8').catch(() => '')
  const setMark = (text: 'led' | 'kept') => writeFile(mark, text, { flush: true })

  async function tell(found: Parameters<typeof recordLeftBehind>[1]) {
    const { changeCount, kept, rows, unread } = found
    log.warn({ kept, rows, changes: changeCount, unread }, 'it had what the active server lacks')
    const active = await openSession(config.active())
    try {
      await recordLeftBehind(active, found)
    } catch (error) {
      // An active of an older version has no place for it.
      if ((error as { code?: string }).code !== undefinedTable) throw error
    } finally {
      await active.end()
    }
  }

  async function keepRows(its: Session, active: Session) {
    const lacking = await transactionsLacking(its.query, active.query)
    if (lacking.size === 0) return
    const kept = join(folder, `${stamp(clock)}.jsonl`)
    const { transactions: _, ...left } = await saveLeftBehind(its, lacking, kept)
    if (concernsPeople(left)) await tell({ server: self, kept, unread: null, ...left })
    else await rm(kept)
  }

  return {
    async isPending() {
      const said = await marked()
      return said === 'led' || (said === '' && (await clusterIn(dataDir)) === 'leads')
    },

    begin: () => setMark('led'),

    async keep(url) {
      failures = 0
      const its = await openSession(url, questionMs)
      let active: Session | undefined
      try {
        active = await openSession(config.active(), questionMs)
        if ((await originOf(its)) !== (await originOf(active))) return false
        await keepRows(its, active)
      } finally {
        await its.end()
        await active?.end()
      }
      await setMark('kept')
      return true
    },

    failed: () => ++failures >= startAttempts,

    async putAside(unread) {
      failures = 0
      const kept = join(folder, `database-${stamp(clock)}`)
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await rename(join(dataDir, 'cluster'), kept)
      await rm(mark, { force: true })
      const nothing = { rows: {}, changes: [], changeCount: 0 }
      await tell({ server: self, kept, unread, ...nothing })
    },

    forget: () => rm(mark, { force: true }),
  }
}

/** The rest a server writes by itself, of itself, and again. */
function concernsPeople({ rows }: Pick<LeftBehind, 'rows'>): boolean {
  return ['audit', 'versions'].some(table => rows[table] !== undefined)
}

async function originOf({ query }: Session): Promise<string> {
  const [row] = await query<{ origin: string }>(
    'SELECT system_identifier::text AS origin FROM pg_control_system()',
  )
  return row!.origin
}

const stamp = (clock: Clock) => new Date(clock.wall()).toISOString().replaceAll(':', '-')
