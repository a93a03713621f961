/**
 * Sums up what was inserted into the rollups, many inserts at a time. Everything is in them once,
 * wherever it is interrupted:
 *
 *  1. What is in the recent table moves to the rolling one.
 *  2. From there the next rows of each rollup are put together in a table beside it. Interrupted,
 *     this begins anew.
 *  3. It is noted that they are complete.
 *  4. They move into the rollups, partition by partition, the rolling table is emptied, and the note
 *     taken back. Interrupted, what has not moved yet moves then.
 *
 * Questions add up the rollup, the rolling table and the recent one, and wait while anything moves
 * between them.
 */
import { Gauge } from 'prom-client'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { within } from '../../lib/within.ts'
import { nextTable, recentTables, rollups, sumSql } from '../../telemetry/rollups.ts'
import type { Client } from './client.ts'
import { createGate } from './gate.ts'
import type { Present } from './present.ts'

export interface Rolling {
  /** Makes the note's table, and completes what was interrupted. */
  prepare(present: Present): Promise<void>
  start(): void
  stop(): Promise<void>
  /** A question that reads a rollup. */
  read<T>(work: () => Promise<T>): Promise<T>
  /** Sums up everything that is there now. @throws EngineUnavailable, QueryFailed */
  catchUp(): Promise<void>
}

const everyMs = 5000
/** So many rows are worth the work; fewer wait for more, but not longer. */
const enoughRows = 2_000_000
const longestSeconds = 60
/** For questions that run; those that come meanwhile wait too. */
const patienceMs = 200
/** After so many steps in vain, longer. */
const mostInVain = 12
const longPatienceMs = 60_000
const sumTimeoutMs = 600_000
const noteTimeoutMs = 60_000
const stopMs = 5000

const [recent, rolling] = recentTables
const noteSql = `CREATE TABLE IF NOT EXISTS rolling_note
(
  one UInt8,
  complete UInt8 COMMENT '1: the next rows of all rollups are complete.',
  version UInt64
)
ENGINE = ReplacingMergeTree(version) ORDER BY one
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

export function createRolling(deps: { client: Client; log: Log; metrics: Metrics }): Rolling {
  const { client, log } = deps
  const gate = createGate()
  let timer: NodeJS.Timeout | undefined
  let stepping: Promise<void> = Promise.resolve()
  let inVain = 0
  /** As the note says; undefined: it has to be read. */
  let complete: boolean | undefined
  let waitingRows = 0
  new Gauge({
    name: 'keepwatch_store_rows_to_roll_up',
    help: 'Flows that are stored and not in the rollups yet.',
    registers: [deps.metrics],
    collect() {
      this.set(waitingRows)
    },
  })

  async function partitionsOf(table: string) {
    const { rows } = await client.query<{ id: string; rows: number; age: number }>(
      `SELECT partition_id AS id, sum(rows) AS rows, dateDiff('second', min(modification_time), now()) AS age
       FROM system.parts
       WHERE active AND database = currentDatabase() AND table = {table:String}
       GROUP BY partition_id`,
      { table },
    )
    return rows
  }

  async function moveAll(from: string, to: string) {
    for (const { id } of await partitionsOf(from)) {
      await client.command(`ALTER TABLE ${from} MOVE PARTITION ID '${id}' TO TABLE ${to}`)
    }
  }

  async function readNote(): Promise<boolean> {
    const { rows } = await client.query<{ complete: number }>(
      'SELECT argMax(complete, version) AS complete FROM rolling_note',
      {},
    )
    return rows[0]?.complete === 1
  }

  async function note(value: boolean) {
    complete = undefined
    await client.commandOnce(
      `INSERT INTO rolling_note SELECT 1, ${Number(value)}, max(version) + 1 FROM rolling_note`,
      noteTimeoutMs,
    )
    complete = value
  }

  async function moveIn() {
    for (const rollup of rollups) await moveAll(nextTable(rollup), rollup.name)
    await client.command(`TRUNCATE TABLE ${rolling}`)
    await note(false)
  }

  /** @returns false if questions were not through in time: nothing has moved */
  async function change(work: () => Promise<void>): Promise<boolean> {
    const done = await gate.change(work, inVain < mostInVain ? patienceMs : longPatienceMs)
    inVain = done ? 0 : inVain + 1
    return done
  }

  /** What is in the rolling table into the rollups. */
  async function roll(): Promise<boolean> {
    complete ??= await readNote()
    if (!complete) {
      if ((await partitionsOf(rolling)).length === 0) return true
      for (const rollup of rollups) {
        await client.command(`TRUNCATE TABLE ${nextTable(rollup)}`)
        await client.commandOnce(sumSql(rollup), sumTimeoutMs)
      }
      await note(true)
    }
    return change(moveIn)
  }

  async function step(all: boolean) {
    if (!(await roll())) return
    const [waiting] = await partitionsOf(recent)
    waitingRows = waiting?.rows ?? 0
    if (waiting === undefined) return
    if (!all && waiting.rows < enoughRows && waiting.age < longestSeconds) return
    if (await change(() => moveAll(recent, rolling))) await roll()
  }

  /** One at a time. */
  function stepInTurn(all: boolean): Promise<void> {
    const result = stepping.then(() => step(all))
    stepping = result.catch(() => {})
    return result
  }

  function tick() {
    void stepInTurn(false)
      .catch((error: Error) => log.warn({ error: error.message }, 'traffic could not be summed up'))
      .finally(() => {
        if (timer !== undefined) timer = setTimeout(tick, everyMs)
      })
  }

  return {
    async prepare({ tables }) {
      if (!tables.has('rolling_note')) await client.command(noteSql)
      complete = await readNote()
      if (complete) await moveIn()
    },
    start() {
      timer = setTimeout(tick, everyMs)
    },
    async stop() {
      clearTimeout(timer)
      timer = undefined
      // Interrupted, it is completed or begun anew by the next start.
      await within(stopMs, stepping)
    },
    read: work => gate.read(work),
    catchUp: () => stepInTurn(true),
  }
}
