/**
 * Where the versions of the program lie on a machine:
 *
 *     <home>/versions/<version>/   an installed package with its dependencies
 *     <home>/current               symbolic link to one of them
 *     <home>/trial.json            `current` is on trial: what to go back to if it does not prove itself
 *     <home>/rolled-back.json      what was gone back from, and why
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

export interface Trial {
  version: string
  previous: string
  /** The upgrade that it belongs to. */
  operation: string
}

export interface RolledBack {
  version: string
  operation: string
  reason: string
}

/** The entry of an installed version: either of the published package, or of its sources. */
const entries = [
  'node_modules/keepwatch/dist/main.js',
  'node_modules/keepwatch/src/main.ts',
  'dist/main.js',
  'src/main.ts',
]
const nodes = ['node_modules/node/bin/node', 'node_modules/keepwatch/node_modules/node/bin/node']

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

  function find(version: string, candidates: readonly string[], what: string): string {
    const found = candidates
      .map(candidate => join(versions, version, candidate))
      .find(candidate => existsSync(candidate))
    if (found === undefined) throw new Error(`version ${version} has no ${what} in ${versions}`)
    return found
  }

  return {
    path,
    folderOf: (version: string) => join(versions, version),

    installed: () => (existsSync(versions) ? readdirSync(versions) : []).filter(isVersion).sort(),

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
    current(): string | undefined {
      try {
        return basename(readlinkSync(file('current')))
      } catch {
        return undefined
      }
    },
    use(version: string) {
      find(version, entries, 'program')
      const link = file(`current.${process.pid}`)
      rmSync(link, { force: true })
      symlinkSync(join('versions', version), link)
      renameSync(link, file('current'))
    },

    trial: () => read<Trial>('trial.json'),
    /** Uses a version until it has proven itself. */
    try(trial: Trial) {
      rmSync(file('rolled-back.json'), { force: true })
      writeWhole(file('trial.json'), JSON.stringify(trial), 0o644)
      this.use(trial.version)
    },
    confirm() {
      rmSync(file('trial.json'), { force: true })
    },
    /** Back to the version before the trial. */
    rollBack(trial: Trial, reason: string) {
      const { version, operation } = trial
      const note: RolledBack = { version, operation, reason }
      writeWhole(file('rolled-back.json'), JSON.stringify(note), 0o644)
      this.use(trial.previous)
      rmSync(file('trial.json'), { force: true })
    },
    rolledBack: () => read<RolledBack>('rolled-back.json'),

    /** How a version is started. */
    program: (version: string) => ({
      node: find(version, nodes, 'Node'),
      main: find(version, entries, 'program'),
    }),
  }
}

export function isVersion(text: string): boolean {
  return /^\d{1,5}\.\d{1,5}\.\d{1,5}(-[0-9A-Za-z.-]{1,40})?$/.test(text)
}
