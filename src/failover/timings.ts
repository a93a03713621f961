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

/** How long a renewal allows the active to work. */
export function workingMs(timings: Timings): number {
  return timings.leaseMs - timings.stepDownMs
}

/** The database counts as away when nothing was heard of it for as long. */
export function awayMs(timings: Timings): number {
  return 3 * timings.heartbeatIntervalMs
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
  if (heartbeatIntervalMs < 100) {
    reasons.push(
      `heartbeatIntervalMs is ${heartbeatIntervalMs}: below 100 it only loads the database`,
    )
  }
  if (stepDownMs < 200) {
    reasons.push(`stepDownMs is ${stepDownMs}: nobody can let go of everything in less than 200`)
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
