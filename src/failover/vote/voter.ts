/**
 * A voter of a replicated pair: what it remembers, and how it answers. Pure.
 *
 * A lease belongs to a server while a majority of the voters says so. A voter grants one at a time. It
 * gives its vote to another server when what that one has read of the lease still holds here, or when
 * the lease has ended by its own clock; never to two servers in one term. What it grants is on its disk
 * before it answers. What it does not write down, the heartbeats, it has forgotten after a restart: it
 * then keeps silent for as long as a lease lasts. SPEC.md says why that is enough.
 */

import { isUnplanned, objectionTo, pauseAfter, type TakeoverLimit } from '../lease/grant.ts'
import type { Claim } from '../lease/lease.ts'
import type { Pause, Row } from '../states.ts'
import type { Roll } from './roll.ts'

/** What a voter keeps on its disk. */
export interface Kept {
  grant: Grant | undefined
  /** Who votes, as it heard last; undefined: it has never heard. */
  roll: Roll | undefined
}

/** A lease that is granted. */
export interface Grant {
  term: number
  holder: string
  /** Which process of the holder. */
  incarnation: string
  /** The holder has let go and said so. */
  released: boolean
  /** For which server it was released. */
  intended?: string | undefined
  /** Who has ended it, as a person, where no majority could. */
  overruledBy?: string | undefined
  /** How long each heartbeat is worth, in milliseconds. */
  leaseMs: number
  /** The holder has renewed it, so it was granted by a majority. */
  won: boolean
  /** The servers that have every change that was acknowledged to a person. */
  complete: readonly string[]
  paused?: Pause | undefined
}

export interface Voter extends Kept {
  /** The highest heartbeat of the grant that it heard; 0 before the first. */
  counter: number
  /** When it granted the lease, or last heard a new heartbeat; by the voter's monotonic clock. */
  heardAt: number
  /** Until then it keeps silent: what it granted or heard before its start may still be valid. */
  silentUntil: number
  /** When it gave its vote without anybody's wish. */
  takeovers: readonly number[]
}

export interface Claimant {
  server: string
  incarnation: string
  leaseMs: number
  /** By its settings, over the voter's own; older servers say nothing. */
  limit?: TakeoverLimit | undefined
}

export type Request =
  /** How does the lease stand? */
  | { ask: 'look' }
  /** The heartbeat of who has won the term. */
  | { ask: 'renew'; heartbeat: Heartbeat }
  /** Would it vote for the claim? Changes nothing. */
  | { ask: 'sound'; claim: Claim; by: Claimant }
  | { ask: 'vote'; claim: Claim; by: Claimant }
  | { ask: 'release'; term: number; incarnation: string; intended?: string | undefined }

export interface Heartbeat extends Claimant {
  term: number
  /** Rises with each. */
  counter: number
  complete: readonly string[]
  paused?: Pause | undefined
  /** Of its term. */
  roll: Roll
}

export interface Answer {
  /** Whether it says yes; to `look`: whether what it says counts. */
  yes: boolean
  /** Why not. */
  because?: string | undefined
  grant: Grant | undefined
  roll: Roll | undefined
  counter: number
}

/** The bounds that all voters of a pair share. */
export interface VoterRules {
  /** The longest lease of any server. */
  leaseMs: number
  limit: TakeoverLimit
}

/**
 * A voter that has just started. It keeps silent for a lease, unless it has never granted one, or the last
 * to the very server that has died with it.
 *
 * @param kept what is on its disk
 * @param server the server that it lives and dies with, if it does
 */
export function startedVoter(
  kept: Kept,
  rules: VoterRules,
  now: number,
  server?: string | undefined,
): Voter {
  const { grant } = kept
  const leaseMs = Math.max(rules.leaseMs, grant?.leaseMs ?? 0)
  const over = grant === undefined || grant.holder === server
  return {
    ...kept,
    ...{ counter: 0, heardAt: now, silentUntil: over ? now : now + leaseMs, takeovers: [] },
  }
}

/**
 * At a person's word the server's own voter is the only one, and free: a term above all that it knows. What
 * was acknowledged without that server, and who has stopped takeovers, is for the person to judge.
 *
 * @param above the highest term that others have told the server of, who voted without this voter
 */
export function overruled(voter: Voter, server: string, by: string, above = 0): Voter {
  const { grant, roll } = voter
  const term = Math.max(grant?.term ?? 0, roll?.term ?? 0, above) + 1
  return {
    ...voter,
    grant: grant && {
      ...grant,
      released: true,
      intended: undefined,
      overruledBy: by,
      complete: [],
      paused: undefined,
    },
    roll: { term, version: 0, voters: [server] },
    silentUntil: Number.NEGATIVE_INFINITY,
  }
}

