/**
 * Files from the active to the standby: certificates, drivers, reports, templates. The active
 * announces its roots by content; the standby fetches what differs over the link and puts it in
 * place. A root is touched only if both servers name it, and never by a server that is active.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Gauge } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import type { Identity } from '../../lib/tls.ts'
import type { PeerAddress } from '../peer.ts'
import { ContentWrong, clearStaging, createStaging, type Staging } from './apply.ts'
import { createLinkClient } from './link-client.ts'
import {
  type FileEntry,
  isDone,
  limits,
  type Manifest,
  ManifestRefused,
  type Plan,
  parseManifest,
  planOf,
  type Refused,
} from './manifest.ts'
import type { Route } from './route.ts'
import { createScanner, type Root, RootUnreadable, type Scanner } from './scan.ts'
import { createFileService, filesPath, progressHeader, type StandbyProgress } from './serve.ts'

export interface FileSyncState {
  /** `serving` while active, `following` while the other is, `alone` while nobody is known to be. */
  role: 'serving' | 'following' | 'alone'
  /** Announced, by this server or to it. */
  files: number
  bytes: number
  /** What this standby still lacks. */
  behindFiles: number
  behindBytes: number
  /** Since this standby was last found in step; null: not yet, or active. */
  lagMs: number | null
  /** Of the last round; null if it went well. */
  lastError: string | null
  /** What is being fetched. */
  progress: { root: string; path: string; doneBytes: number; totalBytes: number } | null
  /** While active: what the standby said last, and when. */
  standby: (StandbyProgress & { at: Date }) | null
}

export interface FileSync extends Component {
  readonly routes: readonly Route[]
  state(): FileSyncState
  /** Looks at once; resolves when this server is in step, or with false after so long. */
  pullNow(withinMs: number): Promise<boolean>
}

type Problem =
  | Refused
  | 'root-not-ours'
  | 'root-unreadable'
  | 'content-wrong'
  | 'bad-progress'
  | 'transfer-failed'
  | 'round-failed'

const manifestMs = 10_000
/** For one file, however slow the way. */
const fileMs = 600_000

interface OwnRoot {
  root: Root
  folder: string
  scanner: Scanner
  staging: Staging
}

