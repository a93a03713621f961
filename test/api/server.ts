/** The API of one server on a real database: all but the engine and the failover is what runs. */
import { randomBytes } from 'node:crypto'
import { Registry } from 'prom-client'
import { createHttp, type HttpServer } from '../../src/api/http.ts'
import { rememberLogIns } from '../../src/api/remembered.ts'
import { createAuthenticate } from '../../src/api/routes/session.ts'
import { setupRoutes } from '../../src/api/routes/setup.ts'
import { createDirectory } from '../../src/apps/server/directory.ts'
import { createHandlers } from '../../src/apps/server/handlers.ts'
import { createPairView } from '../../src/apps/server/pair-view.ts'
import { createWrite } from '../../src/apps/server/write.ts'
import { drivers } from '../../src/devices/drivers/index.ts'
import type { NodeStatus } from '../../src/failover/node.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { type Component, createSequence } from '../../src/lib/component.ts'
import { createLog } from '../../src/lib/log.ts'
import { createTally } from '../../src/lib/tally.ts'
import type { NoticeBody } from '../../src/notify/outbox.ts'
import type { TelemetryStore } from '../../src/store/clickhouse/telemetry-store.ts'
import { createAlarms } from '../../src/store/postgres/alarms.ts'
import { createAudit } from '../../src/store/postgres/audit.ts'
import { createContents } from '../../src/store/postgres/contents.ts'
import { createCredentials } from '../../src/store/postgres/credentials.ts'
import { createDatabase, type Database, type Tx } from '../../src/store/postgres/database.ts'
import { createDevices } from '../../src/store/postgres/devices.ts'
import { createExporters } from '../../src/store/postgres/exporters.ts'
import { createInterfaces } from '../../src/store/postgres/interfaces.ts'
import { createJobStore } from '../../src/store/postgres/job-store.ts'
import { createJobs } from '../../src/store/postgres/jobs.ts'
import { createJoinTokens } from '../../src/store/postgres/join-tokens.ts'
import { pause, readLeadership, resume } from '../../src/store/postgres/leadership.ts'
import { createLeftBehinds } from '../../src/store/postgres/left-behinds.ts'
import { createNameLists } from '../../src/store/postgres/name-lists.ts'
import { createOperations } from '../../src/store/postgres/operations.ts'
import { createOutbox } from '../../src/store/postgres/outbox.ts'
import { createPairSettings } from '../../src/store/postgres/pair-settings.ts'
import { createRoleChanges } from '../../src/store/postgres/role-changes.ts'
import { createServers } from '../../src/store/postgres/servers.ts'
import { createSessions } from '../../src/store/postgres/sessions.ts'
import { createSnmpAccesses } from '../../src/store/postgres/snmp-accesses.ts'
import { createTokens } from '../../src/store/postgres/tokens.ts'
import { createUsers } from '../../src/store/postgres/users.ts'
import { createVersions } from '../../src/store/postgres/versions.ts'

/** What a machine that joins is given, and what else the set-up asks of the outside; for the tests to say. */
export type SetupAnswers = Pick<
  Parameters<typeof setupRoutes<Tx>>[0],
  'welcome' | 'invitation' | 'prepareFolder' | 'preflight'
>

export interface ApiServer extends Component {
  readonly url: string
  readonly database: Database
  /** Everything that was logged, as text. */
  readonly log: () => string
  /** What the server believes: its role, and the term under which it would write. */
  believes: { role: 'active' | 'standby'; term: number }
}

async function nobody(): Promise<never> {
  throw new Error('this test sets nothing up')
}
const noSetup: SetupAnswers = {
  welcome: nobody,
  prepareFolder: nobody,
  invitation: () => ({ console: 'https://kw1.example.net', fingerprint: 'f'.repeat(43) }),
  preflight: { start: nobody, last: async () => null },
}

const incarnation = '8c1f1b0e-0000-4000-8000-000000000000'

