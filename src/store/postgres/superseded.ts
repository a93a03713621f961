import type { Queries, Tx } from './database.ts'

export type SupersededKind = 'flow' | 'syslog' | 'trap'

/** Segments of a collector that are not to be stored: the other server took in what is in them. */
export interface SupersededRange {
  collector: string
  kind: SupersededKind
  firstSequence: number
  /** Null: all from the first on, until the range is closed. */
  lastSequence: number | null
}

export interface Superseded {
  /** A second time with the same beginning: changes its end. */
  add(tx: Tx, range: SupersededRange): Promise<void>
  /** Of one collector, by kind and sequence. */
  list(collector: string): Promise<SupersededRange[]>
}

export function createSuperseded(deps: { database: Queries }): Superseded {
  return {
    async add(tx, { collector, kind, firstSequence, lastSequence }) {
      if (lastSequence !== null && lastSequence < firstSequence) {
        throw new Error(`segments ${firstSequence} to ${lastSequence} are no range`)
      }
      await tx.query(
        `INSERT INTO superseded (collector, kind, first_sequence, last_sequence, term)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (collector, kind, first_sequence) DO UPDATE
           SET (last_sequence, term) = (excluded.last_sequence, excluded.term)`,
        [collector, kind, firstSequence, lastSequence, tx.term],
      )
    },

    list: collector =>
      deps.database.query<SupersededRange>(
        `SELECT collector, kind, first_sequence AS "firstSequence", last_sequence AS "lastSequence"
         FROM superseded WHERE collector = $1 ORDER BY kind, first_sequence`,
        [collector],
      ),
  }
}
