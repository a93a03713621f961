/**
 * Reception in a pair. The active's collector decodes what comes; the standby's keeps it in a ring
 * from which the active's manifests take out what the active has. A takeover goes on with what is
 * left in the ring, in order and with the times of arrival; what comes meanwhile waits behind it.
 *
 * Who took a datagram is asked by the other collector before it delivers a segment. So both of them
 * may have received and decoded it, in whatever order they died, froze and woke up: one of them
 * leaves its rows out.
 */
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../lib/clock.ts'
import { appendWhole, cutTo } from '../lib/files.ts'
import type { Log } from '../lib/log.ts'
import type { Kind } from '../telemetry/table.ts'
import type { AloneFile } from './alone-file.ts'
import { type Arrival, type Intake, kindOf } from './intake.ts'
import type { ClaimAnswer, ClaimStored } from './link.ts'
import {
  decodeManifest,
  emptyManifest,
  type Manifest,
  rankOf,
  termOf,
  withoutDatagrams,
} from './manifest.ts'
import { createRing, type RingBounds, type RingState } from './ring.ts'
import { createTaken, decodeTaken, encodeTaken, type TakenSet } from './taken.ts'

export interface Role {
  active: boolean
  term: number
}

/** What the other server's collector asks before it delivers a segment. */
export interface Claim {
  /** Identity of the segment. */
  segment: string
  /** Encoded; empty if there is none. */
  manifest: Buffer
  /** Milliseconds since the sender received the last of the segment's datagrams. */
  ageMs: number
  stored: ClaimStored
}

export interface Reception {
  /** Remembers what the last run took over with. */
  start(): void
  role(): Role
  /** Under which rank datagrams are taken now. */
  rank(): number
  /** Whether the role was said so lately that it can be relied on. */
  fresh(): boolean
  /** The latest term of which the other server claimed anything; -1 if it claimed nothing. */
  otherTerm(): number
  /**
   * @param storing segments of the other server that are being stored at this moment: what becomes
   *   of them is said by `ended`
   */
  setRole(role: Role, storing: Iterable<string>): void
  hear(arrival: Arrival): void
  /** Which of the datagrams were taken here, and which the own server has already. */
  claim(claim: Claim): Promise<ClaimAnswer>
  /** The other server's collector is active, and is heard. */
  otherIsAlive(): void
  /** A segment of the other server was stored, or could not be; these are still being stored. */
  ended(segment: string, stored: boolean, storing: Iterable<string>): void
  /** A batch was closed; the result is to be called when it is on disk. */
  closed(kind: Kind, manifest: Manifest): () => void
  /** Once a second. */
  tick(): void
  state(): ReceptionState
}

export interface ReceptionState {
  role: 'active' | 'standby'
  term: number
  ring: RingState
  /** Datagrams decoded out of the ring since the start. */
  replayed: number
  /** Datagrams that belonged to a segment of the other server that was announced before they came. */
  late: number
  /** Datagrams of the other server's segments that were taken here. */
  disputed: number
  /** Datagrams that the active never had, though it lives: decoded by the standby. */
  rescued: number
  /** How long the last takeover took until everything in the ring was decoded, ms. */
  replayMs: number | null
}

/** The server says its role each second; one that has said nothing for so long may be frozen, or not be active any more. */
const staleMs = 3000
/** For so long after a hand-over somebody may still send here what is meant for the other server. */
const handOverMs = 6000
/** Between slices of a replay the sockets are read. */
const sliceMs = 8
const claimWaitMs = 1200
const givenUpMs = 120_000
/** The server lets a segment in for half that time after it was claimed. */
const promisedMs = 60_000
/** The other says that it lives every two seconds. */
const aliveMs = 6000
/** Datagrams in one second's tick. */
const rescueAtOnce = 5000
/** As long as anybody may ask for: the ring's time, and the other's own delays. */
const takenBounds = { ms: 120_000, datagrams: 8_000_000 }
/** Then it is begun anew, and the last one is kept. */
const maxFileBytes = 32 * 1024 * 1024

