/**
 * The configuration mirror: what the state has of versions, as commits in a git repository for
 * people and tools. One commit a version, secrets hidden; the truth stays in the state, and trouble
 * here delays nothing but the mirror. What was mirrored stands in the commits themselves, so the
 * other server goes on where this one stopped.
 */
import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Gauge } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import { type Driver, maskSecrets } from './drivers/driver.ts'
import type { Cause } from './store.ts'

/** A version as the mirror needs it. */
export interface MirroredVersion {
  id: number
  deviceId: string
  artefact: string
  takenAt: Date
  author: string | null
  cause: Cause
  added: number
  removed: number
}

/** What the mirror reads of the state. */
export interface VersionSource {
  /** Versions with a greater id, in rising order; at most `limit`. */
  after(id: number, limit: number): Promise<MirroredVersion[]>
  /** How many there are with a greater id. */
  countAfter(id: number): Promise<number>
  /** The greatest id, 0 if there is none. */
  newest(): Promise<number>
  /** As it is stored, secrets included; null if the version is gone with its device. */
  text(id: number): Promise<string | null>
  devices(): Promise<{ id: string; name: string; driver: string }[]>
}

/** A change of files; paths are `<device>/<artefact>.cfg`. */
export type MirrorChange =
  | { do: 'write'; path: string; content: string }
  | { do: 'remove'; path: string }
  | { do: 'move'; from: string; to: string }

export interface MirrorCommit {
  message: string
  /** Of the version that it brings. */
  version?: number | undefined
  /** What was mirrored of greater ids before does not count: they are given out again. */
  after?: number | undefined
  author: string
  /** Seconds since 1970. */
  at: number
  changes: MirrorChange[]
}

/** The git repository; everything rejects while it cannot be used. */
export interface MirrorRepository {
  /**
   * Takes it over for this term.
   *
   * @returns the versions of its newest commits, and the text of its file `.devices.json`
   */
  open(term: number): Promise<{ versions: number[]; devices: string }>
  /** All or nothing; after a failure it is to be opened again. */
  commit(commits: MirrorCommit[]): Promise<void>
}

export interface MirrorState {
  /** The newest version in the mirror; 0 if it is empty, undefined if it was not opened yet. */
  newest: number | undefined
  /** Versions that are not in it. */
  waiting: number
  /** Of the last attempt, undefined if it succeeded. */
  lastError: string | undefined
  lastCommitAt: Date | undefined
}

export interface Mirror {
  /** Begins to catch up; returns at once. */
  start(term: number): Promise<void>
  stop(): Promise<void>
  /** There is a new version, or a device has changed: look now. */
  nudge(): void
  state(): MirrorState
}

type Problem = 'failed' | 'ahead-of-database' | 'unknown-driver'

const everyMs = 5000
/** After a failure: the folder is away, as a rule. */
const retryMs = 10_000
/** Commits written at a time, and bytes of text in them. */
const batch = { commits: 50, bytes: 16 * 1024 * 1024 }
/**
 * A version's id is drawn before its transaction ends, so one with a lower id may appear after one
 * with a higher: so far behind the newest is looked for them. Few backups run at a time.
 */
const lookBack = 256
const stopMs = 3000
/** No device's folder begins with a dot. */
const devicesFile = '.devices.json'

