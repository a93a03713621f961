/**
 * What waits in a spool, and which server has it: the accounting, without the files. In memory, one
 * entry for each segment; what every server has is taken off, but for the newest of each kind.
 */
import { type Kind, kinds, ofEachKind } from '../telemetry/table.ts'

/** A segment that waits in the spool. */
export interface Waiting {
  readonly kind: Kind
  readonly sequence: number
  readonly rows: number
  /** Of the file. */
  readonly bytes: number
  readonly lastMs: number
  /** Of its manifest; undefined if it has none. */
  readonly rank: number | undefined
}

/** Sequences as inclusive ranges in rising order. */
export type Ranges = readonly (readonly [first: number, last: number])[]

export interface SpoolKindState {
  kind: Kind
  /** Segments sealed since the start. */
  sealed: number
  backlog: number
  backlogBytes: number
  /** Segments that nobody had and nobody will get, since the start: quota, or damaged on disk. */
  lost: number
  /** Segments that some servers have and the others will not get from here, since the start. */
  notEverywhere: number
}

export interface Entry extends Waiting {
  bytes: number
  rows: number
  /** Bit per server that has it. */
  acknowledged: number
}

export interface Shelves {
  /** As if nothing had ever been put there; what comes next has these sequences. */
  begin(next: Record<Kind, number>): void
  /** Of the segment that comes next. */
  nextSequence(kind: Kind): number
  /** What comes next has at least this sequence. */
  skipTo(kind: Kind, sequence: number): void
  put(segment: Waiting): void
  /** One that was sealed since the start. */
  countSealed(kind: Kind): void
  find(kind: Kind, sequence: number): Entry | undefined
  /** The first segment behind `after` that the server does not have. */
  next(server: string, kind: Kind, after: number): Waiting | undefined
  has(server: string, segment: Pick<Waiting, 'kind' | 'sequence'>): boolean
  isEverywhere(entry: Entry): boolean
  /** Segments that the server does not have. */
  waiting(server: string): number
  /** The last datagram of the oldest of them, milliseconds since 1970; undefined: it has all. */
  oldest(server: string): number | undefined
  /** The server has it. */
  mark(entry: Entry, server: string): void
  received(server: string, kind: Kind, ranges: Ranges): void
  /** It has other bytes and fewer rows now; without any, nobody has to get it. */
  replace(entry: Entry, change: { bytes: number; rows: number }): void
  /** Nobody will get it any more. */
  giveUp(entry: Entry): void
  /** On a full disk, what everyone has is in the way of what nobody has. */
  dropTombstones(): void
  /** Gives up the oldest until so many more bytes fit; who is given up while somebody lacks it is told. */
  makeRoom(bytes: number, quotaBytes: number, onGivenUp: (entry: Entry) => void): void
  setServers(servers: readonly string[]): void
  state(): SpoolKindState[]
}

interface Shelf {
  next: number
  /** In order of the sequence. The newest stays when all have it, so that its sequence is not used again. */
  entries: Map<number, Entry>
  newest: Entry | undefined
  sealed: number
  backlog: number
  backlogBytes: number
  /** Of the entries, those that at least one server has. */
  partly: number
  lost: number
  notEverywhere: number
}

