/** What is wrong with the deployment, as the active server sees it. Pure. */
import type { Condition } from '../../alarms/watch.ts'
import type { CollectorState } from '../../collect/receive.ts'
import type { NodeStatus } from '../../failover/node.ts'
import type { LeftBehindRecord } from '../../store/postgres/left-behinds.ts'
import type { OutboxTrouble } from '../../store/postgres/outbox.ts'
import { condition, gibibytes, isOver } from './condition-kinds.ts'
import type { Directory } from './directory.ts'
import type { Replication } from './own-database.ts'
import { vitalConditions } from './vital-conditions.ts'
import type { Vitals } from './vitals.ts'

/** A collector that has said nothing for so long is away. */
export const collectorAwayMs = 15_000

/** What begins above the first ends only below the second: otherwise alarms would come and go. */
const backlogBytes = { raise: 1024 ** 3, clear: 256 * 1024 ** 2 }
const segmentsBehind = { raise: 1000, clear: 100 }
const behindMs = { raise: 300_000, clear: 30_000 }
/** Longer than a rolling upgrade takes. */
const mixedMs = 600_000
/** Told about for so long, unless another is begun. */
const upgradeFailedMs = 86_400_000
const noticesWaitingMs = { raise: 900_000, clear: 60_000 }

/** How far the files and settings of the standby are behind. */
export interface SyncLag {
  behindMs: number
  /** Why it does not get on; null while it does. */
  error: string | null
}

/** The last upgrade of the pair. */
export interface LastUpgrade {
  version: string
  failure: string
  finished: Date
}

/** What is known without the database. */
export interface LiveInput {
  now: number
  status: NodeStatus
  directory: Pick<Directory, 'peer'>
  /** When this server began, by the database's clock. */
  startedAt?: Date | undefined
  collectors: readonly { state: CollectorState; seenAt: number }[]
  /** Keys of the alarms that are open: they end later than they begin. */
  open?: ReadonlySet<string> | undefined
  vitals?: Vitals | undefined
  /** What is wrong with the shared folder, in a sentence. */
  folderFault?: string | undefined
  sync?: SyncLag | undefined
  /** Of servers with a database each. */
  replication?: Replication | undefined
}

export interface ConditionsInput extends LiveInput {
  failingDevices: readonly { id: string; name: string; failure: string }[]
  outbox?: OutboxTrouble | undefined
  /** What servers had that is in force nowhere, and nobody has looked at. */
  leftBehind: readonly Pick<LeftBehindRecord, 'id' | 'server' | 'changeCount' | 'kept' | 'unread'>[]
  /** If it failed. */
  upgrade?: LastUpgrade | undefined
}

/** All of it; what belongs to alarms that are raised and cleared. */
export function conditionsNow(input: ConditionsInput): Condition[] {
  return [
    ...withoutDatabase(input),
    ...input.failingDevices.map(({ id, name, failure }) =>
      condition(
        'backup-failed',
        id,
        'warning',
        name,
        `The last backup of ${name} failed: ${failure}`,
      ),
    ),
    ...(input.outbox ? ofOutbox(input.outbox, input.open ?? new Set()) : []),
    ...(input.upgrade ? ofUpgrade(input.upgrade, input.now) : []),
    ...input.leftBehind.map(ofLeftBehind),
  ]
}

/** What can be said, and is to be seen in the console, while alarms cannot be written. */
export function liveConditions(input: LiveInput): Condition[] {
  const { database, server, state } = input.status
  const found = withoutDatabase(input)
  if (database !== 'away') return found
  if (input.replication) {
    const { votersMean } = input.replication
    return [
      condition('voters-away', server, 'critical', server, `${server}: ${votersMean}.`),
      ...found,
    ]
  }
  const text =
    state === 'held'
      ? `The database is away for both servers: ${server} goes on receiving, and nobody can take over.`
      : `${server} does not reach the database.`
  return [condition('database-away', server, 'critical', server, text), ...found]
}

/** What an active with a database of its own lacks for a takeover that loses nothing. */
function ofReplication({ directory, replication, status }: LiveInput): Condition[] {
  if (replication === undefined || status.role !== 'active') return []
  const { changes, together, voters, votersMean } = replication
  const { server } = status
  const missing = voters.filter(({ present }) => !present)
  const found =
    missing.length === 0
      ? []
      : [condition('voter-missing', server, 'warning', server, `${votersMean}.`)]
  // One that has no second server knows that.
  if (together !== false || directory.peer() === undefined) return found
  const text = `Changes are on the disk of ${server} alone: ${changes}.`
  return [condition('changes-alone', server, 'warning', server, text), ...found]
}

function ofLeftBehind(left: ConditionsInput['leftBehind'][number]): Condition {
  const { changeCount, id, kept, server, unread } = left
  const changes = changeCount === 1 ? 'One change' : `${changeCount} changes`
  const text =
    unread === null
      ? `${changes} that ${server} had made are not in force: the server that took over did not have them.`
      : `Whether ${server} had changes that are not in force is not known: its database could not be read (${unread}); it is kept in ${kept}.`
  return condition('changes-left-behind', `${server}/${id}`, 'warning', server, text)
}

function withoutDatabase(input: LiveInput): Condition[] {
  const { status, vitals, now, open = new Set() } = input
  return [
    ...ofPair(input),
    ...ofReplication(input),
    ...input.collectors.flatMap(({ state, seenAt }) =>
      now - seenAt > collectorAwayMs ? [collectorAway(state)] : ofCollector(state, open),
    ),
    ...(vitals ? vitalConditions(vitals, { server: status.server, now, open }) : []),
  ]
}

