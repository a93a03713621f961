import { describe, expect, test } from 'vitest'
import type { Manifest } from './manifest.ts'
import { createRing, type Heard } from './ring.ts'
import { createTaken, decodeTaken, encodeTaken } from './taken.ts'

const bytes = new Uint8Array(100)
const heard = (hash: number, source = 'syslog_udp 10.0.0.1'): Heard => ({ hash, source, bytes })
const manifest = (hashes: number[], more: Partial<Manifest> = {}): Manifest => ({
  rank: 3,
  continues: false,
  hashes: Float64Array.from(hashes),
  ends: Uint32Array.from(hashes.map((_, index) => index + 1)),
  sources: ['syslog_udp 10.0.0.1'],
  ...more,
})
const bounds = { ms: 90_000, bytes: 1_000_000 }

function ringOf(hashes: number[], at = 0) {
  const ring = createRing(bounds)
  for (const hash of hashes) ring.hear(heard(hash), at)
  return ring
}
function rest(ring: ReturnType<typeof ringOf>): number[] {
  const hashes: number[] = []
  for (let next = ring.next(); next !== undefined; next = ring.next()) hashes.push(next.hash)
  return hashes
}

describe('the ring', () => {
  test('gives what no manifest named, in the order of its arrival', () => {
    const ring = ringOf([1, 2, 3, 4, 5])
    ring.claim('s', manifest([2, 4]), 0, 10)
    ring.settle('s')
    expect(rest(ring)).toEqual([1, 3, 5])
    expect(ring.state()).toMatchObject({ datagrams: 0, bytes: 0, claimed: 2 })
  })

  test('keeps a copy of what lies in memory that threads share', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(4))
    const ring = createRing(bounds)
    for (const value of [1, 2]) {
      shared.fill(value)
      ring.hear({ ...heard(value), bytes: shared.subarray(0, 2) }, 0)
    }
    expect([ring.next()?.bytes, ring.next()?.bytes]).toEqual([
      Uint8Array.of(1, 1),
      Uint8Array.of(2, 2),
    ])
  })

  test('takes back what was promised to a segment that was never stored', () => {
    const ring = ringOf([1, 2, 3, 4])
    ring.claim('stored', manifest([1]), 0, 10)
    ring.claim('lost', manifest([2]), 0, 10)
    ring.claim('on its way', manifest([3]), 0, 10)
    ring.settle('stored')
    expect(rest(ring)).toEqual([4])
    ring.takeBack(new Set(['on its way']))
    expect(rest(ring)).toEqual([2])
    ring.takeBack(new Set())
    expect(rest(ring)).toEqual([3])
  })

  test('hears a claim twice as one', () => {
    const ring = ringOf([7, 7, 7])
    ring.claim('s', manifest([7]), 0, 10)
    ring.claim('s', manifest([7]), 0, 11)
    ring.settle('s')
    expect(rest(ring)).toEqual([7, 7])
  })

  test('counts equal datagrams: so many here, so many there', () => {
    const ring = ringOf([7, 7, 7, 8, 7])
    ring.claim('s', manifest([7, 7]), 0, 10)
    ring.claim('t', manifest([7]), 0, 10)
    ring.settle('s')
    ring.takeBack(new Set())
    expect(rest(ring).toSorted()).toEqual([7, 7, 8])
  })

  test('does not keep what was claimed before it came', () => {
    const ring = ringOf([1])
    ring.claim('s', manifest([1, 2]), 0, 10)
    ring.settle('s')
    ring.hear(heard(2), 20)
    ring.hear(heard(2), 21)
    expect(rest(ring)).toEqual([2])
    expect(ring.alreadyClaimed(heard(3), 22)).toBe(false)
  })

  test('keeps what comes late for as long as its segment is not stored', () => {
    const ring = ringOf([1])
    for (const [segment, hash] of [
      ['stored', 2],
      ['lost', 3],
      ['taken back before', 4],
    ] as const) {
      ring.claim(segment, manifest([hash]), -1, 10)
    }
    expect(ring.alreadyClaimed(heard(2), 20)).toBe(true)
    expect(ring.alreadyClaimed(heard(3), 20)).toBe(true)
    ring.settle('stored')
    expect(rest(ring)).toEqual([1])
    ring.takeBack(new Set())
    expect(rest(ring)).toEqual([3])
    expect(ring.alreadyClaimed(heard(4), 30)).toBe(false)
  })

  test('goes by time where a sender’s datagrams are never the same', () => {
    const ring = createRing(bounds)
    for (let at = 0; at < 10; at++) ring.hear(heard(100 + at), 1000 * at)
    ring.claim('s', manifest([1, 2, 3]), 4500, 9000)
    ring.settle('s')
    expect(rest(ring)).toEqual([105, 106, 107, 108, 109])
  })

  test('goes by the datagram where they are the same, whatever was lost towards the other', () => {
    const ring = ringOf([1, 2, 3])
    ring.claim('s', manifest([1, 3]), 5000, 9000)
    ring.settle('s')
    expect(rest(ring)).toEqual([2])
  })

  test('forgets the oldest beyond its bounds, and counts them', () => {
    const ring = createRing({ ms: 1000, bytes: 3000 })
    for (let i = 0; i < 12; i++) ring.hear(heard(i + 1), i)
    expect(ring.state()).toMatchObject({ datagrams: 10, bytes: 3000, overflown: 2 })
    ring.expire(1006)
    expect(ring.state()).toMatchObject({ datagrams: 5, expired: 5 })
    expect(rest(ring)).toEqual([8, 9, 10, 11, 12])
  })

  test('gives what the active should have named by now, but nothing of senders that go by time', () => {
    const ring = ringOf([1, 2, 3])
    ring.hear(heard(50, 'netflow 10.0.0.9'), 0)
    ring.claim(
      's',
      manifest([1, 3, 60], { sources: ['syslog_udp 10.0.0.1', 'netflow 10.0.0.9'] }),
      -1,
      10,
    )
    ring.settle('s')
    expect(ring.overdue(0, 0)?.hash).toBe(2)
    expect(ring.overdue(0, 0)).toBeUndefined()
  })

  test('gives what strayed here at a hand-over, and leaves what goes on coming to the active', () => {
    const [strays, stays] = ['syslog_udp 10.0.0.8', 'netflow 10.0.0.9']
    const ring = createRing<ReturnType<typeof heard>>({ ms: 90_000, bytes: 100_000 })
    ring.handedOver(6000)
    ring.hear(heard(1, strays), 100)
    ring.hear(heard(2, stays), 200)
    ring.claim('s', manifest([60, 61], { sources: [strays, stays] }), 1000, 1000)
    ring.hear(heard(3, stays), 7000)
    expect(ring.overdue(-1000, 7000)).toBeUndefined()
    expect(ring.overdue(-1000, 11_001)?.hash).toBe(1)
    expect(ring.overdue(-1000, 11_001)).toBeUndefined()
    ring.claim('t', manifest([62, 63], { sources: [strays, stays] }), 7500, 7500)
    ring.settle('t')
    expect(ring.state().datagrams).toBe(0)
  })

  test('stays small through a long day of claims', () => {
    const ring = createRing(bounds)
    for (let second = 0; second < 300; second++) {
      const hashes = Array.from({ length: 200 }, (_, i) => 1 + 200 * second + i)
      for (const hash of hashes) ring.hear(heard(hash), 1000 * second)
      ring.claim(`${second}`, manifest(hashes.slice(1)), 1000 * second, 1000 * second)
      ring.settle(`${second}`)
      ring.expire(1000 * second)
    }
    expect(ring.state()).toMatchObject({ datagrams: 90, claimed: 300 * 199, expired: 210 })
  })
})

