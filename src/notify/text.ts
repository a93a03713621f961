/**
 * The words of all notices. Pure. A person reads them at night on a phone: the subject alone says
 * what happened; the rest says since when, what it means and what to do.
 */
import type { DigestItem, Message } from './outbox.ts'

/** A change of who is active. */
export interface TakeoverFacts {
  /** The term that began. */
  term: number
  /** Who is active now. */
  server: string
  /** Who was before; undefined if nobody was yet. */
  before: string | undefined
  /** Why the new one took over, for programs: the cause in the history. */
  cause: string
  /** The same for people. */
  sentence: string
  /** What the former one said when it let go; undefined if it said nothing, or has not yet. */
  lastWord: { cause: string; sentence: string } | undefined
  at: Date
  /** Milliseconds in which nobody was active, at most; undefined if unknown. */
  nobodyMs: number | undefined
  /** What became of the telemetry, in a sentence of those who know. */
  telemetry: string | undefined
  /** The console of the active. */
  console: string | null
}

export interface AlarmFacts {
  severity: 'warning' | 'critical'
  /** What is affected: a server, collector or device. */
  subject: string
  text: string
  raisedAt: Date
  /** What alarms of this kind mean, and what to do. */
  means: string
  act: readonly string[]
  console: string | null
}

/** Each way in which the active may change, with its words. */
type Change =
  | 'first'
  | 'planned'
  | 'stopped'
  | 'unwell'
  | 'died'
  | 'promoted'
  | 'silent'
  | 'let-go'
  | 'restarted'
  | 'released'
  | 'again'

interface Words {
  /** After "<new> took over from <old>". */
  why: string
  means: string
  act: (former: string) => string[]
}

const fromCollectors = 'What the collectors received is there, or follows by itself.'

const words: Record<Change, Words> = {
  first: {
    why: 'nobody was active before',
    means: 'The deployment works. From now on you read here of every change of the active server.',
    act: () => [],
  },
  planned: {
    why: 'as planned',
    means: 'Somebody asked for it. The former active stands by.',
    act: () => [],
  },
  stopped: {
    why: 'it was stopped',
    means: 'Until the stopped server is started again there is no standby.',
    act: former => [`If the stop was not meant, start ${former} again: it will stand by.`],
  },
  unwell: {
    why: 'it was unwell',
    means:
      'The former active still runs, but could not do its work. It stands by until it is well.',
    act: former => [`Repair what ${former} lacks; it stands by again as soon as it is well.`],
  },
  died: {
    why: 'its process died',
    means:
      'Until the former active runs again there is no standby: if this server fails too, nobody takes over.',
    act: former => [
      `See the end of the log of ${former}: why did its process end?`,
      `Start ${former} again if it has not been: it will stand by.`,
    ],
  },
  promoted: {
    why: 'at a person’s word',
    means:
      'There was no majority of voters, and a person said that this server takes over all the same. If the former active still works somewhere, there are two.',
    act: former => [
      `Make sure that ${former} is off, or reaches this server: then it steps down by itself.`,
      'Changes that only it had are listed in the console, under Failover, when it is back.',
    ],
  },
  silent: {
    why: 'it went silent',
    means:
      'The former active neither renewed its lease nor answered in time: it froze, lost its power or its network. It can write nothing any more. Until it is back there is no standby.',
    act: former => [
      `Is ${former} up, and does its network work?`,
      'Once it is back it stands by; nobody has to switch back.',
    ],
  },
  'let-go': {
    why: 'it had let go',
    means: 'The former active could not renew its lease in time and stepped down by itself.',
    act: former => [`Does ${former} reach the database? Its log says what it tried.`],
  },
  restarted: {
    why: 'it restarted',
    means: 'It was active, ended, and became active again before another server took over.',
    act: former => [
      `See the log of ${former}: why did its process end?`,
      'If there is a standby, see why it did not take over.',
    ],
  },
  released: {
    why: 'it gave up its lease',
    means: 'The former active let go in order.',
    act: former => [`The history in the console says why ${former} let go.`],
  },
  again: {
    why: 'nobody else took over',
    means: 'The same server was active before, let go, and is active again.',
    act: () => ['Is the other server running and well?'],
  },
}

