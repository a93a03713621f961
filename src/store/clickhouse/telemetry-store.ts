/**
 * The telemetry in the engine: takes segments in, each exactly once, and answers questions.
 *
 * A segment's rows go in first, with its identity as the deduplication token, then its row in the
 * ledger. What was interrupted between the two is delivered again and dropped by the token.
 */
import { Counter, Histogram } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import {
  addColumnSql,
  addDerivedSql,
  codecsSql,
  createTableSql,
  insertSql,
  settingsSql,
} from '../../telemetry/ddl.ts'
import { receivedIn } from '../../telemetry/receipt.ts'
import { type RollupStep, rollupSteps } from '../../telemetry/rollups.ts'
import { type ColumnRun, readRuns } from '../../telemetry/runs.ts'
import { type Column, type Kind, kinds, ofEachKind, type Table } from '../../telemetry/table.ts'
import { tables } from '../../telemetry/tables.ts'
import { createEngineClient, type QueryOptions, type QueryStatistics } from './client.ts'
import type { Connection } from './connection.ts'
import { EngineUnavailable, SegmentRefused } from './errors.ts'
import { createHistory, type History } from './history.ts'
import { createHolds } from './holds.ts'
import { createLedger, type SegmentId } from './ledger.ts'
import { createLookups, type Geo, type GeoList, type Lookups, type Names } from './lookups.ts'
import { type Present, readPresent } from './present.ts'
import { createRolling } from './rolling.ts'
import { createRollupTables } from './rollup-tables.ts'

export interface TelemetryStore extends Component {
  /**
   * Stores a segment once. The same one delivered at the same time is one insert.
   * @param packed the same block compressed with zstd: it travels to the engine as it is
   * @throws SegmentRefused if it never can be stored, EngineUnavailable if it may be later
   */
  insertSegment(
    id: SegmentId,
    native: Uint8Array,
    packed?: Uint8Array,
  ): Promise<'stored' | 'duplicate'>
  /**
   * The segments it has of a collector as ranges in rising order, both ends included. There may be
   * more, where several servers write to one engine or where there are very many gaps.
   */
  received(collector: string): Promise<Record<Kind, [number, number][]>>
  /** @throws QueryFailed, EngineUnavailable, or the reason of the signal */
  query<T>(
    sql: string,
    params?: Record<string, unknown>,
    options?: QueryOptions,
  ): Promise<{ rows: T[]; statistics: QueryStatistics }>
  /** How many rows the question would read, by the engine's index. */
  estimate(sql: string, params?: Record<string, unknown>): Promise<number>
  /** How far questions are whose tags begin so; undefined: none runs. */
  progress(tag: string): Promise<Progress | undefined>
  /** Whether it has started and the engine answered last time. */
  ready(): boolean
  /** Names that questions look up, instead of those of before. @throws EngineUnavailable */
  fillNames(names: Names): Promise<void>
  /** The same for what is known of public addresses. */
  fillGeo(geo: Geo): Promise<void>
  geoVersion(list: GeoList): Promise<string | undefined>
  /** Sums up into the rollups what is stored now. */
  rollUp(): Promise<void>
  /** What it has that another lacks, and how it gets what it lacks itself. */
  readonly history: History
  /** Since when a table has everything, seconds since 1970; undefined: it cannot be asked. */
  keptSince(table: string): number | undefined
}

export interface Progress {
  rowsRead: number
  /** That are to be read in all, as far as the engine knows. */
  rowsTotal: number
  elapsedMs: number
}

export interface TelemetryStoreConfig {
  /** Days that rows are kept, where that differs from the column table. */
  keepDays?: Partial<Record<Kind, number>>
  /** The same for rollups, by the seconds of a bucket. */
  keepRollupDays?: Partial<Record<RollupStep, number>>
  /** Addresses that are kept of each pair of interfaces and bucket, by the seconds of a bucket. */
  mostAddresses?: Partial<Record<RollupStep, number>>
  /** Other servers write to the same engine, so the ledger in memory is not all there is. */
  shared?: boolean
}

