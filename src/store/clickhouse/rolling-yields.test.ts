import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import type { Client } from './client.ts'
import { createRolling } from './rolling.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** An engine with nothing in it, that notes what it is asked. */
function emptyEngine() {
  const asked: string[] = []
  const client = {
    query: async (sql: string) => {
      asked.push(sql)
      return { rows: [] }
    },
    command: async () => {},
    commandOnce: async () => {},
  } as unknown as Client
  const looks = () => asked.filter(sql => sql.includes('GROUP BY partition, block')).length
  return { client, looks }
}

test('summing up yields to inserts that wait, for a minute', async () => {
  const { client, looks } = emptyEngine()
  let waiting = false
  const rolling = createRolling(
    {
      ...{ client, log: createLog({ level: 'silent', part: 'test' }), metrics: createMetrics({}) },
      clock: { wall: () => Date.now(), monotonic: () => Date.now() },
      busy: () => waiting,
    },
    { mostAddresses: { 60: 1, 300: 1, 3600: 1 } },
  )
  await rolling.prepare({ tables: new Map(), columns: new Map() })
  rolling.start()
  await vi.advanceTimersByTimeAsync(6000)
  const before = looks()
  expect(before).toBeGreaterThan(0)
  waiting = true
  await vi.advanceTimersByTimeAsync(50_000)
  expect(looks()).toBe(before)
  await vi.advanceTimersByTimeAsync(15_000)
  expect(looks()).toBeGreaterThan(before)
  const between = looks()
  waiting = false
  await vi.advanceTimersByTimeAsync(6000)
  expect(looks()).toBeGreaterThan(between)
  await rolling.stop()
})