export function takeoverMessage(facts: TakeoverFacts): Message {
  const change = changeOf(facts)
  const { why, means, act } = words[change]
  const { server, before } = facts
  const handed = before !== undefined && before !== server
  const event = handed
    ? `${server} took over from ${before}${change === 'planned' ? ' as planned' : `: ${why}`}`
    : `${server} is active${before === undefined ? '' : ' again'}: ${why}`
  const said = facts.lastWord?.sentence
  const happened =
    before === undefined || before !== server
      ? `${server} is the active server now${before === undefined ? '' : `, ${before} was before`}.`
      : `${server} is active again.`
  return {
    subject: `Keepwatch: ${event}`,
    happened,
    facts: [
      ['When', moment(facts.at)],
      ['Why', facts.sentence],
      ...(said === undefined ? [] : [[`${before} said`, said] as const]),
      ...(change === 'first' ? [] : aftermath(facts, change)),
      ['Term', String(facts.term)],
    ],
    means,
    act: act(before ?? server),
    link: page(facts.console, '/failover'),
  }
}

function aftermath(facts: TakeoverFacts, change: Change): Message['facts'] {
  const { before, nobodyMs } = facts
  const known =
    change === 'planned'
      ? fromCollectors
      : `${fromCollectors} What devices sent only to ${before} while nobody was active is lost.`
  return [
    ...(nobodyMs === undefined ? [] : [['Nobody active', `for ${duration(nobodyMs)}`] as const]),
    ['Telemetry', facts.telemetry ?? known],
  ]
}

export function raisedMessage(facts: AlarmFacts, event: 'raised' | 'worse'): Message {
  const { severity, text } = facts
  const label = severity === 'critical' ? '' : 'warning: '
  return {
    subject: headline(`Keepwatch: ${label}${text}`),
    happened: event === 'worse' ? `What was a warning has become critical: ${text}` : text,
    facts: [
      ['About', facts.subject],
      ['Since', moment(facts.raisedAt)],
      ['Severity', severity],
    ],
    means: facts.means,
    act: [...facts.act, 'You will read of it when it is over.'],
    link: page(facts.console, '/'),
  }
}

export function clearedMessage(facts: AlarmFacts & { clearedAt: Date }): Message {
  const lasted = duration(facts.clearedAt.getTime() - facts.raisedAt.getTime())
  return {
    subject: headline(`Keepwatch: over after ${lasted}: ${facts.text}`),
    happened: `This is over: ${facts.text}`,
    facts: [
      ['About', facts.subject],
      ['From', moment(facts.raisedAt)],
      ['Until', `${moment(facts.clearedAt)}, ${lasted}`],
    ],
    means: 'Nothing has to be done about it any more.',
    act: [],
    link: page(facts.console, '/'),
  }
}

/** The database was away, so nobody could be told while it was. */
export function outageMessage(facts: {
  server: string
  from: Date
  until: Date
  console: string | null
}): Message {
  const lasted = duration(facts.until.getTime() - facts.from.getTime())
  return {
    subject: `Keepwatch: the database was away for ${lasted} and is back`,
    happened: `For ${lasted} neither server reached the database.`,
    facts: [
      ['From', moment(facts.from)],
      ['Until', moment(facts.until)],
      ['Active meanwhile', facts.server],
    ],
    means: `${facts.server} held on: telemetry was received and kept. Backups, changes and alarms waited, and nobody could have taken over.`,
    act: ['See why the database was away.'],
    link: page(facts.console, '/failover'),
  }
}

export function testMessage(facts: {
  by: string
  server: string
  at: Date
  console: string | null
}): Message {
  return {
    subject: `Keepwatch: test from ${facts.server}`,
    happened: `${facts.by} asked ${facts.server} to send this.`,
    facts: [['When', moment(facts.at)]],
    means: 'You will be told in the same way when something happens.',
    act: [],
    link: page(facts.console, '/'),
  }
}

