import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import type { Client } from './client.ts'
import { createRolling } from './rolling.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** An engine that notes what it is asked and told. */
function notingEngine(config: { inserts: object[]; told?: (sql: string) => Promise<void> }) {
  const asked: string[] = []
  const told: string[] = []
  async function tell(sql: string) {
    told.push(sql)
    await config.told?.(sql)
  }
  const looks = () => asked.filter(sql => sql.includes('GROUP BY partition, block')).length
  const client = {
    query: async (sql: string) => {
      asked.push(sql)
      return { rows: sql.includes('GROUP BY partition, block') ? config.inserts : [] }
    },
    ...{ command: tell, commandOnce: tell },
  } as unknown as Client
  return { client, looks, told }
}

async function rollingOn(client: Client, busy = () => false) {
  const rolling = createRolling(
    {
      ...{ client, log: createLog({ level: 'silent', part: 'test' }), metrics: createMetrics({}) },
      clock: { wall: () => Date.now(), monotonic: () => Date.now() },
      busy,
    },
    { mostAddresses: { 60: 1, 300: 1, 3600: 1 } },
  )
  await rolling.prepare({ tables: new Map(), columns: new Map() })
  rolling.start()
  return rolling
}

test('nothing is begun after a stop amid a step', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { client, told } = notingEngine({
    inserts: [{ partition: '20260501', block: 1, rows: 7 }],
    told: sql => (/INSERT INTO flow_application_1m_next/.test(sql) ? promise : Promise.resolve()),
  })
  const rolling = await rollingOn(client)
  await vi.advanceTimersByTimeAsync(6000)
  expect(told.at(-1)).toContain('INSERT INTO flow_application_1m_next')
  const before = told.length
  const stopped = rolling.stop()
  resolve()
  await stopped
  await vi.advanceTimersByTimeAsync(120_000)
  expect(told).toHaveLength(before)
})

test('summing up yields to inserts that wait, for a minute', async () => {
  const { client, looks } = notingEngine({ inserts: [] })
  let waiting = false
  const rolling = await rollingOn(client, () => waiting)
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

test('it yields to those that wait from the start, too', async () => {
  const { client, looks } = notingEngine({ inserts: [] })
  const rolling = await rollingOn(client, () => true)
  const before = looks()
  await vi.advanceTimersByTimeAsync(50_000)
  expect(looks()).toBe(before)
  await vi.advanceTimersByTimeAsync(15_000)
  expect(looks()).toBeGreaterThan(before)
  await rolling.stop()
})
