import { describe, expect, test } from 'vitest'
import type { PairState } from '../api/connection.ts'
import { beatsOf } from './beats.ts'
import { layoutOf } from './layout.ts'
import { addressName, conditionOf, isFlapping, pauseOf, troublesOf } from './troubles.ts'
import {
  causeOf,
  findingsOf,
  lastDrill,
  matching,
  type Operation,
  outcomeOf,
  type RoleChange,
  reportOf,
} from './words.ts'

const timings = { heartbeatMs: 1000, leaseMs: 10_000, timeoutMs: 60_000 }
const at = '2026-11-22T00:00:00.000Z'

function pairOf(change: Partial<PairState> = {}): PairState {
  const server = { version: '0.2.0', startedAt: at, seenAt: at, engine: true }
  return {
    self: 'kw1',
    role: 'active',
    term: 3,
    active: 'kw1',
    activeConsole: 'https://kw1.test/',
    since: at,
    sentence: 'active in term 3',
    servers: [
      {
        ...server,
        name: 'kw1',
        installed: 'primary',
        role: 'active',
        self: true,
        console: 'https://kw1.test/',
      },
      {
        ...server,
        name: 'kw2',
        installed: 'secondary',
        role: 'standby',
        self: false,
        console: 'https://kw2.test/',
      },
    ],
    heartbeat: { counter: 7, ageMs: 300, recentMs: [1000, 1000] },
    timings,
    database: { reachable: true, latencyMs: 1 },
    replication: null,
    telemetry: [],
    paused: null,
    address: { type: 'virtual-ip', what: ['192.0.2.10/24'], held: true, fault: null },
    operation: null,
    ...change,
  }
}

describe('the strip of heartbeats', () => {
  const beats = (ageMs: number | null, recentMs: number[], heardMs = 0) =>
    beatsOf({ heartbeat: { counter: 7, ageMs, recentMs }, timings }, heardMs)

  test('has a mark for each, where it came', () => {
    expect(beats(300, [1000, 1100])).toEqual({
      marks: [
        { counter: 7, agoMs: 300 },
        { counter: 6, agoMs: 1400 },
        { counter: 5, agoMs: 2400 },
      ],
      gaps: [],
      longestMs: 1100,
    })
  })

  test('moves on while nothing is heard of the server', () => {
    expect(beats(300, [], 400).marks).toEqual([{ counter: 7, agoMs: 700 }])
  })

  test('shows what was missed, and the present silence, worse beyond the lease', () => {
    const { gaps, longestMs } = beats(2500, [12_000, 1000, 1000])
    expect(gaps).toEqual([
      { from: 2500, to: 0, tone: 'warn' },
      { from: 3500 + 1000 + 12_000, to: 3500 + 1000, tone: 'bad' },
    ])
    expect(longestMs).toBe(12_000)
  })

  test('ends at a minute, and is empty before the first', () => {
    const { marks, gaps } = beats(0, [40_000, 40_000, 40_000])
    expect(marks.map(({ agoMs }) => agoMs)).toEqual([0, 40_000])
    expect(gaps.map(({ from }) => from)).toEqual([40_000, 60_000])
    expect(beats(null, [])).toEqual({ marks: [], gaps: [], longestMs: 0 })
  })
})

describe('what is wrong', () => {
  const sentences = (change: Partial<PairState>) =>
    troublesOf(pairOf(change), []).map(({ tone, sentence }) => `${tone}: ${sentence}`)

  test('is nothing while all is well', () => {
    expect(sentences({})).toEqual([])
  })

  test('is said in sentences', () => {
    const [kw1, kw2] = pairOf().servers
    expect(sentences({ servers: [kw1!, { ...kw2!, role: 'unknown' }] })).toEqual([
      'bad: kw2 does not answer kw1. If kw1 fails now, nobody takes over.',
    ])
    expect(
      sentences({
        address: { type: 'virtual-ip', what: ['192.0.2.10/24'], held: false, fault: 'it is taken' },
      }),
    ).toEqual(['bad: Virtual IP 192.0.2.10/24: it is taken.'])
    expect(sentences({ paused: { by: 'ann', reason: 'new cables', until: null } })).toEqual([
      'warn: Takeovers are paused by ann: new cables',
    ])
    expect(sentences({ database: { reachable: false, latencyMs: null } })[0]).toMatch(
      /^bad: kw1 does not reach the database/,
    )
    expect(
      sentences({ active: null, heartbeat: { counter: 7, ageMs: 4000, recentMs: [] } }),
    ).toEqual(['bad: Nobody is active.', 'bad: No heartbeat for 4.0 s. Active in term 3.'])
  })

  test('holds the conditions that the state does not tell, and none of them twice', () => {
    const condition = (key: string, severity: 'warning' | 'critical') => ({
      key,
      severity,
      class: 'self-monitoring' as const,
      subject: 'x',
      text: `text of ${key}`,
    })
    const conditions = [
      condition('shared-folder/kw1', 'critical'),
      condition('standby-away/kw2', 'critical'),
      condition('clock-skew/kw2', 'warning'),
    ]
    expect(troublesOf(pairOf(), conditions)).toEqual([
      { key: 'shared-folder/kw1', tone: 'bad', sentence: 'text of shared-folder/kw1' },
      { key: 'clock-skew/kw2', tone: 'warn', sentence: 'text of clock-skew/kw2' },
    ])
    expect(conditionOf(conditions, 'shared-folder')).toBe('text of shared-folder/kw1')
    expect(conditionOf([], 'shared-folder')).toBeNull()
  })

  test('calls for a person when Keepwatch itself has stopped takeovers', () => {
    const paused = { by: 'keepwatch', reason: '5 takeovers within 30 min', until: null }
    expect(isFlapping({ paused })).toBe(true)
    expect(isFlapping({ paused: { ...paused, by: 'ann' } })).toBe(false)
    expect(isFlapping({ paused: null })).toBe(false)
    expect(pauseOf(paused)).toBe(
      'Takeovers are stopped: 5 takeovers within 30 min. Find out why, then resume.',
    )
    expect(troublesOf(pairOf({ paused }), [])[0]?.tone).toBe('bad')
  })

  test('names the way to the active', () => {
    const name = (type: PairState['address']['type'], what: string[]) =>
      addressName({ address: { type, what, held: true, fault: null } })
    expect(name('virtual-ip', ['192.0.2.10/24', '2001:db8::10/64'])).toBe(
      'virtual IP 192.0.2.10/24, 2001:db8::10/64',
    )
    expect(name('virtual-name', ['kw.example.net'])).toBe('virtual host name kw.example.net')
    expect(name('none', [])).toBe('no address moves')
  })
})

