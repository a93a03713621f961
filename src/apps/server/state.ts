import type { SnmpAccess } from '../../interfaces/session.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { NoticeBody } from '../../notify/outbox.ts'
import { createAlarms } from '../../store/postgres/alarms.ts'
import { createAudit } from '../../store/postgres/audit.ts'
import { createContents } from '../../store/postgres/contents.ts'
import { createCredentials } from '../../store/postgres/credentials.ts'
import { createDatabase } from '../../store/postgres/database.ts'
import { createDevices } from '../../store/postgres/devices.ts'
import { createExporters } from '../../store/postgres/exporters.ts'
import { createInterfaces } from '../../store/postgres/interfaces.ts'
import { createJobs } from '../../store/postgres/jobs.ts'
import { createJoinTokens } from '../../store/postgres/join-tokens.ts'
import { createLeftBehinds } from '../../store/postgres/left-behinds.ts'
import { createNameLists } from '../../store/postgres/name-lists.ts'
import { createOperations } from '../../store/postgres/operations.ts'
import { createOutbox } from '../../store/postgres/outbox.ts'
import { createPairSettings } from '../../store/postgres/pair-settings.ts'
import { createRoleChanges } from '../../store/postgres/role-changes.ts'
import { createServers } from '../../store/postgres/servers.ts'
import { createSessions } from '../../store/postgres/sessions.ts'
import { createSnmpAccesses } from '../../store/postgres/snmp-accesses.ts'
import { createTokens } from '../../store/postgres/tokens.ts'
import { createUsers } from '../../store/postgres/users.ts'
import { createVersions } from '../../store/postgres/versions.ts'

const poolSize = 10

export type State = ReturnType<typeof createState>

/**
 * The state in PostgreSQL with all its repositories.
 *
 * @param config.key the deployment's, 32 bytes: secrets are encrypted under it
 * @param config.previous the version to which this server may have to go back
 */
export function createState(
  base: { log: Log; metrics: Metrics; clock: Clock },
  config: {
    url: string
    applicationName: string
    key: Buffer
    previous?: () => string | undefined
  },
) {
  const { url, applicationName, key, previous } = config
  const database = createDatabase(base, { url, applicationName, poolSize, previous })
  const contents = createContents({ database }, { key })
  return {
    database,
    users: createUsers({ database }),
    tokens: createTokens({ database }),
    sessions: createSessions({ database }),
    alarms: createAlarms({ database }),
    audit: createAudit({ database }),
    devices: createDevices({ database }),
    exporters: createExporters({ database }),
    nameLists: createNameLists({ database }),
    interfaces: createInterfaces({ database }),
    snmpAccesses: createSnmpAccesses<SnmpAccess>({ database }, { key }),
    versions: createVersions({ database, contents }),
    jobs: createJobs({ database }),
    servers: createServers({ database }),
    roleChanges: createRoleChanges({ database }),
    credentials: createCredentials({ database }, { key }),
    contents,
    pairSettings: createPairSettings({ database }, { key }),
    joinTokens: createJoinTokens({ database }, { key }),
    outbox: createOutbox<NoticeBody>({ database }),
    operations: createOperations({ database }),
    leftBehinds: createLeftBehinds({ database }),
  }
}
