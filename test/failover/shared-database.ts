/**
 * The database of a pair as a value, for tests in which nothing is real but the rules: what is granted
 * is judged by the program's own `grant.ts`. Every function gives a new value.
 */
import {
  isUnplanned,
  objectionTo,
  pauseAfter,
  type TakeoverLimit,
} from '../../src/failover/lease/grant.ts'
import type { Claim } from '../../src/failover/lease/lease.ts'
import type { Pause, Row } from '../../src/failover/states.ts'

export interface SharedDatabase {
  row: Row
  /** Whose heartbeat is taken. */
  beat: { term: number; incarnation: string | undefined }
  /** When the heartbeat was last raised; milliseconds of the test's own time. */
  beatenAt: number
  releasedAt: number
  takeovers: readonly number[]
  /** As it was before the term began: what a failover may bring back. */
  before: SharedDatabase | undefined
  /** How often it has failed over. */
  timeline: number
}

export interface Claimant {
  server: string
  incarnation: string
  leaseMs: number
}

/** Rules that can be broken on purpose. */
export interface Grants {
  objectionTo: typeof objectionTo
}

export function identity(timeline: number): string {
  return `x/${timeline.toString(16).padStart(8, '0')}`
}

export function newDatabase(now: number, leaseMs: number): SharedDatabase {
  return {
    row: {
      ...{ term: 0, holder: undefined, incarnation: undefined, released: true, counter: 0 },
      ...{ leaseMs, intended: undefined, paused: undefined, database: identity(1) },
    },
    beat: { term: 0, incarnation: undefined },
    beatenAt: now,
    releasedAt: now,
    takeovers: [],
    before: undefined,
    timeline: 1,
  }
}

/** @returns the same value if the renewal is refused */
export function renewed(
  database: SharedDatabase,
  term: number,
  incarnation: string,
  now: number,
): SharedDatabase {
  const { beat, row } = database
  if (beat.term !== term || beat.incarnation !== incarnation) return database
  return { ...database, beatenAt: now, row: { ...row, counter: row.counter + 1 } }
}

/** @returns why not, or the database in the new term */
export function claimed(
  database: SharedDatabase,
  claim: Claim,
  by: Claimant,
  limit: TakeoverLimit,
  now: number,
  grants: Grants = { objectionTo },
): string | SharedDatabase {
  const { row } = database
  const objection = grants.objectionTo(claim, row, by.server)
  if (objection !== undefined) return objection
  const unplanned = isUnplanned(row, by.server)
  const recent = database.takeovers.filter(at => at > now - limit.withinMs)
  const takeovers = unplanned ? [...recent, now] : recent
  const reason = unplanned ? pauseAfter(takeovers.length, limit) : undefined
  return {
    ...database,
    row: {
      ...row,
      ...{ term: claim.term, holder: by.server, incarnation: by.incarnation },
      ...{ released: false, counter: row.counter + 1, leaseMs: by.leaseMs, intended: undefined },
      paused: reason === undefined ? row.paused : { by: 'keepwatch', reason, until: undefined },
    },
    beat: { term: claim.term, incarnation: by.incarnation },
    beatenAt: now,
    takeovers,
    before: { ...database, before: undefined },
  }
}

export function released(
  database: SharedDatabase,
  { term, intended }: { term: number; intended: string | undefined },
  incarnation: string,
  now: number,
): SharedDatabase {
  const { row } = database
  if (row.term !== term || row.incarnation !== incarnation) return database
  return { ...database, releasedAt: now, row: { ...row, released: true, intended } }
}

/** To a replica that has everything, or that lacks the last term. */
export function failedOver(database: SharedDatabase, lost: boolean): SharedDatabase {
  const timeline = database.timeline + 1
  const kept = lost ? (database.before ?? database) : database
  return { ...kept, timeline, row: { ...kept.row, database: identity(timeline) } }
}

export function paused(database: SharedDatabase, pause: Pause): SharedDatabase {
  return { ...database, row: { ...database.row, paused: pause } }
}

export function resumed(database: SharedDatabase): SharedDatabase {
  return { ...database, takeovers: [], row: { ...database.row, paused: undefined } }
}

/** Which invariant of SPEC.md it would break to let this server begin this term over that row. */
export function wrongToGrant(
  database: SharedDatabase,
  claim: Claim,
  by: Claimant,
  begunSoFar: number,
  now: number,
): string | undefined {
  const { beatenAt, row } = database
  if (claim.term <= begunSoFar) return `term ${claim.term} is begun after term ${begunSoFar}`
  // A clock of the standby's host may run fast by a thousandth.
  if (claim.whileSilent && now - beatenAt < 0.995 * row.leaseMs) {
    return `${by.server} takes over for silence ${now - beatenAt} ms after a heartbeat of ${row.holder}`
  }
  const mayBegin =
    row.holder === undefined ||
    row.holder === by.server ||
    (row.released && row.intended === by.server)
  if (row.paused !== undefined && !mayBegin) return `${by.server} takes over while paused`
  return undefined
}
