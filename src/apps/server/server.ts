/** One server of a pair: everything is constructed here, started in order, stopped in reverse. */
import { randomUUID } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHttp } from '../../api/http.ts'
import { rememberLogIns } from '../../api/remembered.ts'
import { createAuthenticate } from '../../api/routes/session.ts'
import { createReceiver, type Receiver } from '../../collect/receive.ts'
import { drivers } from '../../devices/drivers/index.ts'
import { createBackupJobs, defaultBackupJobsConfig } from '../../devices/jobs.ts'
import { createSessions } from '../../devices/session.ts'
import { noAddress } from '../../failover/address/none.ts'
import { createRowLease } from '../../failover/lease/row.ts'
import { createNode, type FailoverNode, linkState } from '../../failover/node.ts'
import { createPeer } from '../../failover/peer.ts'
import { systemClock } from '../../lib/clock.ts'
import { type Component, createSequence } from '../../lib/component.ts'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import { version } from '../../lib/version.ts'
import { createEmbeddedEngine } from '../../store/clickhouse/engine.ts'
import { createTelemetryStore } from '../../store/clickhouse/telemetry-store.ts'
import type { Tx } from '../../store/postgres/database.ts'
import { createDeviceSource } from '../../store/postgres/device-source.ts'
import { createJobStore } from '../../store/postgres/job-store.ts'
import { readLeadership } from '../../store/postgres/leadership.ts'
import { opening } from '../named-files.ts'
import { createActiveWork } from './active-work.ts'
import { conditionsNow } from './conditions.ts'
import { createDirectory } from './directory.ts'
import { createHandlers } from './handlers.ts'
import { createHealthWatch } from './health.ts'
import { openSettings } from './opened.ts'
import { createPairView } from './pair-view.ts'
import type { ServerSettings } from './settings.ts'
import { createState } from './state.ts'
import { createSyslogFeed } from './syslog-feed.ts'
import { createWrite } from './write.ts'

export interface KeepwatchServer extends Component {
  /** Of the console. */
  readonly url: string
}

