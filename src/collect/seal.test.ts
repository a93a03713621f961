import { describe, expect, test, vi } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { createLog } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import type { Kind } from '../telemetry/table.ts'
import { createCompressor } from './compressor.ts'
import { createSealer } from './seal.ts'
import type { Sealed } from './segment.ts'

function sealer(append: (kind: Kind, sealed: Sealed) => Promise<number>, maxWaitingBytes = 1e6) {
  const onRelief = vi.fn()
  return {
    onRelief,
    it: createSealer(
      {
        spool: { append },
        compressor: createCompressor({ zstd: undefined }),
        log: createLog({ level: 'silent', part: 'test' }),
        metrics: createMetrics({}),
        clock: systemClock,
        onRelief,
      },
      { maxWaitingBytes },
    ),
  }
}

const noise = (length: number) => Uint8Array.from({ length }, () => Math.floor(Math.random() * 256))
const block = (rows: number, bytes = 1000, kind: Kind = 'flow') => ({
  kind,
  native: noise(bytes),
  rows,
  firstMs: 1,
  lastMs: 2,
})

describe('sealing', () => {
  test('keeps the order per kind, whatever compresses faster', async () => {
    const order: number[] = []
    const { it } = sealer(async (_, { rows }) => order.push(rows))
    for (let i = 0; i < 20; i++) it.seal(block(i, i % 2 === 0 ? 40_000 : 10))
    await it.drain(5000)
    expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i))
  })

  test('repeats what the disk refused, in order, and loses nothing', async () => {
    const order: number[] = []
    let refusals = 2
    const { it } = sealer(async (_, { rows }) => {
      if (refusals-- > 0) throw new Error('no space left on device')
      return order.push(rows)
    })
    const sealed = vi.fn()
    for (let i = 0; i < 3; i++) it.seal(block(i), sealed)
    await it.drain(5000)
    expect(order).toEqual([0, 1, 2])
    expect(sealed).toHaveBeenCalledTimes(3)
    expect(it.problems.get('write-failed')).toBe(2)
    expect(it.lostRows.size).toBe(0)
  })

  test('asks for patience, then gives up what does not fit, then recovers', async () => {
    let open = false
    const { it, onRelief } = sealer(async () => {
      if (!open) throw new Error('no space left on device')
      return 0
    }, 100_000)
    it.seal(block(1, 40_000))
    expect(it.congested).toBe(false)
    it.seal(block(1, 40_000))
    expect(it.congested).toBe(true)
    const never = vi.fn()
    it.seal(block(7, 40_000), never)
    expect(it.lostRows.get('flow')).toBe(7)
    open = true
    await it.drain(5000)
    expect(it.congested).toBe(false)
    expect(onRelief).toHaveBeenCalledTimes(1)
    expect(never).not.toHaveBeenCalled()
  })

  test('gives up at the deadline of a stop, and counts it', async () => {
    const { it } = sealer(async () => {
      throw new Error('no space left on device')
    })
    it.seal(block(3))
    it.seal(block(4, 1000, 'trap'))
    await it.drain(50)
    expect([it.lostRows.get('flow'), it.lostRows.get('trap')]).toEqual([3, 4])
  })
})
