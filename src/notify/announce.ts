/** Events become notices: one row a recipient and channel, in the transaction of what they tell. */
import type {
  Channel,
  DigestItem,
  Message,
  NewNotice,
  NoticeBody,
  NoticeClass,
  OutboxWrites,
} from './outbox.ts'
import {
  briefMs,
  clearedMessage,
  digestMessage,
  outageMessage,
  raisedMessage,
  type TakeoverFacts,
  takeoverMessage,
  testMessage,
} from './text.ts'

/** Who is told of what. */
export interface Audience {
  /** Mail addresses; empty if no mail is set up. */
  recipients: readonly string[]
  /** Null: none is set up. */
  webhook: string | null
  classes: readonly NoticeClass[]
  /** How people reach the console of the active; null if unknown. */
  console: string | null
}

/** An alarm as the state has it. */
export interface AlarmRow {
  id: number
  key: string
  severity: 'warning' | 'critical'
  subject: string
  text: string
  raisedAt: Date
}

/** What alarms of one kind have in common. */
export interface AlarmKind {
  class: 'self-monitoring' | 'synchronization'
  means: string
  act: readonly string[]
}

export interface AnnouncerConfig {
  /** Name of this server. */
  server: string
  /** Notices of alarms to a recipient within an hour; what is more goes into one digest. */
  mostAnHour: number
  /** Notices of one alarm within an hour; what is more goes into the digest. */
  mostOfOneAlarm: number
}

export const defaultLimits = { mostAnHour: 20, mostOfOneAlarm: 4 }

/** What every transaction of an active shows. */
interface InTerm {
  readonly term: number
}

export interface Announcer<Tx extends InTerm> {
  raised(tx: Tx, alarm: AlarmRow, event?: 'raised' | 'worse'): Promise<void>
  cleared(tx: Tx, alarm: AlarmRow & { clearedAt: Date }): Promise<void>
  /** Called again with better facts, it rewords what has not been sent yet. Never suppressed. */
  takeover(tx: Tx, facts: Omit<TakeoverFacts, 'console'>): Promise<void>
  /** The database is back. */
  outage(tx: Tx, outage: { from: Date; until: Date }): Promise<void>
  /** @returns the keys of the notices; none if nobody is set up to be told */
  test(tx: Tx, test: { id: string; by: string; at: Date }): Promise<string[]>
}

/** Time for the new active to learn more of what happened, before the mail is sent. */
const refineMs = 2000
const hourMs = 3_600_000
/** Alarms that a digest names; of more it says only that there were. */
const mostItems = 100

interface Target {
  channel: Channel
  recipient: string
}

