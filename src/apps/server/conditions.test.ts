import { describe, expect, test } from 'vitest'
import type { CollectorState } from '../../collect/receive.ts'
import type { NodeStatus } from '../../failover/node.ts'
import { conditionKinds, explainAlarm } from './condition-kinds.ts'
import { type ConditionsInput, conditionsNow, liveConditions } from './conditions.ts'
import type { KnownServer } from './directory.ts'
import type { Replication } from './own-database.ts'
import type { Vitals } from './vitals.ts'

const now = Date.parse('2026-11-22T01:00:00Z')
const gib = 1024 ** 3

const status = {
  server: 'server-a',
  state: 'active',
  role: 'active',
  database: 'there',
  paused: undefined,
  address: { type: 'none', what: [], held: true, fault: undefined },
  peer: { evidence: { kind: 'alive', role: 'standby', healthy: true }, ageMs: 10 },
} as unknown as NodeStatus

const well: ConditionsInput = {
  now,
  status,
  directory: { peer: () => ({ name: 'server-b' }) as KnownServer },
  collectors: [],
  failingDevices: [],
  leftBehind: [],
}

const collector = (over: Partial<CollectorState> = {}) => ({
  state: {
    ...{ id: 'c1', name: 'berlin', kinds: [], deliveries: [], problems: {} },
    ...over,
  } as unknown as CollectorState,
  seenAt: now,
})

const vitals: Vitals = {
  disks: [{ path: '/data', freeBytes: 50 * gib, totalBytes: 100 * gib }],
  memory: { processBytes: gib, availableBytes: 4 * gib, totalBytes: 8 * gib },
  loopLagMs: 3,
  databaseMs: 2,
  certificates: [{ name: 'link', expires: new Date(now + 400 * 86_400_000) }],
  skews: [{ to: 'server-b', ms: 12 }],
}

const keys = (input: Partial<ConditionsInput>) =>
  conditionsNow({ ...well, ...input }).map(({ key, severity }) => `${severity} ${key}`)

test('nothing is wrong where all is well', () => {
  expect(keys({ vitals, collectors: [collector()], sync: { behindMs: 0, error: null } })).toEqual(
    [],
  )
})

describe('of the pair it says', () => {
  const with_ = (over: object) => keys({ status: { ...status, ...over } as NodeStatus })
  test('that the standby is away', () => {
    expect(with_({ peer: { evidence: { kind: 'silent', server: 'server-b' }, ageMs: 1 } })).toEqual(
      ['critical standby-away/server-b'],
    )
  })
  test('that the standby could not take over', () => {
    const evidence = { kind: 'alive', role: 'standby', healthy: false }
    expect(with_({ peer: { evidence, ageMs: 1 } })).toEqual(['critical standby-unwell/server-b'])
  })
  test('that a person has paused takeovers', () => {
    const paused = { by: 'ada', reason: 'new switch', until: undefined }
    expect(with_({ paused })).toEqual(['warning takeovers-paused/pair'])
  })
  test('that there were too many takeovers', () => {
    const paused = { by: 'keepwatch', reason: '6 takeovers in 10 minutes', until: undefined }
    expect(with_({ paused })).toEqual(['critical takeovers-stopped/pair'])
  })
  test('that the virtual address has a fault', () => {
    const address = { ...status.address, fault: '192.0.2.10 answers at a stranger' }
    expect(with_({ address })).toEqual(['critical address-fault/server-a'])
  })
  test('that the shared folder cannot be used', () => {
    expect(keys({ folderFault: 'it hangs.' })).toEqual(['critical shared-folder/server-a'])
  })
  test('that its servers run different versions for long', () => {
    const mixed = (minutes: number) =>
      conditionsNow({
        ...well,
        status: { ...status, version: '0.3.0' } as NodeStatus,
        startedAt: new Date(now - 60 * 60_000),
        directory: {
          peer: () =>
            ({
              name: 'server-b',
              version: '0.2.0',
              startedAt: new Date(now - minutes * 60_000),
            }) as KnownServer,
        },
      })
    expect(mixed(9)).toEqual([])
    expect(mixed(11).map(({ text }) => text)).toEqual([
      'server-a runs version 0.3.0 and server-b version 0.2.0, for 11 minutes.',
    ])
  })
  test('that the last upgrade failed, for a day', () => {
    const failed = (hours: number) =>
      keys({
        upgrade: {
          version: '0.3.0',
          failure: 'server-b could not run it',
          finished: new Date(now - hours * 3_600_000),
        },
      })
    expect(failed(1)).toEqual(['warning upgrade-failed/pair'])
    expect(failed(25)).toEqual([])
  })
  test('that files are behind, and why', () => {
    const [found] = conditionsNow({ ...well, sync: { behindMs: 0, error: 'no space left' } })
    expect(found).toMatchObject({ key: 'sync-behind/pair', class: 'synchronization' })
    expect(found!.text).toContain('no space left')
  })
})

