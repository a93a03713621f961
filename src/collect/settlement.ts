/**
 * When a server's own collector may store a segment with its own server: when it was claimed and the
 * other server has it, because only then it is certain that the other will not take in the same
 * datagrams at a takeover. Or when the other has agreed that they stay here; or when it is gone.
 */
import type { Clock } from '../lib/clock.ts'
import type { Kind } from '../telemetry/table.ts'
import { termOf } from './manifest.ts'
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
    /** Whether this server is active by what it was told lately, and in which term. */
    role: () => { active: boolean; term: number }
    /** The other servers. */
    others: () => readonly string[]
  },
  config: {
    own: string
    /** A server that was silent for so long is gone, if this one is still active then: its lease was renewed meanwhile. */
    goneAfterMs: number
  },
): Settlement {
  const { spool, clock } = deps
  const away = new Map<string, { since: number; refused: boolean }>()
  const reachedAt = new Map<string, number>()
  const settled = new Map<string, Waiting>()
  let awakeAt = clock.monotonic()
  const listeners = new Set<() => void>()

  const keyOf = ({ kind, sequence }: { kind: Kind; sequence: number }) => `${kind} ${sequence}`

  /** A server that was frozen itself has not waited for the other one. */
  function noticeSleep() {
    const now = clock.monotonic()
    if (now - awakeAt < sleptMs) return
    for (const trouble of away.values()) trouble.since = now
    for (const server of reachedAt.keys()) reachedAt.set(server, now)
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
      if (settled.has(keyOf(segment))) return true
      const { active, term } = deps.role()
      // Between an older term and this one another server was active, and may have taken the same.
      return active && termOf(segment.rank) >= term - 1 && others.every(gone)
    },
    isSettled: segment => settled.has(keyOf(segment)),
    settle(segment) {
      if (spool.has(config.own, segment)) return
      settled.set(keyOf(segment), segment)
      // Whoever is forgotten is claimed again at the next connection.
      if (settled.size > maxSettled) settled.delete(settled.keys().next().value!)
      tell()
    },
    reached(server) {
      away.delete(server)
      reachedAt.set(server, clock.monotonic())
    },
    failed(server, refused) {
      noticeSleep()
      const before = away.get(server)
      const since = before?.since ?? reachedAt.get(server) ?? clock.monotonic()
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
