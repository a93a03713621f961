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
import { createShelves, type Ranges, type SpoolKindState, type Waiting } from './shelves.ts'
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
  has(server: string, segment: Pick<Waiting, 'kind' | 'sequence'>): boolean
  /** Segments that the server does not have. */
  waiting(server: string): number
  /** The last datagram of the oldest of them, milliseconds since 1970; undefined: it has all. */
  oldest(server: string): number | undefined
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
  const shelves = createShelves(
    {
      onRemoved: ({ kind, sequence }) => removeFile(kind, sequence),
      onAcknowledged({ kind, sequence }) {
        for (const listener of acknowledgedListeners) listener(kind, sequence)
      },
    },
    config.servers,
  )
  const sealedListeners = new Set<(kind: Kind) => void>()
  const acknowledgedListeners = new Set<(kind: Kind, sequence: number) => void>()
  const removals = new Set<Promise<void>>()
  let contents: SpoolContents | undefined
  let aside = 0

  function removeFile(kind: Kind, sequence: number) {
    const removal = unlink(join(config.dir, segmentFile(kind, sequence)))
      .catch(error => {
        if (error.code !== 'ENOENT') tally.count('not-removed', () => ({ error: error.message }))
      })
      .finally(() => removals.delete(removal))
    removals.add(removal)
  }

  function makeRoom(bytes: number) {
    const { quotaBytes } = config
    shelves.makeRoom(bytes, quotaBytes, ({ kind, sequence, rows, lastMs, acknowledged }) => {
      tally.count(acknowledged === 0 ? 'quota' : 'quota-not-everywhere', () => ({
        ...{ kind, sequence, rows, quotaBytes },
        received: new Date(lastMs).toISOString(),
      }))
    })
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
      shelves.begin(found.next)
      for (const kind of kinds) {
        for (const header of found.segments[kind]) {
          const { sequence, rows, lastMs, rank } = header
          const bytes = segmentHeaderBytes + header.bodyBytes + header.manifestBytes
          shelves.put({ kind, sequence, rows, bytes, lastMs, rank })
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
      const sequence = shelves.nextSequence(kind)
      const parts = encodeSegment({ collector, kind, sequence }, sealed)
      const bytes = sizeOf(parts)
      makeRoom(bytes)
      try {
        await write(join(config.dir, segmentFile(kind, sequence)), parts)
      } catch (error) {
        shelves.dropTombstones()
        throw error
      }
      shelves.skipTo(kind, sequence + 1)
      shelves.countSealed(kind)
      const { rows, lastMs, manifest } = sealed
      shelves.put({ kind, sequence, rows, bytes, lastMs, rank: manifest?.rank })
      for (const listener of sealedListeners) listener(kind)
      return sequence
    },

    next: shelves.next,

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
        const entry = shelves.find(kind, sequence)
        if (entry === undefined || shelves.isEverywhere(entry)) return undefined
        const reason = missing ? 'the file is gone' : (error as Error).message
        tally.count('damaged', () => ({ kind, sequence, reason }))
        if (!missing) await quarantine(entry, rename)
        shelves.giveUp(entry)
        return undefined
      }
    },

    async replace({ kind, sequence }, sealed) {
      const entry = shelves.find(kind, sequence)
      if (entry === undefined) return
      const parts = encodeSegment(
        { collector: contents!.collector, kind, sequence },
        sealed ?? nothingLeft(entry),
      )
      await write(join(config.dir, segmentFile(kind, sequence)), parts)
      if (shelves.find(kind, sequence) !== entry) return
      shelves.replace(entry, { bytes: sizeOf(parts), rows: sealed?.rows ?? 0 })
    },

    acknowledged(server, kind, sequence) {
      const entry = shelves.find(kind, sequence)
      if (entry !== undefined) shelves.mark(entry, server)
    },

    received(server, kind, ranges) {
      const last = ranges.at(-1)?.[1] ?? -1
      const next = shelves.nextSequence(kind)
      if (last >= next) {
        // An old copy of the folder was put back: what is sealed from now on must not look like a duplicate.
        tally.count('server-is-ahead', () => ({ server, kind, last, next }))
        shelves.skipTo(kind, last + 1)
      }
      shelves.received(server, kind, ranges)
    },

    async refused(server, kind, sequence) {
      const entry = shelves.find(kind, sequence)
      if (entry === undefined) return
      tally.count('refused-by-server', () => ({ server, kind, sequence }))
      await quarantine(entry, link)
      shelves.mark(entry, server)
    },

    has: shelves.has,
    waiting: shelves.waiting,
    oldest: shelves.oldest,
    setServers: shelves.setServers,

    onSealed(listener) {
      sealedListeners.add(listener)
      return () => sealedListeners.delete(listener)
    },

    onAcknowledged(listener) {
      acknowledgedListeners.add(listener)
      return () => acknowledgedListeners.delete(listener)
    },

    state: shelves.state,
  }

  /** For a person to look at; bounded, since nobody may ever look. */
  async function quarantine(
    { kind, sequence }: Waiting,
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
