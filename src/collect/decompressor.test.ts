import { randomFillSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createDecompressor } from './decompressor.ts'
import { compressBody } from './segment.ts'
import { loadZstd } from './zstd.ts'

const bytes = 2 * 1024 * 1024

describe.each([
  ['called directly', loadZstd()],
  ['of node:zlib', undefined],
])('bodies by the zstd %s', (_, zstd) => {
  test('are unpacked as they were', async () => {
    const decompressor = createDecompressor({ zstd })
    for (const length of [1, 1000, bytes]) {
      const native = randomFillSync(new Uint8Array(length))
      const unpacked = await decompressor.decompress(await compressBody(native), length)
      expect(Buffer.compare(unpacked, native)).toBe(0)
      decompressor.giveBack(unpacked)
    }
  })

  test('are refused where they are none, cut off, or hold more than they should', async () => {
    const decompressor = createDecompressor({ zstd })
    const body = await compressBody(new Uint8Array(5000))
    await expect(decompressor.decompress(Buffer.from('no zstd'), 100)).rejects.toThrow()
    await expect(decompressor.decompress(body.subarray(0, -3), 5000)).rejects.toThrow()
    await expect(decompressor.decompress(body, 4999)).rejects.toThrow()
  })
})

test('memory that was given back is used again, and no other', async () => {
  const zstd = loadZstd()
  if (zstd === undefined) throw new Error('Node does not let its zstd be called')
  const decompressor = createDecompressor({ zstd })
  const body = await compressBody(new Uint8Array(bytes).fill(7))
  const [first, second] = await Promise.all([
    decompressor.decompress(body, bytes),
    decompressor.decompress(body, bytes),
  ])
  expect(first.buffer).not.toBe(second.buffer)
  decompressor.giveBack(first)
  const third = await decompressor.decompress(body, bytes)
  expect(third.buffer).toBe(first.buffer)
  expect(second.every(byte => byte === 7)).toBe(true)
})
