import type { Queries, Tx } from './database.ts'

/** As the exporter calls it. */
export interface NamedInterface {
  index: number
  name: string
  alias: string
  /** Bits per second, 0 if it is not said. */
  speed: number
}

export interface ExporterInterfaces {
  exporter: string
  interfaces: NamedInterface[]
  changedAt: Date
}

export interface Interfaces {
  list(): Promise<ExporterInterfaces[]>
  /** Of one exporter; none if it has not said any. */
  find(exporter: string): Promise<NamedInterface[]>
  /** Rises with each change. */
  version(): Promise<string>
  /** What is the same as before is not written. */
  save(tx: Tx, exporter: string, interfaces: readonly NamedInterface[]): Promise<void>
}

export function createInterfaces(deps: { database: Queries }): Interfaces {
  const { database } = deps
  return {
    list: () =>
      database.query<ExporterInterfaces>(
        `SELECT host(exporter) AS exporter, entries AS interfaces, changed_at AS "changedAt"
         FROM interfaces ORDER BY interfaces.exporter`,
      ),

    async find(exporter) {
      const [row] = await database.query<Pick<ExporterInterfaces, 'interfaces'>>(
        'SELECT entries AS interfaces FROM interfaces WHERE exporter = $1',
        [exporter],
      )
      return row?.interfaces ?? []
    },

    async version() {
      const [row] = await database.query<{ version: string }>(
        `SELECT concat(count(*), ' ', max(changed_at)) AS version FROM interfaces`,
      )
      return row!.version
    },

    async save(tx, exporter, interfaces) {
      await tx.query(
        `INSERT INTO interfaces AS old (exporter, entries) VALUES ($1, $2)
         ON CONFLICT (exporter) DO UPDATE SET entries = $2, changed_at = clock_timestamp()
         WHERE old.entries IS DISTINCT FROM EXCLUDED.entries`,
        [exporter, JSON.stringify(interfaces)],
      )
    },
  }
}