const database = 'keepwatch'
/** Inserts at the same time; the rest of the engine's sessions are for questions. */
const maxInserts = 2
/** Segments in memory that wait for their insert. */
const maxWaiting = 64
/** Ranges in an answer. */
const maxListed = 10_000
const reloadMs = 2000
const foldEveryMs = 6 * 3600 * 1000
const usualRollupDays = ofEachStep(({ keepDays }) => keepDays)
const usualMost = ofEachStep(({ mostAddresses }) => mostAddresses)
const collectorForm = /^[0-9a-zA-Z._-]{1,100}$/

export function createTelemetryStore(
  deps: { connection: Connection; log: Log; metrics: Metrics; clock: Clock },
  config: TelemetryStoreConfig = {},
): TelemetryStore {
  const { log, clock } = deps
  const client = createEngineClient(deps, { database })
  const ledger = createLedger({ client, clock })
  const holds = createHolds(clock.wall())
  const history = createHistory({ client, ledger, holds })
  const lookups = createLookups({ client })
  const rollups = createRollupTables(
    { client, clock, log },
    { keepDays: { ...usualRollupDays, ...config.keepRollupDays } },
  )
  const announced = createReload(lookups, log)
  const rolling = createRolling(
    { client, log, metrics: deps.metrics, clock, busy: () => waiting.length > 0 },
    { mostAddresses: { ...usualMost, ...config.mostAddresses } },
  )
  const underway = new Map<string, Promise<unknown>>()
  const waiting: (() => void)[] = []
  let inserting = 0
  let started = false
  let folding: NodeJS.Timeout | undefined

  const segments = new Counter({
    name: 'keepwatch_store_segments_total',
    help: 'Segments handed to the store by outcome.',
    labelNames: ['kind', 'outcome'],
    registers: [deps.metrics],
  })
  const rows = new Counter({
    name: 'keepwatch_store_rows_total',
    help: 'Telemetry rows stored.',
    labelNames: ['kind'],
    registers: [deps.metrics],
  })
  const seconds = new Histogram({
    name: 'keepwatch_store_insert_seconds',
    help: 'Time to store a segment, ledger included.',
    buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10],
    registers: [deps.metrics],
  })

  async function prepareTables() {
    const bare = createEngineClient(deps, { database: 'default' })
    try {
      await bare.command(`CREATE DATABASE IF NOT EXISTS ${database}`)
    } finally {
      await bare.close()
    }
    const present = await readPresent(client)
    await Promise.all(kinds.map(kind => prepareTable(kind, present)))
    await rollups.prepare(present)
    await Promise.all([rolling.prepare(present), lookups.prepare(present)])
  }

  async function prepareTable(kind: Kind, present: Present) {
    const table: Table = tables[kind]
    const keepDays = config.keepDays?.[kind] ?? table.keepDays
    const made = present.tables.get(kind)
    if (made === undefined) return client.command(createTableSql(table, { keepDays }))
    const columns = present.columns.get(kind)!
    await addMissingColumns(table, columns)
    const changes = [settingsSql(table, made), codecsSql(kind, table.columns, columns)]
    for (const sql of changes) if (sql !== undefined) await client.command(sql)
    if (made.includes(`toIntervalDay(${keepDays})`)) return
    // Whole parts are dropped as they expire, so the parts that exist need not be rewritten.
    await client.command(
      `ALTER TABLE ${kind} MODIFY TTL toDateTime(${table.columns[0]!.name}) + INTERVAL ${keepDays} DAY
       SETTINGS materialize_ttl_after_modify = 0`,
    )
  }

  async function addMissingColumns(table: Table, names: ReadonlyMap<string, unknown>) {
    for (const column of table.columns as readonly Column[]) {
      if (names.has(column.name)) continue
      await client.command(addColumnSql(table, column))
      log.info({ kind: table.kind, column: column.name }, 'added a column to the engine’s table')
    }
    for (const column of table.derived ?? []) {
      if (!names.has(column.name)) await client.command(addDerivedSql(table, column))
    }
  }

  async function inPlace<T>(work: () => Promise<T>): Promise<T> {
    await takePlace()
    try {
      return await work()
    } finally {
      leavePlace()
    }
  }

  /** Waits for one of the few places of inserts. @throws EngineUnavailable if too many wait */
  async function takePlace() {
    if (inserting < maxInserts) {
      inserting++
      return
    }
    if (waiting.length >= maxWaiting) throw new EngineUnavailable('too many segments are waiting')
    await new Promise<void>(resolve => waiting.push(resolve))
  }

  function leavePlace() {
    const next = waiting.shift()
    if (next) next()
    else inserting--
  }

  async function insert(
    id: SegmentId,
    native: Uint8Array,
    packed: Uint8Array | undefined,
  ): Promise<'stored' | 'duplicate'> {
    const { received, runs } = check(id, native)
    const span = { kind: id.kind, ...received }
    const record = () => ledger.record(id, received)
    let before = clock.monotonic()
    const insertInto = (table: string) =>
      inPlace(async () => {
        before = clock.monotonic()
        const block = packed === undefined ? { native } : { zstd: packed }
        await client.insertNative(insertSql(tables[id.kind], runs, table), block, tokenOf(id))
      })
    if (config.shared || ledger.partial) {
      if (await inPlace(() => ledger.lookUp(id))) return 'duplicate'
    }
    if (id.rows > 0 && history.mayBePartly(id)) await history.add(span, insertInto, record)
    else {
      await holds.insert(span, async () => {
        if (id.rows > 0) await insertInto(id.kind)
        await record()
      })
    }
    if (id.kind === 'name') announced.changed()
    rows.inc({ kind: id.kind }, id.rows)
    seconds.observe((clock.monotonic() - before) / 1000)
    return 'stored'
  }

  function daysAgo(days: number): number {
    return Math.floor(clock.wall() / 1000) - days * 86_400
  }

  async function fold() {
    await ledger.fold().catch((error: Error) => {
      log.warn({ error: error.message }, 'the ledger of segments could not be folded')
    })
  }

  return {
    async start() {
      if (started) throw new Error('the telemetry store has been started already')
      await prepareTables()
      await ledger.load()
      await history.prepare()
      await fold()
      folding = setInterval(() => void fold(), foldEveryMs)
      rolling.start()
      started = true
    },
    async stop() {
      started = false
      clearInterval(folding)
      await announced.stop()
      await Promise.allSettled(underway.values())
      await rolling.stop()
      await client.close()
    },
    async insertSegment(id, native, packed) {
      if (!started) throw notStarted()
      const token = tokenOf(id)
      const same = underway.get(token)
      try {
        if (same !== undefined) await same
        let outcome: 'stored' | 'duplicate' = 'duplicate'
        if (same === undefined && !ledger.has(id)) {
          const inserted = insert(id, native, packed)
          underway.set(token, inserted)
          outcome = await inserted.finally(() => underway.delete(token))
        }
        segments.inc({ kind: id.kind, outcome })
        return outcome
      } catch (error) {
        const outcome = error instanceof SegmentRefused ? 'refused' : 'failed'
        segments.inc({ kind: kinds.includes(id.kind) ? id.kind : 'unknown', outcome })
        throw error instanceof SegmentRefused || error instanceof EngineUnavailable
          ? error
          : new EngineUnavailable((error as Error).message, { cause: error })
      }
    },
    async received(collector) {
      if (!started) throw notStarted()
      const of = (kind: Kind) => ledger.ranges(collector, kind)?.list(maxListed) ?? []
      return ofEachKind(of)
    },
    async query<T>(sql: string, params = {}, options = {}) {
      if (!started) throw notStarted()
      return rolling.read(sql, params, all => client.query<T>(sql, all, options))
    },
    async estimate(sql, params = {}) {
      if (!started) throw notStarted()
      const { rows: read } = await rolling.read(sql, params, all =>
        client.query<{ rows: number }>(`EXPLAIN ESTIMATE ${sql}`, all),
      )
      return read.reduce((sum, { rows }) => sum + Number(rows), 0)
    },
    async progress(tag) {
      if (!started) throw notStarted()
      const { rows: found } = await client.query<Progress & { queries: number }>(
        `SELECT count() AS queries, sum(read_rows) AS rowsRead, max(elapsed) * 1000 AS elapsedMs,
           sum(greatest(total_rows_approx, read_rows)) AS rowsTotal
         FROM system.processes WHERE startsWith(Settings['log_comment'], {tag:String})`,
        { tag },
      )
      const { queries, ...progress } = found[0]!
      return queries === 0 ? undefined : progress
    },
    ready: () => started && client.reachable,
    async fillNames(names) {
      if (!started) throw notStarted()
      await lookups.fill(names)
    },
    async fillGeo(geo) {
      if (!started) throw notStarted()
      await lookups.fillGeo(geo)
    },
    async geoVersion(list) {
      if (!started) throw notStarted()
      return lookups.geoVersion(list)
    },
    history,
    rollUp: () => rolling.catchUp(),
    keptSince(table) {
      if (!started) return undefined
      const kind = kinds.find(one => one === table)
      if (kind === undefined) return rollups.keptSince(table)
      return daysAgo(config.keepDays?.[kind] ?? tables[kind].keepDays)
    },
  }
}

