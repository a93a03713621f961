/** The times of a pair, and how time that has passed is judged. Pure. */

/** An instant by both of a host's clocks, in milliseconds. Never compared with another host's. */
export interface Moment {
  /** Never jumps; stands still while the machine is suspended. */
  monotonic: number
  /** Goes on while the machine is suspended; may be set. */
  wall: number
}

/** Wall time that falls behind monotonic time by more than this was set back. */
const wallToleranceMs = 500

/**
 * Milliseconds for which something has been valid: the longer of what the two clocks say, because
 * one stands still during a suspend and the other may be set. `Infinity` when the wall clock was
 * set back: it can then no longer tell how long a suspend was.
 */
export function elapsed(since: Moment, now: Moment): number {
  const monotonic = now.monotonic - since.monotonic
  const wall = now.wall - since.wall
  if (wall < monotonic - wallToleranceMs) return Number.POSITIVE_INFINITY
  return Math.max(monotonic, wall)
}

/** All in milliseconds. */
export interface Timings {
  /** How often the active raises the heartbeat counter. */
  heartbeatIntervalMs: number
  /** How long a renewal is worth; a standby that cannot reach the active waits as long. */
  leaseMs: number
  /** The last part of the lease, in which the active lets go instead of working. */
  stepDownMs: number
  /** Without heartbeats for as long, the standby takes over whatever the active answers. */
  heartbeatTimeoutMs: number
  /** The longest wait for the peer's answer. */
  peerTimeoutMs: number
}

export const defaultTimings: Timings = {
  heartbeatIntervalMs: 1000,
  leaseMs: 10_000,
  stepDownMs: 2000,
  heartbeatTimeoutMs: 60_000,
  peerTimeoutMs: 1000,
}

/** What a person may set, all in milliseconds; the rest follows from it. */
export interface TimingSettings {
  heartbeatMs: number
  leaseMs: number
  timeoutMs: number
}

/** Times that would be unsafe together. */
export class UnsafeTimings extends Error {
  override name = 'UnsafeTimings'
  /** What to change first. */
  readonly setting: keyof TimingSettings
  constructor(setting: keyof TimingSettings, message: string) {
    super(message)
    this.setting = setting
  }
}

/** Nobody lets go of everything in less. */
const leastStepDownMs = 200
const leastHeartbeatMs = 100

/** @throws UnsafeTimings, whose message names the settings and says what would be right */
export function timingsOf({ heartbeatMs, leaseMs, timeoutMs }: TimingSettings): Timings {
  const timings: Timings = {
    heartbeatIntervalMs: heartbeatMs,
    leaseMs,
    stepDownMs: Math.min(
      defaultTimings.stepDownMs,
      Math.max(leastStepDownMs, Math.round(leaseMs / 5)),
    ),
    heartbeatTimeoutMs: timeoutMs,
    peerTimeoutMs: Math.max(1, Math.min(defaultTimings.peerTimeoutMs, Math.floor(leaseMs / 3))),
  }
  for (const [setting, value] of Object.entries({ heartbeatMs, leaseMs, timeoutMs })) {
    if (!Number.isSafeInteger(value) || value <= 0) {
      refuse(setting as keyof TimingSettings, `must be a whole number above 0, not ${value}`)
    }
  }
  if (heartbeatMs < leastHeartbeatMs) {
    refuse('heartbeatMs', `must be at least ${leastHeartbeatMs}: less only loads the database`)
  }
  const least = leastLease(heartbeatMs)
  if (leaseMs < least) {
    refuse(
      'leaseMs',
      `with a heartbeatMs of ${heartbeatMs} it must be at least ${least}, which is three heartbeats ` +
        `and the time to let go, not ${leaseMs}: else one slow renewal ends the lease`,
    )
  }
  if (timeoutMs < leaseMs) {
    refuse(
      'timeoutMs',
      `must be at least leaseMs, ${leaseMs}, not ${timeoutMs}: else the standby takes over while ` +
        'the active still holds its lease',
    )
  }
  return timings
}

/** What is left of it beside the time to let go has room for three heartbeats. */
function leastLease(heartbeatMs: number): number {
  const working = 3 * heartbeatMs
  const byShare = Math.min(1.25 * working, working + defaultTimings.stepDownMs)
  return Math.ceil(Math.max(working + leastStepDownMs, byShare))
}

function refuse(setting: keyof TimingSettings, message: string): never {
  throw new UnsafeTimings(setting, message)
}

/** How long a renewal allows the active to work. */
export function workingMs(timings: Timings): number {
  return timings.leaseMs - timings.stepDownMs
}

/**
 * The database counts as away when nothing was heard of it for as long: soon enough for the active to
 * hear so, while its own lease is still good.
 */
export function awayMs(timings: Timings): number {
  return Math.min(3 * timings.heartbeatIntervalMs, Math.ceil(workingMs(timings) / 2))
}

/** The longest wait for one answer of the database: several must fit into a lease. */
export function answerMs(timings: Timings): number {
  return Math.ceil(Math.min(workingMs(timings) / 4, 2 * timings.heartbeatIntervalMs))
}

/** Why these times would be unsafe together; empty if they are safe. */
export function checkTimings(timings: Timings): string[] {
  const { heartbeatIntervalMs, leaseMs, stepDownMs, heartbeatTimeoutMs, peerTimeoutMs } = timings
  const reasons: string[] = []
  for (const [name, value] of Object.entries(timings)) {
    if (!Number.isSafeInteger(value) || value <= 0) {
      reasons.push(`${name} is ${value}: it must be a whole number of milliseconds above 0`)
    }
  }
  if (reasons.length > 0) return reasons
  if (heartbeatIntervalMs < leastHeartbeatMs) {
    reasons.push(
      `heartbeatIntervalMs is ${heartbeatIntervalMs}: below ${leastHeartbeatMs} it only loads the database`,
    )
  }
  if (stepDownMs < leastStepDownMs) {
    reasons.push(
      `stepDownMs is ${stepDownMs}: nobody can let go of everything in less than ${leastStepDownMs}`,
    )
  }
  if (leaseMs - stepDownMs < 3 * heartbeatIntervalMs) {
    reasons.push(
      `leaseMs (${leaseMs}) less stepDownMs (${stepDownMs}) must be at least three heartbeat ` +
        `intervals (${3 * heartbeatIntervalMs}): else one slow renewal ends the lease`,
    )
  }
  if (heartbeatTimeoutMs < leaseMs) {
    reasons.push(
      `heartbeatTimeoutMs (${heartbeatTimeoutMs}) must be at least leaseMs (${leaseMs}): else the ` +
        'standby takes over while the active still holds its lease',
    )
  }
  if (2 * peerTimeoutMs > leaseMs) {
    reasons.push(
      `peerTimeoutMs (${peerTimeoutMs}) must be at most half of leaseMs (${leaseMs}): else a lease ` +
        'ends before it is known whether the peer answers',
    )
  }
  return reasons
}
