/** The notices of a server: what its state says is told to the people that its settings name. */

import type { AlarmStore } from '../../alarms/watch.ts'
import type { PairSettings } from '../../api/contract/setup.ts'
import type { NodeStatus } from '../../failover/node.ts'
import type { Clock } from '../../lib/clock.ts'
import { TermOver } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Tally } from '../../lib/tally.ts'
import { type Audience, createAnnouncer, defaultLimits } from '../../notify/announce.ts'
import {
  createNotifier,
  defaultNotifierConfig,
  type NotifierConfig,
  type NotifySettings,
} from '../../notify/notifier.ts'
import type { NoticeBody } from '../../notify/outbox.ts'
import type { Alarms } from '../../store/postgres/alarms.ts'
import type { Database, Tx } from '../../store/postgres/database.ts'
import type { Leadership } from '../../store/postgres/leadership.ts'
import type { Outbox } from '../../store/postgres/outbox.ts'
import type { RoleChange, RoleChanges } from '../../store/postgres/role-changes.ts'
import { explainAlarm } from './condition-kinds.ts'
import { takeoverFacts } from './takeover-facts.ts'

export interface Notices {
  /** Work of the active: tells of its takeover, and sends. Starts at once; the rest is background. */
  start(term: number): Promise<void>
  stop(): Promise<void>
  /** The alarms of a term; whoever raises or clears one there also tells of it. */
  alarmStore(term: number): AlarmStore
  /** To be given each status of the node: an outage of the database is told of when it is over. */
  watch(status: NodeStatus): void
  /** Before a planned hand-over: what is under way has so long to end. */
  drain(withinMs: number): Promise<void>
  /** A test to everybody. @returns the keys of its notices; none if nobody is set up to be told */
  test(tx: Tx, id: string, at: Date): Promise<string[]>
  /** Something was committed: it is sent now. */
  nudge(): void
}

const who = { name: 'keepwatch' }
/** The former active may say why it let go only a moment later; sent is after `refineMs`. */
const secondLookMs = 1200
const retryMs = 1000
/** A takeover that nobody was told of, because the next one followed at once. */
const missedMs = 600_000
const changesRead = 50

