import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLog } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import type { Lease, LeaseEvent } from './lease/lease.ts'
import { createNode, type FailoverNode, linkState, type NodeDeps } from './node.ts'
import type { Event, Memory, RoleChange, Row } from './states.ts'
import { defaultTimings, type Moment } from './timings.ts'

const incarnation = '00000000-0000-4000-8000-00000000000b'
const nobody: Row = {
  ...{ term: 0, holder: undefined, incarnation: undefined, released: true, counter: 0 },
  ...{ leaseMs: 10_000, intended: undefined, paused: undefined, database: 'x/00000001' },
}

let now = 1000
const renewal = { type: 'renewed', paused: undefined, database: 'x/00000001' } as const
const clock = { monotonic: () => now, wall: () => 1_800_000_000_000 + now }
const moment = (): Moment => ({ monotonic: clock.monotonic(), wall: clock.wall() })

/** What happened, in order. */
let told: string[]
let report: (event: LeaseEvent) => void
let reportPeer: (event: Extract<Event, { type: 'peer' }>) => void
let node: FailoverNode
let history: RoleChange[]
let recordFails: boolean
let takesUntil: Promise<void>
let onDisk: Memory | undefined
let diskFails: boolean

const lease: Lease = {
  start(to) {
    report = to
    return Promise.resolve()
  },
  async stop() {
    told.push('lease.stop')
  },
  claim: ({ term }) => told.push(`claim ${term}`),
  release: ({ term }) => told.push(`release ${term}`),
  watch: () => told.push('watch'),
  beat: () => {},
  guard: () => {},
}

function deps(): NodeDeps {
  return {
    clock,
    log: createLog({ level: 'silent', part: 'test' }),
    metrics: createMetrics({}),
    lease,
    peer: {
      start(to) {
        reportPeer = to
        return Promise.resolve()
      },
      async stop() {
        told.push('peer.stop')
      },
    },
    address: {
      async start() {
        told.push(`drop, term ${node?.term()}`)
      },
      async stop() {},
      hold() {},
      status: () => ({ type: 'none', what: [], held: false, fault: undefined }),
      async take() {
        await takesUntil
        told.push('take')
      },
      async drop() {
        told.push(`drop, term ${node?.term()}`)
      },
    },
    work: {
      async start(term) {
        told.push(`work ${term}`)
      },
      async stop() {
        told.push('work.stop')
      },
    },
    memory: {
      read: () => onDisk,
      async write(memory) {
        if (diskFails) throw new Error('the disk is full')
        onDisk = memory
        told.push(`remember ${memory.term}`)
      },
    },
    async record(change) {
      if (recordFails) throw new Error('the database is away')
      history.push(change)
    },
    die: reason => told.push(`die: ${reason}`),
  }
}

beforeEach(async () => {
  vi.useFakeTimers()
  now = 1000
  told = []
  history = []
  recordFails = false
  takesUntil = Promise.resolve()
  onDisk = undefined
  diskFails = false
  node = createNode(deps(), { name: 'b', incarnation, version: '1', timings: defaultTimings })
  await node.start()
})

afterEach(async () => {
  const stopped = node.stop()
  await settle()
  report({ type: 'released' })
  await settle()
  await stopped
  vi.useRealTimers()
})

async function settle() {
  await vi.advanceTimersByTimeAsync(0)
}

async function becomeActive() {
  report({ type: 'observed', row: nobody, sentAt: moment() })
  report({ type: 'claimWon', term: 1, sentAt: moment() })
  await settle()
}

