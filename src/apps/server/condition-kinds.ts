/** Every kind of alarm: which notices it belongs to, what it means, and what to do. */
import type { Condition } from '../../alarms/watch.ts'
import type { AlarmKind } from '../../notify/announce.ts'

const selfMonitoring = 'self-monitoring'
const synchronization = 'synchronization'

/** By what stands before the first `/` of an alarm's key. */
export const conditionKinds = {
  'standby-away': {
    class: selfMonitoring,
    means: 'The pair is one server now: what fails next is not taken over.',
    act: ['Start the standby, or repair its host or its network.', 'See the end of its log.'],
  },
  'standby-unwell': {
    class: selfMonitoring,
    means: 'The standby runs, but could not do the work of the active.',
    act: ['See its console or log for what it lacks: disk, engine, listeners.'],
  },
  'takeovers-stopped': {
    class: selfMonitoring,
    means:
      'The active changed too often within a short time, so nobody takes over any more until a person says so.',
    act: [
      'See the history in the console: why did the role change each time?',
      'When that is repaired: keepwatch failover resume.',
    ],
  },
  'takeovers-paused': {
    class: selfMonitoring,
    means: 'A person has paused takeovers: if this server fails now, nobody takes over.',
    act: ['When the maintenance is over: keepwatch failover resume.'],
  },
  'address-fault': {
    class: selfMonitoring,
    means: 'The network may not find the active server at its virtual address or name.',
    act: ['Do what the text says; keepwatch doctor checks it.'],
  },
  'shared-folder': {
    class: selfMonitoring,
    means:
      'Segments stay in the local spool meanwhile: nothing is lost, unless this server is lost before the folder is back.',
    act: ['Repair the folder, or the network to it; it is used again by itself.'],
  },
  'versions-differ': {
    class: selfMonitoring,
    means:
      'An upgrade was begun and has not come to its end. The pair works, but should not stay so.',
    act: [
      'keepwatch upgrade --status says how far it is, and why.',
      'Then say keepwatch upgrade again.',
    ],
  },
  'upgrade-failed': {
    class: selfMonitoring,
    means: 'Both servers run what they ran before, unless the text says otherwise.',
    act: ['keepwatch upgrade --status shows each step.', 'Mend the reason and upgrade again.'],
  },
  'disk-space': {
    class: selfMonitoring,
    means: 'When the disk is full the server hands over, or stops storing.',
    act: ['Free space, enlarge the disk, or keep telemetry for fewer days.'],
  },
  memory: {
    class: selfMonitoring,
    means: 'When memory runs out the system ends processes, perhaps this one.',
    act: ['See what else runs on the host; give it more memory.'],
  },
  'event-loop': {
    class: selfMonitoring,
    means:
      'The server answers late. If it gets worse it loses its lease, and the standby takes over.',
    act: ['See the load of the host: is the processor shared, or taken by others?'],
  },
  'database-latency': {
    class: selfMonitoring,
    means: 'Everything that reads or changes state is slow. If it gets worse the lease is lost.',
    act: ['See the load of the database and the network to it.'],
  },
  'database-away': {
    class: selfMonitoring,
    means:
      'Telemetry is received and kept. Backups, changes and alarms wait, and nobody can take over.',
    act: ['Bring the database back; everything goes on by itself.'],
  },
  'voters-away': {
    class: selfMonitoring,
    means:
      'Too few voters are heard to say who is active. Telemetry is received and kept; changes wait.',
    act: [
      'Bring the missing voters back: servers, collectors, witnesses, or the network between them.',
      'If the other server is gone for good: `keepwatch failover promote` on the one that is left.',
    ],
  },
  'voter-missing': {
    class: selfMonitoring,
    means: 'With one voter less a takeover may need a person.',
    act: [
      'See why it is not heard. One that is away for ten minutes is replaced, if another is there.',
    ],
  },
  'changes-alone': {
    class: selfMonitoring,
    means:
      'The standby lacks changes that were acknowledged, so it does not take over: if this server’s disk is lost, they are.',
    act: ['Bring the standby back; what it lacks it gets by itself.'],
  },
  'changes-left-behind': {
    class: selfMonitoring,
    means:
      'A server that was active had changes that the one after it lacked. It has kept them, and follows the other now.',
    act: [
      'See them on the page _Failover_, and make again those that are still wanted.',
      'Say there that they were seen: then this ends.',
    ],
  },
  certificate: {
    class: selfMonitoring,
    means:
      'After that moment nobody accepts it any more: links, browsers and programs are refused.',
    act: ['Issue a new certificate, and restart the server whose it is.'],
  },
  'clock-skew': {
    class: selfMonitoring,
    means:
      'Who is active does not depend on it, but times in logs, versions and charts do not fit.',
    act: ['Let both servers and the database set their clocks by NTP.'],
  },
  backlog: {
    class: selfMonitoring,
    means:
      'Telemetry waits on the disk of the collector. When its quota is reached the oldest is lost.',
    act: ['Are both servers up and reachable from there? Is one too slow?'],
  },
  'collector-away': {
    class: selfMonitoring,
    means: 'What its site sends is not received, unless the devices send to others too.',
    act: ['Does the collector run, and does it reach the servers?'],
  },
  'segments-lost': {
    class: selfMonitoring,
    means: 'Telemetry of that time is missing.',
    act: ['Make the servers reachable again, or raise the quota of the spool.'],
  },
  'rows-lost': {
    class: selfMonitoring,
    means: 'Telemetry of that time is missing.',
    act: ['See the disk of the collector: is it full, failing or busy?'],
  },
  'backup-failed': {
    class: selfMonitoring,
    means: 'The last version that is kept may not be what the device runs.',
    act: ['See the job in the console: it holds the reason and the dialogue.'],
  },
  'notices-failed': {
    class: selfMonitoring,
    means: 'Somebody was not told of something.',
    act: ['See Settings → General → Failover: address, mail server, password. Send a test.'],
  },
  'notices-waiting': {
    class: selfMonitoring,
    means: 'Nothing is lost: it is tried again for a day.',
    act: ['Is the mail server or the webhook reachable from the active server?'],
  },
  delivery: {
    class: synchronization,
    means: 'The collector keeps what that server lacks and delivers it later.',
    act: ['Does that server run? Does its certificate fit?'],
  },
  'telemetry-behind': {
    class: synchronization,
    means: 'If that server becomes active now, its charts lack the newest until it has caught up.',
    act: ['After an outage: wait. Otherwise see its load, and the network to it.'],
  },
  'sync-behind': {
    class: synchronization,
    means: 'After a takeover now the standby would work with older settings, drivers or reports.',
    act: ['See the log of the standby: what does it fail to fetch or to write?'],
  },
} satisfies Record<string, AlarmKind>

export type ConditionKind = keyof typeof conditionKinds

/** By the key of an alarm: what stands before the first `/`. */
export function explainAlarm(key: string): AlarmKind {
  const kind = key.split('/', 1)[0]!
  return kind in conditionKinds
    ? conditionKinds[kind as ConditionKind]
    : // An alarm that another version of the program raised.
      { class: selfMonitoring, means: 'See the console.', act: [] }
}

/** @param rest what the key says beside the kind */
export function condition(
  kind: ConditionKind,
  rest: string,
  severity: Condition['severity'],
  subject: string,
  text: string,
): Condition {
  return { key: `${kind}/${rest}`, class: conditionKinds[kind].class, severity, subject, text }
}

/** Above the first bound, or, once it was, still above the second. */
export function isOver(
  key: string,
  value: number,
  bounds: { raise: number; clear: number },
  open: ReadonlySet<string>,
): boolean {
  return value > (open.has(key) ? bounds.clear : bounds.raise)
}

export function gibibytes(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`
}