export function createMirror(deps: {
  source: VersionSource
  repository: MirrorRepository
  /** Whether there is a folder for it; while there is none, it rests. */
  inUse?: () => boolean
  drivers: ReadonlyMap<string, Driver>
  log: Log
  metrics: Metrics
  clock: Clock
}): Mirror {
  const { source, repository, drivers, clock, log } = deps
  const tally = createTally<Problem>(deps, {
    name: 'folder_mirror_problems',
    help: 'Why the configuration mirror is behind or incomplete, by reason.',
  })
  let running: { stopped: AbortController; done: Promise<void> } | undefined
  let wake = () => {}
  let state = nothing()
  new Gauge({
    name: 'keepwatch_folder_mirror_waiting_versions',
    help: 'Versions that are not in the configuration mirror; 0 on a standby.',
    registers: [deps.metrics],
    collect() {
      this.set(state.waiting)
    },
  })

  function nothing(): MirrorState {
    return { newest: undefined, waiting: 0, lastError: undefined, lastCommitAt: undefined }
  }

  async function run(term: number, stopped: AbortSignal) {
    let place: Place | undefined
    while (!stopped.aborted) {
      const woken = Promise.withResolvers<void>()
      wake = woken.resolve
      let restMs = everyMs
      try {
        if (deps.inUse?.() !== false) {
          place ??= placeOf(await repository.open(term))
          while (!stopped.aborted && (await advance(place))) {
            // There may be more.
          }
        }
        state.lastError = undefined
      } catch (error) {
        place = undefined
        restMs = retryMs
        const { message } = error as Error
        state.lastError = message
        if (stopped.aborted) return
        tally.count('failed', () => ({ error: message }))
      }
      const rest = new AbortController()
      const signal = AbortSignal.any([stopped, rest.signal])
      const slept = sleep(restMs, undefined, { signal, ref: false }).catch(() => {})
      await Promise.race([slept, woken.promise])
      rest.abort()
    }
  }

  /** One batch. Says whether there was anything to do. */
  async function advance(place: Place): Promise<boolean> {
    const devices = new Map((await source.devices()).map(device => [device.id, device]))
    const newest = await source.newest()
    if (newest < place.newest) {
      // The newest went with its device; or an older copy of the database was put back, and the ids
      // behind it will be those of other versions.
      tally.count('ahead-of-database', () => ({ mirrored: place.newest, newest }))
      await repository.commit([goOnAfter(newest)])
      for (const id of place.mirrored) if (id > newest) place.mirrored.delete(id)
      place.newest = newest
    }
    const from = Math.max(0, place.newest - lookBack)
    const found = await source.after(from, batch.commits + lookBack)
    const fresh = found.filter(({ id }) => !place.mirrored.has(id))
    const last = found.at(-1)
    state.newest = place.newest
    state.waiting = fresh.length
    if (last !== undefined && found.length === batch.commits + lookBack) {
      state.waiting += await source.countAfter(last.id)
    }
    const folders = new Map(place.folders)
    const commits = tidyFolders(folders, devices)
    let bytes = 0
    for (const version of fresh.slice(0, batch.commits)) {
      const device = devices.get(version.deviceId)
      const text = device && (await source.text(version.id))
      // Gone meanwhile, and its folder with it at the next look.
      if (device === undefined || text === null || text === undefined) continue
      const content = masked(device.driver, text)
      commits.push(commitOf(version, device, content, folders))
      bytes += content.length
      if (bytes > batch.bytes) break
    }
    if (commits.length === 0) return false
    await repository.commit(commits)
    place.folders = folders
    for (const { version } of commits) if (version !== undefined) note(place, version)
    state.newest = place.newest
    state.waiting = Math.max(0, state.waiting - commits.length)
    state.lastCommitAt = new Date(clock.wall())
    log.debug({ commits: commits.length, newest: place.newest }, 'mirrored')
    return true
  }

  /** Folders of devices that are gone or have another name; changes `folders`. */
  function tidyFolders(
    folders: Map<string, string>,
    devices: ReadonlyMap<string, { name: string }>,
  ): MirrorCommit[] {
    const commits: MirrorCommit[] = []
    const at = Math.floor(clock.wall() / 1000)
    const commit = (message: string, ...changes: MirrorChange[]) => {
      const content = devicesText(folders)
      changes.push({ do: 'write', path: devicesFile, content })
      commits.push({ message, author: 'keepwatch', at, changes })
    }
    for (const [id, folder] of folders) {
      if (devices.has(id)) continue
      folders.delete(id)
      commit(`${folder}: the device is no longer kept`, { do: 'remove', path: folder })
    }
    const renamed = [...folders].filter(
      ([id, folder]) => folderOf(devices.get(id)!.name) !== folder,
    )
    // In two steps: two devices may have exchanged their names.
    for (const [id, folder] of renamed) {
      const to = `moving-${id}`
      folders.set(id, to)
      commit(`${folder}: the device is renamed`, { do: 'move', from: folder, to })
    }
    for (const [id] of renamed) {
      const from = folders.get(id)!
      const to = folderOf(devices.get(id)!.name)
      folders.set(id, to)
      commit(`${to}: the device’s new name`, { do: 'move', from, to })
    }
    return commits
  }

  function goOnAfter(id: number): MirrorCommit {
    const message = `The newest version is ${id}`
    const at = Math.floor(clock.wall() / 1000)
    return { message, after: id, author: 'keepwatch', at, changes: [] }
  }

  function commitOf(
    version: MirroredVersion,
    device: { name: string },
    content: string,
    folders: Map<string, string>,
  ): MirrorCommit {
    const { id, deviceId, artefact, takenAt, author, cause, added, removed } = version
    const folder = folderOf(device.name)
    const changes: MirrorChange[] = [
      { do: 'write', path: `${folder}/${encodeName(artefact)}.cfg`, content },
    ]
    if (folders.get(deviceId) !== folder) {
      folders.set(deviceId, folder)
      changes.push({ do: 'write', path: devicesFile, content: devicesText(folders) })
    }
    return {
      message: `${device.name} ${artefact}: +${added} -${removed}\n\nCause: ${causes[cause]}\nChanged by: ${author ?? 'not known'}`,
      version: id,
      author: author ?? 'keepwatch',
      at: Math.floor(takenAt.getTime() / 1000),
      changes,
    }
  }

  /** Without its driver it is not known where the secrets stand: then nothing is shown. */
  function masked(driverId: string, text: string): string {
    const driver = drivers.get(driverId)
    if (driver !== undefined) return maskSecrets(driver, text)
    tally.count('unknown-driver', () => ({ driver: driverId }))
    return `The driver ${driverId} is not known here, so secrets could not be hidden. The version is in Keepwatch.\n`
  }

  return {
    async start(term) {
      if (running !== undefined) throw new Error('the mirror has been started already')
      state = nothing()
      const stopped = new AbortController()
      running = { stopped, done: run(term, stopped.signal) }
    },
    async stop() {
      const ending = running
      running = undefined
      ending?.stopped.abort()
      wake()
      // A folder that hangs is not waited for.
      const left = new AbortController()
      const late = sleep(stopMs, undefined, { signal: left.signal }).catch(() => {})
      await Promise.race([ending?.done, late])
      left.abort()
      state = nothing()
    },
    nudge: () => wake(),
    state: () => ({ ...state }),
  }
}