describe('a node', () => {
  test('drops the address when it starts, before it watches', () => {
    expect(told).toEqual(['drop, term undefined'])
  })

  test('takes the address before it works, and has a term only while its lease is valid', async () => {
    await becomeActive()
    expect(told.slice(1)).toEqual(['claim 1', 'remember 1', 'take', 'work 1'])
    expect(node.term()).toBe(1)
    now += 8000
    expect(node.term(), 'by the clock at this instant').toBeUndefined()
    expect(node.status().state, 'although nothing has told it yet').toBe('active')
  })

  test('has no term from the instant of losing, drops the address first, then stops the work', async () => {
    await becomeActive()
    told = []
    report({ type: 'renewalRefused', term: 2 })
    expect(node.term()).toBeUndefined()
    await settle()
    expect(told).toEqual(['drop, term undefined', 'work.stop', 'drop, term undefined', 'watch'])
    expect(history.map(({ role, cause }) => [role, cause])).toEqual([
      ['active', 'first'],
      ['standby', 'fenced'],
    ])
  })

  test('leaves no address behind when it loses while it takes it', async () => {
    const taking = Promise.withResolvers<void>()
    takesUntil = taking.promise
    await becomeActive()
    report({ type: 'renewalRefused', term: 2 })
    await settle()
    taking.resolve()
    await settle()
    const addresses = told.filter(what => what === 'take' || what.startsWith('drop'))
    expect(addresses.at(-1)).toBe('drop, term undefined')
    expect(told).not.toContain('work 1')
    expect(node.status().state).toBe('standby')
  })

  test('ends the process if it cannot let go', async () => {
    node = createNode(
      {
        ...deps(),
        work: { start: async () => {}, stop: () => Promise.reject(new Error('stuck')) },
      },
      { name: 'b', incarnation, version: '1', timings: defaultTimings },
    )
    await node.start()
    await becomeActive()
    report({ type: 'renewalRefused', term: 2 })
    await settle()
    expect(told).toContain('die: could not let go: stuck')
    // So that the clean-up after the test finds one that can be stopped.
    node = createNode(deps(), { name: 'b', incarnation, version: '1', timings: defaultTimings })
    await node.start()
  })

  test('hands over when its work cannot start', async () => {
    const failing = { start: () => Promise.reject(new Error('no port')), stop: async () => {} }
    node = createNode(
      { ...deps(), work: failing },
      { name: 'b', incarnation, version: '1', timings: defaultTimings },
    )
    await node.start()
    await becomeActive()
    expect(told).toContain('release 1')
    expect(node.status().sentence).toContain('no port')
  })

  test('writes its history when the database takes it again', async () => {
    recordFails = true
    await becomeActive()
    expect(history).toEqual([])
    recordFails = false
    now += 1500
    await vi.advanceTimersByTimeAsync(200)
    expect(history.map(change => change.role)).toEqual(['active'])
  })

  test('has a term on its disk before anybody can rely on it, and starts above it', async () => {
    await becomeActive()
    expect(onDisk).toEqual({ term: 1, database: 'x/00000001', leaseMs: 10_000 })
    node = createNode(deps(), { name: 'b', incarnation, version: '1', timings: defaultTimings })
    onDisk = { term: 7, database: 'x/00000001', leaseMs: 10_000 }
    await node.start()
    expect(node.status().term).toBe(7)
  })

  test('takes over although its disk is full, and writes the term when it can', async () => {
    diskFails = true
    await becomeActive()
    expect(node.status().role).toBe('active')
    expect(told).toContain('work 1')
    diskFails = false
    now += 1500
    await vi.advanceTimersByTimeAsync(200)
    expect(onDisk).toMatchObject({ term: 1 })
  })

  test('tells of each heartbeat as it comes', async () => {
    const heard: (number | undefined)[] = []
    const off = node.onHeartbeat(({ counter, gapMs }) => heard.push(counter, gapMs))
    await becomeActive()
    report({ ...renewal, term: 1, counter: 5, sentAt: moment() })
    now += 1000
    report({ ...renewal, term: 1, counter: 6, sentAt: moment() })
    off()
    report({ ...renewal, term: 1, counter: 7, sentAt: moment() })
    expect(heard).toEqual([5, undefined, 6, 1000])
  })

  test('shows who paused takeovers', async () => {
    const until = '2026-11-22T14:00:00.000Z'
    const paused = { by: 'anna', reason: 'a new switch', until }
    report({ type: 'observed', row: { ...nobody, holder: 'a', paused }, sentAt: moment() })
    expect(node.status().paused).toEqual({ ...paused, until: new Date(until) })
  })

  test('answers its peer what it is', async () => {
    await becomeActive()
    expect(linkState(node)).toEqual({
      server: 'b',
      incarnation,
      role: 'active',
      state: 'active',
      term: 1,
      database: 'there',
      healthy: true,
      version: '1',
      address: false,
    })
  })

  test('refuses a switchover in words', async () => {
    await becomeActive()
    reportPeer({ type: 'peer', evidence: { kind: 'silent', server: 'a' }, askedAt: moment() })
    expect(node.switchover()).toEqual({
      accepted: false,
      sentence: 'no switchover: a does not answer',
    })
  })

  test('tells listeners of every change, and survives one that throws', async () => {
    const heard: string[] = []
    node.onChange(() => {
      throw new Error('a listener is broken')
    })
    const off = node.onChange(status => heard.push(status.state))
    await becomeActive()
    off()
    report({ type: 'renewalRefused', term: 2 })
    await settle()
    expect(heard).toEqual(['claiming', 'active'])
  })

  test('shows the heartbeats as they come', async () => {
    await becomeActive()
    for (let beat = 0; beat < 3; beat++) {
      now += 1000
      report({ ...renewal, term: 1, counter: beat + 5, sentAt: moment() })
    }
    now += 200
    expect(node.status().heartbeat).toMatchObject({ ageMs: 200, recentMs: [1000, 1000] })
  })

  test('is not made with unsafe timings', () => {
    const timings = { ...defaultTimings, heartbeatTimeoutMs: 5000 }
    expect(() => createNode(deps(), { name: 'b', incarnation, version: '1', timings })).toThrow(
      'else the standby takes over while the active still holds its lease',
    )
  })
})
