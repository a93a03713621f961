/** The flow templates on disk, so that a restart is not blind until every exporter repeats them. */
import { existsSync, readFileSync, renameSync } from 'node:fs'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import { writeDurably } from './spool-folder.ts'

/** What is kept: the decoder's template store. */
export interface KeptTemplates {
  export(): object
  import(snapshot: unknown): number
  readonly version: number
}

export interface TemplatesFile {
  /** Files what the last run knew; a file that cannot be read is put aside as `<file>.damaged`. */
  load(): void
  /** The file as it is now, undefined if there is none that can be read. */
  read(): unknown
  /**
   * Writes the file if the templates have changed since; cheap to call often, never rejects.
   * @param last write in any case if they changed: there will be no later call
   */
  save(last?: boolean): Promise<void>
}

/** A snapshot is made on the main thread: at most this share of the time goes into it. */
const share = 0.02

export function createTemplatesFile(
  deps: {
    /** The store of now: another one after a takeover. */
    templates: () => KeptTemplates
    log: Log
    clock: Clock
  },
  file: string,
): TemplatesFile {
  const { log, clock } = deps
  let store = deps.templates()
  let saved = store.version
  let notBefore = Number.NEGATIVE_INFINITY
  let writing: Promise<void> | undefined

  async function write() {
    const { version } = store
    const began = clock.monotonic()
    const text = JSON.stringify(store.export())
    const now = clock.monotonic()
    notBefore = now + (now - began) / share
    try {
      await writeDurably(file, [Buffer.from(text)])
      saved = version
    } catch (error) {
      log.warn({ file, error }, 'flow templates not saved, trying again')
    }
  }

  function read(): unknown {
    if (!existsSync(file)) return undefined
    try {
      return JSON.parse(readFileSync(file, 'utf8'))
    } catch (error) {
      log.warn({ file, error }, 'flow templates cannot be read, put aside')
      renameSync(file, `${file}.damaged`)
      return undefined
    }
  }

  return {
    read,
    load() {
      const snapshot = read()
      if (snapshot === undefined) return
      const count = store.import(snapshot)
      saved = store.version
      log.info({ count }, 'flow templates of the last run loaded')
    },
    async save(last = false) {
      await writing
      if (store !== deps.templates()) {
        store = deps.templates()
        saved = Number.NaN
      }
      if (store.version === saved || (!last && clock.monotonic() < notBefore)) return
      writing = write()
      await writing
      writing = undefined
    },
  }
}
