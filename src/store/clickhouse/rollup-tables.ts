/**
 * The rollups in the engine. What was stored before a rollup was made is not in it, so the time from
 * which on it has everything is kept with it.
 */
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import { codecsSql } from '../../telemetry/ddl.ts'
import {
  createRollupSql,
  type Rollup,
  type RollupStep,
  rollupColumns,
  rollups,
  workTables,
} from '../../telemetry/rollups.ts'
import type { Client } from './client.ts'
import type { Present } from './present.ts'

export interface RollupTables {
  /** Makes those that are missing, and reads since when each is whole. */
  prepare(present: Present): Promise<void>
  /** Since when a rollup has all traffic, seconds since 1970; undefined while there is none. */
  keptSince(name: string): number | undefined
}

const sinceSql = `CREATE TABLE IF NOT EXISTS rollups
(
  name String,
  since UInt32 COMMENT 'From here on it has all traffic, in seconds since 1970.'
)
ENGINE = MergeTree ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

/** A flow may be accounted so much later than it is received. */
const aheadSeconds = 120

export function createRollupTables(
  deps: { client: Client; clock: Clock; log: Log },
  config: { keepDays: Record<RollupStep, number> },
): RollupTables {
  const { client, clock, log } = deps
  const whole = new Map<string, number>()

  async function readSince() {
    const { rows } = await client.query<{ name: string; since: number }>(
      'SELECT name, max(since) AS since FROM rollups GROUP BY name',
      {},
    )
    for (const { name, since } of rows) whole.set(name, since)
  }

  async function prepareOne(rollup: Rollup, { tables, columns }: Present) {
    const days = config.keepDays[rollup.step]
    for (const name of [...workTables(rollup), rollup.name]) {
      const codecs = codecsSql(name, rollupColumns(rollup), columns.get(name) ?? new Map())
      if (codecs !== undefined) await client.command(codecs)
    }
    for (const name of workTables(rollup)) {
      if (!tables.has(name)) await client.command(createRollupSql(rollup, name))
    }
    const present = tables.get(rollup.name)
    if (present === undefined) await client.command(createRollupSql(rollup, rollup.name, days))
    else if (!present.includes(`toIntervalDay(${days})`)) {
      await client.command(
        `ALTER TABLE ${rollup.name} MODIFY TTL time + INTERVAL ${days} DAY
         SETTINGS materialize_ttl_after_modify = 0`,
      )
    }
  }

  return {
    async prepare(present) {
      const { tables } = present
      if (!tables.has('rollups')) await client.command(sinceSql)
      await readSince()
      await Promise.all(rollups.map(rollup => prepareOne(rollup, present)))
      const { rows } = await client.query<{ any: number }>('SELECT 1 AS any FROM flow LIMIT 1', {})
      const since = rows.length === 0 ? 0 : Math.ceil(clock.wall() / 1000) + aheadSeconds
      const made = rollups.filter(({ name }) => !whole.has(name))
      if (made.length === 0) return
      await client.insertRows(
        'rollups',
        made.map(({ name }) => ({ name, since })),
      )
      for (const { name } of made) whole.set(name, since)
      log.info({ rollups: made.length, since }, 'made rollups')
    },
    keptSince(name) {
      const since = whole.get(name)
      const rollup = rollups.find(one => one.name === name)
      if (since === undefined || rollup === undefined) return undefined
      return Math.max(since, clock.wall() / 1000 - config.keepDays[rollup.step] * 86_400)
    },
  }
}
