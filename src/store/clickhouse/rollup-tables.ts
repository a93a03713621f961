/**
 * The rollups in the engine. What was stored before a rollup was made is not in it, so the time from
 * which on it has everything is kept with it.
 */
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import {
  createFeedSql,
  createRecentSql,
  createRollupSql,
  type RollupStep,
  recentTables,
  rollups,
} from '../../telemetry/rollups.ts'
import type { Client } from './client.ts'

export interface RollupTables {
  /** Makes those that are missing, with what feeds them, and reads since when each is whole. */
  prepare(): Promise<void>
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

  async function applyKeepDays(name: string, days: number) {
    const { rows } = await client.query<{ engine_full: string }>(
      'SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {name:String}',
      { name },
    )
    if (rows[0]?.engine_full.includes(`toIntervalDay(${days})`)) return
    await client.command(
      `ALTER TABLE ${name} MODIFY TTL time + INTERVAL ${days} DAY
       SETTINGS materialize_ttl_after_modify = 0`,
    )
  }

  return {
    async prepare() {
      await client.command(sinceSql)
      await readSince()
      const { rows } = await client.query<{ any: number }>('SELECT 1 AS any FROM flow LIMIT 1', {})
      const empty = rows.length === 0
      for (const rollup of rollups) {
        const days = config.keepDays[rollup.step]
        await client.command(createRollupSql(rollup, days))
        await client.command(createRollupSql(rollup))
        await applyKeepDays(rollup.name, days)
      }
      for (const name of recentTables) await client.command(createRecentSql(name))
      await client.command(createFeedSql())
      for (const rollup of rollups) {
        if (whole.has(rollup.name)) continue
        const since = empty ? 0 : Math.ceil(clock.wall() / 1000) + aheadSeconds
        await client.insertRows('rollups', [{ name: rollup.name, since }])
        whole.set(rollup.name, since)
        log.info({ rollup: rollup.name, since }, 'made a rollup')
      }
    },
    keptSince(name) {
      const since = whole.get(name)
      const rollup = rollups.find(one => one.name === name)
      if (since === undefined || rollup === undefined) return undefined
      return Math.max(since, clock.wall() / 1000 - config.keepDays[rollup.step] * 86_400)
    },
  }
}
