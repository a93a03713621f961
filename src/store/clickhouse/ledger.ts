/**
 * Which segments are stored: a table beside the telemetry, and the same as ranges in memory. A row
 * stands for the sequences `sequence` … `through`; rows may overlap, so writing one twice is harmless.
 */
import type { Clock } from '../../lib/clock.ts'
import type { Kind } from '../../telemetry/table.ts'
import type { Client } from './client.ts'
import { createRanges, type Ranges } from './ranges.ts'
import { quote } from './statement.ts'

/** When its rows were received, milliseconds since 1970, both ends included; of no rows 0. */
export interface Received {
  fromMs: number
  toMs: number
}

/** Segments of a collector as the table has them. */
export interface StoredSegments extends Received {
  collector: string
  kind: Kind
  first: number
  last: number
  rows: number
}

/** Segments by their numbers, both ends included. */
export interface SegmentRange {
  collector: string
  kind: Kind
  first: number
  last: number
}

export interface SegmentId {
  /** The collector's UUID. */
  collector: string
  kind: Kind
  /** Never used twice by a collector for a kind. */
  sequence: number
  rows: number
}

/** Of segments: with rows that were received before `beforeMs`, and none that were after `untilMs`. */
export interface Times {
  beforeMs?: number | undefined
  untilMs: number
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
  record(id: SegmentId, received: Received): Promise<void>
  /** The same for what came otherwise than segment by segment. */
  recordAll(segments: readonly StoredSegments[]): Promise<void>
  ranges(collector: string, kind: Kind): Ranges | undefined
  collectors(): string[]
  /**
   * What the table has of these, those first that were received last. Not what it has without times,
   * from before there were any.
   */
  find(
    ranges: readonly SegmentRange[],
    options: Times & { limit: number },
  ): Promise<StoredSegments[]>
  /** All of it together; undefined: there is nothing. */
  sum(
    ranges: readonly SegmentRange[],
    times: Times,
  ): Promise<(Received & { segments: number; rows: number }) | undefined>
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
  stored DateTime64(3, 'UTC'),
  from_ms UInt64 COMMENT 'When the first of their rows was received, milliseconds since 1970.',
  to_ms UInt64 COMMENT 'When the last of them was.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(stored)
ORDER BY (collector, kind, sequence)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

const added = ['from_ms', 'to_ms']
/** Nothing much is kept for longer. */
const longAgo = 'toUnixTimestamp64Milli(now64(3) - INTERVAL 100 DAY)'

/**
 * Overlapping and adjacent rows as one.
 * @param most rows of telemetry in one: what another server lacks is copied by them
 */
const rangesOf = (condition: string, most?: number) => `
SELECT collector, kind, min(sequence) AS first, max(through) AS last, sum(rows) AS total,
  if(countIf(from_ms = 0 AND rows > 0) > 0, 0, minIf(from_ms, rows > 0)) AS fromMs,
  if(countIf(from_ms = 0 AND rows > 0) > 0, 0, max(to_ms)) AS toMs
FROM (
  SELECT *${most === undefined ? '' : `, if(to_ms < ${longAgo}, 0, intDiv(sum(rows) OVER (PARTITION BY collector, kind, number ORDER BY sequence, through), ${most})) AS part`}
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
)
GROUP BY collector, kind, number${most === undefined ? '' : ', part'}`

/** Rows of a day are left alone until no server's clock can take it for today. */
const pastDays = `toYYYYMMDD(stored) < toYYYYMMDD(now() - INTERVAL 1 DAY, 'UTC')`

/** Ranges beyond these stay in the table, where they have to be looked up. */
const maxRanges = 200_000
const loadTimeoutMs = 120_000
/** Rows of telemetry that a row of past days stands for. */
const foldedRows = 1_000_000
/** Ranges in a question. */
const mostAsked = 200

interface Pending {
  id: SegmentId
  received: Received
  resolve(): void
  reject(error: unknown): void
}

function among(
  ranges: readonly SegmentRange[],
  { beforeMs = Number.MAX_SAFE_INTEGER, untilMs }: Times,
): string {
  const asked = ranges.slice(0, mostAsked).map(
    ({ collector, first, kind, last }) =>
      `collector = ${quote(collector)} AND kind = ${quote(kind)}
       AND sequence <= ${Number(last)} AND through >= ${Number(first)}`,
  )
  return `(${asked.join(' OR ')}) AND (to_ms > 0 OR rows = 0)
    AND from_ms < ${Number(beforeMs)} AND to_ms <= ${Number(untilMs)}`
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

  const storedNow = () => new Date(clock.wall()).toISOString().slice(0, -1).replace('T', ' ')

  /** One insert for all that came while the last one ran. */
  async function write() {
    writing = true
    while (pending.length > 0) {
      const batch = pending
      pending = []
      try {
        const stored = storedNow()
        await client.insertRows(
          'segments',
          batch.map(({ id, received: { fromMs, toMs } }) => ({
            ...{ ...id, through: id.sequence, stored, from_ms: fromMs, to_ms: toMs },
          })),
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
      for (const column of added) {
        await client.command(`ALTER TABLE segments ADD COLUMN IF NOT EXISTS ${column} UInt64`)
      }
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
    record(id, received) {
      const written = new Promise<void>((resolve, reject) =>
        pending.push({ id, received, resolve, reject }),
      )
      if (!writing) void write()
      return written
    },
    async recordAll(segments) {
      if (segments.length === 0) return
      const stored = storedNow()
      await client.insertRows(
        'segments',
        segments.map(({ first, last, fromMs, toMs, ...segment }) => ({
          ...{ ...segment, sequence: first, through: last, stored, from_ms: fromMs, to_ms: toMs },
        })),
      )
      for (const { collector, first, kind, last } of segments) {
        rangesFor(collector, kind).add(first, last)
      }
    },
    ranges(collector, kind) {
      return known.get(`${collector}/${kind}`)
    },
    collectors: () => [
      ...new Set([...known.keys()].map(key => key.slice(0, key.lastIndexOf('/')))),
    ],
    async find(ranges, { limit, ...times }) {
      if (ranges.length === 0) return []
      const { rows } = await client.query<StoredSegments>(
        `SELECT collector, kind, sequence AS first, through AS last, rows,
           from_ms AS fromMs, to_ms AS toMs
         FROM segments WHERE ${among(ranges, times)}
         ORDER BY to_ms DESC, collector, first LIMIT ${Number(limit)}`,
        {},
        { maxRows: limit, timeoutMs: loadTimeoutMs },
      )
      return rows
    },
    async sum(ranges, times) {
      if (ranges.length === 0) return undefined
      const { rows } = await client.query<Received & { segments: number; rows: number }>(
        `SELECT sum(segments_) AS segments, sum(rows_) AS rows, minIf(from_ms, rows_ > 0) AS fromMs,
           max(to_ms) AS toMs
         FROM (
           SELECT through - sequence + 1 AS segments_, rows AS rows_, from_ms, to_ms
           FROM segments WHERE ${among(ranges, times)}
         )`,
        {},
        { timeoutMs: loadTimeoutMs },
      )
      return rows[0]!.segments === 0 ? undefined : rows[0]
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
        `INSERT INTO segments (collector, kind, sequence, through, rows, from_ms, to_ms, stored)
         SELECT collector, kind, first, last, total, fromMs, toMs, now64(3)
         FROM (${rangesOf(pastDays, foldedRows)})`,
      )
      for (const { day } of rows) {
        await client.command(`ALTER TABLE segments DROP PARTITION ${Number(day)}`)
      }
    },
  }
}
