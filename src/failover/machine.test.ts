import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  holdOf,
  initialState,
  memoryOf,
  obstacleToSwitchover,
  roleOf,
  step,
  writableTerm,
} from './machine.ts'
import type { Event, Evidence, LinkState, Memory, Row, State, StateKind } from './states.ts'
import { defaultTimings, type Moment } from './timings.ts'

const wallStart = Date.UTC(2026, 0, 1)
const at = (ms: number): Moment => ({ monotonic: ms, wall: wallStart + ms })

/** Server `b`, fed with events; its peer is `a`. */
function createServer(memory?: Memory) {
  const settings = { name: 'b', incarnation: 'b-1', timings: defaultTimings }
  let state: State = initialState(settings, at(0), memory)
  let now = 0
  const done: string[] = []
  const server = {
    get state() {
      return state
    },
    get now() {
      return now
    },
    /** What it was told to do since last asked. */
    did: () => done.splice(0),
    at(ms: number) {
      now = ms
      return server
    },
    feel(event: Event, moment = at(now)) {
      const taken = step(state, event, moment)
      expect(taken.sentence).toBe(taken.state.sentence)
      state = taken.state
      done.push(...taken.actions.map(action => action.do))
      return server
    },
    reads: (row: Partial<Row>) =>
      server.feel({ type: 'observed', row: { ...rowOfA, ...row }, sentAt: at(now) }),
    hears: (evidence: Partial<LinkState> | 'refused' | 'silent' | 'nobody') =>
      server.feel({ type: 'peer', evidence: evidenceOf(evidence), askedAt: at(now) }),
    /** Readings and answers each half second, until then. */
    watches(untilMs: number, row: Partial<Row>, evidence: Partial<LinkState> | 'silent') {
      while (now < untilMs && state.kind === 'standby') {
        server.at(now + 500).hears(evidence)
        server.reads(row)
      }
      return server
    },
    wins: () => server.feel({ type: 'claimWon', term: termOf(state), sentAt: at(now) }),
    renews: (change: Partial<Row> = {}) =>
      server.feel({
        ...{ type: 'renewed', term: termOf(state), sentAt: at(now) },
        ...{ counter: now, paused: undefined, database: 'x/00000001', ...change },
      }),
  }
  return server
}

const rowOfA: Row = {
  ...{ term: 5, holder: 'a', incarnation: 'a-1', released: false, counter: 100 },
  ...{ leaseMs: 10_000, intended: undefined, paused: undefined, database: 'x/00000001' },
}

const renewal = { type: 'renewed', counter: 1, paused: undefined, database: 'x/00000001' } as const

function evidenceOf(said: Partial<LinkState> | 'refused' | 'silent' | 'nobody'): Evidence {
  if (said === 'nobody') return { kind: 'nobody' }
  if (said === 'refused' || said === 'silent') return { kind: said, server: 'a' }
  return {
    kind: 'alive',
    server: 'a',
    incarnation: 'a-1',
    role: 'active',
    state: 'active',
    term: 5,
    database: 'there',
    healthy: true,
    version: '1',
    address: true,
    ...said,
  }
}

function termOf(state: State): number {
  return 'term' in state ? state.term : 0
}

const standby = () => createServer().reads({}).at(100).reads({ counter: 101 }).at(101)
const active = () => {
  const server = createServer().reads({ released: true }).wins()
  server.did()
  return server
}
const peerIsReady = { state: 'standby', role: 'standby', incarnation: 'a-2' } as const

