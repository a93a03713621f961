import { join } from 'node:path'
import { systemClock } from '../../src/lib/clock.ts'
import { createSequence } from '../../src/lib/component.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { createEmbeddedEngine } from '../../src/store/clickhouse/engine.ts'
import { createTelemetryStore } from '../../src/store/clickhouse/telemetry-store.ts'

const maxRows = 1_000_000

export interface Numbers {
  rows: number
  distinct: number
  least: number
  greatest: number
  /** Runs of numbers between the least and the greatest that are not there, `first-last`. */
  missing: string[]
}

/** Each number from 1 to `count`, once. */
export const eachOnce = (count: number): Numbers => ({
  ...{ rows: count, distinct: count, least: 1, greatest: count, missing: [] },
})

/** A stopped server's telemetry, opened from its folder to be asked. */
export async function openStored(dataDir: string, server: string) {
  const log = createLog({ level: 'silent', part: 'test' })
  const metrics = createMetrics({})
  const engine = createEmbeddedEngine(
    { log, metrics },
    { dataDir: join(dataDir, server, 'engine') },
  )
  const store = createTelemetryStore({ connection: engine, log, metrics, clock: systemClock })
  const opened = createSequence([engine, store])
  await opened.start()
  return {
    async query<T>(sql: string, params?: Record<string, unknown>) {
      const { rows, statistics } = await store.query<T>(sql, params, { maxRows })
      if (statistics.truncated) throw new Error(`more than ${maxRows} rows: ${sql}`)
      return rows
    },
    close: () => opened.stop(),
  }
}

/** Which numbers a stopped server's engine holds. */
export async function storedNumbers(
  dataDir: string,
  server: string,
): Promise<{ flows: Numbers; messages: Numbers }> {
  const stored = await openStored(dataDir, server)
  try {
    const numbers = async (from: string): Promise<Numbers> => {
      const [counted] = await stored.query<Omit<Numbers, 'missing'>>(
        `SELECT count() AS rows, uniqExact(number) AS distinct, min(number) AS least,
           max(number) AS greatest FROM (${from})`,
      )
      const gaps = await stored.query<{ gap: string }>(
        `SELECT concat(toString(before + 1), '-', toString(number - 1)) AS gap
         FROM (
           SELECT number, lagInFrame(number, 1, number) OVER (ORDER BY number) AS before
           FROM (SELECT DISTINCT number FROM (${from}))
         )
         WHERE number > before + 1 ORDER BY number LIMIT 50`,
      )
      return { ...counted!, missing: gaps.map(({ gap }) => gap) }
    }
    return {
      flows: await numbers(
        `SELECT packets AS number FROM flow WHERE exporter = toIPv6('127.9.0.1')`,
      ),
      messages: await numbers(
        `SELECT toUInt64OrZero(extract(raw, 'number=(\\\\d+)')) AS number FROM syslog
         WHERE sender = toIPv6('127.9.0.1')`,
      ),
    }
  } finally {
    await stored.close()
  }
}
