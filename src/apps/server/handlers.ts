import type { Condition } from '../../alarms/watch.ts'
import type { Handlers } from '../../api/handler.ts'
import { type DeviceStores, deviceRoutes } from '../../api/routes/devices.ts'
import { exporterHealthRoutes } from '../../api/routes/exporter-health.ts'
import { exporterRoutes } from '../../api/routes/exporters.ts'
import { interfaceRoutes } from '../../api/routes/interfaces.ts'
import { logRoutes, type SyslogFeed } from '../../api/routes/logs.ts'
import { nameRoutes } from '../../api/routes/names.ts'
import { noticeRoutes } from '../../api/routes/notices.ts'
import { pairRoutes } from '../../api/routes/pair.ts'
import { type SessionStores, sessionRoutes } from '../../api/routes/session.ts'
import type { SetupHandlers } from '../../api/routes/setup.ts'
import { trafficRoutes } from '../../api/routes/traffic.ts'
import { watchRoutes } from '../../api/routes/watch.ts'
import type { Write } from '../../api/write.ts'
import type { CollectorState } from '../../collect/receive.ts'
import type { Driver } from '../../devices/drivers/driver.ts'
import { nextRun } from '../../devices/schedule.ts'
import type { InterfacePoller } from '../../interfaces/poller.ts'
import type { SnmpAccess } from '../../interfaces/session.ts'
import type { Clock } from '../../lib/clock.ts'
import type { TelemetryStore } from '../../store/clickhouse/telemetry-store.ts'
import type { Alarms } from '../../store/postgres/alarms.ts'
import type { Audit } from '../../store/postgres/audit.ts'
import type { Credentials } from '../../store/postgres/credentials.ts'
import type { Tx } from '../../store/postgres/database.ts'
import type { Devices } from '../../store/postgres/devices.ts'
import type { Exporters } from '../../store/postgres/exporters.ts'
import type { Interfaces } from '../../store/postgres/interfaces.ts'
import type { Jobs } from '../../store/postgres/jobs.ts'
import type { LeftBehinds } from '../../store/postgres/left-behinds.ts'
import type { NameLists } from '../../store/postgres/name-lists.ts'
import type { Operations } from '../../store/postgres/operations.ts'
import type { RoleChanges } from '../../store/postgres/role-changes.ts'
import type { SnmpAccesses } from '../../store/postgres/snmp-accesses.ts'
import type { Versions } from '../../store/postgres/versions.ts'
import { askOf } from './ask.ts'
import { collectorAwayMs } from './conditions.ts'
import type { Directory } from './directory.ts'
import type { createPairView } from './pair-view.ts'

