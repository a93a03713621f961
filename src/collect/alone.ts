/**
 * What the own server stored alone: segments that were not settled with the other server because
 * that one was gone, or seemed so. If it was only cut off, it may have taken the same datagrams at a
 * takeover, and its segments with them come here later: of these, the rows that are here already are
 * left out for this server's store.
 *
 * The accounting, without the file (`alone-file.ts`): what is noted beyond a restart are its entries.
 */
import type { Kind } from '../telemetry/table.ts'
import type { Manifest } from './manifest.ts'

/** A segment of the own collector. */
export interface OwnSegment {
  readonly kind: Kind
  readonly sequence: number
}

export type AloneEntry =
  /** The segment goes to the own server as it is, whatever becomes of it elsewhere. */
  | {
      what: 'stored'
      segment: OwnSegment
      rank: number
      /** When its last datagram came, ms since 1970. */
      lastMs: number
      hashes: Float64Array
    }
  /** Of the segment, the other server has taken these datagrams itself. */
  | { what: 'took'; segment: OwnSegment; hashes: Float64Array }
  /** The other server has the segment, but for what it took itself: only that may still come here. */
  | { what: 'agreed'; segment: OwnSegment }
  /** Of datagrams that were stored alone, these came in a segment of the other server, and were left out. */
  | { what: 'came'; hashes: Float64Array }

export interface Alone {
  /** @param now monotonic milliseconds */
  apply(entry: AloneEntry, now: number): void
  has(segment: OwnSegment): boolean
  /**
   * Places in the manifest of a segment of the other server of the datagrams that the own server
   * stored alone. Asked again about the same segment, the answer is about the same datagrams.
   *
   * @param segment its identity: collector, kind, sequence
   * @param except places that are left out anyway
   */
  places(segment: string, manifest: Manifest, except: readonly number[]): number[]
  /**
   * The segment of the other server is stored here. Returns what is to be noted of it, and is applied
   * already; undefined if none of it was stored alone.
   */
  came(segment: string): AloneEntry | undefined
  /** Forgets what the own server has and nobody else can have any more, and what is too much. */
  expire(stored: (segment: OwnSegment) => boolean): void
  /** What would have to be applied to come to the same. */
  entries(): AloneEntry[]
  /** That may still come. */
  readonly datagrams: number
  /** Of which something is to be known, if only that they were stored alone. */
  readonly segments: number
}

export interface AloneBounds {
  /** What came so much before the last of the same term, the other server cannot have any more. */
  ms: number
  /** Beyond it the oldest are forgotten. */
  datagrams: number
}

interface Stored {
  readonly segment: OwnSegment
  readonly rank: number
  readonly lastMs: number
  /** When it was noted, monotonic. */
  readonly at: number
  hashes: Float64Array
  took: Float64Array
  agreed: boolean
}

