/** One server of a pair: everything is constructed here, started in order, stopped in reverse. */
import { randomUUID } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAlarmWatch } from '../../alarms/watch.ts'
import { createHttp } from '../../api/http.ts'
import { rememberLogIns } from '../../api/remembered.ts'
import { createAuthenticate } from '../../api/routes/session.ts'
import { createReceiver, type Receiver } from '../../collect/receive.ts'
import { drivers } from '../../devices/drivers/index.ts'
import { createBackupJobs, defaultBackupJobsConfig } from '../../devices/jobs.ts'
import { createSessions } from '../../devices/session.ts'
import { createAddresses } from '../../failover/address/addresses.ts'
import { createRowLease } from '../../failover/lease/row.ts'
import { createNode, type FailoverNode, linkState } from '../../failover/node.ts'
import { createPeer } from '../../failover/peer.ts'
import { createTermFile } from '../../failover/term-file.ts'
import { systemClock } from '../../lib/clock.ts'
import { type Component, createSequence } from '../../lib/component.ts'
import { databaseTargets } from '../../lib/database-hosts.ts'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import { obstacleBetween, version } from '../../lib/version.ts'
import { createEmbeddedEngine } from '../../store/clickhouse/engine.ts'
import { createTelemetryStore } from '../../store/clickhouse/telemetry-store.ts'
import type { Tx } from '../../store/postgres/database.ts'
import { createDeviceSource } from '../../store/postgres/device-source.ts'
import { createJobStore } from '../../store/postgres/job-store.ts'
import { pause, readLeadership, resume } from '../../store/postgres/leadership.ts'
import { createRetention } from '../../store/postgres/retention.ts'
import { opening } from '../named-files.ts'
import { openHome } from '../upgrade/home.ts'
import { type ProvenMessage, startAgain } from '../upgrade/launcher.ts'
import { createUpgrader } from '../upgrade/upgrader.ts'
import { fetchVersion, versionRoutes } from '../upgrade/version-link.ts'
import { type ActiveWork, createActiveWork } from './active-work.ts'
import { conditionsNow } from './conditions.ts'
import { createDirectory } from './directory.ts'
import { createDrills } from './drill.ts'
import { createHandlers } from './handlers.ts'
import { createHealthWatch } from './health.ts'
import { openSettings } from './opened.ts'
import { createOwnAddresses, ownMacs } from './own-network.ts'
import { createPairSettingsWatch } from './pair-settings.ts'
import { createPairView } from './pair-view.ts'
import type { ServerSettings } from './settings.ts'
import { createState } from './state.ts'
import { createSyslogFeed } from './syslog-feed.ts'
import { createWrite } from './write.ts'

