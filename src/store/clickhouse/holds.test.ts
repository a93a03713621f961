import { expect, test } from 'vitest'
import { createHolds, type Span } from './holds.ts'

const span = (fromMs: number, toMs: number, kind: Span['kind'] = 'flow'): Span => ({
  ...{ kind, fromMs, toMs },
})
const turn = () => new Promise(resolve => setImmediate(resolve))

function work() {
  const { promise, reject, resolve } = Promise.withResolvers<void>()
  let begun = false
  return {
    run: () => {
      begun = true
      return promise
    },
    end: resolve,
    fail: () => reject(new Error('it failed')),
    begun: () => begun,
  }
}

test('a hold waits for the inserts of its times, and for no others', async () => {
  const holds = createHolds()
  const [inside, beside, copy] = [work(), work(), work()]
  const failing = expect(holds.insert(span(10, 20), inside.run)).rejects.toThrow('it failed')
  void holds.insert(span(21, 30), beside.run)
  void holds.insert(span(10, 20, 'trap'), beside.run)
  void holds.hold(span(0, 15), copy.run)
  await turn()
  expect(copy.begun()).toBe(false)
  inside.fail()
  await failing
  await turn()
  expect(copy.begun()).toBe(true)
})

test('an insert waits while its times are held, and then runs', async () => {
  const holds = createHolds()
  const [copy, again, inside, beside] = [work(), work(), work(), work()]
  void holds.hold(span(0, 15), copy.run)
  void holds.hold(span(15, 30), again.run)
  const inserted = holds.insert(span(15, 16), inside.run)
  void holds.insert(span(31, 40), beside.run)
  await turn()
  expect([inside.begun(), beside.begun()]).toEqual([false, true])
  copy.end()
  await turn()
  expect(inside.begun()).toBe(false)
  again.end()
  await turn()
  expect(inside.begun()).toBe(true)
  inside.end()
  await inserted
})

test('it is known whether rows of certain times were inserted since', async () => {
  const holds = createHolds()
  const [running, done] = [work(), work()]
  const since = holds.now()
  const insert = holds.insert(span(10, 20), done.run)
  expect(holds.changed(span(20, 30), since)).toBe(true)
  done.end()
  await insert
  expect(holds.changed(span(20, 30), since)).toBe(true)
  expect(holds.changed(span(21, 30), since)).toBe(false)
  expect(holds.changed(span(20, 30), holds.now())).toBe(false)
  void holds.insert(span(40, 50), running.run)
  expect(holds.changed(span(45, 60), holds.now())).toBe(true)
})

test('what is too long ago to be remembered may have changed', async () => {
  const holds = createHolds()
  const since = holds.now()
  for (let count = 0; count <= 10_000; count++) await holds.insert(span(1, 1), async () => {})
  expect(holds.changed(span(500, 600), since)).toBe(true)
  expect(holds.changed(span(500, 600), holds.now() - 5)).toBe(false)
  // Of another run.
  expect(createHolds(1e12).changed(span(500, 600), since)).toBe(true)
  expect(createHolds(7).changed(span(500, 600), 8)).toBe(true)
})