export function createFileSync(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    identity: Identity
    /** While this server is active. */
    term(): number | undefined
    /** The highest that this server knows of. */
    highestTerm(): number
    /** The other server, while it is active and this one is not. */
    active(): PeerAddress | undefined
    /** Files of a root have changed here. */
    onApplied?: (root: string, paths: readonly string[]) => void
  },
  config: {
    server: string
    roots: readonly Root[]
    intervalMs?: number
  },
): FileSync {
  const { log, clock } = deps
  const { server, intervalMs = 2000 } = config
  const tally = createTally<Problem>(deps, {
    name: 'files_problems',
    help: 'What was wrong with the files from the active to the standby, by reason.',
  })
  const service = createFileService(
    { clock, tally, term: deps.term },
    { server, roots: config.roots },
  )
  let client = createLinkClient(deps)
  const own = new Map(
    config.roots.map((root): [string, OwnRoot] => {
      const folder = root.received ?? root.folder
      const { name, only } = root
      const scanner = createScanner({ name, folder, only, missing: 'empty' })
      return [name, { root, folder, scanner, staging: createStaging(folder) }]
    }),
  )
  let running: { stopped: AbortController; done: Promise<void> } | undefined
  let wake = () => {}
  /** The last manifest, and its tag. */
  let known: { tag: string; manifest: Manifest } | undefined
  let inStepAt: number | undefined
  let inStep = false
  let behind = { files: 0, bytes: 0 }
  let lastError: string | null = null
  let progress: FileSyncState['progress'] = null
  let rounds = 0

  async function run(stopped: AbortSignal) {
    while (!stopped.aborted) {
      const woken = Promise.withResolvers<void>()
      wake = woken.resolve
      const source = follows()
      if (source !== undefined) await round(source, stopped)
      rounds++
      const rest = new AbortController()
      const signal = AbortSignal.any([stopped, rest.signal])
      const slept = sleep(intervalMs, undefined, { signal, ref: false }).catch(() => {})
      await Promise.race([slept, woken.promise])
      rest.abort()
    }
  }

  function follows(): PeerAddress | undefined {
    return deps.term() === undefined ? deps.active() : undefined
  }

  async function round(source: PeerAddress, stopped: AbortSignal) {
    try {
      inStep = await follow(source, stopped)
      if (inStep) inStepAt = clock.monotonic()
      lastError = null
    } catch (error) {
      if (stopped.aborted) return
      inStep = false
      lastError = (error as Error).message.slice(0, 500)
      const reason =
        error instanceof ManifestRefused
          ? error.reason
          : error instanceof ContentWrong
            ? 'content-wrong'
            : error instanceof RootUnreadable
              ? 'root-unreadable'
              : 'round-failed'
      tally.count(reason, () => ({ error: lastError }))
    } finally {
      progress = null
    }
  }

  /** Says whether this server has now what the active had. */
  async function follow(source: PeerAddress, stopped: AbortSignal): Promise<boolean> {
    const manifest = await manifestOf(source, stopped)
    const work: { own: OwnRoot; plan: Plan }[] = []
    const lacking = { files: 0, bytes: 0 }
    for (const { name, files } of manifest.roots) {
      const mine = own.get(name)
      if (mine === undefined || !fits(mine.root, files)) {
        tally.count('root-not-ours', () => ({ root: name }))
        continue
      }
      const plan = planOf(files, await mine.scanner.scan())
      const fetch = new Set(plan.fetch.map(file => file.sha256))
      await clearStaging(mine.folder, new Set(plan.place.map(file => file.sha256)))
      if (isDone(plan)) continue
      work.push({ own: mine, plan })
      const { place, clear, remove, change } = plan
      lacking.files += place.length + clear.length + remove.length + change.length
      for (const { size } of plan.fetch) lacking.bytes += size
      for (const file of place) {
        if (fetch.has(file.sha256)) continue
        await borrow(mine, plan, file)
      }
    }
    behind = lacking
    for (const { own: mine, plan } of work) {
      for (const file of plan.fetch) await fetchOne(source, mine, file, stopped)
    }
    for (const { own: mine, plan } of work) {
      const mayGoOn = () => !stopped.aborted && follows()?.name === source.name
      if (!(await mine.staging.apply(plan, mayGoOn))) return false
      const { place, clear, remove, change } = plan
      const paths = [...place, ...change].map(file => file.path).concat(clear, remove)
      log.info({ root: mine.root.name, files: paths.length }, 'files of the active put in place')
      announce(mine.root.name, paths)
    }
    behind = { files: 0, bytes: 0 }
    return true
  }

  /** Another file here has the content; if it has just lost it, the content is fetched. */
  async function borrow(mine: OwnRoot, plan: Plan, file: FileEntry) {
    if (await mine.staging.has(file.sha256)) return
    const lender = (await mine.scanner.scan()).find(one => one.sha256 === file.sha256)
    if (lender !== undefined && (await mine.staging.borrow(file, lender.path))) return
    plan.fetch.push(file)
  }

  async function manifestOf(source: PeerAddress, stopped: AbortSignal): Promise<Manifest> {
    const { status, headers, body } = await client.ask(source, {
      method: 'GET',
      path: filesPath,
      headers: {
        [progressHeader]: JSON.stringify(progressNow()),
        ...(known === undefined ? {} : { 'if-none-match': known.tag }),
      },
      withinMs: manifestMs,
      stopped,
    })
    if (status === 304 && known !== undefined) return known.manifest
    if (body.length > limits.manifestBytes) {
      throw new ManifestRefused('too-large', `a manifest of ${body.length} bytes`)
    }
    const manifest = parseManifest(body.toString('utf8'))
    if (manifest.server !== source.name || manifest.term < deps.highestTerm()) {
      const said = `${manifest.server} announces files as active of term ${manifest.term}`
      throw new ManifestRefused('older-term', said)
    }
    known = { tag: String(headers.etag), manifest }
    return manifest
  }

  async function fetchOne(
    source: PeerAddress,
    mine: OwnRoot,
    file: FileEntry,
    stopped: AbortSignal,
  ) {
    const { staging, root } = mine
    const { sha256, size, path } = file
    if (await staging.has(sha256)) return
    const begun = await staging.begun(sha256)
    const from = begun > size ? 0 : begun
    const doing = { root: root.name, path, doneBytes: from, totalBytes: size }
    progress = doing
    behind.bytes -= from
    if (from === size) return staging.receive(file, from, nothing())
    const response = await client.open(source, {
      method: 'GET',
      path: `${filesPath}/${sha256}`,
      headers: from > 0 ? { range: `bytes=${from}-` } : {},
      withinMs: fileMs,
      stopped,
    })
    try {
      await staging.receive(file, response.statusCode === 206 ? from : 0, counted())
    } finally {
      response.destroy()
    }

    async function* counted(): AsyncGenerator<Buffer> {
      for await (const chunk of response) {
        doing.doneBytes += (chunk as Buffer).length
        behind.bytes -= (chunk as Buffer).length
        yield chunk as Buffer
      }
    }
  }

  function announce(root: string, paths: readonly string[]) {
    try {
      deps.onApplied?.(root, paths)
    } catch (error) {
      log.error({ root, error }, 'new files could not be announced')
    }
  }

  function progressNow(): StandbyProgress {
    const { files, bytes } = totals()
    return {
      server,
      files,
      bytes,
      behindFiles: behind.files,
      behindBytes: Math.max(0, behind.bytes),
      lagMs: lag(),
      lastError,
    }
  }

  function totals(): { files: number; bytes: number } {
    if (deps.term() !== undefined) return service.announced()
    const files = known?.manifest.roots.flatMap(root => root.files) ?? []
    return { files: files.length, bytes: files.reduce((sum, { size }) => sum + size, 0) }
  }

  function lag(): number | null {
    if (inStepAt === undefined || deps.term() !== undefined) return null
    return Math.round(clock.monotonic() - inStepAt)
  }

  function stateNow(): FileSyncState {
    const serving = deps.term() !== undefined
    const heard = serving ? service.heard() : undefined
    return {
      role: serving ? 'serving' : follows() === undefined ? 'alone' : 'following',
      ...totals(),
      behindFiles: serving ? 0 : behind.files,
      behindBytes: serving ? 0 : Math.max(0, behind.bytes),
      lagMs: lag(),
      lastError: serving ? null : lastError,
      progress,
      standby: heard === undefined ? null : { ...heard.progress, at: new Date(heard.at) },
    }
  }

  observe(deps.metrics, stateNow)
  return {
    routes: [service.route],
    state: stateNow,

    async start() {
      if (running !== undefined) throw new Error('the files are in sync already')
      client = createLinkClient(deps)
      const stopped = new AbortController()
      running = { stopped, done: run(stopped.signal) }
    },

    async stop() {
      const ending = running
      running = undefined
      ending?.stopped.abort()
      wake()
      client.close()
      await ending?.done
    },

    async pullNow(withinMs) {
      const deadline = clock.monotonic() + withinMs
      // The round under way may have seen the active's files before they changed.
      const from = rounds + 1
      while (running !== undefined && clock.monotonic() < deadline) {
        wake()
        if (rounds > from && inStep) return true
        await sleep(20)
      }
      return false
    },
  }
}

/** Only what this server's own settings let into the root. */
function fits(root: Root, files: readonly FileEntry[]): boolean {
  return root.only === undefined || files.every(({ path }) => root.only!.includes(path))
}

async function* nothing(): AsyncGenerator<Buffer> {}

function observe(metrics: Metrics, state: () => FileSyncState) {
  const registers = [metrics]
  new Gauge({
    name: 'keepwatch_files_behind',
    help: 'Files of the active that this standby does not have yet.',
    registers,
    collect() {
      this.set(state().behindFiles)
    },
  })
  new Gauge({
    name: 'keepwatch_files_behind_bytes',
    help: 'Their bytes.',
    registers,
    collect() {
      this.set(state().behindBytes)
    },
  })
  new Gauge({
    name: 'keepwatch_files_lag_seconds',
    help: 'Time since this standby was found in step with the active’s files; absent on the active.',
    registers,
    collect() {
      const { lagMs } = state()
      if (lagMs === null) this.remove()
      else this.set(lagMs / 1000)
    },
  })
}