/** A server that has not said for so long that it lives is no partner to be compatible with. */
const goneMs = 600_000

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
  const tally = createTally<
    'directory' | 'alarms' | 'look-back' | 'syslog-feed' | 'drill' | 'upgrade' | 'pair-settings'
  >(base, {
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
  const ownAddresses = createOwnAddresses(settings.link)
  const addresses = createAddresses(
    {
      ...base,
      peerMacs() {
        const evidence = node.status().peer?.evidence
        return (evidence?.kind === 'alive' && evidence.macs) || []
      },
      ownAddresses: ownAddresses.current,
    },
    {
      server: name,
      dataDir,
      interface: settings.failover.interface,
      hook: hookIn(settings, file),
    },
  )
  const pairSettings = createPairSettingsWatch(
    {
      read: () => state.pairSettings.read(),
      apply: ({ settings: { connection }, secrets }) => addresses.configure(connection, secrets),
      tally,
    },
    { dataDir, key },
  )
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
      runningOperation: () => state.operations.running(),
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
  const alarmWatch = (term: number) =>
    createAlarmWatch({
      store: {
        async open() {
          const { rows } = await alarms.list({ open: true, limit: 1000 })
          return rows
        },
        raise: condition => inTerm(term)(tx => alarms.raise(tx, condition)),
        clear: key => inTerm(term)(tx => alarms.clear(tx, key)),
      },
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
      tally,
    })
  const work = createActiveWork(
    {
      ...state,
      log,
      parts: [
        backups,
        eachTerm(alarmWatch),
        { start: lookBack, stop: async () => {} },
        { start: () => drills.start(), stop: () => drills.stop() },
        createRetention({ ...base, ...state }),
      ],
    },
    { first },
  )

  const node: FailoverNode = createNode(
    {
      ...base,
      lease: createRowLease(
        { clock, fatal: error => die(`the lease failed: ${error.message}`) },
        {
          ...{ name, incarnation, timings, takeovers: settings.failover.takeovers },
          targets: databaseTargets(settings.database.url),
        },
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
      address: addresses,
      memory: createTermFile(join(dataDir, 'term.json')),
      work,
      record: change => state.roleChanges.append(change),
      die,
    },
    { name, incarnation, version, timings },
  )

  const drills = createDrills(
    {
      clock,
      store: state.operations,
      tally,
      peer: () => directory.peer()?.name,
      switchover: node.switchover,
    },
    { self: name },
  )
  const home = process.env.KEEPWATCH_HOME ? openHome(process.env.KEEPWATCH_HOME) : undefined
  const upgrader = createUpgrader(
    {
      clock,
      log,
      tally,
      store: state.operations,
      home,
      self() {
        const { role, fault, database: reached, state: doing, peer } = node.status()
        const other = directory.peer()
        const answer = peer?.evidence.kind === 'alive' ? peer.evidence : undefined
        return {
          server: name,
          role,
          ready:
            fault === undefined &&
            reached === 'there' &&
            (doing === 'standby' || doing === 'active') &&
            telemetry.ready(),
          other: other && { name: other.name, version: answer?.version ?? other.version },
        }
      },
      async fetch(wanted, progress) {
        const peer = directory.peer()
        if (!home || !peer) throw new Error('there is no other server to fetch it from')
        const from = { name: peer.name, host: peer.linkHost, port: peer.linkPort }
        await fetchVersion({ home, identity, progress }, from, wanted, version)
      },
      switchover: node.switchover,
      restart() {
        process.exitCode = startAgain
        process.kill(process.pid, 'SIGTERM')
      },
      prove() {
        if (process.connected) process.send?.({ proven: version } satisfies ProvenMessage)
      },
    },
    { version, orderEveryMs: timings.leaseMs + 2000 },
  )

  const receiver: Receiver = createReceiver(
    {
      ...base,
      identity,
      store: telemetry,
      linkState: () => ({ ...linkState(node), macs: ownMacs() }),
      onStored: feed.stored,
      routes: home ? versionRoutes(home) : [],
    },
    { host: settings.link.host, port: settings.link.port },
  )

  const pair = createPairView(
    { ...node, directory, engineReady: telemetry.ready },
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
        leadership: { pause, resume },
        switchover: node.switchover,
        drill: drills.begin,
        async upgrade(request) {
          const id = randomUUID()
          await upgrader.begin({ ...request, id })
          return { id }
        },
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
    async start() {
      await demandCompatible()
      await state.servers.register({
        name,
        installed: settings.installed,
        incarnation,
        version,
        consoleUrl: consoleUrl(),
        linkHost: settings.link.advertise,
        linkPort: receiver.port,
      })
    },
    stop: async () => {},
  }

  /** @throws Error if the other server runs, in a version that this one cannot be a pair with */
  async function demandCompatible() {
    const other = (await state.servers.list()).find(server => server.name !== name)
    if (!other || clock.wall() - other.seenAt.getTime() > goneMs) return
    const obstacle = obstacleBetween(version, other.version)
    if (obstacle === undefined) return
    throw new Error(`cannot be a pair with ${other.name}: ${obstacle}`)
  }

  /** At what was said while nobody, or the former active, looked. Nobody waits for it. */
  async function lookBack() {
    void feed.lookBack(clock.wall()).catch(error => {
      tally.count('look-back', () => ({ error: (error as Error).message }))
    })
  }

  function inTerm(term: number) {
    return <T>(write: (tx: Tx) => Promise<T>) => database.fenced(term, { name: 'keepwatch' }, write)
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
    ownAddresses,
    pairSettings,
    node,
    health,
    upgrader,
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

/** Its program is found beside the settings file, unless it is to be found in the path. */
function hookIn({ failover: { hook } }: ServerSettings, file: string) {
  if (hook === undefined) return undefined
  const [program = '', ...args] = hook.command
  const found = program.includes('/') ? resolve(dirname(file), program) : program
  return { ...hook, command: [found, ...args] }
}

/** A part of the active's work that is made anew for each term. */
function eachTerm(make: (term: number) => Component): ActiveWork {
  let made: Component | undefined
  return {
    async start(term) {
      made = make(term)
      await made.start()
    },
    async stop() {
      await made?.stop()
      made = undefined
    },
  }
}

/** The built console, beside the sources as beside the compiled program. */
function consoleFolder(): string {
  const folder = resolve(import.meta.dirname, '../../../web/dist')
  return existsSync(folder) ? folder : ''
}
