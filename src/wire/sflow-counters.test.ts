import { describe, expect, test } from 'vitest'
import { createBench, u32 } from '../../test/fixtures/flow-messages.ts'

const wide = (value: bigint) => [...u32(Number(value >> 32n)), ...u32(Number(value & 0xffff_ffffn))]
const typed = (type: number, ...parts: number[][]) => {
  const body = parts.flat()
  const padding = new Array((4 - (body.length % 4)) % 4).fill(0)
  return [...u32(type), ...u32(body.length), ...body, ...padding]
}
const generic = (index: number) =>
  typed(
    1,
    ...[u32(index), u32(6), wide(10_000_000_000n), u32(1), u32(3)],
    ...[wide(2n ** 40n + 5n), u32(11), u32(12), u32(13), u32(14), u32(15), u32(0xffff_ffff)],
    ...[wide(2n ** 41n), u32(21), u32(22), u32(23), u32(0xffff_ffff), u32(25), u32(0)],
  )
const portName = (name: string) => typed(1005, u32(name.length), [...Buffer.from(name)])
const compact = (...records: number[][]) =>
  typed(2, u32(1), u32(7), u32(records.length), ...records)
const expanded = (...records: number[][]) =>
  typed(4, u32(1), u32(0), u32(7), u32(records.length), ...records)
const datagram = (...samples: number[][]) =>
  Uint8Array.from([
    ...[5, 1].flatMap(u32),
    ...[192, 0, 2, 9],
    ...[0, 1, 1000, samples.length].flatMap(u32),
    ...samples.flat(),
  ])

describe('an sFlow counter sample', () => {
  test.each([
    ['compact', compact],
    ['expanded', expanded],
  ])('gives one row an interface, in its %s form', (_, sample) => {
    const bench = createBench()
    expect(bench.decode(datagram(sample(generic(7))))).toEqual([])
    expect(bench.problems).toEqual([])
    expect(bench.counters()).toMatchObject([
      {
        ...{ exporter: '192.0.2.9', if_index: 7, source: 1, speed: 10_000_000_000, oper: 1 },
        ...{ in_octets: 2 ** 40 + 5, in_unicast: 11, in_multicast: 12, in_broadcast: 13 },
        ...{ in_discards: 14, in_errors: 15, out_octets: 2 ** 41, out_unicast: 21 },
        // What the interface does not count.
        ...{ out_discards: 0, out_errors: 25 },
      },
    ])
  })

  test('tells the name of its interface', () => {
    const bench = createBench()
    bench.decode(datagram(compact(generic(7), portName('xe-0/0/7'))))
    expect(bench.names()).toMatchObject([
      { exporter: '192.0.2.9', what: 1, id: 7, name: 'xe-0/0/7' },
    ])
  })

  test('is read behind records that are not known', () => {
    const bench = createBench()
    bench.decode(datagram(compact(typed(2001, [1, 2, 3]), generic(8))))
    expect(bench.counters()).toMatchObject([{ if_index: 8 }])
  })

  test('that is cut off is counted, and the next one read', () => {
    const bench = createBench()
    bench.decode(datagram(compact(typed(1, u32(7))), compact(generic(9))))
    expect(bench.problems).toEqual(['sflow-bad-length'])
    expect(bench.counters()).toMatchObject([{ if_index: 9 }])
  })

  test('that lies about its records or a name ends by itself', () => {
    const bench = createBench()
    bench.decode(datagram(typed(2, u32(1), u32(7), u32(0xffff_ffff))))
    bench.decode(datagram(compact(typed(1005, u32(0xffff_ffff), u32(0)))))
    expect(bench.problems).toEqual(['sflow-bad-length', 'sflow-bad-length'])
    expect(bench.counters()).toEqual([])
  })
})
