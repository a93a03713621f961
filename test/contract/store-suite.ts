/** A telemetry store on a backend of its own, for the tests of one suite. */
import { randomUUID } from 'node:crypto'
import { createClient } from '@clickhouse/client'
import { afterAll, beforeAll, describe } from 'vitest'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import type { Connection } from '../../src/store/clickhouse/connection.ts'
import {
  createTelemetryStore,
  type TelemetryStore,
  type TelemetryStoreConfig,
} from '../../src/store/clickhouse/telemetry-store.ts'
import type { Kind } from '../../src/telemetry/table.ts'

export interface Backend {
  start(): Promise<Connection>
  stop(): Promise<void>
  /** Kills the engine with no warning; undefined where that is not ours to do. */
  kill?: () => void
}

export interface StoreSuite {
  /** Another one after each `restart`. */
  readonly store: TelemetryStore
  readonly connection: Connection
  readonly collector: string
  /** Of the collector's next segment. */
  id(
    kind: Kind,
    rows: number,
    sequence?: number,
  ): { collector: string; kind: Kind; sequence: number; rows: number }
  /** What only a test does, past the store. */
  command(query: string): Promise<void>
  restart(): Promise<void>
  kill: (() => void) | undefined
}

/** A store on a connection, with nothing but silence around it. */
export function storeOn(connection: Connection, config: TelemetryStoreConfig = {}): TelemetryStore {
  const log = createLog({ level: 'silent', part: 'test' })
  return createTelemetryStore(
    { connection, log, metrics: createMetrics({}), clock: systemClock },
    config,
  )
}

export function describeStore(
  title: string,
  createBackend: () => Backend,
  define: (suite: StoreSuite) => void,
) {
  describe(title, { timeout: 60_000 }, () => {
    const backend = createBackend()
    const collector = randomUUID()
    let connection: Connection
    let store: TelemetryStore
    let last = 0

    beforeAll(async () => {
      connection = await backend.start()
      store = storeOn(connection)
      await store.start()
    }, 120_000)

    afterAll(async () => {
      await store?.stop()
      await backend.stop()
    }, 60_000)

    define({
      get store() {
        return store
      },
      get connection() {
        return connection
      },
      collector,
      id: (kind, rows, sequence = ++last) => ({ collector, kind, sequence, rows }),
      async command(query) {
        const { url, username, password } = connection
        const client = createClient({ url, username, password, database: 'keepwatch' })
        await client.command({ query }).finally(() => client.close())
      },
      async restart() {
        await store.stop()
        store = storeOn(connection)
        await store.start()
      },
      kill: backend.kill,
    })
  })
}
