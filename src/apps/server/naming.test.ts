import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Names } from '../../store/clickhouse/lookups.ts'
import { createNaming } from './naming.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const interfaces = [
  { index: 7, name: 'ge-0/0/7', alias: 'to Berlin', speed: 1e9 },
  { index: 8, name: '', alias: '', speed: 0 },
]

function setUp() {
  const state = { version: 1, failing: false, filled: [] as Names[], counted: 0 }
  const network = () => ({ prefix: '10.0.0.0/8', name: `office ${state.version}`, site: '' })
  const naming = createNaming({
    nameLists: {
      versions: async () => ({ networks: state.version, applications: 0 }),
      read: async list => ({
        ...{ version: state.version, changedAt: null, changedBy: null },
        entries: list === 'networks' ? [network()] : [],
      }),
    },
    interfaces: {
      version: async () => '1',
      list: async () => [{ exporter: '192.0.2.1', interfaces, changedAt: new Date(0) }],
    },
    async fill(names) {
      if (state.failing) throw new Error('the engine is not running')
      state.filled.push(names)
    },
    tally: { count: () => ++state.counted },
  })
  return { naming, state }
}

test('names are filled at the start, and again when they have changed', async () => {
  const { naming, state } = setUp()
  await naming.start()
  await vi.advanceTimersByTimeAsync(12_000)
  expect(state.filled).toEqual([
    {
      networks: [{ prefix: '10.0.0.0/8', name: 'office 1', site: '' }],
      applications: [],
      interfaces: [
        { exporter: '192.0.2.1', index: 7, name: 'ge-0/0/7 (to Berlin)' },
        { exporter: '192.0.2.1', index: 8, name: 'ifIndex 8' },
      ],
    },
  ])
  state.version = 2
  naming.nudge()
  await vi.advanceTimersByTimeAsync(0)
  expect(state.filled.map(({ networks }) => networks[0]!.name)).toEqual(['office 1', 'office 2'])
  await naming.stop()
})

test('what could not be filled is tried again, and counted', async () => {
  const { naming, state } = setUp()
  state.failing = true
  await naming.start()
  await vi.advanceTimersByTimeAsync(6000)
  expect(state.counted).toBe(2)
  state.failing = false
  await vi.advanceTimersByTimeAsync(5000)
  expect(state.filled).toHaveLength(1)
  await naming.stop()
})

test('a change during a look is seen by the next look at once', async () => {
  const { naming, state } = setUp()
  await naming.start()
  state.version = 2
  naming.nudge()
  naming.nudge()
  await vi.advanceTimersByTimeAsync(0)
  expect(state.filled.at(-1)!.networks[0]!.name).toBe('office 2')
  await naming.stop()
})
