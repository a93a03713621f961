import { describe, expect, test } from 'vitest'
import {
  createBench,
  type Field,
  ipfix,
  netflow9,
  optionsTemplate9,
  optionsTemplate10,
  received,
  set,
  template9,
  template10,
  u16,
  u32,
} from '../../test/fixtures/flow-messages.ts'
import { clampRate, rateOfInterval, rateOfPopulation } from './sampling.ts'

/** An options record that announces a rate, in a domain of its own if need be. */
const announced = (scopes: Field[], options: Field[], values: number[], source = 1) =>
  netflow9([optionsTemplate9(270, scopes, options), set(270, values)], { source })
const domainRate = (rate: number, source = 1) =>
  announced([[1, 4]], [[34, 4]], [...u32(0), ...u32(rate)], source)
const samplerRate = (id: number, rate: number, source = 1) =>
  announced(
    [[1, 4]],
    [
      [48, 1],
      [50, 4],
    ],
    [...u32(0), id, ...u32(rate)],
    source,
  )

const fields: Field[] = [
  [1, 4],
  [48, 1],
  [34, 4],
]
/** A flow that names its sampler and states its rate, 0 = not. */
const flow = (sampler: number, rate: number) =>
  netflow9([template9(256, fields), set(256, u32(1), [sampler], u32(rate))])
const bare = netflow9([template9(257, [[1, 4]]), set(257, u32(1))])

function deciding(datagrams: Uint8Array[]) {
  const { decode, decoder } = createBench()
  const rows = decode(datagrams)
  const health = [...decoder.exporters()].find(({ domain }) => domain === 1)!
  expect(health.sampling.rate).toBe(rows.at(-1)?.sampling)
  return [health.sampling.rate, health.sampling.rule]
}

describe('the sampling rate of a record', () => {
  const all = [domainRate(20, 2), domainRate(30), samplerRate(3, 40)]

  test('is the one it states', () => {
    expect(deciding([...all, flow(3, 50)])).toEqual([50, 'record'])
  })

  test('is else that of its sampler', () => {
    expect(deciding([...all, flow(3, 0)])).toEqual([40, 'sampler'])
    expect(deciding([samplerRate(3, 40, 2), flow(3, 0)])).toEqual([40, 'sampler'])
  })

  test('is else that of its domain', () => {
    expect(deciding([...all, flow(4, 0)])).toEqual([30, 'domain'])
    expect(deciding([...all, bare])).toEqual([30, 'domain'])
  })

  test('is else that of its exporter, by options of another domain', () => {
    expect(deciding([domainRate(20, 2), flow(4, 0)])).toEqual([20, 'exporter'])
    expect(deciding([domainRate(20, 2), bare])).toEqual([20, 'exporter'])
  })

  test('is else 1', () => {
    expect(deciding([flow(0, 0)])).toEqual([1, 'none'])
    expect(deciding([bare])).toEqual([1, 'none'])
  })

  test('is that of the only sampler where records name none', () => {
    expect(deciding([samplerRate(3, 40), bare])).toEqual([40, 'domain'])
    expect(deciding([samplerRate(3, 40), samplerRate(4, 50), bare])).toEqual([1, 'none'])
    expect(deciding([samplerRate(3, 40), flow(0, 0)])).toEqual([1, 'none'])
  })

  test('changes within the datagram that announces it', () => {
    const { decode } = createBench()
    const options = optionsTemplate9(270, [[1, 4]], [[34, 4]])
    const template = template9(257, [[1, 4]])
    const flows = set(257, u32(1))
    const rates = [7, 8].map(rate => set(270, u32(0), u32(rate)))
    const rows = decode(netflow9([options, template, flows, rates[0]!, flows, rates[1]!, flows]))
    expect(rows.map(({ sampling }) => sampling)).toEqual([1, 7, 8])
  })

  test('is (interval + space) / interval where IPFIX says so, by selector', () => {
    const { decode } = createBench()
    const options = optionsTemplate10(270, 1, [
      [302, 4],
      [304, 2],
      [305, 4],
      [306, 4],
    ])
    const announcement = set(270, u32(9), u16(1), u32(1), u32(99))
    const template = template10(256, [
      [302, 4],
      [1, 4],
    ])
    const rows = decode(ipfix([options, announcement, template, set(256, u32(9), u32(1))]))
    expect(rows).toMatchObject([{ sampling: 100 }])
  })

  test('is population / size or 1 / probability in other selections', () => {
    const announce = (...options: Field[]) => optionsTemplate10(270, 1, [[302, 4], ...options])
    const template = template10(256, [
      [302, 4],
      [1, 4],
    ])
    const flows = set(256, u32(9), u32(1))
    const random = announce([309, 4], [310, 4])
    const message = ipfix([random, set(270, u32(9), u32(2), u32(128)), template, flows])
    expect(createBench().decode(message)).toMatchObject([{ sampling: 64 }])
    const uniform = announce([311, 8])
    const probability = [...new Uint8Array(new Float64Array([0.001]).buffer)].reverse()
    const other = ipfix([uniform, set(270, u32(9), probability), template, flows])
    expect(createBench().decode(other)).toMatchObject([{ sampling: 1000 }])
  })

  test('is at least 1, whatever was announced', () => {
    expect(deciding([domainRate(0), bare])).toEqual([1, 'domain'])
    expect(clampRate(-5)).toBe(0)
    expect(clampRate(0.2)).toBe(1)
    expect(clampRate(Number.POSITIVE_INFINITY)).toBe(0xffff_ffff)
    expect(rateOfInterval(0, 5)).toBe(0)
    expect(rateOfPopulation(0, 5)).toBe(0)
  })

  test('is remembered of so many samplers a domain', () => {
    const { decode, problems } = createBench({ samplersPerDomain: 2 })
    decode([samplerRate(1, 10), samplerRate(2, 20), samplerRate(3, 30), samplerRate(1, 11)])
    expect(problems).toEqual(['too-many-samplers'])
    expect(decode(flow(1, 0))).toMatchObject([{ sampling: 11 }])
  })

  test('is remembered of so many samplers of all exporters, until theirs are forgotten', () => {
    // Each sampler counts twice: in its domain and for the exporter as a whole.
    const { decode, problems } = createBench({ samplersInTotal: 4, exporters: 2 })
    const hours = 3_600_000
    decode([samplerRate(1, 10), samplerRate(2, 20)])
    decode(samplerRate(3, 30), { exporter: '203.0.113.2', received: received + 2 * hours })
    expect(problems).toEqual(['too-many-samplers'])
    decode(samplerRate(3, 30), { exporter: '203.0.113.3', received: received + 2 * hours })
    expect(problems).toEqual(['too-many-samplers'])
  })
})
