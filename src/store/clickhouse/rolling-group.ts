/**
 * Sums up what was inserted into a group of rollups, many inserts at a time. Everything is in them
 * once, wherever it is interrupted:
 *
 *  1. The next inserts behind the marks are chosen, as many as are worth a step and no more.
 *  2. The next rows of each rollup are put together from them in a table beside it. Interrupted, this
 *     begins anew.
 *  3. It is noted that they are complete, with the new marks.
 *  4. They move into the rollups, partition by partition, and the note says so. Interrupted, what has
 *     not moved yet moves then.
 *
 * Questions add up the rollup and the flows behind the marks, and wait while rows move.
 */
import type { Clock } from '../../lib/clock.ts'
import {
  behindMarksSql,
  type Marks,
  marksParams,
  nextTable,
  type RollupGroup,
  type RollupStep,
  rollups,
  sumSql,
} from '../../telemetry/rollups.ts'
import type { Client } from './client.ts'
import { EngineUnavailable } from './errors.ts'
import { createGate } from './gate.ts'

export interface RollingGroup {
  /** Reads its marks, and completes what was interrupted. */
  prepare(): Promise<void>
  /**
   * Sums up what is worth it.
   * @param all whatever there is, though questions have to wait for it
   * @param signal ends it after the statement that is at work
   * @returns whether there may be more to do at once
   * @throws EngineUnavailable, QueryFailed, or the reason of the signal
   */
  step(all: boolean, signal: AbortSignal): Promise<boolean>
  /** A question that reads the group's rollups, with the parameters that it takes for its marks. */
  read<T>(work: (params: Record<string, unknown>) => Promise<T>): Promise<T>
}

export interface RollingGroupConfig {
  group: RollupGroup
  /** Addresses that are kept of each pair of interfaces and bucket, where only the largest are. */
  most: Record<RollupStep, number>
  /** A step when so many seconds of the clock are over, a little later. */
  everySeconds: number
  /** So many flows are worth a step at any time. */
  enoughRows: number
}

/** Flows come that much later than what they are accounted to. */
const laterSeconds = 15
/** For questions that run; those that come meanwhile wait too. */
const patienceMs = 200
/** After so many steps in vain, longer. */
const mostInVain = 12
const longPatienceMs = 60_000
const sumTimeoutMs = 600_000
const noteTimeoutMs = 60_000

