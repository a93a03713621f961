/**
 * What this collector has taken in itself, as hashes: of what it decoded lately, and, kept longer,
 * of what it began a takeover with. The other server's collector asks before it delivers a segment;
 * whoever took a datagram under the higher rank keeps it.
 */
import type { Manifest } from './manifest.ts'

export interface TakenBounds {
  /** Milliseconds for which a batch is remembered. */
  ms: number
  /** Datagrams that are remembered. */
  datagrams: number
}

/** Hashes taken under one rank. */
export interface TakenSet {
  readonly rank: number
  readonly hashes: Float64Array
}

export interface Taken {
  /** @param kept stays beyond the bound in time, for an owner who comes back late */
  add(set: TakenSet, now: number, kept?: boolean): void
  /**
   * Places in the manifest of the datagrams that are not its segment's: they were taken here under a
   * higher rank.
   *
   * @param open what is decoded and not sealed
   */
  of(manifest: Manifest, open?: Iterable<TakenSet>): number[]
  /** It was not sealed after all. */
  forget(set: TakenSet): void
  expire(now: number): void
  readonly datagrams: number
  /** Batches forgotten for their number. */
  readonly overflown: number
}

export function createTaken(bounds: TakenBounds): Taken {
  let recent: { set: TakenSet; until: number }[] = []
  let datagrams = 0
  let overflown = 0

  function shrink() {
    while (datagrams > bounds.datagrams && recent.length > 0) {
      datagrams -= recent.shift()!.set.hashes.length
      overflown++
    }
  }

  function remove(gone: (one: { set: TakenSet; until: number }) => boolean) {
    recent = recent.filter(one => {
      if (!gone(one)) return true
      datagrams -= one.set.hashes.length
      return false
    })
  }

  return {
    get datagrams() {
      return datagrams
    },
    get overflown() {
      return overflown
    },
    add(set, now, kept = false) {
      if (set.hashes.length === 0) return
      recent.push({ set, until: kept ? Number.POSITIVE_INFINITY : now + bounds.ms })
      datagrams += set.hashes.length
      shrink()
    },
    of(manifest, open = []) {
      const places = new Map<number, number[]>()
      manifest.hashes.forEach((hash, place) => {
        if (hash === 0) return
        const same = places.get(hash)
        if (same === undefined) places.set(hash, [place])
        else same.push(place)
      })
      const found: number[] = []
      if (places.size === 0) return found
      for (const { rank, hashes } of [...recent.map(({ set }) => set), ...open]) {
        if (rank <= manifest.rank) continue
        for (const hash of hashes) {
          const place = places.get(hash)?.shift()
          if (place !== undefined) found.push(place)
        }
      }
      return found.sort((a, b) => a - b)
    },
    forget(set) {
      remove(one => one.set === set)
    },
    expire(now) {
      remove(({ until }) => until <= now)
    },
  }
}

/** Sets as one file: rank, count and hashes of each, little-endian. */
export function encodeTaken(sets: readonly TakenSet[]): Buffer {
  const length = sets.reduce((sum, { hashes }) => sum + 16 + 8 * hashes.length, 0)
  const bytes = Buffer.alloc(length)
  let at = 0
  for (const { rank, hashes } of sets) {
    at = bytes.writeDoubleLE(rank, at)
    at = bytes.writeDoubleLE(hashes.length, at)
    for (const hash of hashes) at = bytes.writeDoubleLE(hash, at)
  }
  return bytes
}

/** As much as is whole, and how many bytes that is. */
export function decodeTaken(bytes: Buffer): { sets: TakenSet[]; length: number } {
  const sets: TakenSet[] = []
  let at = 0
  while (at + 16 <= bytes.length) {
    const rank = bytes.readDoubleLE(at)
    const count = bytes.readDoubleLE(at + 8)
    if (!(count >= 0 && at + 16 + 8 * count <= bytes.length)) break
    const hashes = new Float64Array(count)
    for (let i = 0; i < count; i++) hashes[i] = bytes.readDoubleLE(at + 16 + 8 * i)
    at += 16 + 8 * count
    sets.push({ rank, hashes })
  }
  return { sets, length: at }
}