export function createNotices(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    tally: Pick<Tally<'notices'>, 'count'>
    database: Database
    outbox: Outbox<NoticeBody>
    alarms: Alarms
    roleChanges: Pick<RoleChanges, 'list'>
    servers: { list(): Promise<readonly { name: string; seenAt: Date }[]> }
    readLeadership(): Promise<Pick<Leadership, 'since' | 'reason'>>
    /** As last read. */
    settings(): { settings: Pick<PairSettings, 'mail' | 'webhook'>; secrets: Secrets }
    /** How people reach this server's console. */
    console(): string
    /** What became of the telemetry at this takeover; undefined while it is not known. */
    telemetry?(term: number): string | undefined
  },
  config: { server: string; notifier?: Partial<NotifierConfig> },
): Notices {
  const { alarms, clock, database, outbox } = deps
  const notifier = createNotifier(
    { ...deps, queue: outbox, settings: () => channelsOf(deps.settings()) },
    { ...defaultNotifierConfig, ...config.notifier },
  )
  const announcer = createAnnouncer<Tx>(
    {
      outbox,
      audience: () => audienceOf(deps.settings().settings, deps.console()),
      explain: explainAlarm,
      now: clock.wall,
    },
    { ...defaultLimits, server: config.server },
  )
  let current: { term: number; stopped: AbortController; work: Promise<unknown> } | undefined
  let awaySince: number | undefined

  async function tellOfTakeovers(term: number) {
    const [{ rows: changes }, servers, leadership] = await Promise.all([
      deps.roleChanges.list({ limit: changesRead }),
      deps.servers.list(),
      deps.readLeadership(),
    ])
    const seenAt = (server: string) => servers.find(({ name }) => name === server)?.seenAt
    const fallback = { at: leadership.since, sentence: leadership.reason }
    const begun: { term: number; server: string }[] = [
      ...changes.filter(change => isMissed(change, term)),
      { term, server: config.server },
    ]
    await database.fenced(term, who, async tx => {
      for (const one of begun) {
        const telemetry = one.term === term ? deps.telemetry?.(term) : undefined
        const facts = takeoverFacts({ ...one, changes, fallback, seenAt, telemetry })
        await announcer.takeover(tx, facts)
      }
    })
  }

  function isMissed({ role, term, at }: RoleChange, now: number): boolean {
    return role === 'active' && term < now && clock.wall() - at.getTime() < missedMs
  }

  /** Until it succeeds, the term is over, or it is stopped. */
  async function insist(stopped: AbortSignal, work: () => Promise<unknown>) {
    while (!stopped.aborted) {
      try {
        await work()
        return
      } catch (error) {
        deps.tally.count('notices', () => ({ error: (error as Error).message }))
        if (error instanceof TermOver) return
      }
      await pause(retryMs, stopped)
    }
  }

  return {
    nudge: notifier.nudge,
    drain: notifier.drain,
    test: (tx, id, at) => announcer.test(tx, { id, by: tx.who, at }),

    alarmStore: term => ({
      async open() {
        return (await alarms.list({ open: true, limit: 1000 })).rows
      },
      raise: condition =>
        database.fenced(term, who, async tx => {
          const { alarm, raised } = await alarms.raise(tx, condition)
          const worse = !raised && condition.severity === 'critical'
          if (raised || worse) await announcer.raised(tx, alarm, raised ? 'raised' : 'worse')
        }),
      clear: key =>
        database.fenced(term, who, async tx => {
          const alarm = await alarms.clear(tx, key)
          if (alarm?.clearedAt) {
            await announcer.cleared(tx, { ...alarm, clearedAt: alarm.clearedAt })
          }
        }),
    }),

    watch({ database: reached, role, state }) {
      if (role !== 'active') awaySince = undefined
      else if (reached === 'away') awaySince ??= clock.wall()
      else if (reached === 'there' && state === 'active' && awaySince !== undefined && current) {
        const outage = { from: new Date(awaySince), until: new Date(clock.wall()) }
        awaySince = undefined
        const { term, stopped, work } = current
        const told = insist(stopped.signal, () =>
          database.fenced(term, who, tx => announcer.outage(tx, outage)),
        )
        current.work = Promise.all([work, told])
      }
    },

    async start(term) {
      const stopped = new AbortController()
      const work = (async () => {
        await insist(stopped.signal, () => tellOfTakeovers(term))
        await pause(secondLookMs, stopped.signal)
        await insist(stopped.signal, () => tellOfTakeovers(term))
      })()
      current = { term, stopped, work }
      await notifier.start(term)
    },

    async stop() {
      const ending = current
      current = undefined
      ending?.stopped.abort()
      await notifier.stop()
      await ending?.work
    },
  }
}

type Secrets = { smtpPassword?: string; webhookSecret?: string }
type NoticeSettings = Pick<PairSettings, 'mail' | 'webhook'>

function audienceOf({ mail, webhook }: NoticeSettings, console: string): Audience {
  return {
    recipients: mail?.recipients ?? [],
    webhook,
    classes: mail?.classes ?? ['self-monitoring', 'synchronization', 'takeover'],
    console,
  }
}

function channelsOf(known: { settings: NoticeSettings; secrets: Secrets }): NotifySettings {
  const { mail, webhook } = known.settings
  const { smtpPassword, webhookSecret } = known.secrets
  return {
    mail: mail && {
      ...{ host: mail.host, port: mail.port, security: mail.security, from: mail.from },
      ...(mail.user === undefined ? {} : { user: mail.user, password: smtpPassword }),
    },
    webhook: webhook === null ? null : { url: webhook, secret: webhookSecret },
  }
}

function pause(ms: number, stopped: AbortSignal): Promise<void> {
  if (stopped.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      stopped.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    stopped.addEventListener('abort', done)
  })
}
