import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Condition, createAlarmWatch, type OpenAlarm } from './watch.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const away: Condition = {
  key: 'standby-away',
  class: 'self-monitoring',
  severity: 'warning',
  subject: 'b',
  text: 'gone',
}

function setUp(keys: string[]) {
  const open: OpenAlarm[] = keys.map(key => ({ key, severity: 'warning' }))
  const done: string[] = []
  const counted: string[] = []
  const told: string[][] = []
  let wrong: Condition[] = []
  const watch = createAlarmWatch({
    store: {
      open: async () => [...open],
      async raise({ key, severity }) {
        done.push(`raise ${key}`)
        const at = open.findIndex(alarm => alarm.key === key)
        open.splice(at, at < 0 ? 0 : 1, { key, severity })
      },
      async clear(key) {
        done.push(`clear ${key}`)
        open.splice(
          open.findIndex(alarm => alarm.key === key),
          1,
        )
      },
    },
    conditions(keys) {
      told.push([...keys])
      return wrong
    },
    tally: { count: reason => counted.push(reason) },
  })
  return { watch, done, counted, told, set: (now: Condition[]) => (wrong = now) }
}

test('an alarm is raised once, stays as long as its condition, and is cleared once', async () => {
  const { watch, done, set } = setUp([])
  set([away])
  await watch.start()
  await vi.advanceTimersByTimeAsync(20_000)
  set([])
  await vi.advanceTimersByTimeAsync(20_000)
  await watch.stop()
  expect(done).toEqual(['raise standby-away', 'clear standby-away'])
})

test('an alarm that another server left open is neither repeated nor forgotten', async () => {
  const { watch, done, set } = setUp(['standby-away', 'old'])
  set([away])
  await watch.start()
  await vi.advanceTimersByTimeAsync(0)
  await watch.stop()
  expect(done).toEqual(['clear old'])
})

test('one that becomes more severe is raised again, once', async () => {
  const { watch, done, set } = setUp(['standby-away'])
  set([{ ...away, severity: 'critical' }])
  await watch.start()
  await vi.advanceTimersByTimeAsync(20_000)
  await watch.stop()
  expect(done).toEqual(['raise standby-away'])
})

test('who says what is wrong is told which alarms are open', async () => {
  const { watch, told } = setUp(['old'])
  await watch.start()
  await vi.advanceTimersByTimeAsync(0)
  await watch.stop()
  expect(told).toEqual([['old']])
})

test('after stop nothing happens any more', async () => {
  const { watch, done, set } = setUp([])
  await watch.start()
  await vi.advanceTimersByTimeAsync(0)
  await watch.stop()
  set([away])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(done).toEqual([])
})