describe('a standby', () => {
  test('waits while heartbeats come', () => {
    const server = standby()
    for (let counter = 102; counter < 300; counter++) {
      server.at(server.now + 1000).reads({ counter })
    }
    expect(server.state).toMatchObject({
      kind: 'standby',
      sentence: 'standby: a is active in term 5',
    })
  })

  test('takes over at once when the active released the lease', () => {
    const server = standby().reads({ released: true })
    expect(server.state).toMatchObject({ kind: 'claiming', term: 6, cause: 'released' })
  })

  test('takes over at once when a person has ended the lease, and says who', () => {
    const server = standby().reads({ released: true, overruledBy: 'ada' })
    expect(server.state).toMatchObject({ kind: 'claiming', term: 6, cause: 'promoted' })
    expect(server.state.sentence).toContain('ada has made it active, without a majority')
  })

  test('takes over at once when the host of the active refuses the connection', () => {
    expect(standby().hears('refused').state).toMatchObject({
      kind: 'claiming',
      cause: 'proven-dead',
    })
  })

  test('takes over at once when another process answers in place of the active', () => {
    const server = standby().hears({ incarnation: 'a-2', state: 'standby' })
    expect(server.state).toMatchObject({ kind: 'claiming', cause: 'proven-dead' })
  })

  test('takes over at once when the active answers that it has let go', () => {
    const server = standby().hears({ state: 'standby' })
    expect(server.state).toMatchObject({ kind: 'claiming', cause: 'let-go' })
  })

  test('does not take a refusal for death that is older than the last heartbeat', () => {
    const server = standby()
    server.at(150).reads({ counter: 102 })
    server.feel({ type: 'peer', evidence: evidenceOf('refused'), askedAt: at(140) })
    expect(server.state.kind).toBe('standby')
  })

  test('takes over after the lease when the active is silent', () => {
    const server = standby().watches(9_500, { counter: 101 }, 'silent')
    expect(server.state.kind).toBe('standby')
    server.watches(11_000, { counter: 101 }, 'silent')
    expect(server.state).toMatchObject({ kind: 'claiming', cause: 'silent' })
    expect(server.now).toBeLessThan(10_700)
  })

  test('takes over after the heartbeat timeout whatever the active answers', () => {
    const server = standby().watches(59_500, { counter: 101 }, {})
    expect(server.state.kind).toBe('standby')
    server.watches(61_000, { counter: 101 }, {})
    expect(server.state).toMatchObject({ kind: 'claiming', cause: 'heartbeat-timeout' })
  })

  test('never takes over by the clock alone: only readings count', () => {
    const server = standby()
    server.at(300_000).feel({ type: 'tick' }).hears('silent').reads({ counter: 101 })
    expect(server.state.kind).toBe('standby')
  })

  test('counts the silence anew after the database was away', () => {
    const server = standby().watches(9_000, { counter: 101 }, 'silent')
    for (let ms = 9_500; ms < 40_000; ms += 500) {
      server.at(ms).hears('silent').feel({ type: 'databaseAway', reason: 'refused' })
    }
    expect(server.state).toMatchObject({ kind: 'standby', database: 'away' })
    server.watches(49_500, { counter: 101 }, 'silent')
    expect(server.state.kind).toBe('standby')
    server.watches(51_000, { counter: 101 }, 'silent')
    expect(server.state.kind).toBe('claiming')
  })

  test('is not locked out by its former self', () => {
    const server = createServer().reads({ holder: 'b', incarnation: 'b-0' })
    expect(server.state).toMatchObject({ kind: 'claiming', cause: 'former-self' })
  })

  test('takes over in a deployment in which nobody has been active yet', () => {
    const row: Row = {
      ...{ ...rowOfA, term: 0, holder: undefined, incarnation: undefined, released: true },
    }
    expect(createServer().reads(row).state).toMatchObject({
      kind: 'claiming',
      cause: 'first',
      term: 1,
    })
  })

  test('does not take over while it is unwell', () => {
    const server = standby().feel({ type: 'health', fault: 'its disk is full' })
    server.reads({ released: true })
    expect(server.state).toMatchObject({ kind: 'standby' })
    expect(server.state.sentence).toContain('its disk is full')
    server.feel({ type: 'health', fault: undefined })
    expect(server.state.kind).toBe('claiming')
  })

  test('claims above the highest term that it ever saw, also if the database lost some', () => {
    const server = standby().reads({ term: 3, released: true })
    expect(server.state.sentence).toContain('has lost terms that were begun: it waits for 10 s')
    server.watches(11_000, { term: 3, released: true }, 'silent')
    expect(server.now).toBeGreaterThanOrEqual(10_000)
    expect(server.state).toMatchObject({ kind: 'claiming' })
    expect(termOf(server.state)).toBeGreaterThan(5)
  })

  test('waits for the lease of the holder, if that is longer than its own', () => {
    const server = createServer().reads({ leaseMs: 30_000 })
    server.watches(29_500, { leaseMs: 30_000 }, 'silent')
    expect(server.state.sentence).toContain('it takes over when 30 s are over')
    server.watches(31_000, { leaseMs: 30_000 }, 'silent')
    expect(server.state).toMatchObject({ kind: 'claiming', cause: 'silent' })
  })

  test('counts the heartbeat timeout no shorter than the lease of the holder', () => {
    const server = createServer().reads({ leaseMs: 90_000 })
    server.watches(89_500, { leaseMs: 90_000 }, {})
    expect(server.state.kind).toBe('standby')
    server.watches(91_000, { leaseMs: 90_000 }, {})
    expect(server.state).toMatchObject({ kind: 'claiming', cause: 'heartbeat-timeout' })
  })

  test('needs a new reading after a takeover that failed', () => {
    const server = standby().hears('refused').feel({ type: 'claimUnknown', reason: 'no answer' })
    server.hears('refused')
    expect(server.state.kind).toBe('standby')
    server.reads({}).at(102).hears('refused')
    expect(server.state.kind).toBe('claiming')
  })

  test('gives a term back that it won too late to use', () => {
    const server = standby()
    server.did()
    server.feel({ type: 'claimWon', term: 9, sentAt: at(0) })
    expect(server.did()).toEqual(['release', 'watch'])
    expect(server.state.kind).toBe('standby')
  })
})