export function createAlone(bounds: AloneBounds): Alone {
  const all = new Map<string, Stored>()
  /** How many datagrams of each hash may still come, and are in no segment that was asked about. */
  const free = createCounts()
  /** By segment of the other server: what was said about it. */
  const told = new Map<string, number[]>()
  let datagrams = 0

  function forget(stored: Stored) {
    all.delete(keyOf(stored.segment))
    datagrams -= stored.hashes.length
    for (const hash of stored.hashes) free.take(hash)
  }

  /** When nothing may come any more, of what is agreed nothing is left to know. */
  function tidy() {
    if (free.size > 0 || told.size > 0) return
    for (const stored of all.values()) if (stored.agreed) forget(stored)
  }

  function agree(stored: Stored) {
    const taken = createCounts()
    for (const hash of stored.took) taken.add(hash)
    const left: number[] = []
    for (const hash of stored.hashes) {
      if (taken.take(hash)) left.push(hash)
      else free.take(hash)
    }
    datagrams -= stored.hashes.length - left.length
    stored.hashes = Float64Array.from(left)
    stored.agreed = true
    if (left.length === 0) all.delete(keyOf(stored.segment))
  }

  return {
    get datagrams() {
      return datagrams
    },
    get segments() {
      return all.size
    },

    apply(entry, now) {
      switch (entry.what) {
        case 'stored': {
          const { segment, rank, lastMs, hashes } = entry
          const took = new Float64Array(0)
          all.set(keyOf(segment), { segment, rank, lastMs, at: now, hashes, took, agreed: false })
          datagrams += hashes.length
          for (const hash of hashes) free.add(hash)
          return
        }
        case 'took': {
          const stored = all.get(keyOf(entry.segment))
          if (stored) stored.took = Float64Array.from([...stored.took, ...entry.hashes])
          return
        }
        case 'agreed': {
          const stored = all.get(keyOf(entry.segment))
          if (stored && !stored.agreed) agree(stored)
          break
        }
        case 'came':
          for (const hash of entry.hashes) free.take(hash)
      }
      tidy()
    },

    has: segment => all.has(keyOf(segment)),

    places(segment, { hashes, continues }, except) {
      for (const hash of told.get(segment) ?? []) free.add(hash)
      told.delete(segment)
      if (free.size + told.size === 0) return []
      const gone = new Set(except)
      const places: number[] = []
      const named: number[] = []
      hashes.forEach((hash, place) => {
        if (hash === 0 || gone.has(place)) return
        if (place === 0 && continues) {
          // As it was said, or will be, of the segment in which the datagram begins.
          const before = told.get(previousOf(segment))?.includes(hash) ?? false
          if (before || free.has(hash)) places.push(place)
        } else if (free.take(hash)) {
          places.push(place)
          named.push(hash)
        }
      })
      if (named.length > 0) told.set(segment, named)
      return places
    },

    came(segment) {
      const named = told.get(segment)
      if (named === undefined) return undefined
      told.delete(segment)
      tidy()
      return { what: 'came', hashes: Float64Array.from(named) }
    },

    expire(stored) {
      const newest = new Map<number, number>()
      for (const { rank, at } of all.values()) {
        newest.set(rank, Math.max(newest.get(rank) ?? Number.NEGATIVE_INFINITY, at))
      }
      for (const one of all.values()) {
        const old = !one.agreed && newest.get(one.rank)! - one.at > bounds.ms
        if (datagrams > bounds.datagrams || (old && stored(one.segment))) forget(one)
      }
      tidy()
    },

    entries() {
      const waiting = createCounts()
      for (const [hash, count] of free) waiting.add(hash, count)
      for (const hash of [...told.values()].flat()) waiting.add(hash)
      return [...all.values()].flatMap(({ segment, rank, lastMs, hashes, took, agreed }) => [
        {
          ...{ what: 'stored' as const, segment, rank, lastMs },
          hashes: hashes.filter(hash => waiting.take(hash)),
        },
        ...(took.length > 0 ? [{ what: 'took' as const, segment, hashes: took }] : []),
        ...(agreed ? [{ what: 'agreed' as const, segment }] : []),
      ])
    },
  }
}

function keyOf({ kind, sequence }: OwnSegment): string {
  return `${kind} ${sequence}`
}

function previousOf(segment: string): string {
  const slash = segment.lastIndexOf('/')
  return `${segment.slice(0, slash)}/${Number(segment.slice(slash + 1)) - 1}`
}

/** How many there are of each number. */
function createCounts() {
  const counts = new Map<number, number>()
  return {
    get size() {
      return counts.size
    },
    has: (number: number) => counts.has(number),
    add(number: number, many = 1) {
      counts.set(number, (counts.get(number) ?? 0) + many)
    },
    /** One less of it; false if there is none. */
    take(number: number): boolean {
      const count = counts.get(number)
      if (count === undefined) return false
      if (count === 1) counts.delete(number)
      else counts.set(number, count - 1)
      return true
    },
    [Symbol.iterator]: () => counts.entries(),
  }
}
