import { expect, test } from 'vitest'
import { type Component, createSequence } from './component.ts'

function parts(...names: string[]) {
  const done: string[] = []
  const part = (name: string, overrides: Partial<Component> = {}): Component => ({
    start: async () => void done.push(`start ${name}`),
    stop: async () => void done.push(`stop ${name}`),
    ...overrides,
  })
  return { done, part, all: names.map(name => part(name)) }
}

test('parts start in order and stop in reverse', async () => {
  const { done, all } = parts('a', 'b', 'c')
  const sequence = createSequence(all)
  await sequence.start()
  await sequence.stop()
  await sequence.stop()
  expect(done).toEqual(['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a'])
})

test('one that does not start stops those before it, itself included', async () => {
  const { done, part } = parts()
  const start = () => Promise.reject(new Error('the port is taken'))
  const sequence = createSequence([part('a'), part('b', { start }), part('c')])
  await expect(sequence.start()).rejects.toThrow('the port is taken')
  expect(done).toEqual(['start a', 'stop b', 'stop a'])
})

test('a start that failed says so, also when a part does not stop', async () => {
  const { part } = parts()
  const stop = () => new Promise<void>(() => {})
  const start = () => Promise.reject(new Error('the database is away'))
  const sequence = createSequence([part('a', { stop }), part('b', { start })], { undoMs: 20 })
  await expect(sequence.start()).rejects.toThrow('the database is away')
})

test('all of them stop, even if one fails to', async () => {
  const { done, part } = parts()
  const stop = () => Promise.reject(new Error('stuck'))
  const sequence = createSequence([part('a'), part('b', { stop }), part('c')])
  await sequence.start()
  await expect(sequence.stop()).rejects.toThrow('not everything stopped')
  expect(done.slice(3)).toEqual(['stop c', 'stop a'])
})
