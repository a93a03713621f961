import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { createLog } from '../lib/log.ts'
import type { InterfaceCounters } from '../telemetry/counter.ts'
import { createInterfacePoller, type KnownAccess } from './poller.ts'
import type { Interface } from './read.ts'
import { type SnmpAccess, SnmpError } from './session.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const community = (name: string): KnownAccess => ({
  ...{ id: name, name, access: { version: '2c', community: name } },
})

/** Agents by address: the community to which each answers. */
function setUp(agents: Record<string, string>) {
  const state = {
    agents,
    accesses: [community('public'), community('s3cret')],
    away: false,
    asked: [] as string[],
    saved: [] as [term: number, exporter: string, interfaces: readonly Interface[]][],
    counted: [] as string[],
    counters: [] as [exporter: string, counters: readonly InterfaceCounters[]][],
    open: 0,
  }
  const poller = createInterfacePoller(
    {
      clock: { ...systemClock, monotonic: () => Date.now() },
      log: createLog({ level: 'silent', part: 'test' }),
      tally: { count: reason => state.counted.push(reason) },
      exporters: () => Object.keys(state.agents),
      async accesses() {
        if (state.away) throw new Error('the database is away')
        return state.accesses
      },
      open(exporter, access: SnmpAccess) {
        const given = access.version === '2c' ? access.community : ''
        state.asked.push(`${exporter} ${given}`)
        state.open++
        return {
          async walk(oid) {
            if (state.agents[exporter] !== given) throw new SnmpError('Request timed out')
            return oid.endsWith('.31.1.1.1.1') ? [['7', 'ge-0/0/7']] : []
          },
          close: () => state.open--,
        }
      },
      async save(...saved) {
        if (state.away) throw new Error('the database is away')
        state.saved.push(saved)
      },
      count: (exporter, counters) => state.counters.push([exporter, counters]),
    },
    { everyMs: 3_600_000, countersEveryMs: 3_600_000, againMs: 60_000, tickMs: 1000, atOnce: 2 },
  )
  return { poller, state }
}

const port = { index: 7, name: 'ge-0/0/7', alias: '', speed: 0 }

test('an exporter is asked by each access until it answers, and then by that one', async () => {
  const { poller, state } = setUp({ '192.0.2.1': 's3cret' })
  await poller.start(4)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(state.asked).toEqual(['192.0.2.1 public', '192.0.2.1 s3cret'])
  expect(state.saved).toEqual([[4, '192.0.2.1', [port]]])
  expect(poller.state()).toMatchObject([{ by: 's3cret', interfaces: 1, error: null }])
  await vi.advanceTimersByTimeAsync(3_600_000)
  expect(state.asked.slice(2)).toEqual(['192.0.2.1 s3cret'])
  await poller.stop()
  expect(state.open).toBe(0)
})

test('one that does not answer is asked later and later, and keeps no other from an answer', async () => {
  const { poller, state } = setUp({ '192.0.2.1': 'unknown', '192.0.2.2': 'public' })
  await poller.start(1)
  await vi.advanceTimersByTimeAsync(600_000)
  expect(state.saved).toHaveLength(1)
  // After 1, 2, 4 and 8 minutes.
  expect(state.counted).toEqual(['no-answer', 'no-answer', 'no-answer', 'no-answer'])
  expect(poller.state()).toContainEqual(
    expect.objectContaining({ exporter: '192.0.2.1', by: null, error: 'Request timed out' }),
  )
  await poller.stop()
})

test('a new access is tried at once', async () => {
  const { poller, state } = setUp({ '192.0.2.1': 'new' })
  await poller.start(1)
  await vi.advanceTimersByTimeAsync(5000)
  state.accesses.push(community('new'))
  poller.nudge()
  await vi.advanceTimersByTimeAsync(2000)
  expect(state.saved).toHaveLength(1)
  await poller.stop()
})

test('while the state is away nothing is asked, and what was not saved is asked again', async () => {
  const { poller, state } = setUp({ '192.0.2.1': 'public' })
  state.away = true
  await poller.start(1)
  await vi.advanceTimersByTimeAsync(5000)
  expect(state.asked).toEqual([])
  state.away = false
  await vi.advanceTimersByTimeAsync(2000)
  expect(state.saved).toHaveLength(1)
  await poller.stop()
})

test('without any access nobody is asked', async () => {
  const { poller, state } = setUp({ '192.0.2.1': 'public' })
  state.accesses = []
  await poller.start(1)
  await vi.advanceTimersByTimeAsync(60_000)
  expect(state.asked).toEqual([])
  await poller.stop()
})