/** Where the mirror stands. */
interface Place {
  newest: number
  /** Of the ids near the newest, those that are in it. */
  mirrored: Set<number>
  /** Folders by device. */
  folders: Map<string, string>
}

function placeOf(head: { versions: number[]; devices: string }): Place {
  const folders = head.devices === '' ? {} : (JSON.parse(head.devices) as Record<string, string>)
  return {
    newest: Math.max(0, ...head.versions),
    mirrored: new Set(head.versions),
    folders: new Map(Object.entries(folders)),
  }
}

function note(place: Place, version: number) {
  place.newest = Math.max(place.newest, version)
  place.mirrored.add(version)
  if (place.mirrored.size <= 4 * lookBack) return
  for (const id of place.mirrored) if (id < place.newest - lookBack) place.mirrored.delete(id)
}

const causes: Record<Cause, string> = {
  schedule: 'the schedule',
  request: 'a person asked',
  change: 'the device said that it was changed',
}

function devicesText(folders: ReadonlyMap<string, string>): string {
  const sorted = [...folders].sort(([a], [b]) => (a < b ? -1 : 1))
  return `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`
}

const folderOf = (device: string) => encodeName(device)

const longestName = 200

/**
 * Letters, digits, dots, hyphens and underscores stay; every other byte, and a dot in front, is
 * `%XX`. What is too long for a file system is cut and ends in a hash.
 */
function encodeName(name: string): string {
  const encoded = [...Buffer.from(name)]
    .map((byte, index) => {
      const character = String.fromCharCode(byte)
      if (/[A-Za-z0-9_-]/.test(character) || (character === '.' && index > 0)) return character
      return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    })
    .join('')
  if (encoded.length <= longestName) return encoded
  return `${encoded.slice(0, longestName)}-${hash('sha256', name).slice(0, 8)}`
}
