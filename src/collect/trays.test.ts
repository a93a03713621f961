import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  createTrays,
  createTraysReader,
  createTraysWriter,
  mostAtOnce,
  type Range,
  slotBytes,
} from './trays.ts'

function ends(slots: number) {
  const trays = createTrays({ slots })
  return { trays, writer: createTraysWriter(trays, () => 0n), reader: createTraysReader(trays) }
}

test('ranges come out in the order in which they went in, and none is written over before', () => {
  const slots = 1024
  const steps = fc.array(fc.record({ publish: fc.nat(mostAtOnce), take: fc.nat(3) }), {
    minLength: 1,
    maxLength: 200,
  })
  fc.assert(
    fc.property(steps, run => {
      const { writer, reader } = ends(slots)
      const used = new Set<number>()
      const published: Omit<Range, 'received'>[] = []
      let number = 0
      const takeSome = (most: number) => {
        let left = most
        if (left === 0) return
        reader.drain(({ first, count, socket }) => {
          expect({ first, count, socket }).toEqual(published.shift())
          for (let slot = first; slot < first + count; slot++) used.delete(slot)
          return --left > 0
        })
      }
      for (const { publish, take } of run) {
        const room = writer.room()
        const count = Math.min(publish, room?.count ?? 0)
        if (room !== undefined && count > 0) {
          const range = { first: room.first, count, socket: number++ }
          for (let slot = range.first; slot < range.first + count; slot++) {
            expect(used.has(slot)).toBe(false)
            expect(slot).toBeLessThan(slots)
            used.add(slot)
          }
          published.push(range)
          writer.publish({ ...range, received: 0 })
        } else if (room === undefined) expect(used.size).toBeGreaterThan(slots / 2)
        takeSome(take)
      }
      takeSome(Number.POSITIVE_INFINITY)
      expect(published).toEqual([])
      expect(writer.room()).toMatchObject({ first: 0, count: mostAtOnce })
    }),
  )
})

test('the end that takes is woken once, when it had found nothing', () => {
  const { writer, reader } = ends(1024)
  const publish = () => {
    const { first } = writer.room()!
    return writer.publish({ first, count: 1, socket: 0, received: 0 })
  }
  expect(publish()).toBe(false)
  expect(reader.drain(() => true)).toBe(true)
  expect([publish(), publish()]).toEqual([true, false])
  expect(reader.drain(() => false)).toBe(false)
  expect(publish()).toBe(false)
  expect(reader.drain(() => true)).toBe(true)
  expect(publish()).toBe(true)
})

test('a range says when it was received, beyond 32 bits of milliseconds', () => {
  const { writer, reader } = ends(1024)
  const received = 1_800_000_000_123
  writer.publish({ first: writer.room()!.first, count: 7, socket: 2, received })
  const taken: Range[] = []
  reader.drain(range => {
    taken.push({ ...range })
    return true
  })
  expect(taken).toEqual([{ first: 0, count: 7, socket: 2, received }])
})

test('each header says to put a datagram into its slot, and its rest and its sender elsewhere', () => {
  const trays = createTrays({ slots: 512 })
  const places = [0x1000_0000n, 0x2000_0000n, 0x3000_0000n]
  let asked = 0
  createTraysWriter(trays, () => places[asked++]!)
  const view = new DataView(trays.headers)
  const pointer = (at: number) => view.getBigUint64(at, true)
  const slots = Array.from({ length: 512 }, (_, slot) => {
    const [name, vectors] = [pointer(64 * slot), pointer(64 * slot + 16)]
    const vector = Number(vectors - places[0]!)
    return {
      name: Number(name - places[0]!),
      data: [Number(pointer(vector) - places[1]!), Number(pointer(vector + 8))],
      rest: [Number(pointer(vector + 16) - places[2]!), Number(pointer(vector + 24))],
    }
  })
  for (const [slot, { name, data, rest }] of slots.entries()) {
    expect(name).toBe(512 * (64 + 32) + 28 * slot)
    expect(data).toEqual([slotBytes * slot, slotBytes])
    expect(rest).toEqual([(65_536 - slotBytes) * (slot % mostAtOnce), 65_536 - slotBytes])
  }
})