/** Shorter than this an alarm is not worth a mail. */
export const briefMs = 60_000

/**
 * Many alarms in one: by alarm, how often it was raised and whether it is over. Those that were
 * over within a minute are left out. @returns undefined: nothing is left
 */
export function digestMessage(
  items: readonly DigestItem[],
  where: { console: string | null; more: boolean },
): Message | undefined {
  const lines = summaries(items)
  if (lines.length === 0) return undefined
  const open = lines.filter(({ over }) => !over).length
  const first = items.map(({ at }) => at).toSorted()[0]
  const last = items
    .map(({ at }) => at)
    .toSorted()
    .at(-1)
  const shown = lines.slice(0, maxLines)
  const hidden = lines.length - shown.length
  return {
    subject:
      lines.length === 1
        ? headline(`Keepwatch: ${lines[0]!.line}`)
        : `Keepwatch: ${lines.length} alarms in short, ${open === 0 ? 'all over' : `${open} still open`}`,
    happened: 'So much happened that it comes as one message.',
    facts: [
      ...(first && last ? [['Between', `${moment(first)} and ${moment(last)}`] as const] : []),
      ...shown.map(({ subject, line }) => [subject, line] as const),
      ...(hidden > 0 || where.more ? [['And', 'more, in the console'] as const] : []),
    ],
    means:
      open > 0
        ? 'What is still open needs somebody to look at it.'
        : 'All of it is over. What comes and goes often is worth a look.',
    act: [],
    link: page(where.console, '/'),
  }
}

const maxLines = 50

interface Summary {
  subject: string
  line: string
  over: boolean
}

function summaries(items: readonly DigestItem[]): Summary[] {
  const byKey = Map.groupBy(items, ({ key }) => key)
  return [...byKey].flatMap(([key, all]) => {
    const times = [...Map.groupBy(all, ({ alarm }) => alarm).values()].filter(isLong)
    if (times.length === 0) return []
    const last = times.at(-1)!.at(-1)!
    const raised = times.filter(events => events.some(({ event }) => event === 'raised')).length
    const over = last.event === 'cleared'
    const often = raised > 1 ? `${raised} times, ` : ''
    return [{ subject: key, line: `${often}${over ? 'over' : 'open'}: ${last.text}`, over }]
  })
}

/** Whether one raising of an alarm lasted, or still lasts. */
function isLong(events: readonly DigestItem[]): boolean {
  return events.every(({ lastedMs }) => lastedMs === undefined || lastedMs >= briefMs)
}

function changeOf({ before, server, cause, lastWord }: TakeoverFacts): Change {
  if (before === undefined || cause === 'first') return 'first'
  if (cause === 'former-self') return 'restarted'
  if (cause === 'promoted') return 'promoted'
  if (before === server) return 'again'
  switch (lastWord?.cause) {
    case 'switchover':
      return 'planned'
    case 'stop':
      return 'stopped'
    case 'unhealthy':
    case 'work-failed':
      return 'unwell'
    case 'expired':
      return 'let-go'
  }
  switch (cause) {
    case 'promoted':
      return 'promoted'
    case 'proven-dead':
      return 'died'
    case 'silent':
    case 'heartbeat-timeout':
      return 'silent'
    case 'let-go':
      return 'let-go'
    default:
      return 'released'
  }
}

const maxSubject = 140

/** On one line, and short enough for a phone to show most of it. */
function headline(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length <= maxSubject ? line : `${line.slice(0, maxSubject - 1).trimEnd()}…`
}

/** `2026-11-22 01:29:04 UTC` */
function moment(at: Date | string): string {
  const iso = typeof at === 'string' ? at : at.toISOString()
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`
}

/** In the unit that a person would use: `0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `3 days`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  if (seconds < 119.5) return `${Math.round(seconds)} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours >= 48) return `${Math.floor(hours / 24)} days`
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
}

function page(console: string | null, path: string): string | null {
  return console === null ? null : `${console.replace(/\/$/, '')}${path}`
}
