/**
 * The own server's segments that were stored alone, remembered beyond a restart and a crash: each
 * entry is appended to a file beside the spool, which is written anew when most of it is of no use.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import type { Clock } from '../lib/clock.ts'
import { appendWhole, cutTo, writeWhole } from '../lib/files.ts'
import type { Log } from '../lib/log.ts'
import { kinds } from '../telemetry/table.ts'
import {
  type Alone,
  type AloneBounds,
  type AloneEntry,
  createAlone,
  type OwnSegment,
} from './alone.ts'
import type { Manifest } from './manifest.ts'

export interface AloneFile extends Pick<Alone, 'has' | 'places'> {
  /** Remembers what was stored alone before. */
  start(): void
  /**
   * The segment goes to the own server as it is, whatever becomes of it elsewhere. Survives a crash
   * of the host when it returns. @throws the file system's error
   */
  add(segment: OwnSegment, manifest: Manifest, lastMs: number): void
  /** Of the segment, the other server has taken these datagrams itself. */
  took(segment: OwnSegment, hashes: readonly number[]): void
  /** The other server has the segment, but for what it took itself. */
  agreed(segment: OwnSegment): void
  /** A segment of the other server is stored here. */
  came(segment: string): void
  /** To be called each second. */
  tick(): void
}

/** Bytes from which on the file is written anew if half of it is of no use. */
const maxBytes = 32 * 1024 * 1024
const mode = 0o640

export function createAloneFile(
  deps: {
    clock: Clock
    log: Log
    /** Whether the own server has the segment. */
    stored: (segment: OwnSegment) => boolean
  },
  config: { file: string; bounds: AloneBounds },
): AloneFile {
  const { clock, log } = deps
  const { file, bounds } = config
  let alone = createAlone(bounds)
  let bytes = 0

  function append(entry: AloneEntry, flush: boolean) {
    const encoded = encodeEntry(entry)
    appendWhole(file, encoded, { flush, mode })
    bytes += encoded.length
  }

  /** For what matters only after a restart. */
  function note(entry: AloneEntry) {
    try {
      append(entry, false)
    } catch (error) {
      log.warn({ file, error }, 'what the other server has is not remembered beyond a restart')
    }
  }

  function shrink() {
    // Segments of connections have no datagrams, and have to be known all the same.
    if (bytes === 0 || (alone.segments > 0 && bytes <= maxBytes)) return
    if (bytes <= 2 * 8 * alone.datagrams) return
    const content = Buffer.concat(alone.entries().map(encodeEntry))
    try {
      if (content.length === 0) rmSync(file, { force: true })
      else writeWhole(file, content, mode)
      bytes = content.length
    } catch (error) {
      log.warn({ file, error }, 'the file of what was stored alone is not written anew')
    }
  }

  return {
    start() {
      alone = createAlone(bounds)
      bytes = 0
      if (!existsSync(file)) return
      const { entries, length } = decodeEntries(readFileSync(file))
      cutTo(file, length)
      bytes = length
      const newest = new Map<number, number>()
      for (const entry of entries) {
        if (entry.what === 'stored') newest.set(entry.rank, entry.lastMs)
      }
      for (const entry of entries) {
        if (entry.what === 'stored' && newest.get(entry.rank)! - entry.lastMs > bounds.ms) continue
        alone.apply(entry, clock.monotonic())
      }
    },

    has: segment => alone.has(segment),
    places: (segment, manifest, except) => alone.places(segment, manifest, except),

    add({ kind, sequence }, { rank, hashes }, lastMs) {
      const entry: AloneEntry = {
        ...{ what: 'stored', segment: { kind, sequence }, rank, lastMs },
        hashes: hashes.filter(hash => hash !== 0),
      }
      append(entry, true)
      alone.apply(entry, clock.monotonic())
    },

    took(segment, hashes) {
      if (!alone.has(segment)) return
      const entry: AloneEntry = { what: 'took', segment, hashes: Float64Array.from(hashes) }
      alone.apply(entry, clock.monotonic())
      note(entry)
    },

    agreed(segment) {
      if (!alone.has(segment)) return
      alone.apply({ what: 'agreed', segment }, clock.monotonic())
      note({ what: 'agreed', segment })
    },

    came(segment) {
      const entry = alone.came(segment)
      if (entry !== undefined) note(entry)
    },

    tick() {
      alone.expire(deps.stored)
      shrink()
    },
  }
}

const whats = ['stored', 'took', 'agreed', 'came'] as const
const fixedBytes = 2 * 4 + 4 * 8
const none = { kind: kinds[0], sequence: 0 }

/** What and kind, sequence, rank, milliseconds, count and hashes; little-endian. */
function encodeEntry(entry: AloneEntry): Buffer {
  const { kind, sequence } = 'segment' in entry ? entry.segment : none
  const { rank, lastMs } = entry.what === 'stored' ? entry : { rank: 0, lastMs: 0 }
  const hashes = 'hashes' in entry ? entry.hashes : new Float64Array(0)
  const bytes = Buffer.alloc(fixedBytes + 8 * hashes.length)
  bytes.writeUInt32LE(whats.indexOf(entry.what), 0)
  bytes.writeUInt32LE(kinds.indexOf(kind), 4)
  for (const [index, number] of [sequence, rank, lastMs, hashes.length].entries()) {
    bytes.writeDoubleLE(number, 8 + 8 * index)
  }
  for (let i = 0; i < hashes.length; i++) bytes.writeDoubleLE(hashes[i]!, fixedBytes + 8 * i)
  return bytes
}

/** As much as is whole, and how many bytes that is. */
function decodeEntries(bytes: Buffer): { entries: AloneEntry[]; length: number } {
  const entries: AloneEntry[] = []
  let at = 0
  while (at + fixedBytes <= bytes.length) {
    const what = whats[bytes.readUInt32LE(at)]
    const kind = kinds[bytes.readUInt32LE(at + 4)]
    const [sequence = 0, rank = 0, lastMs = 0, count = 0] = [8, 16, 24, 32].map(place =>
      bytes.readDoubleLE(at + place),
    )
    const end = at + fixedBytes + 8 * count
    if (what === undefined || kind === undefined || !(count >= 0 && end <= bytes.length)) break
    const hashes = new Float64Array(count)
    for (let i = 0; i < count; i++) hashes[i] = bytes.readDoubleLE(at + fixedBytes + 8 * i)
    const segment = { kind, sequence }
    if (what === 'stored') entries.push({ what, segment, rank, lastMs, hashes })
    else if (what === 'agreed') entries.push({ what, segment })
    else if (what === 'took') entries.push({ what, segment, hashes })
    else entries.push({ what, hashes })
    at = end
  }
  return { entries, length: at }
}
