/** What the database makes of a claim, asked while its row is locked. Pure. */
import type { Row } from '../states.ts'
import { mayWhilePaused } from '../takeover.ts'
import type { Claim } from './lease.ts'

/** After so many takeovers within that time nobody takes over until a person resumes. */
export interface TakeoverLimit {
  most: number
  withinMs: number
}

/** Why the claim is not granted over the row as it is now; undefined if it is. */
export function objectionTo(claim: Claim, row: Row, server: string): string | undefined {
  const { over, term, whileSilent } = claim
  const holder = row.holder ?? 'nobody'
  // The same row may be back in a database that lost what came after it.
  if (row.database !== over.database) return 'the database is another one than was read'
  if (row.term !== over.term || row.incarnation !== over.incarnation || row.term >= term) {
    return `${holder} holds term ${row.term}`
  }
  if (row.released !== over.released) return `${holder} has released its lease meanwhile`
  if (whileSilent && row.counter !== over.counter) return `${holder} has renewed its lease`
  if (row.paused !== undefined && !mayWhilePaused(row, server)) return 'takeovers are paused'
  return undefined
}

/** Whether the claim moves the lease to another server without anybody's wish. */
export function isUnplanned(row: Row, server: string): boolean {
  if (row.holder === undefined || row.holder === server) return false
  return !(row.released && row.intended === server)
}

/** The pause that so many takeovers begin; undefined while they are fewer. */
export function pauseAfter(takeovers: number, limit: TakeoverLimit): string | undefined {
  if (takeovers < limit.most) return undefined
  const minutes = Math.round(limit.withinMs / 6000) / 10
  const time = minutes === 1 ? 'a minute' : `${minutes} minutes`
  return `${takeovers} takeovers within ${time}: a person has to look and resume`
}
