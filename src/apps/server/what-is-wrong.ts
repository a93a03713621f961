import type { Condition } from '../../alarms/watch.ts'
import type { Receiver } from '../../collect/receive.ts'
import type { FileSync } from '../../failover/files/sync.ts'
import type { SharedFolder } from '../../failover/folder/folder.ts'
import type { FailoverNode } from '../../failover/node.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Devices } from '../../store/postgres/devices.ts'
import type { LeftBehinds } from '../../store/postgres/left-behinds.ts'
import type { Operation, Operations } from '../../store/postgres/operations.ts'
import type { Outbox } from '../../store/postgres/outbox.ts'
import type { UpgradeReport } from '../upgrade/plan.ts'
import {
  conditionsNow,
  type LastUpgrade,
  type LiveInput,
  liveConditions,
  noticeAlarmPrefix,
  type SyncLag,
} from './conditions.ts'
import type { Directory } from './directory.ts'
import type { Replication } from './own-database.ts'
import type { VitalsWatch } from './vitals.ts'

/** Asks every part of the server what is wrong. */
export function createWhatIsWrong(deps: {
  clock: Clock
  node: Pick<FailoverNode, 'status'>
  /** Undefined: the servers share a database. */
  replication?(): Replication
  directory: Directory
  receiver: Pick<Receiver, 'collectors'>
  vitals: Pick<VitalsWatch, 'now'>
  folder: Pick<SharedFolder, 'state'>
  files: Pick<FileSync, 'state'>
  devices: Pick<Devices, 'list'>
  outbox: Pick<Outbox<never>, 'trouble'>
  operations: Pick<Operations, 'list'>
  leftBehinds: Pick<LeftBehinds, 'unseen'>
}): {
  /** All of it, for alarms. */
  all(open: ReadonlySet<string>): Promise<Condition[]>
  /** What can be told without the database. */
  live(): Condition[]
} {
  const { clock, node, directory } = deps

  function live(open?: ReadonlySet<string>): LiveInput {
    const status = node.status()
    const folder = deps.folder.state()
    const collectors = deps.receiver.collectors()
    return {
      ...{ now: clock.wall(), status, directory, collectors, open },
      startedAt: directory.servers().find(({ name }) => name === status.server)?.startedAt,
      vitals: deps.vitals.now(),
      folderFault: folder.fault?.text ?? folder.spool?.error,
      sync: lagOf(deps.files.state(), clock.wall()),
      replication: deps.replication?.(),
    }
  }

  return {
    live: () => liveConditions(live()),

    async all(open) {
      const [devices, outbox, upgrades, leftBehind] = await Promise.all([
        deps.devices.list(),
        deps.outbox.trouble(noticeAlarmPrefix),
        deps.operations.list({ kind: 'upgrade', limit: 1 }),
        deps.leftBehinds.unseen(),
      ])
      return conditionsNow({
        ...live(open),
        outbox,
        leftBehind,
        upgrade: failureOf(upgrades.rows[0]),
        failingDevices: devices.flatMap(({ id, name, enabled, lastJob }) =>
          enabled && lastJob?.state === 'failed'
            ? [{ id, name, failure: lastJob.failure ?? 'no reason given' }]
            : [],
        ),
      })
    },
  }
}

function failureOf(
  upgrade: Pick<Operation, 'ok' | 'finished' | 'report'> | undefined,
): LastUpgrade | undefined {
  if (upgrade?.ok !== false || upgrade.finished === null) return undefined
  const { version, failure } = (upgrade.report ?? {}) as Partial<UpgradeReport>
  return {
    version: version ?? 'another version',
    failure: failure ?? 'no reason was given',
    finished: upgrade.finished,
  }
}

/** How far the standby is, as it said itself; undefined while nobody follows. */
function lagOf({ standby }: ReturnType<FileSync['state']>, now: number): SyncLag | undefined {
  if (standby === null) return undefined
  const sinceWord = Math.max(0, now - standby.at.getTime())
  return { behindMs: (standby.lagMs ?? 0) + sinceWord, error: standby.lastError }
}
