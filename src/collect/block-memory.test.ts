import { expect, test } from 'vitest'
import { createBlockMemory } from './block-memory.ts'

const megabytes = (count: number) => count * 1024 * 1024

test('a block that was given back is used again, if it is large enough', () => {
  const memory = createBlockMemory({ keep: 2 })
  const first = memory.take(megabytes(3) - 5)
  memory.giveBack(first.subarray(0, 100))
  expect(memory.take(megabytes(4)).buffer).not.toBe(first.buffer)
  expect(memory.take(megabytes(3)).buffer).toBe(first.buffer)
  expect(memory.take(megabytes(3)).buffer).not.toBe(first.buffer)
})

test('no more is kept than is allowed, and the larger rather than the smaller', () => {
  const memory = createBlockMemory({ keep: 2 })
  const blocks = [1, 3, 2].map(size => memory.take(megabytes(size)))
  for (const block of blocks) memory.giveBack(block)
  expect(memory.take(1).buffer).toBe(blocks[2]!.buffer)
  expect(memory.take(1).buffer).toBe(blocks[1]!.buffer)
  expect(memory.take(1).buffer.byteLength).toBe(1)
})
