import { expect, test, vi } from 'vitest'
import { createSharedWork } from './shared-work.ts'

function setUp(keepMs = 1000) {
  const shared = createSharedWork<number>({ keepMs, most: 10 })
  const ended: ((value: number) => void)[] = []
  const aborted: boolean[] = []
  const work = (signal: AbortSignal) => {
    const index = aborted.push(false) - 1
    signal.addEventListener('abort', () => {
      aborted[index] = true
    })
    return new Promise<number>(resolve => ended.push(resolve))
  }
  const get = (key: string, signal = new AbortController().signal) => shared.get(key, signal, work)
  return { get, ended, aborted }
}

test('what several want at the same time is done once', async () => {
  const { get, ended } = setUp()
  const both = [get('a'), get('a')]
  const other = get('b')
  expect(ended).toHaveLength(2)
  ended[0]!(1)
  ended[1]!(2)
  expect(await Promise.all([...both, other])).toEqual([1, 1, 2])
  expect(await get('a')).toBe(1)
})

test('a result is done anew after a while', async () => {
  vi.useFakeTimers()
  try {
    const { get, ended } = setUp(1000)
    const first = get('a')
    ended[0]!(1)
    expect(await first).toBe(1)
    vi.advanceTimersByTime(1000)
    const second = get('a')
    ended[1]!(2)
    expect(await second).toBe(2)
  } finally {
    vi.useRealTimers()
  }
})

test('it is aborted when nobody waits any more, and not before', async () => {
  const { get, ended, aborted } = setUp()
  const [one, two] = [new AbortController(), new AbortController()]
  const first = get('a', one.signal)
  const second = get('a', two.signal)
  one.abort(new Error('gone'))
  await expect(first).rejects.toThrow('gone')
  expect(aborted).toEqual([false])
  two.abort(new Error('gone too'))
  await expect(second).rejects.toThrow('gone too')
  expect(aborted).toEqual([true])
  const third = get('a')
  ended[1]!(3)
  expect(await third).toBe(3)
})

test('a failure is everybody’s who waits, and is not kept', async () => {
  const shared = createSharedWork<number>({ keepMs: 1000, most: 10 })
  const { signal } = new AbortController()
  const fail = () => Promise.reject(new Error('no'))
  const both = [shared.get('a', signal, fail), shared.get('a', signal, fail)]
  for (const one of both) await expect(one).rejects.toThrow('no')
  expect(await shared.get('a', signal, async () => 5)).toBe(5)
})