/** @param file the settings file: relative paths start beside it */
export function createServer(settings: ServerSettings, file: string): KeepwatchServer {
  const { name } = settings
  const clock = systemClock
  const incarnation = randomUUID()
  const log = createLog({ level: settings.log, part: name })
  const metrics = createMetrics({ server: name })
  const base = { log, metrics, clock }
  const tally = createTally<'directory' | 'alarms' | 'look-back' | 'syslog-feed'>(base, {
    name: 'server_problems',
    help: 'Background work of the server that failed, by reason',
  })
  const { dataDir, first, identity, key, timings, tls } = openSettings(settings, file)
  const state = createState(base, {
    url: settings.database.url,
    applicationName: `keepwatch/${name}/${incarnation}`,
    key,
  })
  const { alarms, database, devices } = state
  const engine = createEmbeddedEngine(base, { dataDir: join(dataDir, 'engine') })
  const telemetry = createTelemetryStore(
    { ...base, connection: engine },
    { keepDays: settings.keepDays },
  )

  const directory = createDirectory(
    {
      clock,
      tally,
      listServers: () => state.servers.list(),
      seen: () => state.servers.seen(name, incarnation),
      readLeader: () => readLeadership(database),
      listDevices: () => devices.all(),
      health: () => database.health(),
    },
    { self: name },
  )

  const source = createDeviceSource({
    database,
    devices,
    credentials: state.credentials,
    term: currentTerm,
  })
  const backups = createBackupJobs(
    {
      ...base,
      store: createJobStore({ database, versions: state.versions }),
      devices: source,
      open: createSessions({ hostKeys: source.hostKeys }).open,
    },
    defaultBackupJobsConfig,
  )
  const feed = createSyslogFeed({
    tally,
    onRows: rows => {
      if (node.term() !== undefined) backups.onSyslog(rows)
    },
    ask: telemetry.query,
  })
  const work = createActiveWork(
    {
      log,
      database,
      users: state.users,
      tokens: state.tokens,
      alarms,
      backups,
      tally,
      lookBack: () => feed.lookBack(clock.wall()),
      async conditions() {
        const all = await devices.list()
        return conditionsNow({
          now: clock.wall(),
          status: node.status(),
          directory,
          collectors: receiver.collectors(),
          failingDevices: all.flatMap(({ id, name: device, enabled, lastJob }) =>
            enabled && lastJob?.state === 'failed'
              ? [{ id, name: device, failure: lastJob.failure ?? 'no reason given' }]
              : [],
          ),
        })
      },
    },
    { first },
  )

  const node: FailoverNode = createNode(
    {
      ...base,
      lease: createRowLease(
        { clock, fatal: error => die(`the lease failed: ${error.message}`) },
        { name, incarnation, timings, target: { connectionString: settings.database.url } },
      ),
      peer: createPeer(
        { ...base, identity },
        {
          timings,
          address() {
            const peer = directory.peer()
            return peer && { name: peer.name, host: peer.linkHost, port: peer.linkPort }
          },
        },
      ),
      address: noAddress,
      work,
      record: change => state.roleChanges.append(change),
      die,
    },
    { name, incarnation, timings },
  )

  const receiver: Receiver = createReceiver(
    {
      ...base,
      identity,
      store: telemetry,
      linkState: () => linkState(node),
      onStored: feed.stored,
    },
    { host: settings.link.host, port: settings.link.port },
  )

  const pair = createPairView(
    { status: node.status, directory, engineReady: telemetry.ready },
    {
      name,
      ownConsole: consoleUrl,
      timings: {
        heartbeatMs: timings.heartbeatIntervalMs,
        leaseMs: timings.leaseMs,
        timeoutMs: timings.heartbeatTimeoutMs,
      },
    },
  )
  const logIns = rememberLogIns<Tx>(state, clock)
  const http = createHttp(
    {
      ...base,
      pair,
      authenticate: createAuthenticate(logIns),
      handlers: createHandlers({
        ...state,
        clock,
        pair,
        logIns,
        drivers,
        directory,
        telemetry,
        feed,
        write: createWrite({ database, audit: state.audit, term: node.term }),
        collectors: () => receiver.collectors(),
        requestBackup: (id, by) => backups.request(id, by),
        switchover: () => node.switchover(),
        onPasswordChosen(user) {
          if (user === 'admin' && first) rmSync(first.passwordFile, { force: true })
        },
      }),
      unhealthy: () => (telemetry.ready() ? [] : ['the telemetry engine does not answer']),
    },
    {
      host: settings.console.host,
      port: settings.console.port,
      version,
      consoleDir: consoleFolder(),
      ...(tls ? { tls } : {}),
    },
  )

  const registration: Component = {
    start: () =>
      state.servers.register({
        name,
        installed: settings.installed,
        incarnation,
        version,
        consoleUrl: consoleUrl(),
        linkHost: settings.link.advertise,
        linkPort: receiver.port,
      }),
    stop: async () => {},
  }

  function currentTerm(): number {
    const term = node.term()
    if (term === undefined) throw new Error('this server is not active')
    return term
  }

  function consoleUrl(): string {
    const { url, tls, host } = settings.console
    return (
      url ?? `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${http.port}`
    )
  }

  /** Without delay, and without anything that could still act as the active. */
  function die(reason: string) {
    log.fatal(reason)
    process.kill(process.pid, 'SIGKILL')
  }

  const health = createHealthWatch(
    { clock, engineReady: telemetry.ready, report: node.health },
    { dataDir },
  )

  const sequence = createSequence([
    database,
    engine,
    telemetry,
    opening(receiver, { file, key: 'link.port' }),
    opening(http, { file, key: 'console.port' }),
    registration,
    directory,
    node,
    health,
  ])
  return {
    start: () => sequence.start(),
    async stop() {
      // Whoever follows should not have to find out that the process is gone.
      await Promise.race([node.stop(), sleep(10_000, undefined, { ref: false })])
      await sequence.stop()
    },
    get url() {
      return consoleUrl()
    },
  }
}

/** The built console, beside the sources as beside the compiled program. */
function consoleFolder(): string {
  const folder = resolve(import.meta.dirname, '../../../web/dist')
  return existsSync(folder) ? folder : ''
}
