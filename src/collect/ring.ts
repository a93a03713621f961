/**
 * What a standby heard: raw datagrams in the order of their arrival, for as long as the active may
 * need to say that it has them. Each manifest of the active takes its datagrams out. What remains
 * is what the active lacks, and a takeover begins with it.
 *
 * A datagram that a manifest names is only promised to that segment. It goes when the segment is
 * stored here as well; if it never is, a takeover takes the datagram back.
 */
import type { Manifest } from './manifest.ts'

/** What the ring looks at. */
export interface Heard {
  readonly hash: number
  /** Listener, space, address. */
  readonly source: string
  readonly bytes: Uint8Array
}

export interface RingBounds {
  /** Milliseconds after which a datagram is forgotten. */
  ms: number
  /** Of all datagrams; beyond it the oldest go. */
  bytes: number
}

export interface Ring<D extends Heard> {
  /** @param now monotonic milliseconds */
  hear(datagram: D, now: number): void
  /** Some of what was announced has not come yet. */
  readonly expectsLate: boolean
  /** Whether the datagram belongs to a segment that was announced before it came; kept until that is stored. */
  alreadyClaimed(datagram: D, now: number): boolean
  /**
   * Promises what the manifest names to a segment; said again, it is the same promise.
   *
   * @param until monotonic milliseconds: the sender had received the segment's last datagram by
   *   then. Goes for senders whose datagrams are never the same towards both servers.
   */
  claim(segment: string, manifest: Manifest, until: number, now: number): void
  /** The segment is where it must be. */
  settle(segment: string): void
  /**
   * Takes back what was promised, save to the segments that are still being stored.
   *
   * @param before only what was promised before then (monotonic); by default all of it
   */
  takeBack(except: ReadonlySet<string>, before?: number): void
  /** Takes out the oldest that is promised to nobody. */
  next(): D | undefined
  /**
   * The same, if it came before `before` (monotonic), and its sender is not one that the active
   * hears and that is compared by time: the active would have named it by now. What strayed here at
   * a hand-over is overdue before that.
   */
  overdue(before: number, now: number): D | undefined
  /**
   * An address has just been handed over. Who is heard here until then (monotonic) and not any more
   * sent to that address, and has said nothing of it to the other server.
   */
  handedOver(until: number): void
  /** Forgets what is too old. */
  expire(now: number): void
  state(): RingState
}

export interface RingState {
  datagrams: number
  bytes: number
  /** Since the start: taken out because the active has them. */
  claimed: number
  /** Forgotten because they were too many; younger than the bound in time. */
  overflown: number
  /** Forgotten because of their age: the active never said that it has them. */
  expired: number
}

interface Entry<D extends Heard = Heard> {
  readonly datagram: D
  readonly heardAt: number
  segment: string | undefined
  gone: boolean
}

/** Datagrams of one sender with equal bytes; those before `from` are promised or gone. */
interface Twins {
  entries: Entry[]
  from: number
  live: number
}

interface Source {
  entries: Entry[]
  heardAt: number
  /** When a manifest last named it. */
  namedAt: number
  /** When a manifest last named one of its datagrams. */
  matchedAt: number
}

/** What an entry costs beside its bytes. */
const overheadBytes = 200
/** A source of which no datagram was the same for so long is compared by time. */
const matchMs = 60_000
/** Hashes that were claimed and are not here yet are remembered for one to two such times. */
const earlyMs = 5000
const maxEarly = 131_072
const maxSources = 65_536
/** A source that a manifest named so long before a datagram, and not since, is not heard there any more. */
const namedMs = 10_000
/** After a hand-over, until it is certain who goes on sending here. */
const strayMs = 5000
const never = Number.NEGATIVE_INFINITY

