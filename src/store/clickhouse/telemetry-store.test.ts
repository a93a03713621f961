import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Backend } from '../../../test/contract/store-suite.ts'
import { telemetryStoreContract } from '../../../test/contract/telemetry-store.ts'
import { trafficContract } from '../../../test/contract/traffic.ts'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import { createEmbeddedEngine } from './engine.ts'

telemetryStoreContract('the embedded engine', embedded)
trafficContract('the embedded engine', embedded)

function embedded(): Backend {
  const dataDir = mkdtempSync(join(tmpdir(), 'keepwatch-store-'))
  const engine = createEmbeddedEngine(
    { log: createLog({ level: 'silent', part: 'test' }), metrics: createMetrics({}) },
    { dataDir, lastDelayMs: 500 },
  )
  return {
    async start() {
      await engine.start()
      return engine
    },
    async stop() {
      await engine.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
    kill() {
      if (engine.pid !== undefined) process.kill(engine.pid, 'SIGKILL')
    },
  }
}