export function createReception(
  deps: {
    clock: Clock
    log: Log
    intake: Intake
    /** The newest copy of the active's flow templates. */
    templates: () => unknown
    /** What the own server stored alone. */
    alone: Pick<AloneFile, 'places' | 'came'>
  },
  config: { dir: string; ring: RingBounds },
): Reception {
  const { clock, intake, log } = deps
  const files = { replayed: join(config.dir, 'replayed'), overlap: join(config.dir, 'overlap') }
  const ring = createRing<Arrival>(config.ring)
  const taken = createTaken(takenBounds)
  /** Kinds whose open batch holds datagrams out of the ring. */
  const withReplayed = new Set<Kind>()
  let role: Role = { active: false, term: 0 }
  let saidAt = 0
  /** What comes is decoded at once: nothing is left in the ring. */
  let direct = false
  let storing = new Set<string>()
  let decoding = false
  /** Resolves when the last replay ended. */
  let replaying: Promise<void> = Promise.resolve()
  let replayed = 0
  let replayMs: number | null = null
  let rescued = 0
  let aliveAt = Number.NEGATIVE_INFINITY
  let activeSince = Number.NEGATIVE_INFINITY
  let otherTerm = -1
  const counts = { late: 0, disputed: 0 }
  /** Batches on their way to the disk. */
  const unsealed = new Map<Manifest, { since: number; onDisk: Promise<void> }>()

  const isFresh = (now: number) => now - saidAt <= staleMs

  async function replay() {
    const began = clock.monotonic()
    for (let count = 0; role.active; ) {
      const until = clock.monotonic() + sliceMs
      do {
        const arrival = ring.next()
        if (arrival === undefined) {
          direct = true
          decoding = false
          if (count > 0) {
            replayMs = Math.round(clock.monotonic() - began)
            log.info({ datagrams: count, ms: replayMs }, 'what the ring held is decoded')
          }
          return
        }
        withReplayed.add(kindOf[arrival.listener])
        intake.take(arrival)
        count++
        replayed++
      } while (clock.monotonic() < until)
      await nextTurn()
    }
    decoding = false
  }

  function begin() {
    if (direct || decoding) return
    decoding = true
    replaying = replay()
  }

  /** Half the ring's time is enough for the active to say what it has. */
  function rescue(now: number) {
    for (let count = 0; count < rescueAtOnce; count++) {
      const arrival = ring.overdue(now - config.ring.ms / 2, now)
      if (arrival === undefined) return
      if (count === 0) intake.catchUp()
      intake.take(arrival)
      rescued++
    }
  }

  /** Beyond a restart: what the other one may still have to ask for. */
  function remember(manifest: Manifest, what: 'replayed' | 'overlap') {
    const file = files[what]
    try {
      if (existsSync(file) && statSync(file).size > maxFileBytes) renameSync(file, `${file}.old`)
      appendWhole(file, encodeTaken([manifest]), { flush: what === 'replayed', mode: 0o640 })
    } catch (error) {
      log.warn({ file, error }, 'what was taken is not remembered beyond a restart')
    }
  }

  function recall(what: 'replayed' | 'overlap') {
    for (const file of [`${files[what]}.old`, files[what]]) {
      if (!existsSync(file)) continue
      const { sets, length } = decodeTaken(readFileSync(file))
      cutTo(file, length)
      for (const set of sets) taken.add(set, clock.monotonic(), what === 'replayed')
    }
  }

  /**
   * Places of what was taken here. Who is told that it was taken leaves it out, so it has to survive
   * a crash of this one; what comes while the disk is waited for counts as well.
   *
   * @throws if the disk takes too long
   */
  async function takenAndOnDisk(manifest: Manifest): Promise<number[]> {
    const named = new Set(manifest.hashes)
    const disputes = ({ rank, hashes }: TakenSet) =>
      rank > manifest.rank && hashes.some(hash => hash !== 0 && named.has(hash))
    let deadline: Promise<'late'> | undefined
    for (;;) {
      if (intake.pending().some(disputes)) intake.sealAll()
      const batches = [...unsealed].filter(([batch]) => disputes(batch))
      if (batches.length === 0) return taken.of(manifest)
      deadline ??= sleep(claimWaitMs, 'late', { ref: false })
      const onDisk = Promise.all(batches.map(([, batch]) => batch.onDisk))
      if ((await Promise.race([onDisk, deadline])) === 'late') {
        throw new Error('what was taken is not on disk yet')
      }
    }
  }

  return {
    start() {
      recall('replayed')
      recall('overlap')
    },

    role: () => role,
    rank: () => rankOf(role.term, role.active),
    fresh: () => isFresh(clock.wall()),
    otherTerm: () => otherTerm,

    setRole(next, stillStoring) {
      saidAt = clock.wall()
      storing = new Set(stillStoring)
      if (next.active === role.active && next.term === role.term) {
        if (role.active) begin()
        return
      }
      // What is open was taken in the role of before.
      intake.sealAll()
      const before = role
      role = next
      if (!next.active) {
        direct = false
        if (before.active) {
          intake.deactivate()
          ring.handedOver(clock.monotonic() + handOverMs)
        }
        return
      }
      if (!before.active) {
        intake.activate(deps.templates())
        activeSince = clock.monotonic()
      }
      ring.takeBack(storing)
      direct = false
      begin()
    },

    hear(arrival) {
      if (direct && isFresh(arrival.received)) {
        if (ring.expectsLate && ring.alreadyClaimed(arrival, clock.monotonic())) counts.late++
        else if (!intake.repeated(arrival)) intake.take(arrival)
        return
      }
      direct = false
      if (!intake.hearInform(arrival)) return
      ring.hear(arrival, clock.monotonic())
      if (!role.active) intake.learn(arrival)
    },

    async claim({ segment, manifest: bytes, ageMs, stored }) {
      const manifest = bytes.length === 0 ? emptyManifest : decodeManifest(bytes)
      otherTerm = Math.max(otherTerm, termOf(manifest.rank))
      // What is still in the ring is about to be taken.
      if (role.active && !direct)
        await Promise.race([replaying, sleep(claimWaitMs, undefined, { ref: false })])
      if (role.active && !direct) throw new Error('the ring is still being decoded')
      const places = await takenAndOnDisk(manifest)
      const alone = deps.alone.places(segment, manifest, places)
      counts.disputed += places.length + alone.length
      const now = clock.monotonic()
      ring.claim(segment, withoutDatagrams(manifest, [...places, ...alone]), now - ageMs, now)
      // Of what is kept there, less remains, and it is claimed once more.
      if (stored === 'here' || (stored === 'there' && places.length === 0)) ring.settle(segment)
      return { taken: places, stored: alone }
    },

    otherIsAlive() {
      aliveAt = clock.monotonic()
    },

    ended(segment, stored, stillStoring) {
      storing = new Set(stillStoring)
      if (stored) {
        ring.settle(segment)
        deps.alone.came(segment)
      } else if (role.active) {
        ring.takeBack(storing)
        direct = false
        begin()
      }
    },

    closed(kind, manifest) {
      const kept = withReplayed.delete(kind)
      const overlaps = role.active && clock.monotonic() - activeSince < takenBounds.ms
      taken.add(manifest, clock.monotonic(), kept)
      const { promise, resolve } = Promise.withResolvers<void>()
      unsealed.set(manifest, { since: clock.monotonic(), onDisk: promise })
      return () => {
        unsealed.delete(manifest)
        if (kept) remember(manifest, 'replayed')
        else if (overlaps) remember(manifest, 'overlap')
        resolve()
      }
    },

    tick() {
      const now = clock.monotonic()
      if (!role.active && isFresh(clock.wall()) && now - aliveAt < aliveMs) rescue(now)
      if (role.active && direct) {
        // Promised so long ago, the segment has to be claimed again before it is stored.
        ring.takeBack(storing, now - promisedMs)
        direct = false
        begin()
      }
      ring.expire(now)
      taken.expire(now)
      for (const [manifest, { since }] of unsealed) {
        // Given up: the disk did not take it.
        if (now - since < givenUpMs) continue
        unsealed.delete(manifest)
        taken.forget(manifest)
      }
    },

    state: () => ({
      role: role.active ? 'active' : 'standby',
      term: role.term,
      ring: ring.state(),
      replayed,
      rescued,
      replayMs,
      ...counts,
    }),
  }
}