describe('of servers with a database each it says', () => {
  const replication = (over: Partial<Replication>): Replication => ({
    voters: ['server-a', 'server-b', 'c1'].map(name => ({
      ...{ name, present: true, votedFor: 'server-a', term: 3 },
    })),
    ...{ votersMean: '3 voters: 1 of them may be away', doing: 'leads', follower: null },
    ...{ copied: null, copyError: null, together: true, changes: 'wait for server-b' },
    ...over,
  })
  const one = (name: string, present: boolean) => ({ name, present, votedFor: null, term: null })
  const left = {
    ...{ id: 7, server: 'server-b', changeCount: 2, kept: '/data/x.jsonl', unread: null },
  }

  test('nothing where all voters are there and changes are on both disks', () => {
    expect(keys({ replication: replication({}) })).toEqual([])
  })
  test('that a voter is missing', () => {
    const voters = [one('server-a', true), one('server-b', true), one('c1', false)]
    const missing = conditionsNow({
      ...well,
      replication: replication({ voters, votersMean: '2 of 3 voters are there' }),
    })
    expect(missing.map(({ key, text }) => [key, text])).toEqual([
      ['voter-missing/server-a', '2 of 3 voters are there.'],
    ])
  })
  test('that changes are on one disk alone, where there is another server', () => {
    const alone = replication({ together: false, changes: 'server-b is away' })
    expect(keys({ replication: alone })).toEqual(['warning changes-alone/server-a'])
    expect(keys({ replication: alone, directory: { peer: () => undefined } })).toEqual([])
  })
  test('nothing as the standby: the active says it', () => {
    const standby = { ...status, role: 'standby' } as NodeStatus
    expect(keys({ status: standby, replication: replication({ together: false }) })).toEqual([])
  })
  test('that there is no majority, while alarms cannot be written', () => {
    const away = { ...status, role: 'standby', database: 'away' } as NodeStatus
    const votersMean = '1 of 3 voters is there, and it takes 2'
    const input = { ...well, status: away, replication: replication({ votersMean }) }
    expect(liveConditions(input)[0]).toMatchObject({
      ...{ key: 'voters-away/server-a', severity: 'critical' },
      text: 'server-a: 1 of 3 voters is there, and it takes 2.',
    })
  })
  test('what a server had left behind, until somebody has seen it', () => {
    const found = conditionsNow({
      ...well,
      leftBehind: [left, { ...left, id: 8, unread: 'it does not start' }],
    })
    expect(found.map(({ key }) => key)).toEqual([
      'changes-left-behind/server-b/7',
      'changes-left-behind/server-b/8',
    ])
    expect(found[0]!.text).toMatch(/^2 changes that server-b had made are not in force/)
    expect(found[1]!.text).toMatch(/could not be read \(it does not start\); it is kept in/)
  })
})

describe('of collectors it says', () => {
  test('that one is away, and nothing else of it', () => {
    const gone = collector({ problems: { 'seal.memory-full': 3 } })
    expect(keys({ collectors: [{ ...gone, seenAt: now - 20_000 }] })).toEqual([
      'critical collector-away/c1',
    ])
  })
  test('that telemetry was lost, waits, or is behind', () => {
    const kinds = [{ kind: 'flow', lost: 2, backlogBytes: 2 * gib }]
    const deliveries = [
      { server: 'server-a', reachable: true, waiting: 4000, lastError: null },
      { server: 'server-b', reachable: false, waiting: 0, lastError: 'refused' },
    ]
    const state = { kinds, deliveries, problems: { 'seal.memory-full': 1 } } as unknown
    expect(keys({ collectors: [collector(state as Partial<CollectorState>)] })).toEqual([
      'critical segments-lost/c1/flow',
      'critical rows-lost/c1',
      'warning backlog/c1',
      'warning telemetry-behind/c1/server-a',
      'warning delivery/c1/server-b',
    ])
  })
})