/** All operations of the API, with the stores they work on. */
export function createHandlers(deps: {
  clock: Clock
  pair: ReturnType<typeof createPairView>
  logIns: SessionStores<Tx>
  alarms: Alarms
  audit: Audit
  devices: Devices
  versions: Versions
  jobs: Jobs
  credentials: Credentials
  roleChanges: RoleChanges
  drivers: ReadonlyMap<string, Driver>
  directory: Directory
  exporters: Exporters
  nameLists: NameLists
  interfaces: Interfaces
  snmpAccesses: SnmpAccesses<SnmpAccess>
  interfaceNames: Pick<InterfacePoller, 'state' | 'nudge'>
  /** Names are to be looked up as they are now. */
  namesChanged(): void
  telemetry: TelemetryStore
  feed: SyslogFeed
  write: Write<Tx>
  collectors(): { state: CollectorState; seenAt: number }[]
  requestBackup(deviceId: string, by: string): Promise<{ id: string }>
  operations: Operations
  leftBehinds: LeftBehinds
  leadership: {
    pause(tx: Tx, pause: { by: string; reason: string; until: Date | null }): Promise<unknown>
    resume(tx: Tx): Promise<unknown>
  }
  switchover(): Promise<{ accepted: boolean; sentence: string }>
  promote(by: string): Promise<void>
  drill(by: string): Promise<{ id: string }>
  upgrade(request: { version: string; holder: string; by: string }): Promise<{ id: string }>
  setup: SetupHandlers
  outbox: Parameters<typeof noticeRoutes>[0]['outbox']
  notices: Parameters<typeof noticeRoutes<Tx>>[0]['notices']
  /** What is wrong now, known without the database. */
  conditions(): readonly Condition[]
  onPasswordChosen(user: string): void
}): Handlers {
  const { clock, write } = deps
  const now = () => clock.wall()
  const collectors = () =>
    deps.collectors().map(({ state, seenAt }) => ({
      state,
      seenAt: new Date(seenAt).toISOString(),
      online: now() - seenAt <= collectorAwayMs,
    }))
  return {
    ...sessionRoutes({
      stores: deps.logIns,
      write,
      now,
      onPasswordChosen: deps.onPasswordChosen,
    }),
    ...pairRoutes({
      write,
      now,
      roleChanges: deps.roleChanges,
      operations: deps.operations,
      leftBehinds: deps.leftBehinds,
      leadership: deps.leadership,
      view: deps.pair.state,
      changes: deps.pair.changes,
      switchover: deps.switchover,
      promote: deps.promote,
      drill: deps.drill,
      upgrade: deps.upgrade,
    }),
    ...deps.setup,
    ...noticeRoutes<Tx>({ ...deps, now }),
    ...trafficRoutes({
      ask: askOf(deps.telemetry),
      now,
      keptSince: deps.telemetry.keptSince,
      sampling: deps.directory.sampling,
      estimate: ({ text, params }) => deps.telemetry.estimate(text, params),
      progress: deps.telemetry.progress,
    }),
    ...exporterRoutes({ exporters: deps.exporters, write }),
    ...exporterHealthRoutes({
      ...{ interfaces: deps.interfaces, now },
      ask: askOf(deps.telemetry),
      keptSince: deps.telemetry.keptSince,
      sampling: deps.directory.sampling,
      deviceAt: deps.directory.nameOf,
      collectors,
    }),
    ...interfaceRoutes({
      ...{ interfaces: deps.interfaces, accesses: deps.snmpAccesses, write },
      poller: deps.interfaceNames,
    }),
    ...nameRoutes({ nameLists: deps.nameLists, write, changed: deps.namesChanged }),
    ...logRoutes({ ask: askOf(deps.telemetry), feed: deps.feed, names: deps.directory, now }),
    ...deviceRoutes({
      stores: deviceStores(deps),
      write,
      drivers: deps.drivers,
      nextRun,
      now,
      async requestBackup(deviceId, by) {
        return Number((await deps.requestBackup(deviceId, by)).id)
      },
    }),
    ...watchRoutes({
      alarms: deps.alarms,
      audit: deps.audit,
      write,
      collectors,
    }),
  }
}

/** The state's repositories in the form in which the API asks for them. */
function deviceStores(deps: {
  devices: Devices
  versions: Versions
  jobs: Jobs
  credentials: Credentials
}): DeviceStores<Tx> {
  const { devices, versions, jobs, credentials } = deps
  return {
    devices: {
      list: () => devices.list(),
      find: id => devices.find(id),
      create: async (tx, fields) => (await devices.create(tx, fields)).id,
      update: async (tx, id, fields) => (await devices.update(tx, id, fields)) !== null,
      remove: (tx, id) => devices.remove(tx, id),
    },
    versions: {
      list: ({ device, ...request }) => versions.list({ ...request, deviceId: device }),
      async find(id) {
        const version = await versions.find(id)
        if (!version) return null
        const device = await devices.find(version.deviceId)
        return {
          ...version,
          content: await versions.text(version),
          driver: device?.driver ?? '',
        }
      },
      async before(id) {
        const version = await versions.find(id)
        return version ? ((await versions.before(version))?.id ?? null) : null
      },
    },
    jobs: {
      list: ({ device, ...request }) => jobs.list({ ...request, deviceId: device }),
      find: id => jobs.find(id),
    },
    credentials: {
      list: () => credentials.list(),
      create: (tx, credential) => credentials.create(tx, credential),
      remove: (tx, id) => credentials.remove(tx, id),
    },
  }
}
