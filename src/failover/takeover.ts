/** When a standby takes over: the rules, in the order in which they are asked. Pure. */
import { mustWait } from './lost-terms.ts'
import {
  type Cause,
  type Evidence,
  type In,
  keeperOf,
  type Pause,
  type Row,
  type State,
} from './states.ts'
import { elapsed, type Moment } from './timings.ts'

export interface Decision {
  /** Undefined: it waits. */
  claim: { row: Row; cause: Cause; whileSilent: boolean } | undefined
  /** What it waits for, or why it takes over. */
  sentence: string
}

export function decide(state: In<'starting' | 'standby'>, now: Moment): Decision {
  const { settings, seen } = state
  if (state.database !== 'there') {
    return wait(`${keeperOf(state)} does not answer, so nobody can take over`)
  }
  if (seen === undefined) return wait('waiting for the next reading of the lease')
  const { row } = seen
  const holder = row.holder ?? 'nobody'
  if (state.unhealthy !== undefined) return wait(`it could not take over: ${state.unhealthy}`)
  if (mustWait(state)) return wait(waryOf(state))
  const { paused } = row
  if (paused !== undefined && !mayWhilePaused(row, settings.name)) return wait(pauseOf(paused))

  if (row.overruledBy !== undefined) {
    return claim('promoted', `${row.overruledBy} has made it active, without a majority`)
  }
  if (row.released) {
    const gaveUp = row.incarnation === settings.incarnation
    const since = gaveUp ? state.asideSince : forAnother(row, settings.name) && seen.since
    if (since && standsAside(state, since, now)) {
      return wait(
        gaveUp
          ? 'it leaves the lease that it gave up to the other server'
          : `${holder} released the lease for ${row.intended}`,
      )
    }
    if (row.holder === undefined) return claim('first', 'nobody has been active yet')
    if (gaveUp) return claim('released', 'the other server did not take over')
    return claim('released', `${holder} released the lease`)
  }
  if (row.incarnation === settings.incarnation) {
    return claim('own-claim', 'the last term is still its own, and nobody has taken over since')
  }
  if (row.holder === settings.name) {
    return claim('former-self', 'the lease belongs to itself before it restarted')
  }

  const silence = seen.readAt.monotonic - seen.since.monotonic
  const peer = aboutHolder(state, row, now)
  switch (peer) {
    case 'refuses':
      return claim('proven-dead', `${holder} is dead: its host refuses the connection`)
    case 'replaced':
      return claim('proven-dead', `${holder} is dead: another process answers in its place`)
    case 'let go':
      return claim('let-go', `${holder} answers that it has let go`)
  }
  // The holder's own lease counts too: its settings may differ from these.
  const leaseMs = Math.max(settings.timings.leaseMs, row.leaseMs)
  const heartbeatTimeoutMs = Math.max(settings.timings.heartbeatTimeoutMs, leaseMs)
  const { heartbeatIntervalMs } = settings.timings
  if (silence >= heartbeatTimeoutMs) {
    return claim(
      'heartbeat-timeout',
      `no heartbeat of ${holder} for ${seconds(heartbeatTimeoutMs)}, whatever it answers`,
      true,
    )
  }
  if (silence >= leaseMs && peer === 'silent') {
    return claim(
      'silent',
      `no heartbeat of ${holder} for ${seconds(leaseMs)}, and it does not answer`,
      true,
    )
  }
  if (silence < 2 * heartbeatIntervalMs) return wait(`${holder} is active in term ${row.term}`)
  return wait(
    peer === 'silent'
      ? `no heartbeat of ${holder} and no answer: it takes over when ${seconds(leaseMs)} are over`
      : `no heartbeat of ${holder}, which answers: it takes over when ${seconds(heartbeatTimeoutMs)} are over`,
  )

  function wait(sentence: string): Decision {
    return { claim: undefined, sentence }
  }
  function claim(cause: Cause, sentence: string, whileSilent = false): Decision {
    return { claim: { row, cause, whileSilent }, sentence }
  }
}

/**
 * Whether this server may begin a term while takeovers are paused: over its own, as the first, or when
 * a person had it handed over to it. The database asks the same when it grants the claim.
 */
export function mayWhilePaused(row: Omit<Row, 'paused'>, server: string): boolean {
  if (row.holder === undefined || row.holder === server) return true
  return row.released && row.intended === server
}

function forAnother(row: Row, server: string): boolean {
  return row.intended !== undefined && row.intended !== server
}

/** What is the other's to take, is left to it for as long as a lease, unless that one is dead. */
function standsAside(state: In<'starting' | 'standby'>, since: Moment, now: Moment): boolean {
  const { peer, settings } = state
  if (elapsed(since, now) >= settings.timings.leaseMs) return false
  const refused = peer?.evidence.kind === 'refused' && isAfter(peer.askedAt, since)
  return !refused
}

function pauseOf({ by, reason, until }: Pause): string {
  const end = until === undefined ? 'until somebody resumes' : `until ${minute(until)}`
  return `takeovers are paused by ${by} ${end}: ${reason}`
}

function waryOf({ wary }: State): string {
  const what =
    wary?.because === 'another database'
      ? 'the database is another one than before'
      : 'the database has lost terms that were begun'
  return `${what}: it waits for ${seconds(wary?.ms ?? 0)}, as long as a lost term may last`
}

/** `2026-11-22 01:30 UTC` */
function minute(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
}

type Verdict = 'refuses' | 'replaced' | 'let go' | 'answers' | 'silent'

/**
 * What the last evidence says about the holder. Death counts only if asked after the holder's last
 * heartbeat was seen: a heartbeat since then proves the contrary.
 */
function aboutHolder(state: In<'starting' | 'standby'>, row: Row, now: Moment): Verdict {
  const { peer, seen, settings } = state
  if (peer === undefined || seen === undefined) return 'silent'
  const { evidence, askedAt } = peer
  if (!speaksOf(evidence, row)) return 'silent'
  if (elapsed(askedAt, now) > settings.timings.leaseMs) return 'silent'
  const newer = isAfter(askedAt, seen.since)
  switch (evidence.kind) {
    case 'refused':
      return newer ? 'refuses' : 'silent'
    case 'alive':
      if (evidence.incarnation !== row.incarnation) return newer ? 'replaced' : 'silent'
      return newer && (evidence.state === 'standby' || evidence.state === 'stopped')
        ? 'let go'
        : 'answers'
    default:
      return 'silent'
  }
}

function speaksOf(evidence: Evidence, row: Row): boolean {
  return evidence.kind !== 'nobody' && evidence.server === row.holder
}

function isAfter(moment: Moment, other: Moment): boolean {
  return moment.monotonic > other.monotonic
}

function seconds(ms: number): string {
  return `${ms / 1000} s`
}
