/**
 * What a server that is gone had sealed and not delivered: the active finds its segments in the
 * shared folder and stores them in its place. Off the way of a takeover, and as often as it likes:
 * what the store has already is a duplicate there.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Counter } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import { type Kind, kinds } from '../telemetry/table.ts'
import { tables } from '../telemetry/tables.ts'
import { type Manifest, rowsOf } from './manifest.ts'
import type { SegmentStore } from './receive.ts'
import {
  decompressBody,
  nativeRows,
  parseSegment,
  SegmentDamaged,
  type SegmentId,
} from './segment.ts'
import { withoutRows } from './select-rows.ts'

/** Where the segments of all collectors lie. Everything rejects while it cannot be used. */
export interface SegmentFolder {
  list(): Promise<{ collector: string; kind: string; sequence: number }[]>
  /** Undefined if it is gone. */
  read(segment: SegmentId): Promise<Buffer | undefined>
  remove(segment: SegmentId): Promise<void>
}

export interface AdoptionState {
  /** Segments found that this server's store did not have and still lacks. */
  waiting: number
  /** Since `start`. */
  adopted: number
  rows: number
  /** Stored meanwhile, or nothing in them but what this server took in itself. */
  duplicates: number
  /** Not whole, or refused by the store. */
  damaged: number
  /** The last look through the folder ended without an error; undefined: there was none yet. */
  lookedAt: Date | undefined
  lastError: string | undefined
}

export interface Adoption {
  /** Begins to look; returns at once. */
  start(): Promise<void>
  stop(): Promise<void>
  state(): AdoptionState
}

type Problem =
  | 'damaged'
  | 'refused-by-store'
  | 'store-failed'
  | 'folder-failed'
  /** This server's collector could not say what it has taken. */
  | 'not-claimed'
  | 'not-removed'

const maxNativeBytes = 256 * 1024 * 1024
/** Segments that will never be stored, remembered so that they are not read again and again. */
const maxRejected = 10_000
const stopMs = 5000

