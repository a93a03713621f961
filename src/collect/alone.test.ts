import { expect, test } from 'vitest'
import { type AloneEntry, createAlone } from './alone.ts'
import { emptyManifest, type Manifest } from './manifest.ts'

const bounds = { ms: 1000, datagrams: 100 }
const segment = (sequence: number) => ({ kind: 'flow', sequence }) as const

function stored(sequence: number, hashes: number[], rank = 3, lastMs = 0): AloneEntry {
  return {
    ...{ what: 'stored', segment: segment(sequence), rank, lastMs },
    hashes: Float64Array.from(hashes),
  }
}
const took = (sequence: number, hashes: number[]): AloneEntry => ({
  ...{ what: 'took', segment: segment(sequence), hashes: Float64Array.from(hashes) },
})
const agreed = (sequence: number): AloneEntry => ({ what: 'agreed', segment: segment(sequence) })

function manifest(...hashes: number[]): Manifest {
  return { ...emptyManifest, hashes: Float64Array.from(hashes) }
}

function aloneWith(...entries: AloneEntry[]) {
  const alone = createAlone(bounds)
  for (const entry of entries) alone.apply(entry, 0)
  return alone
}

test('of the other server’s segment, the datagrams that were stored alone are named', () => {
  const alone = aloneWith(stored(1, [11, 12, 13]), stored(2, [14]))
  expect(alone.places('x/flow/1', manifest(20, 12, 14, 21), [])).toEqual([1, 2])
  expect(alone.has(segment(1))).toBe(true)
  expect(alone.has(segment(3))).toBe(false)
})

test('each is named once, and again when the same segment asks again', () => {
  const alone = aloneWith(stored(1, [11, 11]))
  expect(alone.places('x/flow/1', manifest(11, 11, 11), [])).toEqual([0, 1])
  expect(alone.places('x/flow/2', manifest(11), [])).toEqual([])
  expect(alone.places('x/flow/1', manifest(11, 11, 11), [])).toEqual([0, 1])
})

test('what is left out anyway, and what came over a connection, is not named', () => {
  const alone = aloneWith(stored(1, [11, 12]))
  expect(alone.places('x/flow/1', manifest(0, 11, 12), [1])).toEqual([2])
})

test('a datagram whose rows are in two segments is named in both', () => {
  const alone = aloneWith(stored(1, [11]))
  expect(alone.places('x/flow/1', manifest(10, 11), [])).toEqual([1])
  const second = { ...manifest(11, 12), continues: true }
  expect(alone.places('x/flow/2', second, [])).toEqual([0])
  expect(alone.places('x/flow/9', second, [])).toEqual([])
})

test('what the other has not taken itself when it has the segment cannot come any more', () => {
  const alone = aloneWith(stored(1, [11, 12, 13]), took(1, [12]), took(1, [12]), agreed(1))
  expect(alone.places('x/flow/1', manifest(11, 12, 12), [])).toEqual([1])
  expect(aloneWith(stored(1, [11]), agreed(1)).entries()).toEqual([])
})

test('when all has come nothing is kept', () => {
  const alone = aloneWith(stored(1, [11, 12]), took(1, [11]), agreed(1))
  alone.places('x/flow/1', manifest(11), [])
  expect(alone.came('x/flow/1')).toEqual({ what: 'came', hashes: Float64Array.of(11) })
  expect(alone.came('x/flow/1')).toBe(undefined)
  expect(alone.entries()).toEqual([])
  expect(alone.datagrams).toBe(0)
})

test('its entries come to the same', () => {
  const alone = aloneWith(
    stored(1, [11, 12, 13]),
    took(1, [12, 13]),
    agreed(1),
    stored(2, [14, 15]),
  )
  alone.places('x/flow/1', manifest(13), [])
  alone.places('x/flow/2', manifest(14), [])
  alone.came('x/flow/1')
  const again = aloneWith(...alone.entries())
  // What was said and has not come is said anew.
  expect(again.places('x/flow/3', manifest(11, 12, 13, 14, 15), [])).toEqual([1, 3, 4])
  expect(again.entries().length).toBe(alone.entries().length)
})

test('what is older than the other can keep is forgotten, within a term and once it is stored', () => {
  const alone = createAlone(bounds)
  alone.apply(stored(1, [11], 3), 0)
  alone.apply(stored(2, [12], 5), 100)
  alone.apply(stored(3, [13], 5), 200)
  alone.apply(stored(4, [14], 5), 1150)
  alone.expire(({ sequence }) => sequence !== 3)
  expect(alone.places('x/flow/1', manifest(11, 12, 13, 14), [])).toEqual([0, 2, 3])
})

test('more datagrams than the bound are not kept', () => {
  const alone = aloneWith(
    ...[1, 2, 3].map(sequence =>
      stored(
        sequence,
        Array.from({ length: 45 }, (_, i) => 100 + i),
      ),
    ),
  )
  alone.expire(() => false)
  expect(alone.datagrams).toBe(90)
  expect(alone.has(segment(1))).toBe(false)
})