describe('while takeovers are paused', () => {
  const paused = { by: 'anna', reason: 'a new switch', until: '2026-11-22T14:00:00.000Z' }

  test('nobody takes over from another, not even from a dead one, and the sentence says who paused', () => {
    const server = createServer().reads({ paused }).at(1).hears('refused')
    server.watches(70_000, { paused }, 'silent')
    expect(server.state.sentence).toBe(
      'standby: takeovers are paused by anna until 2026-11-22 14:00 UTC: a new switch',
    )
    expect(server.reads({ paused, released: true }).state.kind).toBe('standby')
    const endless = { ...paused, until: undefined }
    expect(server.reads({ paused: endless }).state.sentence).toContain('until somebody resumes')
  })

  test.for<[string, Partial<Row>]>([
    ['own', { holder: 'b', incarnation: 'b-0' }],
    ['own that it released', { holder: 'b', incarnation: 'b-0', released: true }],
    ['first', { holder: undefined, incarnation: undefined, released: true }],
    ['handed over to it by a person', { released: true, intended: 'b' }],
  ])('a lease is taken that is its %s', ([, row]) => {
    expect(createServer().reads({ paused, ...row }).state.kind).toBe('claiming')
  })

  test('what is released for another server is left to it', () => {
    const server = createServer().reads({ released: true, intended: 'c' })
    expect(server.state.sentence).toBe('standby: a released the lease for c')
    server.watches(11_000, { released: true, intended: 'c' }, 'silent')
    expect(server.state.kind).toBe('claiming')
  })

  test('an unwell active goes on, and a planned switchover is possible', () => {
    const server = active().hears(peerIsReady).renews({ paused })
    expect(server.feel({ type: 'health', fault: 'its disk is full' }).state.kind).toBe('active')
    expect(server.feel({ type: 'switchover' }).state).toMatchObject({
      kind: 'steppingDown',
      intended: 'a',
    })
  })

  test('one that is stopped releases the lease for nobody, so that it takes it again', () => {
    const stop = { type: 'stop' } as const
    expect(active().hears(peerIsReady).feel(stop).state).toMatchObject({ intended: 'a' })
    const server = active().hears(peerIsReady).renews({ paused })
    expect(server.feel(stop).state).toMatchObject({ kind: 'steppingDown', intended: undefined })
  })
})

