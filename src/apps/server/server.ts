/** One server of a pair: everything is constructed here, started in order, stopped in reverse. */
import { randomUUID } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHttp } from '../../api/http.ts'
import { rememberLogIns } from '../../api/remembered.ts'
import { createAuthenticate } from '../../api/routes/session.ts'
import { drivers } from '../../devices/drivers/index.ts'
import { createBackupJobs, defaultBackupJobsConfig } from '../../devices/jobs.ts'
import { createSessions } from '../../devices/session.ts'
import { createAddresses } from '../../failover/address/addresses.ts'
import { deploymentOf } from '../../failover/folder/check.ts'
import { createNode, type FailoverNode, linkState } from '../../failover/node.ts'
import { createPeer, linkPath } from '../../failover/peer.ts'
import { createTermFile } from '../../failover/term-file.ts'
import { systemClock } from '../../lib/clock.ts'
import { type Component, createSequence } from '../../lib/component.ts'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import { version } from '../../lib/version.ts'
import type { Tx } from '../../store/postgres/database.ts'
import { createDeviceSource } from '../../store/postgres/device-source.ts'
import { createJobStore } from '../../store/postgres/job-store.ts'
import { pause, readLeadership, resume } from '../../store/postgres/leadership.ts'
import { createRetention } from '../../store/postgres/retention.ts'
import { consoleTls, opening } from '../named-files.ts'
import { createSetup } from '../setup/setup.ts'
import { openHome } from '../upgrade/home.ts'
import { versionRoutes } from '../upgrade/version-link.ts'
import { createActiveWork } from './active-work.ts'
import { createDirectory } from './directory.ts'
import { createDrills } from './drill.ts'
import { createFoundation } from './foundation.ts'
import { createHandlers } from './handlers.ts'
import { createHealthWatch, ownUrl } from './health.ts'
import { createInterfaceNames } from './interface-names.ts'
import { openSettings } from './opened.ts'
import { createOwnAddresses, ownMacs } from './own-network.ts'
import { createOwnUpgrade } from './own-upgrade.ts'
import { createPairSettingsWatch } from './pair-settings.ts'
import { createPairView } from './pair-view.ts'
import { createReception } from './reception.ts'
import { createRegistration } from './registration.ts'
import type { ServerSettings } from './settings.ts'
import { createSharedFiles } from './shared-files.ts'
import { createState } from './state.ts'
import { createWatching } from './watching.ts'
import { createWrite } from './write.ts'

/** A planned hand-over waits so long for mails that are under way. */
const drainMs = 300
/** A browser that is sent to the other server is there by then. */
const handOverSeconds = 60

export interface KeepwatchServer extends Component {
  /** Of the console. */
  readonly url: string
}

