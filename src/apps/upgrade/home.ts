/**
 * Where the versions of the program lie on a machine:
 *
 *     <home>/versions/<version>/   an installed package with its dependencies
 *     <home>/current               symbolic link: the version that runs at the next start
 *     <home>/proven                symbolic link: the one that has last done its work
 *     <home>/previous              symbolic link: the one that had done it before
 *     <home>/bin/keepwatch         runs the proven one, for people and for the service manager
 *     <home>/trial.json            `current` is on trial: what to go back to if it does not prove itself
 *     <home>/rolled-back.json      what was gone back from, and why
 *     <home>/running.json          the process that runs now
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { writeWhole } from '../../lib/files.ts'

const usualHome = '/opt/keepwatch'

/** The home of which the program that runs is a version, if it is of one. */
export function homeOf(program: string): string | undefined {
  return /^(.*)\/versions\/[^/]+\//.exec(program)?.[1]
}

/** Where versions are installed if nobody names another folder. */
export const defaultHome = homeOf(import.meta.filename) ?? usualHome

export interface Trial {
  version: string
  previous: string
  /** The upgrade that it belongs to. */
  operation: string
  /** How often it has been started. */
  starts: number
}

export interface RolledBack {
  version: string
  operation: string
  reason: string
}

export interface Running {
  pid: number
  /** The launcher that started it. */
  launcher: number
}

/** The entry of an installed version: either of the published package, or of its sources. */
const entries = [
  'node_modules/keepwatch/dist/main.js',
  'dist/main.js',
  'node_modules/keepwatch/src/main.ts',
  'src/main.ts',
]
const nodes = ['node_modules/keepwatch/node_modules/node/bin/node', 'node_modules/node/bin/node']

/** Written into each version: its files by content hash, made when it was installed. */
export const manifestFile = '.manifest.json'

export type Home = ReturnType<typeof openHome>

export function openHome(path: string) {
  const versions = join(path, 'versions')
  const file = (name: string) => join(path, name)

  /** @returns undefined if there is none, or it cannot be read */
  function read<T>(name: string): T | undefined {
    try {
      return JSON.parse(readFileSync(file(name), 'utf8')) as T
    } catch {
      return undefined
    }
  }

  const write = (name: string, what: object) => writeWhole(file(name), JSON.stringify(what), 0o644)

  function find(version: string, candidates: readonly string[], what: string): string {
    const found = candidates
      .map(candidate => join(versions, version, candidate))
      .find(candidate => existsSync(candidate))
    if (found === undefined) throw new Error(`version ${version} has no ${what} in ${versions}`)
    return found
  }

  function linked(name: string): string | undefined {
    try {
      return basename(readlinkSync(file(name)))
    } catch {
      return undefined
    }
  }

  function point(name: string, version: string) {
    const link = file(`${name}.${process.pid}`)
    rmSync(link, { force: true })
    symlinkSync(join('versions', version), link)
    renameSync(link, file(name))
  }

  const home = {
    path,
    folderOf: (version: string) => join(versions, version),

    /** Oldest first. */
    installed: () =>
      (existsSync(versions) ? readdirSync(versions) : []).filter(isVersion).sort(byNumbers),

    /** A version is complete when its folder has its name: it is renamed to it in the end. */
    has: (version: string) => isVersion(version) && existsSync(join(versions, version)),

    /** Where a version is put together before it gets its name. */
    prepare(version: string): string {
      if (!isVersion(version)) throw new Error(`${version} is not a version`)
      const folder = join(versions, `.${version}.new`)
      mkdirSync(folder, { recursive: true, mode: 0o755 })
      return folder
    },
    /** @param prepared the version under which it was put together */
    complete(version: string, prepared = version) {
      find(`.${prepared}.new`, entries, 'program')
      find(`.${prepared}.new`, nodes, 'Node')
      rmSync(join(versions, version), { recursive: true, force: true })
      renameSync(join(versions, `.${prepared}.new`), join(versions, version))
    },

    /** The version that runs at the next start; undefined before the first. */
    current: () => linked('current'),
    proven: () => linked('proven'),
    previous: () => linked('previous'),

    use(version: string) {
      find(version, entries, 'program')
      point('current', version)
    },
    /** The first version, or one that a person chooses: without a trial. */
    settle(version: string) {
      home.use(version)
      home.confirm()
      mkdirSync(file('bin'), { recursive: true, mode: 0o755 })
      writeWhole(file('bin/keepwatch'), startScript, 0o755)
    },

    trial: () => read<Trial>('trial.json'),
    /** Uses a version until it has proven itself. */
    try(trial: Omit<Trial, 'starts'>) {
      rmSync(file('rolled-back.json'), { force: true })
      write('trial.json', { ...trial, starts: 0 })
      home.use(trial.version)
    },
    /** It is started once more. */
    started(trial: Trial): Trial {
      const started = { ...trial, starts: trial.starts + 1 }
      write('trial.json', started)
      return started
    },
    /** The current version has done its work. */
    confirm() {
      const [current, proven] = [home.current(), home.proven()]
      if (current !== undefined && current !== proven) {
        if (proven !== undefined) point('previous', proven)
        point('proven', current)
      }
      rmSync(file('trial.json'), { force: true })
    },
    /** Back to the version before the trial. */
    rollBack(trial: Trial, reason: string) {
      const { version, operation } = trial
      write('rolled-back.json', { version, operation, reason } satisfies RolledBack)
      home.use(trial.previous)
      rmSync(file('trial.json'), { force: true })
    },
    rolledBack: () => read<RolledBack>('rolled-back.json'),

    running: () => read<Running>('running.json'),
    runs: (running: Running) => write('running.json', running),

    /** Removes versions that nothing refers to, and what interrupted installations left. @returns them */
    prune(): string[] {
      const trial = home.trial()
      const kept = [home.current(), home.proven(), home.previous(), trial?.version, trial?.previous]
      const removed = home.installed().filter(version => !kept.includes(version))
      const left = existsSync(versions) ? readdirSync(versions) : []
      for (const name of left.filter(name => name.startsWith('.')).concat(removed)) {
        rmSync(join(versions, name), { recursive: true, force: true })
      }
      return removed
    },

    /** How a version is started. */
    program: (version: string) => ({
      node: find(version, nodes, 'Node'),
      main: find(version, entries, 'program'),
    }),
  }
  return home
}

export function isVersion(text: string): boolean {
  return /^\d{1,5}\.\d{1,5}\.\d{1,5}(-[0-9A-Za-z.-]{1,40})?$/.test(text)
}

function byNumbers(one: string, other: string): number {
  return one.localeCompare(other, 'en', { numeric: true })
}

/** A version on trial may be one that cannot even begin: whoever starts it is not of it. */
const startScript = `#!/bin/sh
# Runs the version of Keepwatch that has last done its work.
home=$(dirname "$(dirname "$(readlink -f "$0")")")
first() {
  for path; do
    if [ -e "$home/proven/$path" ]; then echo "$home/proven/$path"; return; fi
  done
  echo "keepwatch: $home/proven has no $1" >&2
  exit 1
}
node=$(first ${nodes.join(' ')}) || exit 1
main=$(first ${entries.join(' ')}) || exit 1
exec "$node" --disable-warning=ExperimentalWarning "$main" "$@"
`
