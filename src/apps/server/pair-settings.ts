import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PairSettings, pairSettings } from '../../api/contract/setup.ts'
import type { Component } from '../../lib/component.ts'
import { writeWhole } from '../../lib/files.ts'
import type { Tally } from '../../lib/tally.ts'
import type { StoredPairSettings } from '../../store/postgres/pair-settings.ts'
import { keyFor, open, seal } from '../../store/postgres/sealed.ts'

export interface KnownPairSettings {
  settings: PairSettings
  secrets: StoredPairSettings['secrets']
  version: number
}

/** What people have set for both servers, as this one last read it; also while the database is away. */
export interface PairSettingsWatch extends Component {
  current(): KnownPairSettings
  /** Reads now; for who has just changed them. */
  refresh(): Promise<void>
}

const everyMs = 2000
const boundTo = 'pair-settings.json'

/**
 * Reads the settings again and again, and keeps a copy on disk, because a server has to know which
 * addresses a crash may have left behind before it reaches the database.
 *
 * @param config.key the deployment's: the copy is encrypted, for the secrets that are in it
 */
export function createPairSettingsWatch(
  deps: {
    read(): Promise<StoredPairSettings | undefined>
    /** Called before the first is known to be current, and at each change. */
    apply(known: KnownPairSettings): Promise<void> | void
    tally: Pick<Tally<'pair-settings'>, 'count'>
  },
  config: { dataDir: string; key: Buffer },
): PairSettingsWatch {
  const file = join(config.dataDir, boundTo)
  const key = keyFor('pair-settings-copy', config.key)
  let known: KnownPairSettings = { settings: pairSettings.parse({}), secrets: {}, version: 0 }
  let timer: NodeJS.Timeout | undefined
  let refreshing: Promise<void> | undefined

  async function look() {
    try {
      const stored = await deps.read()
      if (stored === undefined || stored.version === known.version) return
      const { secrets, version } = stored
      known = { settings: pairSettings.parse(stored.settings), secrets, version }
      remember()
      await deps.apply(known)
    } catch (error) {
      deps.tally.count('pair-settings', () => ({ error: (error as Error).message }))
    }
  }

  function refresh(): Promise<void> {
    refreshing ??= look().finally(() => {
      refreshing = undefined
    })
    return refreshing
  }

  function remember() {
    const text = seal(key, boundTo, Buffer.from(JSON.stringify(known))).toString('base64')
    writeWhole(file, `${text}\n`, 0o600)
  }

  function recall() {
    if (!existsSync(file)) return
    try {
      const sealed = Buffer.from(readFileSync(file, 'utf8'), 'base64')
      const { settings, ...rest } = JSON.parse(open(key, boundTo, sealed, file).toString())
      known = { ...rest, settings: pairSettings.parse(settings) }
    } catch (error) {
      // The database has them.
      deps.tally.count('pair-settings', () => ({ error: (error as Error).message }))
    }
  }

  return {
    current: () => known,

    async refresh() {
      await refreshing
      await refresh()
    },

    async start() {
      recall()
      await deps.apply(known)
      await refresh()
      timer = setInterval(refresh, everyMs)
    },

    async stop() {
      clearInterval(timer)
      await refreshing
    },
  }
}