describe('of a server it says', () => {
  const of = (over: Partial<Vitals>, open: string[] = []) =>
    keys({ vitals: { ...vitals, ...over }, open: new Set(open) })
  const disk = (free: number) => [{ path: '/data', freeBytes: free * gib, totalBytes: 100 * gib }]

  test('that its disk is nearly full, more severely at the end', () => {
    expect(of({ disks: disk(9) })).toEqual(['warning disk-space/server-a/data'])
    expect(of({ disks: disk(2) })).toEqual(['critical disk-space/server-a/data'])
  })
  test('that memory is short', () => {
    const memory = { processBytes: gib, availableBytes: gib / 8, totalBytes: 8 * gib }
    expect(of({ memory })).toEqual(['critical memory/server-a'])
  })
  test('that its main loop or the database is slow', () => {
    expect(of({ loopLagMs: 300, databaseMs: 400 })).toEqual([
      'warning event-loop/server-a',
      'warning database-latency/server-a',
    ])
  })
  test.each([
    [31, []],
    [29, ['warning certificate/server-a/link']],
    [6, ['critical certificate/server-a/link']],
    [-1, ['critical certificate/server-a/link']],
  ])('that a certificate expires in %i days: %j', (days, expected) => {
    const expires = new Date(now + days * 86_400_000)
    expect(of({ certificates: [{ name: 'link', expires }] })).toEqual(expected)
  })
  test('that clocks differ, either way', () => {
    expect(of({ skews: [{ to: 'server-b', ms: -2500 }] })).toEqual([
      'warning clock-skew/server-a/server-b',
    ])
  })

  test.each<[string, string, Partial<Vitals>, Partial<Vitals>]>([
    ['disk', 'disk-space/server-a/data', { disks: disk(12) }, { disks: disk(16) }],
    ['latency', 'database-latency/server-a', { databaseMs: 150 }, { databaseMs: 90 }],
    ['lag', 'event-loop/server-a', { loopLagMs: 150 }, { loopLagMs: 90 }],
    [
      'skew',
      'clock-skew/server-a/server-b',
      { skews: [{ to: 'server-b', ms: 1500 }] },
      { skews: [{ to: 'server-b', ms: 900 }] },
    ],
  ])('of %s: an alarm ends only well below where it begins', (_what, key, between, below) => {
    expect(of(between)).toEqual([])
    expect(of(between, [key])).toEqual([`warning ${key}`])
    expect(of(below, [key])).toEqual([])
  })
})

test('that notices fail or wait is said, with the last reason', () => {
  const outbox = { failed: 2, failure: '550 no such user', oldestWaitingMs: 1_000_000 }
  const found = conditionsNow({ ...well, outbox })
  expect(found.map(({ key }) => key)).toEqual(['notices-failed/pair', 'notices-waiting/pair'])
  expect(found[0]!.text).toBe('2 notices of the last day could not be delivered: 550 no such user')
})

test('while the database is away that comes first, and the rest is still seen', () => {
  const held = { ...status, state: 'held', database: 'away' } as NodeStatus
  const found = liveConditions({ ...well, status: held, folderFault: 'it hangs.' })
  expect(found.map(({ key }) => key)).toEqual(['database-away/server-a', 'shared-folder/server-a'])
  expect(liveConditions(well)).toEqual([])
})

test('every kind has its words, also one that this version does not know', () => {
  for (const kind of Object.keys(conditionKinds)) {
    expect(explainAlarm(`${kind}/x/y`).means, kind).toMatch(/\.$/)
  }
  expect(explainAlarm('of-the-future/x')).toMatchObject({ class: 'self-monitoring' })
})