function ofEachStep<T>(of: (step: (typeof rollupSteps)[number]) => T): Record<RollupStep, T> {
  return Object.fromEntries(rollupSteps.map(each => [each.step, of(each)])) as Record<RollupStep, T>
}

/** What exporters call things is looked up anew soon after they have said something, not at once for each. */
function createReload({ reloadAnnounced }: Pick<Lookups, 'reloadAnnounced'>, log: Log) {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  return {
    changed() {
      timer ??= setTimeout(() => {
        timer = undefined
        running = reloadAnnounced().catch((error: Error) =>
          log.warn(
            { error: error.message },
            'names that exporters say could not be looked up anew',
          ),
        )
      }, reloadMs)
    },
    async stop() {
      clearTimeout(timer)
      await running
    },
  }
}

function notStarted(): EngineUnavailable {
  return new EngineUnavailable('the telemetry store has not been started')
}

function tokenOf(id: SegmentId): string {
  return `${id.collector}/${id.kind}/${id.sequence}`
}

/**
 * What is in the block.
 * @throws SegmentRefused if this is not one whole block of its table, as its identity says
 */
function check(
  id: SegmentId,
  native: Uint8Array,
): { runs: ColumnRun[]; received: { fromMs: number; toMs: number } } {
  const refuse = (why: string) => new SegmentRefused(`segment ${tokenOf(id)}: ${why}`)
  if (!kinds.includes(id.kind)) throw refuse('there is no such kind')
  if (!collectorForm.test(id.collector)) throw refuse('that is no name of a collector')
  if (!Number.isSafeInteger(id.sequence) || id.sequence < 0) {
    throw refuse('that is no sequence')
  }
  const table: Table = tables[id.kind]
  let block: ReturnType<typeof readRuns>
  let received: ReturnType<typeof receivedIn>
  try {
    block = readRuns(native, table)
    received = receivedIn(table, block.rows, block.runs)
  } catch (error) {
    throw refuse((error as Error).message)
  }
  if (block.rows !== id.rows) throw refuse(`it has ${block.rows} rows and not ${id.rows}`)
  return { runs: block.runs, received }
}
