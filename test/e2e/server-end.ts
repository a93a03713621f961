/** What a collector delivers to, without the rest of a server: its end of the link and its engine. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createReceiver } from '../../src/collect/receive.ts'
import { loadZstd } from '../../src/collect/zstd.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createSequence } from '../../src/lib/component.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { openAuthority, writeIdentity } from '../../src/lib/tls.ts'
import { createEmbeddedEngine } from '../../src/store/clickhouse/engine.ts'
import { createTelemetryStore } from '../../src/store/clickhouse/telemetry-store.ts'

export interface ServerEnd {
  /** Holds all of it, and what the test adds. */
  dir: string
  /** Of `site`, the collector that may deliver. */
  identity: string
  url: string
  query<T>(sql: string, params?: Record<string, unknown>): Promise<T[]>
  close(): Promise<void>
}

export async function startServerEnd(): Promise<ServerEnd> {
  const dir = mkdtempSync(join(tmpdir(), 'keepwatch-e2e-'))
  const identities = join(dir, 'pki')
  const authority = await openAuthority(join(dir, 'authority'))
  const hosts = ['127.0.0.1']
  const server = await authority.issue({ role: 'server', name: 'server', hosts })
  writeIdentity(
    identities,
    'site',
    await authority.issue({ role: 'collector', name: 'site', hosts }),
  )

  const clock = systemClock
  const log = createLog({ level: 'error', part: 'server-end' })
  const metrics = createMetrics({})
  const engine = createEmbeddedEngine({ log, metrics }, { dataDir: join(dir, 'engine') })
  const store = createTelemetryStore({ connection: engine, log, metrics, clock })
  const receiver = createReceiver(
    {
      zstd: loadZstd(),
      store,
      identity: server,
      log,
      metrics,
      clock,
      linkState: () => ({}),
    },
    { host: '127.0.0.1', port: 0 },
  )
  const running = createSequence([engine, store, receiver])
  await running.start()
  return {
    dir,
    identity: identities,
    url: `https://127.0.0.1:${receiver.port}`,
    query: async (sql, params) => (await store.query<never>(sql, params)).rows,
    async close() {
      await running.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
