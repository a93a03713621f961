/** Sums up what was inserted into the rollups: one group after the other, in the background. */
import { Gauge } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { within } from '../../lib/within.ts'
import {
  behindMarksSql,
  type RollupGroup,
  type RollupStep,
  rollupGroups,
} from '../../telemetry/rollups.ts'
import type { Client } from './client.ts'
import { EngineUnavailable } from './errors.ts'
import type { Present } from './present.ts'
import { createRollingGroup, notesSql, notesTable, type RollingGroup } from './rolling-group.ts'

export interface Rolling {
  /** Completes what was interrupted. */
  prepare(present: Present): Promise<void>
  start(): void
  stop(): Promise<void>
  /**
   * A question. One that reads rollups gets the parameters that it takes for what is not in them
   * yet, and they stay as they are until it is through.
   */
  read<T>(
    sql: string,
    params: Record<string, unknown>,
    ask: (params: Record<string, unknown>) => Promise<T>,
  ): Promise<T>
  /** Sums up everything that is there now. @throws EngineUnavailable, QueryFailed */
  catchUp(): Promise<void>
}

const tickMs = 5000
const stopMs = 5000
/** Of whole hours, the largest are fewer. Until they are picked out, flows are read as they are. */
const worth: Record<RollupGroup, { everySeconds: number; enoughRows: number }> = {
  sums: { everySeconds: 60, enoughRows: 2_000_000 },
  // What the engine writes at once: so that it sums up all that agree.
  largest: { everySeconds: 3600, enoughRows: 900_000 },
}

/** Inserts go first, but not for longer. */
const yieldMs = 60_000

/** @param config addresses that are kept of each pair of interfaces and bucket */
export function createRolling(
  deps: {
    client: Client
    log: Log
    metrics: Metrics
    clock: Clock
    /** Whether inserts are waiting. */
    busy(): boolean
  },
  config: { mostAddresses: Record<RollupStep, number> },
): Rolling {
  const { client, log } = deps
  const waiting = new Gauge({
    name: 'keepwatch_store_rows_to_roll_up',
    help: 'Flows that are stored and not in the rollups yet, by group of rollups.',
    labelNames: ['rollups'],
    registers: [deps.metrics],
  })
  const groups = new Map<RollupGroup, RollingGroup>()
  for (const group of rollupGroups) {
    waiting.set({ rollups: group }, 0)
    const onWaiting = (rows: number) => waiting.set({ rollups: group }, rows)
    const most = config.mostAddresses
    groups.set(group, createRollingGroup({ ...deps, onWaiting }, { group, most, ...worth[group] }))
  }
  let timer: NodeJS.Timeout | undefined
  let stopping = new AbortController()
  let lastStep = 0
  let stepping: Promise<unknown> = Promise.resolve()

  /** One at a time. */
  function stepInTurn(rolling: RollingGroup, all: boolean, signal: AbortSignal): Promise<boolean> {
    const result = stepping.then(() => rolling.step(all, signal))
    stepping = result.catch(() => {})
    return result
  }

  async function tick(signal: AbortSignal) {
    let more = false
    const now = deps.clock.monotonic()
    const yields = deps.busy() && now - lastStep < yieldMs
    if (!yields) lastStep = now
    for (const [group, rolling] of yields ? [] : groups) {
      try {
        more = (await stepInTurn(rolling, false, signal)) || more
      } catch (error) {
        if (signal.aborted) return
        log.warn({ error: (error as Error).message, group }, 'traffic could not be summed up')
      }
    }
    if (!signal.aborted) timer = setTimeout(() => void tick(signal), more ? 0 : tickMs)
  }

  return {
    async prepare({ tables }) {
      if (!tables.has(notesTable)) await client.command(notesSql)
      for (const rolling of groups.values()) await rolling.prepare()
    },
    start() {
      stopping = new AbortController()
      const { signal } = stopping
      lastStep = deps.clock.monotonic()
      timer = setTimeout(() => void tick(signal), tickMs)
    },
    async stop() {
      clearTimeout(timer)
      stopping.abort(new EngineUnavailable('the store is stopping'))
      // Interrupted, it is completed or begun anew by the next start.
      await within(stopMs, stepping)
    },
    read(sql, params, ask) {
      for (const [group, rolling] of groups) {
        if (sql.includes(behindMarksSql(group))) {
          return rolling.read(marks => ask({ ...params, ...marks }))
        }
      }
      return ask(params)
    },
    async catchUp() {
      for (const rolling of groups.values()) {
        while (await stepInTurn(rolling, true, stopping.signal));
      }
    },
  }
}