/** The voter that gives the answer; the grant, if it is another, must be on the disk before. */
export function answer(
  voter: Voter,
  request: Request,
  rules: VoterRules,
  now: number,
): { voter: Voter; answer: Answer } {
  switch (request.ask) {
    case 'look':
      return say(voter, silence(voter, now))
    case 'renew':
      return hear(voter, request.heartbeat, now)
    case 'sound':
      return say(voter, silence(voter, now) ?? objection(voter, request, now))
    case 'vote':
      return vote(voter, request, rules, now)
    case 'release':
      return release(voter, request)
  }
}

function say(voter: Voter, because: string | undefined): { voter: Voter; answer: Answer } {
  const { counter, grant, roll } = voter
  return { voter, answer: { yes: because === undefined, because, grant, roll, counter } }
}

function silence({ silentUntil }: Voter, now: number): string | undefined {
  return now < silentUntil ? 'it has just started, and waits for as long as a lease' : undefined
}

/** A heartbeat comes from who has won its term: nobody else can win that one or an older one. */
function hear(voter: Voter, heartbeat: Heartbeat, now: number) {
  const { complete, counter, incarnation, leaseMs, paused, roll, server, term } = heartbeat
  const { grant } = voter
  if (grant !== undefined && grant.term > term) {
    return say(voter, `it has voted for ${grant.holder} in term ${grant.term}`)
  }
  const same = grant?.term === term && grant.incarnation === incarnation
  if (same && grant.released) return say(voter, `term ${term} is released`)
  if (same && counter <= voter.counter) return say(voter, undefined)
  const granted: Grant = {
    ...{ term, holder: server, incarnation, released: false, leaseMs, won: true, complete, paused },
  }
  return say({ ...voter, grant: granted, roll, counter, heardAt: now }, undefined)
}

function vote(
  voter: Voter,
  request: { claim: Claim; by: Claimant },
  rules: VoterRules,
  now: number,
) {
  const { by, claim } = request
  const { grant } = voter
  // Asked again by whom it has voted for: the answer was lost.
  if (grant?.term === claim.term && grant.incarnation === by.incarnation && !grant.released) {
    return say(voter, silence(voter, now))
  }
  const because = silence(voter, now) ?? objection(voter, request, now)
  if (because !== undefined) return say(voter, because)
  const limit = by.limit ?? rules.limit
  const recent = voter.takeovers.filter(at => at > now - limit.withinMs)
  const unplanned = grant !== undefined && isUnplanned(rowOf(voter), by.server)
  const takeovers = unplanned ? [...recent, now] : recent
  const tooMany = unplanned ? pauseAfter(takeovers.length, limit) : undefined
  const granted: Grant = {
    ...{ term: claim.term, holder: by.server, incarnation: by.incarnation, released: false },
    ...{ leaseMs: by.leaseMs, won: false, complete: grant?.complete ?? [] },
    paused:
      tooMany === undefined
        ? grant?.paused
        : { by: 'keepwatch', reason: tooMany, until: undefined },
  }
  return say({ ...voter, grant: granted, counter: 0, heardAt: now, takeovers }, undefined)
}

/** Why it would not vote for the claim. */
function objection(voter: Voter, { by, claim }: { claim: Claim; by: Claimant }, now: number) {
  const { grant } = voter
  if (grant === undefined) return undefined
  const { complete, holder, leaseMs, term } = grant
  if (claim.term <= term) return `it has voted for ${holder} in term ${term}`
  if (complete.length > 0 && !complete.includes(by.server)) {
    return `${by.server} lacks changes that were acknowledged`
  }
  const row = rowOf(voter)
  const ended = now - voter.heardAt >= leaseMs
  // What was read elsewhere, as far as it is newer than what this voter knows of the same lease.
  const { over } = claim
  const same = over.term === term && over.incarnation === grant.incarnation
  const known: Row =
    same && !ended
      ? {
          ...row,
          released: row.released || over.released,
          counter: Math.max(row.counter, over.counter),
        }
      : row
  const asRead = ended ? { ...claim, over: row } : claim
  return objectionTo(asRead, { ...known, database: asRead.over.database }, by.server)
}

function release(
  voter: Voter,
  {
    incarnation,
    intended,
    term,
  }: { term: number; incarnation: string; intended?: string | undefined },
) {
  const { grant } = voter
  if (grant === undefined || grant.term !== term || grant.incarnation !== incarnation) {
    return say(voter, `term ${term} is not what it granted`)
  }
  return say({ ...voter, grant: { ...grant, released: true, intended } }, undefined)
}

/** The lease as this voter knows it. */
function rowOf({ counter, grant }: Voter): Row {
  return {
    ...{ term: grant?.term ?? 0, holder: grant?.holder, incarnation: grant?.incarnation },
    ...{ released: grant?.released ?? true, counter, leaseMs: grant?.leaseMs ?? 0 },
    ...{ intended: grant?.intended, paused: grant?.paused, database: undefined },
  }
}
