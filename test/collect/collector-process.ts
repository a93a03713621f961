/** A collector as a process: `collector-process.ts <settings as JSON> <identity folder>`. */
import { createInterface } from 'node:readline'
import { createCollector } from '../../src/collect/collector.ts'
import { collectorSettings } from '../../src/collect/settings.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { readIdentity } from '../../src/lib/tls.ts'

const [settings, identityFolder] = process.argv.slice(2)
const collector = createCollector(
  {
    identity: readIdentity(identityFolder!, 'collector'),
    log: createLog({ level: 'warn', part: 'collector' }),
    metrics: createMetrics({}),
    clock: systemClock,
    version: 'test',
  },
  collectorSettings.parse(JSON.parse(settings!)),
)
await collector.start()
console.log(JSON.stringify({ ports: collector.ports }))
const lines = createInterface(process.stdin)
lines.on('line', () =>
  console.log(JSON.stringify({ state: collector.state(), cpu: process.cpuUsage() })),
)
process.on('SIGTERM', async () => {
  lines.close()
  await collector.stop()
})