describe('when the database fails over', () => {
  const moved = { database: 'x/00000002' }

  test('an active whose renewals succeed there goes on, and says so', () => {
    const server = active().renews()
    server.at(1000).renews(moved)
    expect(server.state).toMatchObject({ kind: 'active', term: 6, identity: 'x/00000002' })
    expect(server.state.sentence).toContain('the database is another one now')
  })

  test('an active whose term is lost there lets go, and begins a term above it', () => {
    const server = active().renews().at(1000).feel({ type: 'renewalRefused', term: 5 })
    expect(server.state).toMatchObject({ kind: 'steppingDown', cause: 'fenced' })
    server.feel({ type: 'letGo' })
    server.watches(12_000, { ...moved, released: true }, 'silent')
    expect(server.state).toMatchObject({ kind: 'claiming', term: 10_001 })
  })

  test('a standby waits for a lease before it takes anything, then goes above every lost term', () => {
    const server = standby().reads({ ...moved, released: true })
    expect(server.state.sentence).toContain('the database is another one than before')
    server.watches(9_500, { ...moved, released: true }, 'silent')
    expect(server.state.kind).toBe('standby')
    server.watches(11_000, { ...moved, released: true }, 'silent')
    expect(server.state).toMatchObject({ kind: 'claiming', term: 10_001 })
  })

  test('the wait begins anew when the database was away meanwhile', () => {
    const server = standby().reads(moved).watches(5_000, moved, {})
    for (let ms = 5_500; ms < 20_000; ms += 500) {
      server.at(ms).feel({ type: 'databaseAway', reason: 'refused' })
    }
    server.watches(29_000, { ...moved, released: true }, 'silent')
    expect(server.state.kind).toBe('standby')
    server.watches(31_000, { ...moved, released: true }, 'silent')
    expect(server.state.kind).toBe('claiming')
  })

  test('a server that starts remembers which one it was', () => {
    const memory = { term: 9, database: 'x/00000001', leaseMs: 20_000 }
    const server = createServer(memory).reads({ ...moved, holder: 'b', incarnation: 'b-0' })
    expect(server.state.sentence).toContain('it waits for 20 s')
    expect(memoryOf(server.state), 'until the wait is over').toEqual(memory)
  })
})