export function createApiServer(config: {
  url: string
  name?: string
  setup?: SetupAnswers
}): ApiServer {
  const { name = 'one' } = config
  const lines: string[] = []
  const log = createLog({ level: 'info', part: name }, { write: line => lines.push(line) })
  const clock = systemClock
  const metrics = new Registry()
  const base = { log, metrics, clock }
  const believes: ApiServer['believes'] = { role: 'active', term: 1 }
  const database = createDatabase(base, {
    url: config.url,
    applicationName: `keepwatch/${name}/${incarnation}`,
    poolSize: 4,
  })
  const key = randomBytes(32)
  const users = createUsers({ database })
  const tokens = createTokens({ database })
  const audit = createAudit({ database })
  const devices = createDevices({ database })
  const exporters = createExporters({ database })
  const versions = createVersions({
    database,
    contents: createContents({ database }, { key }),
  })
  const servers = createServers({ database })
  const operations = createOperations({ database })
  const jobStore = createJobStore({ database, versions })
  const directory = createDirectory(
    {
      clock,
      tally: createTally<'directory'>(base, { name: 'test_problems', help: 'Trouble' }),
      listServers: () => servers.list(),
      seen: () => servers.seen(name, incarnation),
      readLeader: () => readLeadership(database),
      listDevices: () => devices.list(),
      listExporters: () => exporters.list(),
      runningOperation: () => operations.running(),
      health: () => database.health(),
    },
    { self: name },
  )
  const status = (): NodeStatus => ({
    server: name,
    incarnation,
    version: '1',
    role: believes.role,
    state: believes.role,
    term: believes.term,
    active: believes.role === 'active' ? name : 'two',
    since: new Date(0),
    sentence: 'as the test says',
    fault: undefined,
    database: 'there',
    peer: undefined,
    heartbeat: { counter: 1, ageMs: 5, recentMs: [5] },
    leaseMs: 10_000,
    paused: undefined,
    address: { type: 'none', what: [], held: false, fault: undefined },
  })
  const pair = createPairView(
    {
      status,
      onChange: () => () => {},
      onHeartbeat: () => () => {},
      directory,
      engineReady: () => true,
      telemetry: () => [],
    },
    {
      name,
      ownConsole: () => `http://127.0.0.1:${http.port}`,
      timings: { heartbeatMs: 1000, leaseMs: 10_000, timeoutMs: 60_000 },
    },
  )
  const logIns = rememberLogIns({ users, sessions: createSessions({ database }), tokens }, clock)
  const write = createWrite({
    database,
    audit,
    term: () => (believes.role === 'active' ? believes.term : undefined),
  })
  const setup = setupRoutes<Tx>({
    ...(config.setup ?? noSetup),
    write,
    now: clock.wall,
    changed: async () => {},
    stores: {
      servers,
      pairSettings: createPairSettings({ database }, { key }),
      joinTokens: createJoinTokens({ database }, { key }),
    },
  })
  const http: HttpServer = createHttp(
    {
      ...base,
      pair,
      authenticate: createAuthenticate(logIns),
      unhealthy: () => [],
      handlers: createHandlers({
        clock,
        pair,
        logIns,
        alarms: createAlarms({ database }),
        audit,
        devices,
        exporters,
        nameLists: createNameLists({ database }),
        namesChanged: () => {},
        interfaces: createInterfaces({ database }),
        leftBehinds: createLeftBehinds({ database }),
        snmpAccesses: createSnmpAccesses({ database }, { key }),
        interfaceNames: { state: () => [], nudge() {} },
        versions,
        jobs: createJobs({ database }),
        credentials: createCredentials({ database }, { key }),
        roleChanges: createRoleChanges({ database }),
        operations,
        leadership: { pause, resume },
        drill: async () => {
          throw new Error('there is no standby to drill with')
        },
        upgrade: async () => {
          throw new Error('there is no other version')
        },
        drivers,
        directory,
        telemetry: {
          query: async () => ({ rows: [], statistics: { rowsRead: 0, elapsedMs: 0 } }),
        } as unknown as TelemetryStore,
        feed: { subscribe: () => () => {} },
        write,
        setup,
        outbox: createOutbox<NoticeBody>({ database }),
        notices: { test: async () => [], nudge() {} },
        conditions: () => [],
        collectors: () => [],
        requestBackup: (deviceId, by) =>
          jobStore.enqueue(believes.term, {
            deviceId,
            cause: 'request',
            causeKey: `request:${deviceId}`,
            requestedBy: by,
            notBefore: new Date(),
          }),
        switchover: async () => ({ accepted: true, sentence: 'handing over' }),
        promote: async () => {},
        onPasswordChosen: () => {},
      }),
    },
    { host: '127.0.0.1', port: 0, version: '1.2.3' },
  )
  const registration: Component = {
    start: () =>
      servers.register({
        name,
        installed: 'primary',
        incarnation,
        version: '1.2.3',
        consoleUrl: `http://127.0.0.1:${http.port}`,
        linkHost: '127.0.0.1',
        linkPort: 1,
      }),
    stop: async () => {},
  }
  return {
    ...createSequence([database, http, registration, directory]),
    database,
    believes,
    log: () => lines.join(''),
    get url() {
      return `http://127.0.0.1:${http.port}`
    },
  }
}