/** @param file the settings file: relative paths start beside it */
export function createServer(settings: ServerSettings, file: string): KeepwatchServer {
  const { name } = settings
  const clock = systemClock
  const incarnation = randomUUID()
  let ownFault: string | undefined
  const log = createLog({ level: settings.log, part: name })
  const metrics = createMetrics({ server: name })
  const base = { log, metrics, clock }
  const tally = createTally<
    | 'directory'
    | 'alarms'
    | 'look-back'
    | 'syslog-feed'
    | 'drill'
    | 'upgrade'
    | 'pair-settings'
    | 'preflight'
    | 'console-certificate'
    | 'vitals'
    | 'notices'
    | 'names'
    | 'geo'
    | 'own-database'
    | 'catch-up'
    | 'not-reached'
  >(base, {
    name: 'server_problems',
    help: 'Background work of the server that failed, by reason',
  })
  const opened = openSettings(settings, file)
  const { dataDir, first, identity, key, timings, tls } = opened
  const home = process.env.KEEPWATCH_HOME ? openHome(process.env.KEEPWATCH_HOME) : undefined
  const foundation = createFoundation(
    {
      ...{ ...base, tally, identity },
      database: () => database,
      directory: () => directory,
      status: () => node.status(),
      changed: reportHealth,
      fatal: error => die(`the lease failed: ${error.message}`),
    },
    {
      ...{ name, incarnation, dataDir, key, timings, pair: deploymentOf(identity) },
      takeovers: settings.failover.takeovers,
      database: settings.database,
    },
  )
  const state = createState(base, {
    url: foundation.url,
    applicationName: `keepwatch/${name}/${incarnation}`,
    key,
    previous() {
      const trial = home?.trial()
      return trial?.version === version ? trial.previous : undefined
    },
  })
  const { database, devices } = state
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
      hook: opened.hook,
    },
  )
  const pairSettings = createPairSettingsWatch(
    {
      read: () => state.pairSettings.read(),
      async apply({ settings: { connection, sharedFolder }, secrets }) {
        shared.folder.use(sharedFolder)
        await addresses.configure(connection, secrets)
      },
      tally,
    },
    { dataDir, key },
  )
  const directory = createDirectory(
    {
      clock,
      tally,
      listServers: () => state.servers.list(),
      seen: () => state.servers.seen(name, incarnation),
      readLeader: () => readLeadership(database),
      listDevices: () => devices.all(),
      listExporters: () => state.exporters.list(),
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
  const shared = createSharedFiles(
    {
      ...base,
      ...state,
      identity,
      node: { term: () => node.term(), status: () => node.status() },
      directory,
      drivers,
      onApplied: root => {
        if (root === 'certificates') renewConsoleTls()
      },
    },
    { name, incarnation, dataDir, spool: settings.collect && join(dataDir, 'spool') },
  )
  const reception = createReception(
    {
      ...base,
      tally,
      identity,
      directory,
      folder: shared.folder,
      ...state,
      linkState: () => ({ ...linkState(node), macs: ownMacs(), clockMs: clock.wall() }),
      heldAddresses: addresses.held,
      routes: () => linkRoutes,
      upgrade: foundation.upgrade,
      onSyslog: rows => {
        if (node.term() !== undefined) backups.onSyslog(rows)
      },
    },
    { ...opened, settings, leaseMs: timings.leaseMs },
  )
  const { engine, telemetry, feed, receiver, ownCollector } = reception
  const { vitals, wrong, notices, alarms } = createWatching(
    {
      ...base,
      ...{ tally, state, directory, receiver, shared, pairSettings },
      node: { status: () => node.status() },
      console: lastingConsoleUrl,
      ...(foundation.own ? { replication: foundation.own.view } : {}),
    },
    { name, opened },
  )
  const interfaceNames = createInterfaceNames({ ...base, ...state, receiver, ownCollector })
  const work = createActiveWork(
    {
      ...state,
      log,
      parts: [
        backups,
        notices,
        alarms,
        { start: lookBack, stop: async () => {} },
        reception.adoption,
        shared.mirror,
        { start: () => drills.start(), stop: () => drills.stop() },
        interfaceNames,
        createRetention({ ...base, ...state }),
      ],
    },
    { first },
  )

  const node: FailoverNode = createNode(
    {
      ...base,
      lease: foundation.lease,
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
      work: foundation.leading(work),
      record: change => state.roleChanges.append(change),
      die,
    },
    {
      ...{ name, incarnation, version, timings },
      ...(foundation.keeper ? { keeper: foundation.keeper } : {}),
    },
  )

  const drills = createDrills(
    {
      clock,
      store: state.operations,
      tally,
      peer: () => directory.peer()?.name,
      switchover: handOver,
    },
    { self: name },
  )
  const upgrader = createOwnUpgrade(
    {
      ...{ clock, log, tally, home, identity, node, directory, database, die },
      store: state.operations,
      engineReady: telemetry.ready,
      switchover: handOver,
    },
    { name, leaseMs: timings.leaseMs },
  )

  const write = createWrite({ database, audit: state.audit, term: node.term })
  const setup = createSetup(
    {
      stores: state,
      write,
      tally,
      now: clock.wall,
      peer: directory.peer,
      listServers: state.servers.list,
      consoleUrl,
      ports: () => ({ console: http.port, link: receiver.port }),
      pairSettings,
      http: () => http,
    },
    { settings, file, opened },
  )
  const linkRoutes = [...shared.routes, ...setup.linkRoutes, ...(home ? versionRoutes(home) : [])]

  const pair = createPairView(
    {
      ...{ ...node, directory, engineReady: telemetry.ready, replication: foundation.own?.view },
      telemetry: reception.catchUp.state,
    },
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
        write,
        namesChanged: reception.naming.nudge,
        interfaceNames,
        setup: setup.handlers,
        notices,
        conditions: wrong.live,
        collectors: () => receiver.collectors(),
        requestBackup: (id, by) => backups.request(id, by),
        leadership: { pause, resume },
        switchover: handOver,
        promote: foundation.promote,
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
      forward: setup.forward,
      handOver: async secret =>
        (await logIns.sessions.createHandOver(secret, handOverSeconds))?.code,
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

  const registration = createRegistration({ clock, servers: state.servers }, () => ({
    ...{ name, incarnation, version, consoleUrl: consoleUrl() },
    installed: settings.installed,
    linkHost: settings.link.advertise,
    linkPort: receiver.port,
  }))

  /** At what was said while nobody, or the former active, looked. Nobody waits for it. */
  async function lookBack() {
    void feed.lookBack(clock.wall()).catch(error => {
      tally.count('look-back', () => ({ error: (error as Error).message }))
    })
  }

  /** Planned: what is being told is told first, so that the other server need not ask itself. */
  async function handOver() {
    await notices.drain(drainMs)
    return node.switchover()
  }

  function reportHealth() {
    node.health(ownFault ?? foundation.obstacle())
  }

  function renewConsoleTls() {
    const { tls: named } = settings.console
    if (named) http.renewTls(consoleTls({ key: at(named.key), cert: at(named.cert) }, file))
  }

  function at(path: string): string {
    return resolve(dirname(file), path)
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

  /** Which leads to whoever is active, also later, where an address or a name does so. */
  function lastingConsoleUrl(): string {
    const { connection } = pairSettings.current().settings
    const url = new URL(consoleUrl())
    if (connection.type === 'virtual-name') url.hostname = connection.name
    if (connection.type === 'virtual-ip') {
      const { address } = connection.addresses[0]!
      url.hostname = address.includes(':') ? `[${address}]` : address
    }
    return url.href.replace(/\/$/, '')
  }

  /** Without delay, and without anything that could still act as the active. */
  function die(reason: string) {
    log.fatal(reason)
    process.kill(process.pid, 'SIGKILL')
  }

  const health = createHealthWatch(
    {
      clock,
      engineReady: telemetry.ready,
      listeners: () => [
        {
          what: 'link',
          url: ownUrl('https', settings.link.host, receiver.port, linkPath),
          identity,
        },
        {
          what: 'console',
          url: ownUrl(tls ? 'https' : 'http', settings.console.host, http.port, '/active'),
        },
      ],
      collects: () => ownCollector === undefined || ownCollector.pid !== undefined,
      report(fault) {
        ownFault = fault
        reportHealth()
      },
    },
    { dataDir },
  )
  node.onChange(status => {
    notices.watch(status)
    void ownCollector?.setMode(status.role === 'active' ? 'active' : 'standby', status.term)
  })

  const sequence = createSequence([
    foundation.first(database),
    engine,
    telemetry,
    opening(receiver, { file, key: 'link.port' }),
    opening(http, { file, key: 'console.port' }),
    foundation.reached(database, [registration]),
    directory,
    reception.catchUp,
    reception.naming,
    reception.geo,
    ownAddresses,
    shared.folder,
    pairSettings,
    shared.files,
    setup,
    ...(ownCollector ? [ownCollector] : []),
    vitals,
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

/** The built console, beside the sources as beside the compiled program. */
function consoleFolder(): string {
  const folder = resolve(import.meta.dirname, '../../../web/dist')
  return existsSync(folder) ? folder : ''
}