describe('an active', () => {
  test('serves, and says so in the history', () => {
    const server = createServer().reads({ released: true })
    server.did()
    server.wins()
    expect(server.did()).toEqual(['serve', 'record'])
    expect(writableTerm(server.state, at(0))).toBe(6)
  })

  test('may write for as long as its last renewal allows, counted from when that was sent', () => {
    const server = active().at(5000)
    server.feel({ ...renewal, term: 6, sentAt: at(1000) })
    expect(writableTerm(server.state, at(8999))).toBe(6)
    expect(writableTerm(server.state, at(9000))).toBeUndefined()
    expect(holdOf(server.state)).toEqual({ since: at(1000), ms: 8000 })
  })

  test('lets go, address and all, before anyone may believe that its lease has ended', () => {
    const server = active().at(8000).hears('silent').feel({ type: 'tick' })
    expect(server.state).toMatchObject({ kind: 'steppingDown', cause: 'expired' })
    expect(server.did()).toEqual(['letGo'])
    expect(roleOf(server.state)).toBe('standby')
  })

  test('is over after a suspend that the monotonic clock did not see', () => {
    const server = active()
    const woken = { monotonic: 100, wall: wallStart + 3_600_000 }
    expect(writableTerm(server.state, woken)).toBeUndefined()
    server.feel({ type: 'tick' }, woken)
    expect(server.state.kind).toBe('steppingDown')
  })

  test('is over when the wall clock was set back, because it may have slept', () => {
    const server = active()
    server.feel({ type: 'tick' }, { monotonic: 100, wall: wallStart - 3_600_000 })
    expect(server.state.kind).toBe('steppingDown')
  })

  test('steps down at once when its renewal is refused, and does not release what is not its own', () => {
    const server = active().at(500).feel({ type: 'renewalRefused', term: 7 })
    expect(server.state).toMatchObject({ kind: 'steppingDown', cause: 'fenced' })
    expect(holdOf(server.state)).toMatchObject({ ms: 0 })
    server.did()
    server.feel({ type: 'letGo' })
    expect(server.did()).toEqual(['watch', 'record'])
    expect(server.state.kind).toBe('standby')
  })

  test('steps down when its peer knows a higher term', () => {
    const server = active().hears({ ...peerIsReady, term: 7 })
    expect(server.state).toMatchObject({ kind: 'steppingDown', cause: 'fenced' })
  })

  test('takes a renewal whose outcome nobody knows for none', () => {
    const server = active()
    for (let ms = 1000; ms <= 8000; ms += 1000) {
      server.at(ms).feel({ type: 'renewalUnknown', reason: 'no answer within 2000 ms' })
    }
    expect(server.state.kind).toBe('steppingDown')
  })

  test('says that it is free only after it has let go', () => {
    const server = active().hears(peerIsReady).feel({ type: 'switchover' })
    expect(server.did()).toEqual(['letGo'])
    server.feel({ type: 'letGo' })
    expect(server.did()).toEqual(['release'])
    server.feel({ type: 'released' })
    expect(server.did()).toEqual(['watch', 'record'])
  })

  test('leaves the lease that it gave up to the other for as long as a lease, then takes it back', () => {
    const server = active().hears(peerIsReady).feel({ type: 'switchover' })
    server.feel({ type: 'letGo' }).feel({ type: 'released' })
    const own = { term: 6, holder: 'b', incarnation: 'b-1', released: true }
    server.watches(9_500, own, peerIsReady)
    expect(server.state.kind).toBe('standby')
    server.watches(11_000, own, peerIsReady)
    expect(server.state).toMatchObject({
      kind: 'claiming',
      because: 'the other server did not take over',
    })
  })

  test.for<[string, Parameters<ReturnType<typeof active>['hears']>[0]]>([
    ['does not answer', 'silent'],
    ['does not reach the database', { ...peerIsReady, database: 'away' }],
    ['says that it could not take over', { ...peerIsReady, healthy: false }],
    ['is starting, not standby', { ...peerIsReady, state: 'starting' }],
    ['there is no other server', 'nobody'],
  ])('refuses a switchover when the other server %s', ([why, evidence]) => {
    const server = active().hears(evidence)
    expect(obstacleToSwitchover(server.state, at(0))).toContain(why)
    expect(server.feel({ type: 'switchover' }).state.kind).toBe('active')
  })

  test('lets go when it is unwell, or cannot do its work, or is stopped', () => {
    const unwell = { type: 'health', fault: 'no listener' } as const
    expect(active().hears(peerIsReady).feel(unwell).state.kind).toBe('steppingDown')
    expect(active().feel({ type: 'workFailed', reason: 'no port' }).state.kind).toBe('steppingDown')
    const server = active()
      .feel({ type: 'stop' })
      .feel({ type: 'letGo' })
      .feel({ type: 'released' })
    expect(server.state.kind).toBe('stopped')
    expect(server.did()).toEqual(['letGo', 'release', 'record', 'end'])
  })
})

test('an unwell active goes on as long as nobody else could, and lets go when somebody can', () => {
  for (const other of ['silent', 'nobody', { ...peerIsReady, healthy: false }] as const) {
    const server = active().hears(other).feel({ type: 'health', fault: 'its disk is full' })
    expect(server.state.kind).toBe('active')
    expect(server.at(300).hears(peerIsReady).state).toMatchObject({
      kind: 'steppingDown',
      cause: 'unhealthy',
    })
  }
})

describe('while the database is away for both', () => {
  const peerWithout = { ...peerIsReady, database: 'away' } as const
  const held = () => {
    const server = active()
    for (let ms = 500; ms <= 8000; ms += 500) server.at(ms).hears(peerWithout)
    return server.feel({ type: 'tick' })
  }

  test('the active holds on, and writes no state', () => {
    const server = held()
    expect(server.state.kind).toBe('held')
    expect(roleOf(server.state)).toBe('active')
    expect(writableTerm(server.state, at(8000))).toBeUndefined()
    expect(server.did()).toEqual([])
  })

  test('it goes on in the same term when the database is back', () => {
    const server = held().at(8500).renews()
    expect(server.state).toMatchObject({ kind: 'active', term: 6 })
    expect(writableTerm(server.state, at(8500))).toBe(6)
  })

  test('it steps down when the database comes back with a higher term', () => {
    const server = held().feel({ type: 'renewalRefused', term: 7 })
    expect(server.state).toMatchObject({ kind: 'steppingDown', cause: 'fenced' })
  })

  test('it lets go within a lease after the peer last said that it has none either', () => {
    const server = held()
    for (let ms = 8500; ms < 16_000; ms += 500) {
      server.at(ms).hears({ ...peerIsReady, database: 'there' })
      expect(server.state.kind).toBe('held')
    }
    expect(server.at(16_000).hears(peerIsReady).state.kind).toBe('steppingDown')
  })

  test('a promise that comes after its time is over does not bring it back', () => {
    const server = active().at(8000).hears('refused')
    expect(server.state).toMatchObject({ kind: 'steppingDown', cause: 'expired' })
  })

  test('it holds on without a peer, or beside a dead one', () => {
    for (const evidence of ['nobody', 'refused'] as const) {
      const server = active().at(7900).hears(evidence).at(8000).feel({ type: 'tick' })
      expect(server.state.kind).toBe('held')
    }
  })
})

