/**
 * The shared folder: files that both servers reach. Nothing of the server waits for it: a process of
 * its own works in it, every request has its deadline, and a folder that hangs is a fault for people
 * and costs that process. It is never asked who is active.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import { describeFault, type FaultKind, type FolderFault, FolderUnusable } from './fault.ts'
import { type FolderChild, startFolderChild } from './folder-child.ts'
import { observeFolder } from './meter.ts'
import {
  type FileArea,
  hashDigits,
  type KeptFile,
  keptPath,
  parseKept,
  type SegmentPlace,
  segmentPath,
} from './place.ts'
import type { FolderWork, Probe, SpoolCopyState } from './protocol.ts'
import type { Commit, RepositoryHead } from './repository.ts'

export interface FolderState {
  /** Null while none is set. */
  path: string | null
  /** Whether it was written and read within the last moments. */
  usable: boolean
  fault: (FolderFault & { since: Date }) | null
  freeBytes: number | null
  totalBytes: number | null
  /** For one small file: written, synced, renamed. */
  latencyMs: number | null
  /** What the file server's clock is ahead of this host's; negative if it is behind. */
  clockAheadMs: number | null
  /** When each server last wrote there, by this host's clock. */
  lastWrittenBy: Record<string, Date>
  /** The copy of this server's own spool; null if there is none. */
  spool: SpoolCopyState | null
  /** Processes that hang in the folder and do not end before it answers. */
  abandoned: number
}

export interface SharedFolder extends Component {
  /** A person has set another path, or none. */
  use(path: string | null): void
  state(): FolderState
  /** Segments that some server's collector has sealed and not delivered everywhere. */
  readonly segments: {
    list(): Promise<SegmentPlace[]>
    /** Undefined if it is gone. */
    read(place: SegmentPlace): Promise<Buffer | undefined>
    remove(place: SegmentPlace): Promise<void>
  }
  /** The configuration mirror, for the active. */
  readonly repository: {
    /** Takes it over for this term. @throws FolderUnusable `superseded` if a newer term has it */
    open(term: number): Promise<RepositoryHead>
    commit(commits: Commit[]): Promise<void>
  }
  readonly files: {
    /** Replaces what has this name in this term. */
    write(area: FileArea, term: number, name: string, bytes: Uint8Array): Promise<KeptFile>
    /** Of each name the one of the newest term. */
    list(area: FileArea): Promise<KeptFile[]>
    /** @throws FolderUnusable `damaged` if its hash is not the one in its name */
    read(file: KeptFile): Promise<Buffer>
    remove(file: KeptFile): Promise<void>
  }
}

export interface SharedFolderConfig {
  server: string
  incarnation: string
  /** What tells this deployment from others; in the folder's marker. */
  deployment: string
  /** Null: none is set yet. */
  path: string | null
  /** The spool of this server's own collector. */
  spool?: string
  probeMs?: number
  /** Within which the folder answers, or counts as hung. */
  answerMs?: number
  /** Free bytes below which no segments are copied, and the folder counts as full. */
  reserveBytes?: number
  /** How often what was left half written is looked for. */
  sweepMs?: number
}

/** What takes longer than a small file. */
const longMs = { file: 60_000, listing: 30_000, repository: 120_000 }
const maxFileBytes = 256 * 1024 * 1024
const maxListed = 10_000
const maxSegments = 100_000
/** Processes that may hang at a time: each is a few threads and some memory that nobody gets back. */
const maxAbandoned = 8
const firstDelayMs = 1000
const lastDelayMs = 60_000
const stopMs = 2000

type Problem = FaultKind | 'busy' | 'absent' | 'superseded' | 'damaged' | 'off'

