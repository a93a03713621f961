import { describe, expect, test } from 'vitest'
import type { DigestItem, Message } from './outbox.ts'
import { toHtml, toText } from './render.ts'
import {
  type AlarmFacts,
  clearedMessage,
  digestMessage,
  duration,
  outageMessage,
  raisedMessage,
  type TakeoverFacts,
  takeoverMessage,
  testMessage,
} from './text.ts'

const console = 'https://server-b.example:443'
const at = new Date('2026-11-22T01:29:04.120Z')
const minutesLater = (minutes: number) => new Date(at.getTime() + minutes * 60_000)

const died: TakeoverFacts = {
  term: 7,
  server: 'server-b',
  before: 'server-a',
  cause: 'proven-dead',
  sentence: 'server-a is dead: its host refuses the connection',
  lastWord: undefined,
  at,
  nobodyMs: 1240,
  telemetry: undefined,
  console,
}

const alarm: AlarmFacts = {
  severity: 'critical',
  subject: 'server-a',
  text: 'The standby server-a does not answer: if this server fails now, nobody takes over.',
  raisedAt: at,
  means: 'The pair is one server.',
  act: ['Start it.'],
  console,
}

const messages: Record<string, Message> = {
  'takeover-died': takeoverMessage(died),
  'takeover-silent': takeoverMessage({
    ...died,
    cause: 'silent',
    sentence: 'no heartbeat of server-a for 10 s, and it does not answer',
    nobodyMs: 10_400,
  }),
  'takeover-planned': takeoverMessage({
    ...died,
    cause: 'released',
    sentence: 'server-a released the lease',
    lastWord: {
      cause: 'switchover',
      sentence: 'standby: gave up term 6: a switchover was asked',
    },
    nobodyMs: 180,
  }),
  'takeover-first': takeoverMessage({
    ...died,
    term: 1,
    before: undefined,
    cause: 'first',
    sentence: 'nobody has been active yet',
    nobodyMs: undefined,
  }),
  'takeover-restarted': takeoverMessage({
    ...died,
    before: 'server-b',
    cause: 'former-self',
    sentence: 'the lease belongs to itself before it restarted',
    nobodyMs: 4200,
  }),
  'alarm-raised': raisedMessage(alarm, 'raised'),
  'alarm-worse': raisedMessage(alarm, 'worse'),
  'alarm-cleared': clearedMessage({ ...alarm, clearedAt: minutesLater(75) }),
  outage: outageMessage({ server: 'server-a', from: at, until: minutesLater(12), console }),
  test: testMessage({ by: 'anna', server: 'server-b', at, console }),
  digest: digestMessage(
    [
      ...flapping('delivery/c1/server-a', 1, 4, 2),
      ...flapping('disk-space/server-a', 20, 1, 0.5),
      { ...item('collector-away/c2', 30, 'raised', 40), severity: 'critical' },
    ],
    { console, more: true },
  )!,
}

test.each(Object.entries(messages))('the mail "%s" reads as it should', async (name, message) => {
  const mail = `Subject: ${message.subject}\n\n${toText(message)}`
  await expect(mail).toMatchFileSnapshot(`golden/${name}.txt`)
})

test('the HTML says the same as the text, and takes nothing for markup', async () => {
  const message = raisedMessage({ ...alarm, text: '<script>"&\'' }, 'raised')
  expect(toHtml(message)).toContain('&lt;script&gt;&quot;&amp;&#39;')
  expect(toHtml(message)).not.toContain('<script>')
  await expect(toHtml(messages['takeover-died']!)).toMatchFileSnapshot('golden/takeover-died.html')
})

describe('a takeover mail', () => {
  const causes: [cause: string, lastWord: string | undefined, subject: string][] = [
    ['proven-dead', undefined, 'server-b took over from server-a: its process died'],
    ['silent', undefined, 'server-b took over from server-a: it went silent'],
    ['heartbeat-timeout', undefined, 'server-b took over from server-a: it went silent'],
    ['let-go', undefined, 'server-b took over from server-a: it had let go'],
    ['promoted', undefined, 'server-b took over from server-a: at a person’s word'],
    ['released', undefined, 'server-b took over from server-a: it gave up its lease'],
    ['released', 'switchover', 'server-b took over from server-a as planned'],
    ['released', 'stop', 'server-b took over from server-a: it was stopped'],
    ['released', 'unhealthy', 'server-b took over from server-a: it was unwell'],
    ['released', 'expired', 'server-b took over from server-a: it had let go'],
    ['a cause of a later version', undefined, 'server-b took over from server-a: it gave up its'],
  ]
  test.each(causes)('after %s (last word: %s) says in its subject "%s"', (cause, word, subject) => {
    const lastWord = word === undefined ? undefined : { cause: word, sentence: 'so it said' }
    const message = takeoverMessage({ ...died, cause, lastWord })
    expect(message.subject).toContain(`Keepwatch: ${subject}`)
  })
})

test('a subject stays on one line, however long the alarm', () => {
  const { subject } = raisedMessage({ ...alarm, text: `no\r\nline ${'x'.repeat(500)}` }, 'raised')
  expect(subject).toMatch(/^Keepwatch: no line x+…$/)
  expect(subject.length).toBeLessThanOrEqual(140)
})

test('a digest counts what flaps and leaves out what was over within a minute', () => {
  const text = toText(messages.digest!)
  expect(messages.digest!.subject).toBe('Keepwatch: 2 alarms in short, 1 still open')
  expect(text).toContain('delivery/c1/server-a: 4 times, over')
  expect(text).not.toContain('disk-space')
})

test('a digest of nothing but what was over within a minute is none', () => {
  const brief = flapping('disk-space/server-a', 1, 3, 0.5)
  expect(digestMessage(brief, { console, more: false })).toBeUndefined()
})

test.each([
  [180, '0.2 s'],
  [9_940, '9.9 s'],
  [9_960, '10 s'],
  [119_000, '119 s'],
  [120_000, '2 min'],
  [7_140_000, '119 min'],
  [7_200_000, '2 h'],
  [7_500_000, '2 h 5 min'],
  [259_200_000, '3 days'],
  [-5, '0.0 s'],
])('%i ms are %s', (ms, words) => {
  expect(duration(ms)).toBe(words)
})

function item(key: string, id: number, event: DigestItem['event'], minute: number): DigestItem {
  const text = `${key} is wrong`
  return {
    key,
    alarm: id,
    event,
    severity: 'warning',
    text,
    at: minutesLater(minute).toISOString(),
  }
}

/** Raised `times` times, each for `lasting` minutes. */
function flapping(key: string, firstId: number, times: number, lasting: number): DigestItem[] {
  return Array.from({ length: times }, (_, count) => [
    item(key, firstId + count, 'raised', count * 5),
    { ...item(key, firstId + count, 'cleared', count * 5 + lasting), lastedMs: lasting * 60_000 },
  ]).flat()
}