export function createShelves(
  deps: {
    onRemoved(entry: Entry): void
    /** A server has a segment that it did not have. */
    onAcknowledged(entry: Entry): void
  },
  servers: readonly string[],
): Shelves {
  const shelves = ofEachKind(() => shelf(0))
  const bits = new Map(servers.map((server, index) => [server, 1 << index]))
  let everyone = (1 << servers.length) - 1
  const owed = new Map(servers.map(server => [server, 0]))
  let totalBytes = 0

  function shelf(next: number): Shelf {
    return {
      next,
      entries: new Map(),
      newest: undefined,
      sealed: 0,
      backlog: 0,
      backlogBytes: 0,
      partly: 0,
      lost: 0,
      notEverywhere: 0,
    }
  }

  const bitOf = (server: string) => bits.get(server) ?? 0
  const isEverywhere = ({ acknowledged }: Entry) => acknowledged === everyone

  function nextOf(server: string, kind: Kind, after: number): Waiting | undefined {
    const { entries, newest } = shelves[kind]
    const bit = bits.get(server)
    if (bit === undefined) return undefined
    const first = entries.keys().next().value
    if (first === undefined || newest === undefined) return undefined
    for (let sequence = Math.max(after + 1, first); sequence <= newest.sequence; sequence++) {
      const entry = entries.get(sequence)
      if (entry !== undefined && (entry.acknowledged & bit) === 0) return entry
    }
    return undefined
  }

  /** Marks what the servers of `mask` have, and removes what everyone has. */
  function markAll(entry: Entry, mask: number) {
    const fresh = mask & ~entry.acknowledged
    if (fresh === 0) return
    for (const [server, bit] of bits) {
      if ((fresh & bit) !== 0) owed.set(server, owed.get(server)! - 1)
    }
    const on = shelves[entry.kind]
    if (entry.acknowledged === 0) on.partly++
    entry.acknowledged |= mask
    if (isEverywhere(entry)) {
      on.backlog--
      on.backlogBytes -= entry.bytes
      if (entry !== on.newest) remove(entry)
    }
    deps.onAcknowledged(entry)
  }

  function remove(entry: Entry) {
    const on = shelves[entry.kind]
    if (on.entries.delete(entry.sequence)) {
      if (entry.acknowledged !== 0) on.partly--
      totalBytes -= entry.bytes
    }
    deps.onRemoved(entry)
  }

  function giveUp(entry: Entry) {
    if (entry.acknowledged === 0) shelves[entry.kind].lost++
    else shelves[entry.kind].notEverywhere++
    markAll(entry, everyone)
  }

  function oldestOf(first: (shelf: Shelf) => Entry | undefined): Entry | undefined {
    let oldest: Entry | undefined
    for (const kind of kinds) {
      const entry = first(shelves[kind])
      if (entry === undefined) continue
      if (oldest === undefined || entry.lastMs < oldest.lastMs) oldest = entry
    }
    return oldest
  }

  function firstOf({ entries }: Shelf): Entry | undefined {
    return entries.values().next().value
  }

  function firstPartly({ entries, partly, newest }: Shelf): Entry | undefined {
    if (partly === 0) return undefined
    for (const entry of entries.values()) {
      // The newest keeps its sequence from being used again, unless nothing older would remain.
      if (entry.acknowledged !== 0 && (entry !== newest || entries.size === 1)) return entry
    }
    return undefined
  }

  /** What is known by server is no longer what it was: counts anew, and removes what everyone has. */
  function recount() {
    for (const server of bits.keys()) owed.set(server, 0)
    for (const on of Object.values(shelves)) {
      on.backlog = 0
      on.backlogBytes = 0
      on.partly = 0
      for (const entry of [...on.entries.values()]) {
        if (entry.rows === 0) entry.acknowledged = everyone
        if (entry.acknowledged !== 0) on.partly++
        for (const [server, bit] of bits) {
          if ((entry.acknowledged & bit) === 0) owed.set(server, owed.get(server)! + 1)
        }
        if (!isEverywhere(entry)) {
          on.backlog++
          on.backlogBytes += entry.bytes
        } else if (entry !== on.newest) remove(entry)
      }
    }
  }

  return {
    begin(next) {
      for (const kind of kinds) shelves[kind] = shelf(next[kind])
      totalBytes = 0
      for (const server of bits.keys()) owed.set(server, 0)
    },

    nextSequence: kind => shelves[kind].next,

    skipTo(kind, sequence) {
      shelves[kind].next = Math.max(shelves[kind].next, sequence)
    },

    put(segment) {
      const entry: Entry = { ...segment, acknowledged: 0 }
      const on = shelves[entry.kind]
      const before = on.newest
      on.entries.set(entry.sequence, entry)
      on.newest = entry
      on.backlog++
      on.backlogBytes += entry.bytes
      totalBytes += entry.bytes
      for (const server of bits.keys()) owed.set(server, owed.get(server)! + 1)
      if (before !== undefined && isEverywhere(before)) remove(before)
      if (entry.rows === 0) markAll(entry, everyone)
    },

    countSealed(kind) {
      shelves[kind].sealed++
    },

    find: (kind, sequence) => shelves[kind].entries.get(sequence),

    next: nextOf,

    has(server, { kind, sequence }) {
      const entry = shelves[kind].entries.get(sequence)
      return entry === undefined || (entry.acknowledged & bitOf(server)) !== 0
    },

    isEverywhere,
    waiting: server => owed.get(server) ?? 0,

    oldest(server) {
      if (!owed.get(server)) return undefined
      const times = kinds.flatMap(kind => nextOf(server, kind, -1)?.lastMs ?? [])
      return times.length === 0 ? undefined : Math.min(...times)
    },

    mark: (entry, server) => markAll(entry, bitOf(server)),

    received(server, kind, ranges) {
      let index = 0
      for (const entry of shelves[kind].entries.values()) {
        while (index < ranges.length && ranges[index]![1] < entry.sequence) index++
        if (index === ranges.length) return
        if (ranges[index]![0] <= entry.sequence) markAll(entry, bitOf(server))
      }
    },

    replace(entry, { bytes, rows }) {
      const grown = bytes - entry.bytes
      entry.bytes = bytes
      entry.rows = rows
      totalBytes += grown
      if (!isEverywhere(entry)) shelves[entry.kind].backlogBytes += grown
      if (rows === 0) markAll(entry, everyone)
    },

    giveUp,

    dropTombstones() {
      for (const on of Object.values(shelves)) {
        const { newest } = on
        if (newest === undefined || !isEverywhere(newest)) continue
        on.newest = undefined
        remove(newest)
      }
    },

    // Newest ones go too if nothing else is left: a kind without files goes on at a safe sequence.
    makeRoom(bytes, quotaBytes, onGivenUp) {
      while (totalBytes + bytes > quotaBytes) {
        const oldest = oldestOf(firstPartly) ?? oldestOf(firstOf)
        if (oldest === undefined) return
        if (oldest === shelves[oldest.kind].newest) shelves[oldest.kind].newest = undefined
        if (isEverywhere(oldest)) remove(oldest)
        else {
          onGivenUp(oldest)
          giveUp(oldest)
        }
      }
    },

    setServers(next) {
      for (const [server, bit] of bits) {
        if (next.includes(server)) continue
        bits.delete(server)
        owed.delete(server)
        for (const on of Object.values(shelves)) {
          for (const entry of on.entries.values()) entry.acknowledged &= ~bit
        }
      }
      for (const server of next) {
        if (bits.has(server)) continue
        const used = [...bits.values()].reduce((mask, bit) => mask | bit, 0)
        bits.set(server, ~used & (used + 1))
      }
      everyone = [...bits.values()].reduce((mask, bit) => mask | bit, 0)
      recount()
    },

    state: () =>
      kinds.map(kind => {
        const { sealed, backlog, backlogBytes, lost, notEverywhere } = shelves[kind]
        return { kind, sealed, backlog, backlogBytes, lost, notEverywhere }
      }),
  }
}
