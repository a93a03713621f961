import type { Queries, Tx } from './database.ts'

/** What a person says of an exporter of flows. */
export interface ExporterSettings {
  address: string
  /** Packets of which it looks at one, whatever it says itself. */
  sampling: number
  changedAt: Date
  changedBy: string
}

export interface Exporters {
  list(): Promise<ExporterSettings[]>
  /** @param sampling null: what the exporter says holds again */
  setSampling(tx: Tx, address: string, sampling: number | null): Promise<void>
}

export function createExporters(deps: { database: Queries }): Exporters {
  return {
    list: () =>
      deps.database.query<ExporterSettings>(
        `SELECT host(address) AS address, sampling, changed_at AS "changedAt",
           changed_by AS "changedBy"
         FROM exporters ORDER BY exporters.address`,
      ),

    async setSampling(tx, address, sampling) {
      if (sampling === null) {
        await tx.query('DELETE FROM exporters WHERE address = $1', [address])
        return
      }
      await tx.query(
        `INSERT INTO exporters (address, sampling, changed_by) VALUES ($1, $2, $3)
         ON CONFLICT (address) DO UPDATE
         SET sampling = $2, changed_at = clock_timestamp(), changed_by = $3`,
        [address, sampling, tx.who],
      )
    },
  }
}
