import { Counter } from 'prom-client'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

/** Counts what went wrong by reason, and logs each reason at a bounded rate. */
export interface Tally<Reason extends string> {
  count(reason: Reason, detail?: () => Record<string, unknown>): void
  /** How often each reason was counted so far. */
  readonly totals: ReadonlyMap<Reason, number>
}

const quietMs = 10_000

/**
 * The answer to everything that is not fatal: counted by reason, the first of each reason logged,
 * then one line per ten seconds and reason that says how many it stands for.
 *
 * @param config.name the metric `keepwatch_<name>_total{reason}`
 */
export function createTally<Reason extends string>(
  deps: { log: Log; metrics: Metrics; clock: Clock },
  config: { name: string; help: string },
): Tally<Reason> {
  const counter = new Counter({
    name: `keepwatch_${config.name}_total`,
    help: config.help,
    labelNames: ['reason'],
    registers: [deps.metrics],
  })
  const totals = new Map<Reason, number>()
  const lastLogged = new Map<Reason, { at: number; total: number }>()
  return {
    totals,
    count(reason, detail) {
      counter.inc({ reason })
      const total = (totals.get(reason) ?? 0) + 1
      totals.set(reason, total)
      const now = deps.clock.monotonic()
      const last = lastLogged.get(reason)
      if (last !== undefined && now - last.at < quietMs) return
      lastLogged.set(reason, { at: now, total })
      deps.log.warn({ ...detail?.(), reason, times: total - (last?.total ?? 0) }, config.help)
    },
  }
}