function ofPair(input: LiveInput) {
  const { status, directory, folderFault, sync, open = new Set() } = input
  const found: Condition[] = ofVersions(input)
  const peer = directory.peer()
  const evidence = status.peer?.evidence
  if (peer && evidence && evidence.kind !== 'nobody') {
    const { name } = peer
    if (evidence.kind !== 'alive') {
      const text = `The standby ${name} does not answer: if this server fails now, nobody takes over.`
      found.push(condition('standby-away', name, 'critical', name, text))
    } else if (!evidence.healthy && evidence.role === 'standby') {
      const text = `The standby ${name} says that it could not take over.`
      found.push(condition('standby-unwell', name, 'critical', name, text))
    }
  }
  const { paused, server } = status
  if (paused !== undefined) {
    const { by, reason, until } = paused
    found.push(
      by === flappingBy
        ? condition('takeovers-stopped', 'pair', 'critical', 'pair', `No more takeovers: ${reason}`)
        : condition(
            ...(['takeovers-paused', 'pair', 'warning', 'pair'] as const),
            `Takeovers are paused by ${by}${until ? ` until ${until.toISOString()}` : ''}: ${reason}`,
          ),
    )
  }
  const { fault } = status.address
  if (fault !== undefined) {
    found.push(condition('address-fault', server, 'critical', server, asSentence(fault)))
  }
  if (folderFault !== undefined) {
    const text = `The shared folder cannot be used: ${folderFault}`
    found.push(condition('shared-folder', server, 'critical', server, text))
  }
  if (
    sync !== undefined &&
    (sync.error !== null || isOver('sync-behind/pair', sync.behindMs, behindMs, open))
  ) {
    const far = `The standby is ${Math.round(sync.behindMs / 60_000)} minutes behind with files and settings`
    const text = sync.error === null ? `${far}.` : `${far}: ${sync.error}`
    found.push(condition('sync-behind', 'pair', 'warning', peer?.name ?? 'standby', text))
  }
  return found
}

/** A version changes by a restart only, so they differ since the later of the two. */
function ofVersions({ status, directory, startedAt, now }: LiveInput): Condition[] {
  const peer = directory.peer()
  if (peer === undefined || startedAt === undefined || peer.version === status.version) return []
  const forMs = now - Math.max(startedAt.getTime(), peer.startedAt.getTime())
  if (forMs <= mixedMs) return []
  const { server, version } = status
  const text =
    `${server} runs version ${version} and ${peer.name} version ${peer.version}, ` +
    `for ${Math.floor(forMs / 60_000)} minutes.`
  return [condition('versions-differ', 'pair', 'warning', 'pair', text)]
}

function ofUpgrade({ version, failure, finished }: LastUpgrade, now: number): Condition[] {
  if (now - finished.getTime() > upgradeFailedMs) return []
  const text = `The upgrade to ${version} failed: ${failure}`
  return [condition('upgrade-failed', 'pair', 'warning', 'pair', text)]
}

/** Who has paused takeovers when there were too many of them. */
const flappingBy = 'keepwatch'

function collectorAway({ id, name }: CollectorState): Condition {
  const text = `The collector ${name} has not been heard of for more than ${collectorAwayMs / 1000} s.`
  return condition('collector-away', id, 'critical', name, text)
}

function ofCollector(state: CollectorState, open: ReadonlySet<string>): Condition[] {
  const { id, name } = state
  const found: Condition[] = []
  for (const { kind, lost } of state.kinds) {
    if (lost === 0) continue
    const text = `The collector ${name} had to give up ${kind} segments before they were delivered: its spool was full.`
    found.push(condition('segments-lost', `${id}/${kind}`, 'critical', name, text))
  }
  const dropped = state.problems['seal.memory-full'] ?? 0
  if (dropped > 0) {
    const text = `The collector ${name} dropped ${dropped} batches: its disk was too slow, and its memory full.`
    found.push(condition('rows-lost', id, 'critical', name, text))
  }
  const backlog = state.kinds.reduce((sum, kind) => sum + kind.backlogBytes, 0)
  if (isOver(`backlog/${id}`, backlog, backlogBytes, open)) {
    const text = `The collector ${name} keeps ${gibibytes(backlog)} of telemetry that not every server has.`
    found.push(condition('backlog', id, 'warning', name, text))
  }
  for (const { server, reachable, lastError, waiting } of state.deliveries) {
    const key = `${id}/${server}`
    if (!reachable) {
      const text = `The collector ${name} cannot deliver to ${server}: ${lastError ?? 'no answer'}.`
      found.push(condition('delivery', key, 'warning', name, text))
    } else if (isOver(`telemetry-behind/${key}`, waiting, segmentsBehind, open)) {
      const text = `${server} lacks ${waiting} segments of the collector ${name}, which is delivering them.`
      found.push(condition('telemetry-behind', key, 'warning', server, text))
    }
  }
  return found
}

function ofOutbox(trouble: OutboxTrouble, open: ReadonlySet<string>): Condition[] {
  const { failed, failure, oldestWaitingMs } = trouble
  const found: Condition[] = []
  if (failed > 0) {
    const text = `${failed} ${failed === 1 ? 'notice' : 'notices'} of the last day could not be delivered: ${failure}`
    found.push(condition('notices-failed', 'pair', 'warning', 'notices', text))
  }
  if (isOver('notices-waiting/pair', oldestWaitingMs ?? 0, noticesWaitingMs, open)) {
    const minutes = Math.round(oldestWaitingMs! / 60_000)
    const text = `Notices have not got through for ${minutes} minutes.`
    found.push(condition('notices-waiting', 'pair', 'warning', 'notices', text))
  }
  return found
}

/** Alarms about notices: what they themselves cannot deliver must not keep them open. */
export const noticeAlarmPrefix = 'alarm/notices-'

function asSentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}