export function createRing<D extends Heard>(bounds: RingBounds): Ring<D> {
  let order: Entry<D>[] = []
  let first = 0
  /** Before it there is nothing for `next`. */
  let cursor = 0
  let waste = 0
  const byHash = new Map<number, Entry | Twins>()
  const sources = new Map<string, Source>()
  const promises = new Map<string, { entries: Entry[]; at: number }>()
  /** Announced, and not here yet: hash → segment. */
  let early = new Map<number, string>()
  let earlier = new Map<number, string>()
  let earlySince = 0
  let strayUntil = never
  let datagrams = 0
  let bytes = 0
  const counts = { claimed: 0, overflown: 0, expired: 0 }

  const sizeOf = ({ datagram }: Entry) => datagram.bytes.length + overheadBytes

  function drop(entry: Entry) {
    if (entry.gone) return
    entry.gone = true
    datagrams--
    bytes -= sizeOf(entry)
    waste++
    const same = byHash.get(entry.datagram.hash)
    if (same === entry) byHash.delete(entry.datagram.hash)
    else if (same !== undefined && 'entries' in same && --same.live === 0) {
      byHash.delete(entry.datagram.hash)
    }
  }

  function file(entry: Entry) {
    const { hash } = entry.datagram
    const same = byHash.get(hash)
    if (same === undefined) byHash.set(hash, entry)
    else if ('entries' in same) {
      same.entries.push(entry)
      same.live++
    } else byHash.set(hash, { entries: [same, entry], from: 0, live: 2 })
  }

  function release(entry: Entry) {
    entry.segment = undefined
    const same = byHash.get(entry.datagram.hash)
    if (same !== undefined && 'entries' in same) same.from = 0
    cursor = first
  }

  /** Entries that are gone are let go of when they are many. */
  function tidy() {
    while (first < order.length && order[first]!.gone) {
      first++
      waste--
    }
    if (first < 1024 && waste < 1024) return
    if (2 * (waste + first) < order.length) return
    order = order.slice(first).filter(entry => !entry.gone)
    first = 0
    cursor = 0
    waste = 0
    for (const same of byHash.values()) {
      if (!('entries' in same)) continue
      same.entries = same.entries.filter(entry => !entry.gone)
      same.from = 0
    }
    for (const [name, source] of sources) {
      source.entries = source.entries.filter(entry => !entry.gone)
      if (source.entries.length === 0 && sources.size > maxSources / 2) sources.delete(name)
    }
  }

  function announcedIn(hash: number): string | undefined {
    const segment = early.get(hash) ?? earlier.get(hash)
    if (segment === undefined) return undefined
    early.delete(hash)
    earlier.delete(hash)
    return segment
  }

  function turnEarly(now: number) {
    if (now - earlySince < earlyMs && early.size < maxEarly) return
    earlier = early
    early = new Map()
    earlySince = now
  }

  function freeOf(same: Entry | Twins | undefined): Entry | undefined {
    if (same === undefined) return undefined
    if (!('entries' in same)) return same.segment === undefined ? same : undefined
    for (; same.from < same.entries.length; same.from++) {
      const entry = same.entries[same.from]!
      if (!entry.gone && entry.segment === undefined) return entry
    }
    return undefined
  }

  /** It was sent to an address that is now the other server's. */
  function strayed(entry: Entry, source: Source): boolean {
    return entry.heardAt <= strayUntil && source.heardAt <= strayUntil
  }

  function keep(datagram: D, segment: string | undefined, now: number) {
    const entry: Entry<D> = { datagram: ownCopy(datagram), heardAt: now, segment, gone: false }
    if (segment !== undefined) promises.get(segment)!.entries.push(entry)
    order.push(entry)
    datagrams++
    bytes += sizeOf(entry)
    file(entry)
    let source = sources.get(datagram.source)
    if (source === undefined) {
      // Forged senders could fill it; who is forgotten is compared by time for a moment.
      if (sources.size >= maxSources) sources.clear()
      source = { entries: [], heardAt: now, namedAt: never, matchedAt: never }
      sources.set(datagram.source, source)
    }
    source.heardAt = now
    source.entries.push(entry)
    while (bytes > bounds.bytes && first < order.length) {
      const oldest = order[first]!
      if (!oldest.gone) counts.overflown++
      drop(oldest)
      tidy()
    }
  }

  /** What is announced is not kept if its segment is stored, and else as promised to it. */
  function comesLate(datagram: D, now: number): boolean {
    const segment = announcedIn(datagram.hash)
    if (segment === undefined) return false
    if (promises.has(segment)) keep(datagram, segment, now)
    else counts.claimed++
    return true
  }

  function promise(hash: number, segment: string, now: number): Entry | undefined {
    const entry = freeOf(byHash.get(hash))
    if (entry === undefined) return undefined
    entry.segment = segment
    const source = sources.get(entry.datagram.source)
    if (source !== undefined) source.matchedAt = now
    return entry
  }

  return {
    hear(datagram, now) {
      if (!comesLate(datagram, now)) keep(datagram, undefined, now)
    },

    get expectsLate() {
      return early.size + earlier.size > 0
    },

    alreadyClaimed: comesLate,

    claim(segment, manifest, until, now) {
      for (const entry of promises.get(segment)?.entries ?? []) release(entry)
      turnEarly(now)
      const promised: Entry[] = []
      const { hashes, continues } = manifest
      for (let place = continues ? 1 : 0; place < hashes.length; place++) {
        const hash = hashes[place]!
        if (hash === 0) continue
        const entry = promise(hash, segment, now)
        if (entry !== undefined) promised.push(entry)
        else {
          if (early.size >= maxEarly) turnEarly(now)
          early.set(hash, segment)
        }
      }
      for (const name of manifest.sources) {
        const source = sources.get(name)
        if (source === undefined) continue
        source.namedAt = now
        if (now - source.matchedAt < matchMs) continue
        for (const entry of source.entries) {
          if (entry.heardAt > until) break
          if (entry.gone || entry.segment !== undefined || strayed(entry, source)) continue
          entry.segment = segment
          promised.push(entry)
        }
      }
      promises.set(segment, { entries: promised, at: now })
    },

    settle(segment) {
      for (const entry of promises.get(segment)?.entries ?? []) {
        if (entry.gone || entry.segment !== segment) continue
        counts.claimed++
        drop(entry)
      }
      promises.delete(segment)
      tidy()
    },

    takeBack(except, before = Number.POSITIVE_INFINITY) {
      for (const waiting of [early, earlier]) {
        for (const [hash, segment] of waiting) {
          const promise = promises.get(segment)
          if (promise !== undefined && promise.at < before && !except.has(segment)) {
            waiting.delete(hash)
          }
        }
      }
      for (const [segment, { entries, at }] of promises) {
        if (except.has(segment) || at >= before) continue
        for (const entry of entries) if (entry.segment === segment) release(entry)
        promises.delete(segment)
      }
    },

    next() {
      tidy()
      for (cursor = Math.max(cursor, first); cursor < order.length; cursor++) {
        const entry = order[cursor]!
        if (entry.gone || entry.segment !== undefined) continue
        drop(entry)
        return entry.datagram
      }
      return undefined
    },

    overdue(before, now) {
      const until = now > strayUntil + strayMs ? Math.max(before, strayUntil) : before
      for (let at = first; at < order.length; at++) {
        const entry = order[at]!
        if (entry.heardAt > until) return undefined
        if (entry.gone || entry.segment !== undefined) continue
        const source = sources.get(entry.datagram.source)
        if (source === undefined) continue
        if (!strayed(entry, source)) {
          if (entry.heardAt > before) continue
          if (source.matchedAt === never && source.namedAt > entry.heardAt - namedMs) continue
        }
        drop(entry)
        return entry.datagram
      }
      return undefined
    },

    handedOver(until) {
      strayUntil = until
    },

    expire(now) {
      turnEarly(now)
      for (let at = first; at < order.length; at++) {
        const entry = order[at]!
        if (entry.heardAt > now - bounds.ms) break
        if (!entry.gone && entry.segment === undefined) counts.expired++
        drop(entry)
      }
      for (const [segment, { entries, at }] of promises) {
        // What it names may still be on its way.
        if (at < now - 2 * earlyMs && entries.every(({ gone }) => gone)) promises.delete(segment)
      }
      tidy()
    },

    state: () => ({ datagrams, bytes, ...counts }),
  }
}

/** In memory that is shared with a thread, the next datagram will lie where this one does. */
function ownCopy<D extends Heard>(datagram: D): D {
  const { bytes } = datagram
  if (!(bytes.buffer instanceof SharedArrayBuffer)) return datagram
  return { ...datagram, bytes: new Uint8Array(bytes) }
}