describe('the table', () => {
  const events: Event[] = [
    { type: 'tick' },
    { type: 'observed', row: { ...rowOfA, counter: 101 }, sentAt: at(100) },
    { type: 'databaseAway', reason: 'refused' },
    { ...renewal, term: 6, sentAt: at(100) },
    { type: 'renewalRefused', term: 7 },
    { type: 'renewalUnknown', reason: 'no answer' },
    { type: 'claimWon', term: 6, sentAt: at(100) },
    { type: 'claimLost', term: 6, reason: 'a holds term 6' },
    { type: 'claimUnknown', reason: 'no answer' },
    { type: 'peer', evidence: evidenceOf({}), askedAt: at(100) },
    { type: 'health', fault: 'its disk is full' },
    { type: 'switchover' },
    { type: 'stop' },
    { type: 'letGo' },
    { type: 'released' },
    { type: 'workFailed', reason: 'no port' },
  ]
  const states: Record<StateKind, () => State> = {
    starting: () => createServer().state,
    standby: () => standby().state,
    claiming: () => standby().hears('refused').state,
    active: () => active().at(100).hears(peerIsReady).state,
    held: () => active().at(7900).hears('nobody').at(8000).feel({ type: 'tick' }).state,
    steppingDown: () => active().feel({ type: 'stop' }).state,
    stopped: () => createServer().feel({ type: 'stop' }).state,
  }

  test('is the one in SPEC.md', () => {
    const kinds = Object.keys(states) as StateKind[]
    const rows = events.map(event => {
      const cells = kinds.map(kind => {
        const before = states[kind]()
        expect(before.kind).toBe(kind)
        const moment = kind === 'held' ? at(8100) : at(200)
        const sent = 'sentAt' in event ? { sentAt: moment } : {}
        const { actions, state } = step(before, { ...event, ...sent } as Event, moment)
        const does = actions.map(action => action.do).join(', ')
        const becomes = state.kind === kind ? '' : `**${state.kind}**`
        return [becomes, does].filter(text => text !== '').join(': ') || '·'
      })
      return `| ${event.type} | ${cells.join(' | ')} |`
    })
    const written = readFileSync(new URL('./SPEC.md', import.meta.url), 'utf8')
      .split('\n')
      .map(line => line.replaceAll(/ *\| */g, ' | ').trim())
    const table = [`| event | ${kinds.join(' | ')} |`, ...rows]
    expect(table.filter(line => !written.includes(line))).toEqual([])
  })
})

test('every test that an invariant of SPEC.md names is there', () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8')
  const beside = ['machine', 'node', 'peer', 'timings'].map(name => read(`./${name}.test.ts`))
  const suites = '../../test/failover/'
  const others = readdirSync(new URL(suites, import.meta.url))
    .filter(name => name.endsWith('.test.ts'))
    .map(name => read(suites + name))
  const sources = [...beside, ...others].join('\n')
  const [, invariants] = /## Invariants\n([\s\S]*?)\n### /.exec(read('./SPEC.md'))!
  const named = [...invariants!.matchAll(/"([^"]+)"/g)].map(([, name]) =>
    name!.replaceAll(/\s+/g, ' '),
  )
  expect(named.length).toBeGreaterThan(40)
  // An ellipsis stands for what a test puts in.
  const missing = named.filter(name => name.split('…').some(part => !sources.includes(part.trim())))
  expect(missing).toEqual([])
})
