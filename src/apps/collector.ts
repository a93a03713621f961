/** The collector as a program: its settings file, its log, and a port for health and metrics. */
import { createServer } from 'node:http'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { type Collector, createCollector } from '../collect/collector.ts'
import { collectorSettings } from '../collect/settings.ts'
import { systemClock } from '../lib/clock.ts'
import { type Component, createSequence } from '../lib/component.ts'
import { createLog } from '../lib/log.ts'
import { createMetrics, type Metrics } from '../lib/metrics.ts'
import { readIdentity } from '../lib/tls.ts'
import { version } from '../lib/version.ts'

/** The settings file of `keepwatch collector`. Paths are relative to the file. */
export const collectorFileSettings = collectorSettings.extend({
  /** Folder with `<name>.key`, `<name>.crt` and `ca.crt`. */
  identity: z.string().min(1),
  /** Where `/healthz` and `/metrics` are served; without it they are not. */
  observe: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: z.number().int().min(0).max(65_535),
    })
    .optional(),
  log: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
})

/** @param file the settings file: relative paths start beside it */
export function createCollectorProgram(
  settings: z.output<typeof collectorFileSettings>,
  file: string,
): Component & { readonly ports: Collector['ports'] } {
  const at = (path: string) => resolve(dirname(file), path)
  const { identity, observe, log: level, ...config } = settings
  const log = createLog({ level, part: settings.name })
  const metrics = createMetrics({ collector: settings.name })
  const collector = createCollector(
    {
      log,
      metrics,
      clock: systemClock,
      version,
      identity: readIdentity(at(identity), settings.name),
    },
    { ...config, spool: at(settings.spool) },
  )
  const sequence = createSequence([
    collector,
    ...(observe ? [createObserver({ metrics, collector }, observe)] : []),
  ])
  return {
    start: sequence.start,
    stop: sequence.stop,
    get ports() {
      return collector.ports
    },
  }
}

function createObserver(
  deps: { metrics: Metrics; collector: Collector },
  config: { host: string; port: number },
): Component {
  const server = createServer(async (request, response) => {
    if (request.url === '/metrics') {
      const text = await deps.metrics.metrics()
      response.setHeader('Content-Type', deps.metrics.contentType).end(text)
    } else if (request.url === '/healthz') {
      response.setHeader('Content-Type', 'application/json')
      response.end(JSON.stringify({ alive: true, state: deps.collector.state() }))
    } else response.writeHead(404).end()
  })
  return {
    start: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(config.port, config.host, () => resolve())
      }),
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