describe('what was taken', () => {
  test('is said to whoever took the same under a lower rank, so often as it was taken', () => {
    const taken = createTaken({ ms: 1000, datagrams: 100 })
    taken.add({ rank: 5, hashes: Float64Array.of(1, 2, 2) }, 0)
    expect(taken.of(manifest([1, 2, 2, 2, 9], { rank: 3 }))).toEqual([0, 1, 2])
    expect(taken.of(manifest([1, 2], { rank: 5 }))).toEqual([])
    expect(taken.of(manifest([1, 2], { rank: 7 }))).toEqual([])
    expect(taken.of(manifest([9], { rank: 3 }), [{ rank: 5, hashes: Float64Array.of(9) }])).toEqual(
      [0],
    )
  })

  test('is forgotten after its time, and kept where it was a takeover’s', () => {
    const taken = createTaken({ ms: 1000, datagrams: 100 })
    taken.add({ rank: 5, hashes: Float64Array.of(1) }, 0)
    taken.add({ rank: 5, hashes: Float64Array.of(2) }, 0, true)
    taken.expire(1001)
    expect(taken.of(manifest([1, 2], { rank: 3 }))).toEqual([1])
    for (let i = 0; i < 40; i++) taken.add({ rank: 5, hashes: new Float64Array(10) }, 2000)
    expect(taken.datagrams).toBeLessThanOrEqual(100)
    expect(taken.overflown).toBeGreaterThan(0)
  })

  test('comes back from a file, as far as it is whole', () => {
    const sets = [
      { rank: 5, hashes: Float64Array.of(1, 2) },
      { rank: 7, hashes: Float64Array.of(3) },
    ]
    const file = encodeTaken(sets)
    expect(decodeTaken(file)).toEqual({ sets, length: file.length })
    expect(decodeTaken(file.subarray(0, file.length - 1)).sets).toEqual(sets.slice(0, 1))
  })
})
