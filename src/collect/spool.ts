/**
 * The spool: a folder of sealed segments that not every server has yet. A segment is removed when
 * all servers have it, or when the quota forces it out: first the oldest that at least one server
 * has, then the oldest that nobody has, which is counted as lost. Both are logged.
 */
import { link, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import { type Kind, kinds } from '../telemetry/table.ts'
import { emptyManifest } from './manifest.ts'
import {
  encodeSegment,
  parseSegment,
  type Sealed,
  SegmentDamaged,
  segmentHeaderBytes,
  type WholeSegment,
} from './segment.ts'
import {
  openSpoolFolder,
  quarantineFile,
  type SpoolContents,
  segmentFile,
  writeDurably,
  writeIdentityFile,
} from './spool-folder.ts'

export interface SpoolConfig {
  dir: string
  /** Bytes of segments beyond which the oldest are given up. */
  quotaBytes: number
  /** Names of the servers that must have each segment; at least one, at most 30. */
  servers: readonly string[]
}

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

export interface Spool extends Component {
  /** The collector's identity; known after `start`. */
  readonly collector: string
  /**
   * Seals a segment: when this resolves it survives a crash of the host. One call at a time per kind.
   * Rejects with the file system's error; then nothing was sealed and the call can be repeated.
   */
  append(kind: Kind, sealed: Sealed): Promise<number>
  /** The first segment behind `after` that the server does not have. */
  next(server: string, kind: Kind, after: number): Waiting | undefined
  /** Reads and verifies it; undefined if it is gone or damaged, and then it waits no more. */
  read(segment: Waiting): Promise<WholeSegment | undefined>
  /**
   * Puts less into a segment's place: rows that are the other server's were left out. Undefined: all
   * of them were, and nobody has to get it. Survives a crash of the host when it resolves.
   */
  replace(segment: Waiting, sealed: Sealed | undefined): Promise<void>
  acknowledged(server: string, kind: Kind, sequence: number): void
  /** The same for everything that a server says it has. */
  received(server: string, kind: Kind, ranges: Ranges): void
  /** The server will never take it: a copy goes to `quarantine/`, and the server owes no more. */
  refused(server: string, kind: Kind, sequence: number): Promise<void>
  /** Of the segments that wait, whether the server has this one. */
  has(server: string, segment: Waiting): boolean
  /** Segments that the server does not have. */
  waiting(server: string): number
  /**
   * Who must have each segment from now on, also of those that wait. One that is no longer named
   * holds nothing back.
   */
  setServers(servers: readonly string[]): void
  /** Calls back after each sealed segment; returns what ends it. */
  onSealed(listener: (kind: Kind) => void): () => void
  /** Calls back when a server has a segment that it did not have; returns what ends it. */
  onAcknowledged(listener: (kind: Kind, sequence: number) => void): () => void
  state(): SpoolKindState[]
  /** What went wrong, by reason. */
  readonly problems: ReadonlyMap<string, number>
}

interface Entry extends Waiting {
  bytes: number
  rows: number
  /** Bit per server that has it. */
  acknowledged: number
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

type SpoolProblem =
  | 'quota'
  /** Forced out by the quota, but at least one server has it. */
  | 'quota-not-everywhere'
  | 'damaged'
  | 'refused-by-server'
  | 'not-removed'
  | 'server-is-ahead'
  | 'quarantine-full'
  | 'quarantine-failed'

/** Files in `quarantine/` beyond which no more are kept. */
const maxAside = 100

export function createSpool(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    /** How a sealed file is written; by default `writeDurably`. */
    write?: (file: string, chunks: Uint8Array[]) => Promise<void>
  },
  config: SpoolConfig,
): Spool {
  const write = deps.write ?? writeDurably
  const tally = createTally<SpoolProblem>(deps, {
    name: 'spool_problems',
    help: 'Segments of the spool that needed attention, by reason.',
  })
  const shelves: Record<Kind, Shelf> = { flow: shelf(), syslog: shelf(), trap: shelf() }
  const bits = new Map(config.servers.map((server, index) => [server, 1 << index]))
  let everyone = (1 << config.servers.length) - 1
  const owed = new Map(config.servers.map(server => [server, 0]))
  const sealedListeners = new Set<(kind: Kind) => void>()
  const acknowledgedListeners = new Set<(kind: Kind, sequence: number) => void>()
  const removals = new Set<Promise<void>>()
  let contents: SpoolContents | undefined
  let aside = 0
  let totalBytes = 0

  function shelf(): Shelf {
    return {
      next: 0,
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

  function put(entry: Entry) {
    const { entries } = shelves[entry.kind]
    const before = shelves[entry.kind].newest
    entries.set(entry.sequence, entry)
    shelves[entry.kind].newest = entry
    shelves[entry.kind].backlog++
    shelves[entry.kind].backlogBytes += entry.bytes
    totalBytes += entry.bytes
    for (const server of bits.keys()) owed.set(server, owed.get(server)! + 1)
    if (before?.acknowledged === everyone) remove(before)
    if (entry.rows === 0) mark(entry, everyone)
  }

  /** Marks what the servers of `mask` have, and removes what everyone has. */
  function mark(entry: Entry, mask: number) {
    const fresh = mask & ~entry.acknowledged
    if (fresh === 0) return
    for (const [server, bit] of bits) {
      if ((fresh & bit) !== 0) owed.set(server, owed.get(server)! - 1)
    }
    if (entry.acknowledged === 0) shelves[entry.kind].partly++
    entry.acknowledged |= mask
    if (entry.acknowledged === everyone) {
      shelves[entry.kind].backlog--
      shelves[entry.kind].backlogBytes -= entry.bytes
      if (entry !== shelves[entry.kind].newest) remove(entry)
    }
    for (const listener of acknowledgedListeners) listener(entry.kind, entry.sequence)
  }

  function remove(entry: Entry) {
    forget(entry)
    const removal = unlink(join(config.dir, segmentFile(entry.kind, entry.sequence)))
      .catch(error => {
        if (error.code !== 'ENOENT') tally.count('not-removed', () => ({ error: error.message }))
      })
      .finally(() => removals.delete(removal))
    removals.add(removal)
  }

  function forget(entry: Entry) {
    if (!shelves[entry.kind].entries.delete(entry.sequence)) return
    if (entry.acknowledged !== 0) shelves[entry.kind].partly--
    totalBytes -= entry.bytes
  }

  /** Nobody will get it any more. */
  function giveUp(entry: Entry) {
    if (entry.acknowledged === 0) shelves[entry.kind].lost++
    else shelves[entry.kind].notEverywhere++
    mark(entry, everyone)
  }

  /** On a full disk, what everyone has is in the way of what nobody has. */
  function dropTombstones() {
    for (const kind of kinds) {
      const { newest } = shelves[kind]
      if (newest?.acknowledged !== everyone) continue
      shelves[kind].newest = undefined
      remove(newest)
    }
  }

  /** Newest ones go too if nothing else is left: a kind without files goes on at a safe sequence. */
  function makeRoom(bytes: number) {
    while (totalBytes + bytes > config.quotaBytes) {
      const oldest = oldestOf(firstPartly) ?? oldestOf(firstOf)
      if (oldest === undefined) return
      const { kind, sequence, rows, lastMs, acknowledged } = oldest
      if (oldest === shelves[kind].newest) shelves[kind].newest = undefined
      if (acknowledged === everyone) {
        remove(oldest)
        continue
      }
      giveUp(oldest)
      tally.count(acknowledged === 0 ? 'quota' : 'quota-not-everywhere', () => ({
        kind,
        sequence,
        rows,
        received: new Date(lastMs).toISOString(),
        quotaBytes: config.quotaBytes,
      }))
    }
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

  const spool: Spool = {
    problems: tally.totals,
    get collector() {
      if (contents === undefined) throw new Error('the spool was not started')
      return contents.collector
    },

    async start() {
      const found = await openSpoolFolder(config.dir, deps.clock.wall())
      contents = found
      aside = found.aside
      for (const kind of kinds) {
        shelves[kind] = shelf()
        shelves[kind].next = found.next[kind]
      }
      totalBytes = 0
      for (const server of bits.keys()) owed.set(server, 0)
      for (const kind of kinds) {
        for (const header of found.segments[kind]) {
          const { sequence, rows, lastMs, rank } = header
          const bytes = segmentHeaderBytes + header.bodyBytes + header.manifestBytes
          put({ kind, sequence, rows, bytes, lastMs, rank, acknowledged: 0 })
        }
      }
      for (const { file, reason } of found.quarantined) {
        tally.count('damaged', () => ({ file, reason }))
      }
    },

    async stop() {
      await Promise.all(removals)
      const { lock } = contents ?? {}
      if (lock?.listening) await new Promise(resolve => lock.close(resolve))
    },

    async append(kind, sealed) {
      const { collector, begun } = contents!
      if (!begun.has(kind)) {
        begun.add(kind)
        try {
          writeIdentityFile(config.dir, contents!)
        } catch (error) {
          begun.delete(kind)
          throw error
        }
      }
      const { next: sequence } = shelves[kind]
      const parts = encodeSegment({ collector, kind, sequence }, sealed)
      const bytes = sizeOf(parts)
      makeRoom(bytes)
      try {
        await write(join(config.dir, segmentFile(kind, sequence)), parts)
      } catch (error) {
        dropTombstones()
        throw error
      }
      shelves[kind].next = Math.max(shelves[kind].next, sequence + 1)
      shelves[kind].sealed++
      const { rows, lastMs, manifest } = sealed
      put({ kind, sequence, rows, bytes, lastMs, rank: manifest?.rank, acknowledged: 0 })
      for (const listener of sealedListeners) listener(kind)
      return sequence
    },

    next(server, kind, after) {
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
    },

    async read(segment) {
      const { kind, sequence } = segment
      const file = join(config.dir, segmentFile(kind, sequence))
      try {
        const whole = parseSegment(await readFile(file))
        const { header } = whole
        if (
          header.kind !== kind ||
          header.sequence !== sequence ||
          header.collector !== contents!.collector
        ) {
          throw new SegmentDamaged('it is another segment')
        }
        return whole
      } catch (error) {
        const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
        if (!missing && !(error instanceof SegmentDamaged)) throw error
        const entry = shelves[kind].entries.get(sequence)
        if (entry === undefined || entry.acknowledged === everyone) return undefined
        const reason = missing ? 'the file is gone' : (error as Error).message
        tally.count('damaged', () => ({ kind, sequence, reason }))
        if (!missing) await quarantine(entry, rename)
        giveUp(entry)
        return undefined
      }
    },

    async replace({ kind, sequence }, sealed) {
      const entry = shelves[kind].entries.get(sequence)
      if (entry === undefined) return
      const parts = encodeSegment(
        { collector: contents!.collector, kind, sequence },
        sealed ?? nothingLeft(entry),
      )
      await write(join(config.dir, segmentFile(kind, sequence)), parts)
      if (shelves[kind].entries.get(sequence) !== entry) return
      const grown = sizeOf(parts) - entry.bytes
      entry.bytes += grown
      entry.rows = sealed?.rows ?? 0
      totalBytes += grown
      if (entry.acknowledged !== everyone) shelves[kind].backlogBytes += grown
      if (sealed === undefined) mark(entry, everyone)
    },

    acknowledged(server, kind, sequence) {
      const entry = shelves[kind].entries.get(sequence)
      if (entry !== undefined) mark(entry, bits.get(server) ?? 0)
    },

    received(server, kind, ranges) {
      const last = ranges.at(-1)?.[1] ?? -1
      if (last >= shelves[kind].next) {
        // An old copy of the folder was put back: what is sealed from now on must not look like a duplicate.
        tally.count('server-is-ahead', () => ({ server, kind, last, next: shelves[kind].next }))
        shelves[kind].next = last + 1
      }
      let index = 0
      for (const entry of shelves[kind].entries.values()) {
        while (index < ranges.length && ranges[index]![1] < entry.sequence) index++
        if (index === ranges.length) return
        if (ranges[index]![0] <= entry.sequence) mark(entry, bits.get(server) ?? 0)
      }
    },

    async refused(server, kind, sequence) {
      const entry = shelves[kind].entries.get(sequence)
      if (entry === undefined) return
      tally.count('refused-by-server', () => ({ server, kind, sequence }))
      await quarantine(entry, link)
      mark(entry, bits.get(server) ?? 0)
    },

    has(server, { kind, sequence }) {
      const entry = shelves[kind].entries.get(sequence)
      return entry === undefined || (entry.acknowledged & (bits.get(server) ?? 0)) !== 0
    },

    waiting: server => owed.get(server) ?? 0,

    setServers(servers) {
      for (const [server, bit] of bits) {
        if (servers.includes(server)) continue
        bits.delete(server)
        owed.delete(server)
        for (const entry of allEntries()) entry.acknowledged &= ~bit
      }
      for (const server of servers) {
        if (bits.has(server)) continue
        const used = [...bits.values()].reduce((mask, bit) => mask | bit, 0)
        bits.set(server, ~used & (used + 1))
      }
      everyone = [...bits.values()].reduce((mask, bit) => mask | bit, 0)
      recount()
    },

    onSealed(listener) {
      sealedListeners.add(listener)
      return () => sealedListeners.delete(listener)
    },

    onAcknowledged(listener) {
      acknowledgedListeners.add(listener)
      return () => acknowledgedListeners.delete(listener)
    },

    state: () =>
      kinds.map(kind => {
        const { sealed, backlog, backlogBytes, lost, notEverywhere } = shelves[kind]
        return { kind, sealed, backlog, backlogBytes, lost, notEverywhere }
      }),
  }

  function* allEntries(): Iterable<Entry> {
    for (const kind of kinds) yield* shelves[kind].entries.values()
  }

  /** What is known by server is no longer what it was: counts anew, and removes what everyone has. */
  function recount() {
    for (const server of bits.keys()) owed.set(server, 0)
    for (const kind of kinds) {
      const shelf = shelves[kind]
      shelf.backlog = 0
      shelf.backlogBytes = 0
      shelf.partly = 0
      for (const entry of [...shelf.entries.values()]) {
        if (entry.rows === 0) entry.acknowledged = everyone
        if (entry.acknowledged !== 0) shelf.partly++
        for (const [server, bit] of bits) {
          if ((entry.acknowledged & bit) === 0) owed.set(server, owed.get(server)! + 1)
        }
        if (entry.acknowledged !== everyone) {
          shelf.backlog++
          shelf.backlogBytes += entry.bytes
        } else if (entry !== shelf.newest) remove(entry)
      }
    }
  }

  /** For a person to look at; bounded, since nobody may ever look. */
  async function quarantine(
    { kind, sequence }: Entry,
    place: (from: string, to: string) => Promise<void>,
  ) {
    if (aside >= maxAside) return tally.count('quarantine-full')
    aside++
    try {
      await place(
        join(config.dir, segmentFile(kind, sequence)),
        join(config.dir, quarantineFile(kind, sequence)),
      )
    } catch (error) {
      aside--
      const { code, message } = error as NodeJS.ErrnoException
      if (code !== 'EEXIST') tally.count('quarantine-failed', () => ({ error: message }))
    }
  }

  return spool
}

/** In the place of a segment of which nothing is left: its sequence is used, and nobody has to get it. */
function nothingLeft({ lastMs, rank }: Waiting): Sealed {
  return {
    rows: 0,
    nativeBytes: 0,
    firstMs: lastMs,
    lastMs,
    body: new Uint8Array(0),
    manifest: { ...emptyManifest, rank: rank ?? 0 },
  }
}

function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0)
}
