/**
 * Which segments are stored: a table beside the telemetry, and the same as ranges in memory. A row
 * stands for the sequences `sequence` … `through`; rows may overlap, so writing one twice is harmless.
 */
import type { Clock } from '../../lib/clock.ts'
import type { Kind } from '../../telemetry/table.ts'
import type { Client } from './client.ts'
import { createRanges, type Ranges } from './ranges.ts'

export interface SegmentId {
  /** The collector's UUID. */
  collector: string
  kind: Kind
  /** Never used twice by a collector for a kind. */
  sequence: number
  rows: number
}

export interface Ledger {
  /** Makes the table and reads it. */
  load(): Promise<void>
  has(id: SegmentId): boolean
  /** Not all ranges are in memory: what `has` does not know may yet be in the table. */
  readonly partial: boolean
  /** Looks into the table too, where others may have written. */
  lookUp(id: SegmentId): Promise<boolean>
  /** Resolves when the segment stands in the table. */
  record(id: SegmentId): Promise<void>
  ranges(collector: string, kind: Kind): Ranges | undefined
  /** Replaces the rows of past days by one for each range. */
  fold(): Promise<void>
}

const ledgerSql = `CREATE TABLE IF NOT EXISTS segments
(
  collector String,
  kind LowCardinality(String),
  sequence UInt64 COMMENT 'The first segment that the row stands for.',
  through UInt64 COMMENT 'The last one; rows of past days are folded into ranges.',
  rows UInt64 COMMENT 'Telemetry rows in them.',
  stored DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(stored)
ORDER BY (collector, kind, sequence)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

/** Overlapping and adjacent rows as one. */
const rangesOf = (condition: string) => `
SELECT collector, kind, min(sequence) AS first, max(through) AS last, sum(rows) AS total
FROM (
  SELECT *, sum(begins) OVER (PARTITION BY collector, kind ORDER BY sequence, through) AS number
  FROM (
    SELECT *, sequence > 1 + max(through) OVER (
      PARTITION BY collector, kind ORDER BY sequence, through
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS begins
    FROM segments WHERE ${condition}
  )
)
GROUP BY collector, kind, number`

/** Rows of a day are left alone until no server's clock can take it for today. */
const pastDays = `toYYYYMMDD(stored) < toYYYYMMDD(now() - INTERVAL 1 DAY, 'UTC')`

/** Ranges beyond these stay in the table, where they have to be looked up. */
const maxRanges = 200_000
const loadTimeoutMs = 120_000

interface Pending {
  id: SegmentId
  resolve(): void
  reject(error: unknown): void
}

export function createLedger(deps: { client: Client; clock: Clock }): Ledger {
  const { client, clock } = deps
  const known = new Map<string, Ranges>()
  let pending: Pending[] = []
  let writing = false
  let partial = false

  function rangesFor(collector: string, kind: string): Ranges {
    const key = `${collector}/${kind}`
    let ranges = known.get(key)
    if (ranges === undefined) {
      ranges = createRanges()
      known.set(key, ranges)
    }
    return ranges
  }

  /** One insert for all that came while the last one ran. */
  async function write() {
    writing = true
    while (pending.length > 0) {
      const batch = pending
      pending = []
      try {
        const stored = new Date(clock.wall()).toISOString().slice(0, -1).replace('T', ' ')
        await client.insertRows(
          'segments',
          batch.map(({ id }) => ({ ...id, through: id.sequence, stored })),
        )
        for (const { id, resolve } of batch) {
          rangesFor(id.collector, id.kind).add(id.sequence)
          resolve()
        }
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    writing = false
  }

  return {
    get partial() {
      return partial
    },
    async load() {
      await client.command(ledgerSql)
      const { rows, statistics } = await client.query<{
        collector: string
        kind: string
        first: number
        last: number
      }>(rangesOf('1'), {}, { maxRows: maxRanges, timeoutMs: loadTimeoutMs })
      partial = statistics.truncated
      known.clear()
      for (const row of rows) rangesFor(row.collector, row.kind).add(row.first, row.last)
    },
    has(id) {
      return known.get(`${id.collector}/${id.kind}`)?.has(id.sequence) ?? false
    },
    async lookUp(id) {
      const { rows } = await client.query(
        `SELECT 1 FROM segments WHERE collector = {collector:String} AND kind = {kind:String}
           AND sequence <= {sequence:UInt64} AND through >= {sequence:UInt64} LIMIT 1`,
        { collector: id.collector, kind: id.kind, sequence: id.sequence },
      )
      if (rows.length > 0) rangesFor(id.collector, id.kind).add(id.sequence)
      return rows.length > 0
    },
    record(id) {
      const written = new Promise<void>((resolve, reject) => pending.push({ id, resolve, reject }))
      if (!writing) void write()
      return written
    },
    ranges(collector, kind) {
      return known.get(`${collector}/${kind}`)
    },
    async fold() {
      const { rows } = await client.query<{ day: string }>(
        `SELECT DISTINCT partition AS day FROM system.parts
         WHERE active AND database = currentDatabase() AND table = 'segments'
           AND toUInt32(partition) < toYYYYMMDD(now() - INTERVAL 1 DAY, 'UTC')`,
        {},
      )
      if (rows.length === 0) return
      await client.command(
        `INSERT INTO segments (collector, kind, sequence, through, rows, stored)
         SELECT collector, kind, first, last, total, now64(3) FROM (${rangesOf(pastDays)})`,
      )
      for (const { day } of rows) {
        await client.command(`ALTER TABLE segments DROP PARTITION ${Number(day)}`)
      }
    },
  }
}
