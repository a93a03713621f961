/**
 * When a server's own collector may store a segment with its own server: when it was claimed and the
 * other server has it, because only then it is certain that the other will not take in the same
 * datagrams at a takeover. Or when the other has agreed that they stay here. Or when it is gone; that
 * may be wrong, so what is stored alone is remembered.
 */
import type { Clock } from '../lib/clock.ts'
import type { Kind } from '../telemetry/table.ts'
import type { AloneFile } from './alone-file.ts'
import { termOf } from './manifest.ts'
import type { WholeSegment } from './segment.ts'
import type { Waiting } from './shelves.ts'
import type { Spool } from './spool.ts'

export interface Settlement {
  /** Name of the own server. */
  readonly own: string
  /** The segment may go to the own server. */
  ready(segment: Waiting): boolean
  /** The segment is as it was claimed, and the other server has it, or leaves it to this one. */
  settle(segment: Waiting): void
  isSettled(segment: Waiting): boolean
  /**
   * The segment as it goes to the own server now; remembered if that stores it alone.
   *
   * @returns 'not-now' while something is left out of it
   * @throws if it cannot be remembered
   */
  read(
    segment: Waiting,
    read: () => Promise<WholeSegment | undefined>,
  ): Promise<WholeSegment | 'not-now' | undefined>
  /**
   * Leaves out of the segment, by `work`, what the other server has taken itself: these hashes. False
   * if the own server has yet to get it as it is; then it has to be tried again.
   */
  leaveOut(segment: Waiting, hashes: readonly number[], work: () => Promise<void>): Promise<boolean>
  /** The other server has the segment, but for what was left out of it. */
  agreed(segment: Waiting): void
  /** The other server took a manifest. */
  reached(server: string): void
  /** @param refused nothing listens there: its process, and its ring with it, is gone */
  failed(server: string, refused: boolean): void
  /** To be called each second: time alone may have settled something. */
  tick(): void
  /** Calls back when segments may have become ready; returns what ends it. */
  onReady(listener: () => void): () => void
}

const maxSettled = 100_000
/** `tick` comes each second; so much later, this process did not run. */
const sleptMs = 3000

export function createSettlement(
  deps: {
    spool: Pick<Spool, 'has'>
    clock: Clock
    /**
     * Whether this server is active by what it was told lately, in which term, and the latest term of
     * which the other one has claimed anything.
     */
    role: () => { active: boolean; term: number; otherTerm: number }
    /** The other servers. */
    others: () => readonly string[]
    alone: Pick<AloneFile, 'has' | 'add' | 'took' | 'agreed'>
  },
  config: {
    own: string
    /** A server that was silent for so long is gone, if this one is still active then: its lease was renewed meanwhile. */
    goneAfterMs: number
  },
): Settlement {
  const { spool, clock, alone } = deps
  const away = new Map<string, { since: number; refused: boolean }>()
  const settled = new Map<string, Waiting>()
  let awakeAt = clock.monotonic()
  const listeners = new Set<() => void>()
  /** Being read, to be sent to the own server. */
  const reading = new Set<string>()
  /** Being written anew with less in it. */
  const shrinking = new Set<string>()

  const keyOf = ({ kind, sequence }: { kind: Kind; sequence: number }) => `${kind} ${sequence}`

  /** A server that was frozen itself has not waited for the other one. */
  function noticeSleep() {
    const now = clock.monotonic()
    if (now - awakeAt < sleptMs) return
    for (const trouble of away.values()) trouble.since = now
  }

  function gone(server: string): boolean {
    noticeSleep()
    const trouble = away.get(server)
    if (trouble === undefined) return false
    return trouble.refused || clock.monotonic() - trouble.since > config.goneAfterMs
  }

  function tell() {
    for (const listener of listeners) listener()
  }

  return {
    own: config.own,
    ready(segment) {
      const others = deps.others()
      if (segment.rank === undefined || others.length === 0) return true
      if (settled.has(keyOf(segment)) || alone.has(segment)) return true
      const { active, term, otherTerm } = deps.role()
      // In a term between that one and this, or known by its claims alone, the other server was
      // active and may have taken the same; some of it may be stored here.
      if (termOf(segment.rank) < Math.max(term - 1, otherTerm)) return false
      return active && others.every(gone)
    },
    isSettled: segment => settled.has(keyOf(segment)),
    async read(segment, read) {
      const key = keyOf(segment)
      if (shrinking.has(key)) return 'not-now'
      reading.add(key)
      try {
        const whole = await read()
        if (whole?.manifest !== undefined && !settled.has(key) && !alone.has(segment)) {
          alone.add(segment, whole.manifest, segment.lastMs)
        }
        return whole
      } finally {
        reading.delete(key)
      }
    },
    async leaveOut(segment, hashes, work) {
      const key = keyOf(segment)
      const goes = reading.has(key) || alone.has(segment)
      if (goes && !spool.has(config.own, segment)) return false
      shrinking.add(key)
      try {
        alone.took(segment, hashes)
        await work()
      } finally {
        shrinking.delete(key)
      }
      return true
    },
    agreed: segment => alone.agreed(segment),
    settle(segment) {
      if (spool.has(config.own, segment)) return
      settled.set(keyOf(segment), segment)
      // Whoever is forgotten is claimed again at the next connection.
      if (settled.size > maxSettled) settled.delete(settled.keys().next().value!)
      tell()
    },
    reached(server) {
      away.delete(server)
    },
    failed(server, refused) {
      noticeSleep()
      const before = away.get(server)
      // Not since it was last reached: a standby asks nobody.
      const since = before?.since ?? clock.monotonic()
      away.set(server, { since, refused })
      if (refused && before?.refused !== true) tell()
    },
    tick() {
      noticeSleep()
      awakeAt = clock.monotonic()
      for (const [key, segment] of settled) {
        if (spool.has(config.own, segment)) settled.delete(key)
      }
      if (away.size > 0) tell()
    },
    onReady(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