describe('operations in words', () => {
  const operation = (change: Partial<Operation>): Operation => ({
    id: '00000000-0000-4000-8000-000000000000',
    kind: 'drill',
    by: 'ann',
    started: at,
    finished: at,
    ok: true,
    steps: [],
    report: null,
    ...change,
  })

  test('a drill says how long it took there and back', () => {
    const drill = operation({ report: { thereMs: 212, backMs: 1800, failure: null } })
    expect(reportOf(drill)).toBe('there 212 ms, back 1.8 s')
    expect(outcomeOf(drill)).toEqual({ label: 'done', tone: 'ok' })
    expect(lastDrill([operation({ ok: false }), drill])).toBe('there 212 ms, back 1.8 s')
    expect(lastDrill([operation({ kind: 'upgrade' })])).toBeUndefined()
  })

  test('what failed says why, what runs says so', () => {
    const failed = operation({
      kind: 'upgrade',
      ok: false,
      report: { version: '0.3.0', failure: 'kw2 did not fetch it' },
    })
    expect(reportOf(failed)).toBe('to 0.3.0, kw2 did not fetch it')
    expect(outcomeOf(failed).tone).toBe('bad')
    expect(outcomeOf(operation({ finished: null, ok: null })).label).toBe('under way')
  })

  test('a check counts what it found, the worst first', () => {
    const findings = ['pass', 'pass', 'failure', 'warning', 'warning'].map(result => ({ result }))
    expect(findingsOf(findings)).toBe('1 failure, 2 warnings, 2 pass')
    expect(reportOf(operation({ kind: 'preflight', report: { findings } }))).toBe(
      '1 failure, 2 warnings, 2 pass',
    )
    expect(findingsOf(undefined)).toBe('')
  })
})

describe('the history', () => {
  const change = (id: number, more: Partial<RoleChange>): RoleChange => ({
    id,
    at,
    server: 'kw1',
    role: 'active',
    term: id,
    cause: 'proven-dead',
    sentence: 'kw2 is dead: its host refuses the connection',
    ...more,
  })
  const changes = [
    change(1, { cause: 'first', sentence: 'nobody has been active yet' }),
    change(2, { server: 'kw2' }),
    change(3, { role: 'standby', cause: 'switchover', sentence: 'handed over' }),
  ]
  const ids = (filter: Partial<Parameters<typeof matching>[1]>) =>
    matching(changes, { server: null, which: 'all', text: '', ...filter }).map(({ id }) => id)

  test('is filtered by server, by what happened, and by words', () => {
    expect(ids({})).toEqual([1, 2, 3])
    expect(ids({ server: 'kw2' })).toEqual([2])
    expect(ids({ which: 'takeovers' })).toEqual([1, 2])
    expect(ids({ which: 'trouble' })).toEqual([2])
    expect(ids({ text: 'proven DEAD' })).toEqual([2])
    expect(ids({ text: 'term 3' })).toEqual([3])
  })

  test('has a colour for each cause, and shows one that it does not know', () => {
    expect(causeOf('switchover').tone).toBe('accent')
    expect(causeOf('heartbeat-timeout')).toEqual({ label: 'heartbeat timeout', tone: 'bad' })
    expect(causeOf('of tomorrow')).toEqual({ label: 'of tomorrow', tone: 'plain' })
  })
})

test('in the picture nothing lies over something else, wide or narrow', () => {
  for (const narrow of [false, true]) {
    for (const count of [0, 1, 3, 20]) {
      const layout = layoutOf(narrow, count)
      const boxes = [
        ...layout.servers.map(place => ({ ...place, ...layout.server })),
        ...layout.collectors.map(place => ({ ...place, ...layout.collector })),
        { x: layout.database.x - 46, y: layout.database.y - 38, width: 92, height: 76 },
        { x: layout.folder.x - 74, y: layout.folder.y - 24, width: 148, height: 48 },
        {
          x: layout.address.x - layout.addressWidth / 2,
          y: layout.address.y - 22,
          width: layout.addressWidth,
          height: 44,
        },
      ]
      for (const [index, box] of boxes.entries()) {
        expect(box.x).toBeGreaterThanOrEqual(0)
        expect(box.x + box.width).toBeLessThanOrEqual(layout.width)
        expect(box.y + box.height).toBeLessThanOrEqual(layout.height)
        for (const other of boxes.slice(index + 1)) {
          const apart =
            box.x + box.width <= other.x ||
            other.x + other.width <= box.x ||
            box.y + box.height <= other.y ||
            other.y + other.height <= box.y
          expect(apart, JSON.stringify({ narrow, count, box, other })).toBe(true)
        }
      }
    }
  }
})
