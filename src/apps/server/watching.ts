import { createAlarmWatch } from '../../alarms/watch.ts'
import type { Receiver } from '../../collect/receive.ts'
import type { FailoverNode } from '../../failover/node.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Tally } from '../../lib/tally.ts'
import { readLeadership, readTime } from '../../store/postgres/leadership.ts'
import type { ActiveWork } from './active-work.ts'
import type { Directory } from './directory.ts'
import { createNotices, type Notices } from './notices.ts'
import type { Opened } from './opened.ts'
import type { Replication } from './own-database.ts'
import type { PairSettingsWatch } from './pair-settings.ts'
import type { SharedFiles } from './shared-files.ts'
import type { State } from './state.ts'
import { createVitals, type VitalsWatch } from './vitals.ts'
import { createWhatIsWrong } from './what-is-wrong.ts'

/** How a server watches itself and its deployment, and tells people. */
export interface Watching {
  vitals: VitalsWatch
  wrong: ReturnType<typeof createWhatIsWrong>
  notices: Notices
  /** Work of the active: raises and clears alarms, and tells of it. */
  alarms: ActiveWork
}

export function createWatching(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    tally: Pick<Tally<'vitals' | 'notices' | 'alarms'>, 'count'>
    state: State
    node: Pick<FailoverNode, 'status'>
    directory: Directory
    receiver: Pick<Receiver, 'collectors'>
    shared: SharedFiles
    pairSettings: Pick<PairSettingsWatch, 'current'>
    /** Undefined: the servers share a database. */
    replication?(): Replication
    /** URL at which people find the active, also later. */
    console(): string
  },
  config: { name: string; opened: Opened },
): Watching {
  const { clock, state, node, directory, shared, tally } = deps
  const { dataDir, identity, tls } = config.opened
  const { database } = state
  const vitals = createVitals(
    {
      ...deps,
      databaseLatencyMs: () => directory.database().latencyMs,
      peerClock() {
        const { evidence, ageMs } = node.status().peer ?? {}
        if (evidence?.kind !== 'alive' || evidence.clockMs === undefined) return undefined
        return { name: evidence.server, skewMs: evidence.clockMs - (clock.wall() - ageMs!) }
      },
      databaseTime: () => readTime(database),
    },
    {
      folders: [dataDir],
      certificates: [
        { name: 'link', pem: identity.cert },
        ...(tls ? [{ name: 'console', pem: tls.cert }] : []),
      ],
    },
  )
  const wrong = createWhatIsWrong({ ...deps, ...state, ...shared, vitals })
  const notices = createNotices(
    {
      ...deps,
      ...state,
      readLeadership: () => readLeadership(database),
      settings: deps.pairSettings.current,
    },
    { server: config.name },
  )
  const alarms = eachTerm(term =>
    createAlarmWatch({ store: notices.alarmStore(term), conditions: wrong.all, tally }),
  )
  return { vitals, wrong, notices, alarms }
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
