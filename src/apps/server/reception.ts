import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type Adoption, createAdoption } from '../../collect/adopt.ts'
import type { LinkRoute } from '../../collect/link.ts'
import type { StreamTls } from '../../collect/listen.ts'
import { createReceiver, type Receiver } from '../../collect/receive.ts'
import { loadZstd } from '../../collect/zstd.ts'
import type { SyslogRow } from '../../devices/change.ts'
import { createLinkClient } from '../../failover/files/link-client.ts'
import type { SharedFolder } from '../../failover/folder/folder.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Identity } from '../../lib/tls.ts'
import { version } from '../../lib/version.ts'
import { createEmbeddedEngine, type EmbeddedEngine } from '../../store/clickhouse/engine.ts'
import {
  createTelemetryStore,
  type TelemetryStore,
} from '../../store/clickhouse/telemetry-store.ts'
import type { Interfaces } from '../../store/postgres/interfaces.ts'
import type { NameLists } from '../../store/postgres/name-lists.ts'
import type { RollupStep } from '../../telemetry/rollups.ts'
import { type CatchUp, createCatchUp } from './catch-up.ts'
import type { Directory } from './directory.ts'
import { createGeo, type GeoFiles } from './geo.ts'
import { createNaming, type Naming } from './naming.ts'
import { createOwnCollector, type OwnCollector } from './own-collector.ts'
import type { ServerSettings } from './settings.ts'
import { createSyslogFeed, type ServerSyslogFeed } from './syslog-feed.ts'

/** Where telemetry comes in: engine, store, the link's listener, and the server's own collector. */
export interface Reception {
  engine: EmbeddedEngine
  telemetry: TelemetryStore
  feed: ServerSyslogFeed
  receiver: Receiver
  /** Undefined: the settings name none. */
  ownCollector: OwnCollector | undefined
  /** Names of networks and applications in the engine. */
  naming: Naming
  /** What is known of public addresses. */
  geo: Component
  /** Work of the active: what the other server had sealed and not delivered. */
  adoption: Adoption
  /** Telemetry that the other server has and this one has not. */
  catchUp: CatchUp
}

/** The other server's collector is waited for as long as it may still be alive and unheard. */
const goneBeyondLeaseMs = 5000

export function createReception(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    tally: Pick<Tally<'syslog-feed' | 'names' | 'geo' | 'catch-up'>, 'count'>
    nameLists: NameLists
    interfaces: Interfaces
    identity: Identity
    directory: Directory
    folder: SharedFolder
    /** Addresses of the pair that this server has at the moment. */
    heldAddresses(): readonly string[]
    /** What the other server is told when it asks. */
    linkState(): object
    /** Takes what changes over to another protocol on the link. */
    upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
    /** What other parts answer on the link. */
    routes(): readonly LinkRoute[]
    onSyslog(rows: readonly SyslogRow[]): void
  },
  config: {
    settings: ServerSettings
    dataDir: string
    leaseMs: number
    streamTls: StreamTls | undefined
    geo: GeoFiles
  },
): Reception {
  const { identity, directory } = deps
  const { settings, dataDir } = config
  const engine = createEmbeddedEngine(deps, { dataDir: join(dataDir, 'engine') })
  const telemetry = createTelemetryStore(
    { ...deps, connection: engine },
    {
      keepDays: settings.keepDays,
      keepRollupDays: byStep(settings.keepDays),
      mostAddresses: byStep(settings.topAddresses),
    },
  )
  const naming = createNaming({ ...deps, fill: telemetry.fillNames })
  const geo = createGeo(
    { ...deps, fill: telemetry.fillGeo, versionOf: telemetry.geoVersion },
    config.geo,
  )
  const feed = createSyslogFeed({ tally: deps.tally, onRows: deps.onSyslog, ask: telemetry.query })
  const links = () =>
    directory.servers().map(({ name, linkHost, linkPort }) => ({
      name,
      url: `https://${linkHost.includes(':') ? `[${linkHost}]` : linkHost}:${linkPort}`,
    }))
  const ownCollector =
    settings.collect &&
    createOwnCollector(
      { ...deps, version, servers: links },
      {
        name: settings.name,
        dataDir,
        goneAfterMs: config.leaseMs + goneBeyondLeaseMs,
        settings: settings.collect,
        log: settings.log,
        streamTls: config.streamTls,
      },
    )
  const receiver = createReceiver(
    {
      ...deps,
      zstd: loadZstd(),
      identity,
      store: telemetry,
      onStored: feed.stored,
      get routes() {
        return [...deps.routes(), ...(ownCollector?.routes ?? []), ...catchUp.routes]
      },
      servers: () => ({ server: settings.name, servers: links() }),
      ...(ownCollector ? { gate: ownCollector.gate } : {}),
    },
    { host: settings.link.host, port: settings.link.port },
  )
  const adoption = createAdoption({
    ...deps,
    folder: deps.folder.segments,
    inUse: () => deps.folder.state().path !== null,
    store: telemetry,
    own: () => ownCollector?.id,
    onStored: feed.stored,
    ...(ownCollector ? { taken: ownCollector.taken } : {}),
  })
  const catchUp = createCatchUp(
    {
      ...deps,
      history: telemetry.history,
      link: createLinkClient({ identity }),
      ready: telemetry.ready,
      peer() {
        const peer = directory.peer()
        return peer && { name: peer.name, host: peer.linkHost, port: peer.linkPort }
      },
      collectors: () => receiver.collectors(),
      ownCollector: () => ownCollector?.id,
    },
    { self: settings.name },
  )
  return { engine, telemetry, feed, naming, geo, receiver, ownCollector, adoption, catchUp }
}

function byStep(setting: ServerSettings['topAddresses']): Record<RollupStep, number> {
  return { 60: setting.traffic1m, 300: setting.traffic5m, 3600: setting.traffic1h }
}