export function createSharedFolder(
  deps: { log: Log; metrics: Metrics; clock: Clock },
  config: SharedFolderConfig,
): SharedFolder {
  const { log, clock } = deps
  const { server, incarnation, deployment, spool } = config
  const { probeMs = 2000, answerMs = 5000, reserveBytes = 64 * 1024 * 1024 } = config
  const { sweepMs = 3_600_000 } = config
  const tally = createTally<Problem>(deps, {
    name: 'folder_problems',
    help: 'What was wrong with the shared folder, by reason.',
  })
  let { path } = config
  let running = false
  let child: FolderChild | undefined
  let relaunch: NodeJS.Timeout | undefined
  let delayMs = firstDelayMs
  let probed: Probe | undefined
  let usable = false
  let fault: (FolderFault & { since: Date }) | null = null
  let spoolState: SpoolCopyState | null = null
  const abandoned = new Set<FolderChild>()

  function launch() {
    const here = path
    if (!running || here === null) return
    if (abandoned.size >= maxAbandoned) {
      relaunch = setTimeout(launch, lastDelayMs)
      return
    }
    const started = startFolderChild(
      {
        spool: state => {
          spoolState = state
          if (state.fault !== undefined) fail(state.fault, state.error ?? '')
        },
        fault: fail,
        hung: () => lose(started, 'hung', ''),
        ended: reason => lose(started, 'process-failed', reason),
      },
      { path: here, deployment, server, incarnation },
    )
    child = started
    void watch(started)
  }

  /** Looks after the folder as long as this process does its work there. */
  async function watch(watched: FolderChild) {
    let copying = false
    let sweptAt = clock.monotonic()
    while (child === watched) {
      try {
        probed = await watched.request('probe', {}, answerMs)
        if (child !== watched) return
        succeed(probed)
        if (spool !== undefined && !copying) {
          await watched.request('copySpool', { spool, reserveBytes }, answerMs)
          copying = true
        }
        if (clock.monotonic() - sweptAt > sweepMs) {
          sweptAt = clock.monotonic()
          await watched.request('sweep', {}, longMs.listing)
        }
      } catch (error) {
        // What it says of the folder was told by `fault`, `hung` or `ended`.
        const { kind, message } = error as FolderUnusable
        if (child === watched && usable) tally.count(kind, () => ({ error: message }))
      }
      await sleep(probeMs, undefined, { ref: false })
    }
  }

  function succeed({ freeBytes }: Probe) {
    delayMs = firstDelayMs
    if (freeBytes < reserveBytes) {
      fail('full', `${Math.round(freeBytes / 1024 ** 2)} MiB free`)
      return
    }
    if (spoolState?.fault !== undefined) return
    if (fault !== null) log.info({ path, was: fault.kind }, 'the shared folder can be used again')
    fault = null
    usable = true
  }

  function fail(kind: FaultKind, detail: string) {
    usable = false
    tally.count(kind, () => ({ path, error: detail }))
    const described = describeFault(kind, path ?? '', detail)
    const since = fault?.kind === kind ? fault.since : new Date(clock.wall())
    fault = { ...described, since }
  }

  function lose(lost: FolderChild, kind: 'hung' | 'process-failed', detail: string) {
    if (child !== lost) return
    fail(kind, detail)
    abandon(lost, new FolderUnusable(kind, fault!.text))
    relaunch = setTimeout(launch, delayMs)
    delayMs = Math.min(2 * delayMs, lastDelayMs)
  }

  function abandon(lost: FolderChild, reason: FolderUnusable) {
    child = undefined
    abandoned.add(lost)
    void lost.gone.then(() => abandoned.delete(lost))
    lost.end(reason)
  }

  function leave() {
    clearTimeout(relaunch)
    if (child !== undefined) abandon(child, off())
    delayMs = firstDelayMs
    probed = undefined
    usable = false
    fault = null
    spoolState = null
  }

  function off() {
    return new FolderUnusable('off', 'no shared folder is in use')
  }

  async function ask<Name extends keyof FolderWork>(
    what: Name,
    question: FolderWork[Name]['ask'],
    withinMs: number,
  ): Promise<FolderWork[Name]['answer']> {
    try {
      if (child === undefined) {
        throw fault === null ? off() : new FolderUnusable(fault.kind, fault.text)
      }
      return await child.request(what, question, withinMs)
    } catch (error) {
      const { kind, message } = error as FolderUnusable
      tally.count(kind, () => ({ request: what, error: message }))
      throw error
    }
  }

  const folder: SharedFolder = {
    async start() {
      if (running) throw new Error('the shared folder has been started already')
      running = true
      launch()
    },

    async stop() {
      running = false
      leave()
      const gone = Promise.all([...abandoned].map(one => one.gone))
      await Promise.race([gone, sleep(stopMs, undefined, { ref: false })])
    },

    use(chosen) {
      if (chosen === path) return
      leave()
      path = chosen
      launch()
    },

    state: () => ({
      path,
      usable,
      fault,
      freeBytes: probed?.freeBytes ?? null,
      totalBytes: probed?.totalBytes ?? null,
      latencyMs: probed?.latencyMs ?? null,
      clockAheadMs: probed?.clockAheadMs ?? null,
      lastWrittenBy: Object.fromEntries(
        Object.entries(probed?.writers ?? {}).map(([name, ms]) => [
          name,
          new Date(ms - (probed?.clockAheadMs ?? 0)),
        ]),
      ),
      spool: spoolState,
      abandoned: abandoned.size,
    }),

    segments: {
      list: () => ask('segments', { limit: maxSegments }, longMs.listing),
      async read(place) {
        const question = { path: segmentPath(place), maxBytes: maxFileBytes }
        const bytes = await ask('read', question, longMs.file)
        return bytes === null ? undefined : asBuffer(bytes)
      },
      async remove(place) {
        await ask('removeSegment', place, answerMs)
      },
    },

    repository: {
      open: term => ask('openRepository', { term, alone: abandoned.size === 0 }, longMs.repository),
      async commit(commits) {
        await ask('commit', { commits }, longMs.repository)
      },
    },

    files: {
      async write(area, term, name, bytes) {
        const sha256 = createHash('sha256').update(bytes).digest('hex')
        const written = keptPath(area, term, name, sha256)
        await ask('write', { path: written, bytes }, longMs.file)
        const kept = parseKept(written)!
        for (const other of await filesOf(area)) {
          if (other.term === term && other.name === name && other.path !== written) {
            await ask('remove', { path: other.path }, answerMs)
          }
        }
        return kept
      },
      async list(area) {
        const newest = new Map<string, KeptFile>()
        for (const file of await filesOf(area)) {
          const known = newest.get(file.name)
          if (known === undefined || known.term <= file.term) newest.set(file.name, file)
        }
        return [...newest.values()]
      },
      async read({ path: wanted, hash }) {
        const bytes = await ask('read', { path: wanted, maxBytes: maxFileBytes }, longMs.file)
        if (bytes === null) throw new FolderUnusable('absent', `there is no ${wanted}`)
        const sha256 = createHash('sha256').update(bytes).digest('hex')
        if (sha256.slice(0, hashDigits) !== hash) {
          tally.count('damaged', () => ({ file: wanted }))
          throw new FolderUnusable('damaged', `${wanted} is not what was written there`)
        }
        return asBuffer(bytes)
      },
      async remove({ path: unwanted }) {
        await ask('remove', { path: unwanted }, answerMs)
      },
    },
  }

  /** In order of their writing. */
  async function filesOf(area: FileArea): Promise<KeptFile[]> {
    const listed = await ask('list', { path: area, limit: maxListed }, longMs.listing)
    return listed
      .toSorted((a, b) => a.modifiedMs - b.modifiedMs)
      .map(file => parseKept(file.path))
      .filter(file => file !== undefined)
  }

  observeFolder(deps, folder.state)
  return folder
}

/** As it came over from the other process, without copying it. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