export function createAdoption(
  deps: {
    folder: SegmentFolder
    /** Whether there is a folder at all; while there is none, it rests. */
    inUse?: () => boolean
    store: SegmentStore
    /** Places in a segment's manifest of the datagrams that this server took in itself. */
    taken?: (manifest: Manifest, segment: SegmentId) => Promise<readonly number[]>
    /** Identity of this server's own collector, which looks after its segments itself. */
    own(): string | undefined
    /** Called after each segment that was stored. */
    onStored?: (kind: Kind, native: Uint8Array, collector: string) => void
    log: Log
    metrics: Metrics
    clock: Clock
  },
  config: {
    scanMs?: number
    /** What was stored stays in the folder for so long, for its owner to remove. */
    keepMs?: number
  } = {},
): Adoption {
  const { folder, store, clock, log } = deps
  const { scanMs = 10_000, keepMs = 3_600_000 } = config
  const tally = createTally<Problem>(deps, {
    name: 'folder_adoption_problems',
    help: 'Segments in the shared folder that could not be taken over, by reason.',
  })
  const counter = new Counter({
    name: 'keepwatch_folder_adopted_segments_total',
    help: 'Segments of other servers that were stored from the shared folder.',
    labelNames: ['kind'],
    registers: [deps.metrics],
  })
  let running: { stopped: AbortController; done: Promise<void> } | undefined
  let state = nothing()
  /** By identity: segments that cannot be stored. */
  const rejected = new Set<string>()
  /** Segments of which nothing was to be stored. */
  const settled = new Set<string>()
  /** When segments that are stored were first seen in the folder (monotonic). */
  const storedSince = new Map<string, number>()

  function nothing(): AdoptionState {
    return {
      waiting: 0,
      adopted: 0,
      rows: 0,
      duplicates: 0,
      damaged: 0,
      lookedAt: undefined,
      lastError: undefined,
    }
  }

  async function run(stopped: AbortSignal) {
    while (!stopped.aborted) {
      try {
        if (deps.inUse?.() !== false) await scan(stopped)
        state.lookedAt = new Date(clock.wall())
        state.lastError = undefined
      } catch (error) {
        state.lastError = (error as Error).message
      }
      await sleep(scanMs, undefined, { signal: stopped, ref: false }).catch(() => {})
    }
  }

  async function scan(stopped: AbortSignal) {
    const found = await folder.list().catch(error => {
      tally.count('folder-failed', () => ({ error: error.message }))
      throw error
    })
    const foreign = found
      .filter(one => one.collector !== deps.own())
      .filter((one): one is SegmentId => (kinds as readonly string[]).includes(one.kind))
    const present = new Set(foreign.map(keyOf))
    for (const key of storedSince.keys()) if (!present.has(key)) storedSince.delete(key)
    for (const key of settled) if (!present.has(key)) settled.delete(key)
    const missing: SegmentId[] = []
    for (const collector of new Set(foreign.map(one => one.collector))) {
      const has = await store.received(collector)
      for (const segment of foreign) {
        if (segment.collector !== collector || rejected.has(keyOf(segment))) continue
        const { sequence } = segment
        const stored =
          settled.has(keyOf(segment)) ||
          has[segment.kind].some(([first, last]) => first <= sequence && sequence <= last)
        if (stored) await tidy(segment)
        else missing.push(segment)
      }
    }
    const before = state.adopted
    state.waiting = missing.length
    for (const segment of missing) {
      if (stopped.aborted) return
      await adopt(segment)
      state.waiting--
    }
    const adopted = state.adopted - before
    if (adopted > 0) log.info({ adopted }, 'took over segments from the shared folder')
  }

  async function adopt(segment: SegmentId) {
    const file = await folder.read(segment).catch(error => {
      tally.count('folder-failed', () => ({ ...segment, error: error.message }))
      throw error
    })
    // Delivered by its owner meanwhile.
    if (file === undefined) return
    const block = await blockOf(segment, file).catch((error: Error) => {
      if (!(error instanceof SegmentDamaged)) throw error
      reject(segment, 'damaged', error)
    })
    if (block === undefined) return
    const { rows, native } = block
    if (rows === 0) {
      state.duplicates++
      settled.add(keyOf(segment))
      return
    }
    try {
      const result = await store.insertSegment({ ...segment, rows }, native)
      storedSince.set(keyOf(segment), clock.monotonic())
      if (result === 'duplicate') {
        state.duplicates++
        return
      }
    } catch (error) {
      const { refused } = error as { refused?: boolean }
      if (refused === true) return reject(segment, 'refused-by-store', error as Error)
      tally.count('store-failed', () => ({ ...segment, error: (error as Error).message }))
      throw error
    }
    state.adopted++
    state.rows += rows
    counter.inc({ kind: segment.kind })
    announce(segment, native)
  }

  /** Its rows but for those that this server has of its own. @throws SegmentDamaged */
  async function blockOf(
    segment: SegmentId,
    file: Buffer,
  ): Promise<{ rows: number; native: Uint8Array }> {
    const { header, body, manifest } = parseSegment(file)
    if (keyOf(header) !== keyOf(segment)) throw new SegmentDamaged('it is another segment')
    if (header.nativeBytes > maxNativeBytes) throw new SegmentDamaged('it is too large')
    const { rows } = header
    // Its owner left all of it out.
    if (rows === 0) return { rows, native: new Uint8Array(0) }
    const native = await decompressBody(body, header.nativeBytes).catch(() => Buffer.alloc(0))
    if (native.length !== header.nativeBytes || nativeRows(native) !== rows) {
      throw new SegmentDamaged('its body is not the block that it should be')
    }
    if (manifest === undefined || deps.taken === undefined) return { rows, native }
    const places = await deps.taken(manifest, segment).catch(error => {
      tally.count('not-claimed', () => ({ ...segment, error: error.message }))
      throw error
    })
    if (places.length === 0) return { rows, native }
    try {
      const gone = rowsOf(manifest, places)
      return withoutRows(native, tables[segment.kind], gone) ?? { rows: 0, native }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw new SegmentDamaged(error.message)
    }
  }

  /** It stays where it is, for a person to look at. */
  function reject(segment: SegmentId, problem: Problem, error: Error) {
    state.damaged++
    tally.count(problem, () => ({ ...segment, error: error.message }))
    if (rejected.size < maxRejected) rejected.add(keyOf(segment))
  }

  /** Its owner removes it when everyone has it; an owner that never comes back does not. */
  async function tidy(segment: SegmentId) {
    const key = keyOf(segment)
    const since = storedSince.get(key)
    if (since === undefined) storedSince.set(key, clock.monotonic())
    else if (clock.monotonic() - since >= keepMs) {
      await folder
        .remove(segment)
        .catch(error => tally.count('not-removed', () => ({ error: error.message })))
    }
  }

  function announce({ kind, collector }: SegmentId, native: Uint8Array) {
    try {
      deps.onStored?.(kind, native, collector)
    } catch (error) {
      log.error({ kind, error }, 'a stored segment could not be announced')
    }
  }

  return {
    async start() {
      if (running !== undefined) throw new Error('the adoption has been started already')
      state = nothing()
      const stopped = new AbortController()
      running = { stopped, done: run(stopped.signal) }
    },
    async stop() {
      const ending = running
      running = undefined
      ending?.stopped.abort()
      // A folder or a store that hangs is not waited for: what it does still is harmless.
      const left = new AbortController()
      const late = sleep(stopMs, undefined, { signal: left.signal }).catch(() => {})
      await Promise.race([ending?.done, late])
      left.abort()
    },
    state: () => ({ ...state }),
  }
}

function keyOf({ collector, kind, sequence }: SegmentId): string {
  return `${collector}/${kind}/${sequence}`
}
