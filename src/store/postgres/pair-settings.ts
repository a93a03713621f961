import { Conflict } from '../../lib/errors.ts'
import type { Queries, Tx } from './database.ts'
import { keyFor, open, seal } from './sealed.ts'

export type PairSecretName = 'smtpPassword' | 'tsigSecret' | 'webhookSecret'

/** What was set for both servers. The form of `settings` is the contract's, not the store's. */
export interface StoredPairSettings {
  settings: unknown
  secrets: Partial<Record<PairSecretName, string>>
  /** Rises by one with each change. */
  version: number
  changedAt: Date
  changedBy: string
}

export interface PairSettingsStore {
  /** Undefined: nobody has set anything yet. */
  read(): Promise<StoredPairSettings | undefined>
  /**
   * @param change.version that was read, 0 if there was none
   * @param change.secrets what is not named stays; null removes
   * @throws Conflict on `pair_settings_version` if somebody changed them since
   */
  write(
    tx: Tx,
    change: {
      settings: unknown
      secrets?: Partial<Record<PairSecretName, string | null | undefined>> | undefined
      version: number
    },
  ): Promise<StoredPairSettings>
}

interface Row {
  settings: unknown
  secrets: Buffer | null
  version: number
  changedAt: Date
  changedBy: string
}

const columns = 'settings, secrets, version, changed_at AS "changedAt", changed_by AS "changedBy"'
const boundTo = 'pair_settings'

/** @param config.key the deployment's key, 32 bytes */
export function createPairSettings(
  deps: { database: Queries },
  config: { key: Buffer },
): PairSettingsStore {
  const key = keyFor('pair-settings', config.key)

  const opened = ({ secrets, ...row }: Row): StoredPairSettings => ({
    ...row,
    secrets: secrets
      ? JSON.parse(open(key, boundTo, secrets, 'what is secret of the pair’s settings').toString())
      : {},
  })

  async function find(from: Queries, lock = ''): Promise<StoredPairSettings | undefined> {
    const [row] = await from.query<Row>(`SELECT ${columns} FROM pair_settings ${lock}`)
    return row && opened(row)
  }

  return {
    read: () => find(deps.database),

    async write(tx, { settings, secrets: changes = {}, version }) {
      const known = await find(tx, 'FOR UPDATE')
      const secrets = merged(known?.secrets ?? {}, changes)
      const params = [
        JSON.stringify(settings),
        Object.keys(secrets).length > 0
          ? seal(key, boundTo, Buffer.from(JSON.stringify(secrets)))
          : null,
        version + 1,
        tx.who,
      ]
      const [written] =
        (known?.version ?? 0) !== version
          ? []
          : await tx.query<Row>(
              known
                ? `UPDATE pair_settings SET (settings, secrets, version, changed_at, changed_by)
                   = ($1, $2, $3, clock_timestamp(), $4) RETURNING ${columns}`
                : `INSERT INTO pair_settings (settings, secrets, version, changed_by)
                   VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING ${columns}`,
              params,
            )
      if (!written) {
        throw new Conflict(
          'somebody else has changed the settings of the pair meanwhile: read them again',
          'pair_settings_version',
        )
      }
      return opened(written)
    },
  }
}

function merged(
  known: StoredPairSettings['secrets'],
  changes: Partial<Record<PairSecretName, string | null | undefined>>,
): StoredPairSettings['secrets'] {
  const result = { ...known }
  for (const [name, value] of Object.entries(changes) as [PairSecretName, string | null][]) {
    if (value === null) delete result[name]
    else if (value !== undefined) result[name] = value
  }
  return result
}
