/** The collector as a program: its settings file, its log, and a port for health and metrics. */
import { createServer } from 'node:http'
import { dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { type Collector, createCollector } from '../collect/collector.ts'
import { collectorSettings } from '../collect/settings.ts'
import { loadSockets } from '../collect/sockets.ts'
import { loadZstd } from '../collect/zstd.ts'
import { voteFile } from '../failover/vote/own-voter.ts'
import { systemClock } from '../lib/clock.ts'
import { type Component, createSequence } from '../lib/component.ts'
import { createLog, type Log } from '../lib/log.ts'
import { createMetrics, type Metrics } from '../lib/metrics.ts'
import { version } from '../lib/version.ts'
import { identityIn, opening, streamTls } from './named-files.ts'
import { createVotingOf } from './witness.ts'

const maxObservers = 64

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

/**
 * @param file the settings file: relative paths start beside it
 * @throws SettingsError if the identity cannot be read
 */
export function createCollectorProgram(
  settings: z.output<typeof collectorFileSettings>,
  file: string,
): Component & { readonly ports: Collector['ports'] } {
  const at = (path: string) => resolve(dirname(file), path)
  const { identity, observe, log: level, ...config } = settings
  const { tls } = settings.listen
  const log = createLog({ level, part: settings.name })
  const metrics = createMetrics({ collector: settings.name })
  const own = identityIn(at(identity), settings.name, { file, key: 'identity' })
  const base = { log, metrics, clock: systemClock }
  const collector = createCollector(
    {
      ...base,
      version,
      sockets: loadSockets(),
      zstd: loadZstd(),
      streamTls: tls && streamTls(tls, { file, key: 'listen.tls' }),
      identity: own,
    },
    { ...config, spool: at(settings.spool) },
  )
  const voting = createVotingOf(base, {
    identity: own,
    file: join(at(settings.spool), voteFile),
    servers: collector.servers,
  })
  const sequence = createSequence([
    collector,
    voting,
    ...(observe
      ? [
          opening(createObserver({ metrics, collector, log }, observe), {
            file,
            key: 'observe.port',
          }),
        ]
      : []),
  ])
  return {
    start: sequence.start,
    stop: sequence.stop,
    get ports() {
      return collector.ports
    },
  }
}

/** Answers whoever watches this process; what goes wrong here must not end it. */
function createObserver(
  deps: { metrics: Metrics; collector: Collector; log: Log },
  config: { host: string; port: number },
): Component {
  const { metrics, collector, log } = deps
  const server = createServer(async (request, response) => {
    try {
      if (request.url === '/metrics') {
        const text = await metrics.metrics()
        response.setHeader('Content-Type', metrics.contentType).end(text)
      } else if (request.url === '/healthz') {
        const text = JSON.stringify({ alive: true, state: collector.state() })
        response.setHeader('Content-Type', 'application/json').end(text)
      } else response.writeHead(404).end()
    } catch (error) {
      log.error({ url: request.url, error }, 'an observer could not be answered')
      response.writeHead(500).end()
    }
  })
  server.maxConnections = maxObservers
  return {
    async start() {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(config.port, config.host, resolve)
      })
      server.removeAllListeners('error')
      server.on('error', error => log.warn({ error }, 'observers cannot be accepted'))
    },
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
