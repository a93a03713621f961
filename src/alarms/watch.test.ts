import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Condition, createAlarmWatch } from './watch.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const away: Condition = { key: 'standby-away', severity: 'warning', subject: 'b', text: 'gone' }

function setUp(open: string[]) {
  const done: string[] = []
  const counted: string[] = []
  let wrong: Condition[] = []
  const watch = createAlarmWatch({
    store: {
      open: async () => [...open],
      async raise({ key }) {
        done.push(`raise ${key}`)
        open.push(key)
      },
      async clear(key) {
        done.push(`clear ${key}`)
        open.splice(open.indexOf(key), 1)
      },
    },
    conditions: () => wrong,
    tally: { count: reason => counted.push(reason) },
  })
  return { watch, done, counted, set: (now: Condition[]) => (wrong = now) }
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

test('after stop nothing happens any more', async () => {
  const { watch, done, set } = setUp([])
  await watch.start()
  await vi.advanceTimersByTimeAsync(0)
  await watch.stop()
  set([away])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(done).toEqual([])
})
