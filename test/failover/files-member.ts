/** A standby's file synchronization as a process: told by lines on stdin, which may end it at any moment. */
import { createInterface } from 'node:readline'
import { createFileSync } from '../../src/failover/files/sync.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import type { Identity } from '../../src/lib/tls.ts'

export interface FilesMemberSettings {
  server: string
  identity: Identity
  active: { name: string; host: string; port: number }
  roots: { name: string; folder: string; received?: string; only?: string[] }[]
  intervalMs: number
}

const settings = JSON.parse(process.argv[2]!) as FilesMemberSettings
const metrics = createMetrics({ server: settings.server })
const sync = createFileSync(
  {
    log: createLog({ level: 'silent', part: 'test' }),
    metrics,
    clock: systemClock,
    identity: settings.identity,
    term: () => undefined,
    highestTerm: () => 0,
    active: () => settings.active,
  },
  settings,
)
await sync.start()
process.stdout.write('{"said":"ready"}\n')
createInterface(process.stdin).on('line', line => void carryOut(line))

async function carryOut(line: string) {
  if (line === 'pull') {
    const inStep = await sync.pullNow(60_000)
    process.stdout.write(`${JSON.stringify({ inStep, state: sync.state() })}\n`)
  } else {
    await sync.stop()
    process.exit(0)
  }
}