export function createAnnouncer<Tx extends InTerm>(
  deps: {
    outbox: OutboxWrites<Tx>
    audience(): Audience
    /** What is known of alarms with such a key. */
    explain(key: string): AlarmKind
    /** Milliseconds since 1970; only to tell one hour from the next. */
    now(): number
  },
  config: AnnouncerConfig,
): Announcer<Tx> {
  const { outbox } = deps

  function targets(noticeClass: NoticeClass): Target[] {
    const { recipients, webhook, classes } = deps.audience()
    if (noticeClass !== 'test' && !classes.includes(noticeClass)) return []
    return [
      ...recipients.map(recipient => ({ channel: 'mail' as const, recipient })),
      ...(webhook === null ? [] : [{ channel: 'webhook' as const, recipient: webhook }]),
    ]
  }

  function bodyOf(tx: Tx, message: Message, at: Date, thread: string): NoticeBody {
    return { message, at: at.toISOString(), server: config.server, term: tx.term, thread }
  }

  function rows(
    to: readonly Target[],
    about: { event: string; class: NoticeClass; body: NoticeBody; delayMs: number },
  ): NewNotice[] {
    const { event, body, delayMs } = about
    const { subject } = body.message
    return to.map(({ channel, recipient }) => ({
      ...{ key: `${event}/${recipient}`, class: about.class, channel, recipient },
      ...{ subject, body, delayMs },
    }))
  }

  async function reword(tx: Tx, to: readonly Target[], event: string, body: NoticeBody) {
    for (const { recipient } of to) {
      const words = { subject: body.message.subject, body }
      await outbox.reword(tx, `${event}/${recipient}`, words)
    }
  }

  /** Whether so much was told of late that this goes into the digest; asked of one, all get the same. */
  async function tooMuch(tx: Tx, target: Target, alarmKey: string): Promise<boolean> {
    const recent = { ...target, withinMs: hourMs }
    const ofThis = await outbox.countRecent(tx, { ...recent, keyPrefix: `alarm/${alarmKey}/` })
    if (ofThis >= config.mostOfOneAlarm) return true
    return (await outbox.countRecent(tx, { ...recent, keyPrefix: 'alarm/' })) >= config.mostAnHour
  }

  const digestEvent = (noticeClass: NoticeClass, hour: number) => `digest/${noticeClass}/${hour}`

  function hourNow(): number {
    return Math.floor(deps.now() / hourMs)
  }

  /** The digest that waits and has this alarm in it. */
  async function isInDigest(tx: Tx, target: Target, noticeClass: NoticeClass, alarm: number) {
    for (const hour of [hourNow(), hourNow() + 1]) {
      const key = `${digestEvent(noticeClass, hour)}/${target.recipient}`
      const body = await outbox.lockWaiting(tx, key)
      if (body?.items?.some(item => item.alarm === alarm)) return true
    }
    return false
  }

  async function addToDigest(
    tx: Tx,
    to: readonly Target[],
    noticeClass: NoticeClass,
    item: DigestItem,
  ) {
    const { console } = deps.audience()
    // The one of this hour may be on its way already.
    for (const hour of [hourNow(), hourNow() + 1]) {
      const event = digestEvent(noticeClass, hour)
      const delayMs = Math.max(0, (hour + 1) * hourMs - deps.now())
      const known = await outbox.lockWaiting(tx, `${event}/${to[0]!.recipient}`)
      const next = extended(known, item)
      if (next === undefined) return
      const message = digestMessage(next.items, { console, more: next.more })
      if (message === undefined) {
        await outbox.withdraw(tx, `${event}/`)
        return
      }
      const body = { ...bodyOf(tx, message, new Date(item.at), event), ...next }
      const added = await outbox.add(tx, rows(to, { event, class: noticeClass, body, delayMs }))
      if (known === undefined && added === 0) continue
      await reword(tx, to, event, body)
      return
    }
  }

  function itemOf(alarm: AlarmRow, event: DigestItem['event'], at: Date): DigestItem {
    const { key, severity, text } = alarm
    return { key, alarm: alarm.id, event, severity, text, at: at.toISOString() }
  }

  return {
    async raised(tx, alarm, event = 'raised') {
      const kind = deps.explain(alarm.key)
      const to = targets(kind.class)
      if (to.length === 0) return
      if (await tooMuch(tx, to[0]!, alarm.key)) {
        const at = event === 'raised' ? alarm.raisedAt : new Date(deps.now())
        await addToDigest(tx, to, kind.class, itemOf(alarm, event, at))
        return
      }
      const message = raisedMessage({ ...alarm, ...kind, console: deps.audience().console }, event)
      const body = bodyOf(tx, message, alarm.raisedAt, threadOf(alarm))
      const delayMs = event === 'raised' ? briefMs : 0
      const about = { event: `${eventOf(alarm)}/${event}`, class: kind.class, body, delayMs }
      await outbox.add(tx, rows(to, about))
    },

    async cleared(tx, alarm) {
      const kind = deps.explain(alarm.key)
      const to = targets(kind.class)
      const lastedMs = alarm.clearedAt.getTime() - alarm.raisedAt.getTime()
      const brief = lastedMs < briefMs
      if (brief) await outbox.withdraw(tx, `${eventOf(alarm)}/`)
      if (to.length === 0) return
      const digested = await isInDigest(tx, to[0]!, kind.class, alarm.id)
      if (brief && !digested) return
      if (digested || (await tooMuch(tx, to[0]!, alarm.key))) {
        const item = { ...itemOf(alarm, 'cleared', alarm.clearedAt), lastedMs }
        await addToDigest(tx, to, kind.class, item)
        return
      }
      const { console } = deps.audience()
      const message = clearedMessage({ ...alarm, ...kind, console })
      const body = bodyOf(tx, message, alarm.clearedAt, threadOf(alarm))
      const event = `${eventOf(alarm)}/cleared`
      await outbox.add(tx, rows(to, { event, class: kind.class, body, delayMs: 0 }))
    },

    async takeover(tx, facts) {
      const to = targets('takeover')
      if (to.length === 0) return
      const event = `takeover/${facts.term}`
      const message = takeoverMessage({ ...facts, console: deps.audience().console })
      const body = bodyOf(tx, message, facts.at, event)
      await outbox.add(tx, rows(to, { event, class: 'takeover', body, delayMs: refineMs }))
      await reword(tx, to, event, body)
    },

    async outage(tx, { from, until }) {
      if (until.getTime() - from.getTime() < briefMs) return
      const { console } = deps.audience()
      const event = `outage/${config.server}/${from.getTime()}`
      const message = outageMessage({ server: config.server, from, until, console })
      const body = bodyOf(tx, message, until, event)
      const to = targets('self-monitoring')
      await outbox.add(tx, rows(to, { event, class: 'self-monitoring', body, delayMs: 0 }))
    },

    async test(tx, { id, by, at }) {
      const { console } = deps.audience()
      const event = `test/${id}`
      const body = bodyOf(tx, testMessage({ by, server: config.server, at, console }), at, event)
      const added = rows(targets('test'), { event, class: 'test', body, delayMs: 0 })
      await outbox.add(tx, added)
      return added.map(({ key }) => key)
    },
  }
}

/** How the keys of an alarm's notices begin; each time it is raised it is another. */
function eventOf({ key, id }: AlarmRow): string {
  return `alarm/${key}/${id}`
}

/** The time tells it from an alarm of another deployment that mails to the same person. */
function threadOf(alarm: AlarmRow): string {
  return `${eventOf(alarm)}/${alarm.raisedAt.getTime()}`
}

/** @returns undefined: it holds as much as it may, and says so already */
function extended(
  known: NoticeBody | undefined,
  item: DigestItem,
): { items: readonly DigestItem[]; more: boolean } | undefined {
  const items = known?.items ?? []
  const more = known?.more ?? false
  const follows = items.some(({ alarm, event }) => alarm === item.alarm && event !== item.event)
  if (items.length < mostItems || follows) return { items: [...items, item], more }
  return more ? undefined : { items, more: true }
}
