import { expect, test } from 'vitest'
import { countStaleCommits } from './stale-commits.ts'

const slow = { timeout: 300_000 }

test('no write of an old term is committed after the new term’s first', slow, async () => {
  const { staleCommits, terms, trials, writes } = await countStaleCommits({ trials: 10, pairs: 1 })
  console.log(
    `${trials} freezes, ${writes} writes in ${terms} terms, ${staleCommits} stale commits`,
  )
  expect(trials).toBeGreaterThan(0)
  expect(terms).toBeGreaterThanOrEqual(10)
  expect(writes).toBeGreaterThan(100)
  expect(staleCommits).toBe(0)
})

test('writes without a fence are noticed', slow, async () => {
  const { staleCommits } = await countStaleCommits({ trials: 2, pairs: 1, unfenced: true })
  expect(staleCommits).toBeGreaterThan(0)
})