/** Where the groups write down how far they are. */
export const notesTable = 'rolled'
export const notesSql = `CREATE TABLE IF NOT EXISTS ${notesTable}
(
  rollup_group String,
  complete UInt8 COMMENT '1: the next rows of all of its rollups are complete, and move.',
  marks Map(String, UInt64) COMMENT 'By partition of flow: the last insert that is in them, or in their next rows.',
  version UInt64
)
ENGINE = ReplacingMergeTree(version) ORDER BY rollup_group
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

interface Note {
  complete: boolean
  marks: Marks
}

interface Insert {
  partition: string
  block: number
  rows: number
}

export function createRollingGroup(
  deps: { client: Client; clock: Clock; onWaiting(rows: number): void },
  config: RollingGroupConfig,
): RollingGroup {
  const { client, clock } = deps
  const { group } = config
  const own = rollups.filter(rollup => rollup.group === group)
  const gate = createGate()
  let inVain = 0
  let lastPeriod: number | undefined
  /** As it was written last; undefined: it has to be read. */
  let note: Note | undefined
  let marks: Marks = new Map()
  /** Some rows have moved, and some have not. */
  let between = false

  async function partitionsOf(table: string): Promise<string[]> {
    const { rows } = await client.query<{ id: string }>(
      `SELECT DISTINCT partition_id AS id FROM system.parts
       WHERE active AND database = currentDatabase() AND table = {table:String}`,
      { table },
    )
    return rows.map(({ id }) => id)
  }

  async function readNote(): Promise<Note | undefined> {
    const { rows } = await client.query<{ complete: number; marks: Record<string, number> }>(
      `SELECT complete, marks FROM ${notesTable}
       WHERE rollup_group = {group:String} ORDER BY version DESC LIMIT 1`,
      { group },
    )
    const [row] = rows
    return row && { complete: row.complete === 1, marks: new Map(Object.entries(row.marks)) }
  }

  async function write(next: Note) {
    note = undefined
    const cells = [...next.marks].flatMap(([partition, block]) => [`'${partition}'`, block])
    await client.commandOnce(
      `INSERT INTO ${notesTable}
       SELECT '${group}', ${Number(next.complete)},
         CAST(map(${cells.join(', ')}), 'Map(String, UInt64)'), max(version) + 1
       FROM ${notesTable} WHERE rollup_group = '${group}'`,
      noteTimeoutMs,
    )
    note = next
  }

  /** What was stored before there were rollups stays out of them. */
  async function firstMarks(): Promise<Marks> {
    const { rows } = await client.query<{ partition: string; block: number }>(
      `SELECT partition_id AS partition, max(max_block_number) AS block FROM system.parts
       WHERE active AND database = currentDatabase() AND table = 'flow' GROUP BY partition_id`,
      {},
    )
    return new Map(rows.map(({ partition, block }) => [partition, block]))
  }

  async function moveIn(complete: Note, signal?: AbortSignal) {
    between = true
    for (const rollup of own) {
      for (const id of await partitionsOf(nextTable(rollup))) {
        signal?.throwIfAborted()
        await client.command(
          `ALTER TABLE ${nextTable(rollup)} MOVE PARTITION ID '${id}' TO TABLE ${rollup.name}`,
        )
      }
    }
    marks = complete.marks
    between = false
    await write({ complete: false, marks })
  }

  /** Inserts behind the marks, the days that are nearest first. */
  async function waitingInserts(): Promise<Insert[]> {
    const { rows } = await client.query<Insert>(
      `SELECT _partition_id AS partition, _block_number AS block, count() AS rows FROM flow
       WHERE ${behindMarksSql(group)}
       GROUP BY partition, block ORDER BY partition DESC, block`,
      marksParams(group, marks),
    )
    return rows
  }

  async function sumUp(inserts: readonly Insert[], signal: AbortSignal): Promise<Note> {
    const there = new Set(await partitionsOf('flow'))
    const next = new Map([...marks].filter(([partition]) => there.has(partition)))
    let rows = 0
    for (const insert of inserts) {
      if (rows >= config.enoughRows) break
      rows += insert.rows
      next.set(insert.partition, insert.block)
    }
    for (const rollup of own) {
      for (const sql of sumSql(rollup, [marks, next], config.most[rollup.step])) {
        signal.throwIfAborted()
        await client.commandOnce(sql, sumTimeoutMs)
      }
    }
    signal.throwIfAborted()
    const complete = { complete: true, marks: next }
    await write(complete)
    return complete
  }

  function period(): number {
    return Math.floor((clock.wall() / 1000 - laterSeconds) / config.everySeconds)
  }

  return {
    async prepare() {
      note = await readNote()
      if (note === undefined) await write({ complete: false, marks: await firstMarks() })
      marks = note!.marks
      if (note!.complete) await moveIn(note!)
    },
    async step(all, signal) {
      signal.throwIfAborted()
      note ??= await readNote()
      let complete = note?.complete ? note : undefined
      if (complete === undefined) {
        const inserts = await waitingInserts()
        const rows = inserts.reduce((sum, insert) => sum + insert.rows, 0)
        deps.onWaiting(rows)
        if (rows === 0) return false
        if (!all && rows < config.enoughRows && lastPeriod === period()) return false
        if (rows <= config.enoughRows) lastPeriod = period()
        complete = await sumUp(inserts, signal)
      }
      const next = complete
      const moved = await gate.change(
        () => moveIn(next, signal),
        all || inVain >= mostInVain ? longPatienceMs : patienceMs,
      )
      inVain = moved ? 0 : inVain + 1
      if (!moved && all) throw new EngineUnavailable('questions do not end')
      return moved
    },
    read: work =>
      gate.read(() => {
        if (between) throw new EngineUnavailable('traffic is being summed up')
        return work(marksParams(group, marks))
      }),
  }
}
