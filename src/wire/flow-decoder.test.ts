import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  createBench,
  type Field,
  ipfix,
  netflow5,
  netflow9,
  optionsTemplate9,
  optionsTemplate10,
  plainFields,
  plainRecord,
  received,
  set,
  template9,
  template10,
  u16,
  u32,
} from '../../test/fixtures/flow-messages.ts'

/** An sFlow datagram with one flow sample of an IPv4 record, by agent 192.0.2.9. */
function sflow(sequence = 1): Uint8Array {
  const ipv4 = [84, 17, 0xc0000263, 0xc6336463, 53, 5353, 0, 8]
  const record = [3, 4 * ipv4.length, ...ipv4]
  const sample = [1, 3, 512, 1000, 0, 3, 4, 1, ...record]
  const words = [5, 1, 0xc0000209, 7, sequence, 60_000, 1, 1, 4 * sample.length, ...sample]
  return Uint8Array.from(words.flatMap(u32))
}

const template = template9(256, plainFields)

describe('a flow datagram', () => {
  test('tells its format itself, on any port', () => {
    const { decode, problems } = createBench()
    const rows = decode([
      netflow5([{}]),
      sflow(),
      netflow9([template, set(256, plainRecord())]),
      netflow5([{}], { version: 7 }),
      ipfix([template10(256, plainFields), set(256, plainRecord())]),
      sflow(),
    ])
    expect(rows.map(({ version }) => version)).toEqual([5, 105, 9, 7, 10, 105])
    expect(problems).toEqual([])
  })

  test('of no known format is counted and makes nobody an exporter', () => {
    const { decode, problems, decoder } = createBench()
    decode(
      [[], [0], [0, 9], [0, 8, 0, 1], [1, 2, 3, 4, 5], u32(4)].map(bytes => Uint8Array.from(bytes)),
    )
    expect(problems).toEqual([
      'unknown-version',
      'unknown-version',
      'truncated',
      'unknown-version',
      'unknown-version',
      'unknown-version',
    ])
    expect([...decoder.exporters()]).toEqual([])
  })

  test('of sFlow is of its agent, wherever it came from', () => {
    const { decode, decoder } = createBench()
    expect(decode([sflow(10), sflow(13)])).toMatchObject([{ exporter: '192.0.2.9' }, {}])
    const [health] = decoder.exporters()
    expect(health).toMatchObject({ version: 105, domain: 7, datagrams: 2, records: 2, lost: 2 })
    expect(health?.exporter.slice(12)).toEqual(Uint8Array.from([192, 0, 2, 9]))
    expect(health?.sampling).toEqual({ rate: 512, rule: 'record' })
  })
})

describe('the health of an exporter', () => {
  test('counts datagrams, records and problems', () => {
    const { decode, decoder } = createBench()
    decode([
      netflow9([template, set(256, plainRecord(), plainRecord())]),
      netflow9([set(3, [])], { sequence: 1 }),
    ])
    expect([...decoder.exporters()]).toMatchObject([
      {
        version: 9,
        domain: 1,
        datagrams: 2,
        records: 2,
        lastReceived: received,
        skewMs: 0,
        lost: 0,
      },
    ])
    expect([...decoder.exporters()][0]?.problems).toEqual(new Map([['unknown-set', 1]]))
  })

  test('has what was lost: flows of NetFlow 5, datagrams of 9, records of IPFIX', () => {
    const { decode, decoder } = createBench()
    const flows = template10(256, plainFields)
    const options = optionsTemplate10(257, 1, [[149, 4]])
    decode([
      netflow5([{}, {}], { sequence: 100 }),
      netflow5([{}], { sequence: 107 }),
      netflow9([template], { sequence: 5 }),
      netflow9([template], { sequence: 8 }),
      ipfix([flows, options, set(256, plainRecord()), set(257, u32(1), u32(2))], { sequence: 50 }),
      ipfix([set(256, plainRecord())], { sequence: 60 }),
      ipfix([set(256, plainRecord())], { sequence: 61 }),
    ])
    const lost = [...decoder.exporters()].map(health => [health.version, health.lost])
    expect(lost).toEqual([
      [5, 5],
      [9, 2],
      [10, 7],
    ])
  })

  test('does not mix the sequences of exporters behind one address', () => {
    const { decode, decoder } = createBench()
    for (let sequence = 0; sequence < 5; sequence++) {
      decode(netflow9([template], { sequence }), { port: 5000 })
      decode(netflow9([template], { sequence: sequence + 70_000 }), { port: 6000 })
    }
    expect([...decoder.exporters()][0]?.lost).toBe(0)
  })
})

describe('whatever comes', () => {
  const bounds = {
    exporters: 4,
    domainsPerExporter: 4,
    templatesPerExporter: 8,
    fieldsPerTemplate: 16,
    fieldsInTotal: 64,
    domainsInTotal: 12,
    samplersPerDomain: 8,
    samplersInTotal: 20,
    heldSetsPerExporter: 8,
    heldBytesPerExporter: 1024,
    heldBytesInTotal: 4096,
  }
  const element = fc.constantFrom(
    1,
    2,
    4,
    8,
    10,
    12,
    21,
    22,
    27,
    34,
    48,
    95,
    152,
    160,
    232,
    302,
    315,
  )
  const length = fc.oneof(fc.integer({ min: 0, max: 17 }), fc.constantFrom(254, 255, 65535, 40_000))
  const field: fc.Arbitrary<Field> = fc.oneof(
    fc.tuple(element, length),
    fc.tuple(element, length, fc.constantFrom(9, 29305)),
  )
  const fields = fc.array(field, { maxLength: 20 })
  const id = fc.constantFrom(0, 1, 2, 3, 255, 256, 257, 258)
  const bytes = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 120 })
  const anySet = fc.oneof(
    fc.tuple(id, bytes).map(([number, content]) => set(number, content)),
    fc.tuple(id, fields).map(([number, list]) => template9(number, list)),
    fc.tuple(id, fields).map(([number, list]) => template10(number, list)),
    fc
      .tuple(id, fields, fields)
      .map(([number, scopes, list]) => optionsTemplate9(number, scopes, list)),
    fc
      .tuple(id, fc.integer({ min: 0, max: 30 }), fields)
      .map(([number, scopes, list]) => optionsTemplate10(number, scopes, list)),
    fc
      .tuple(id, fc.integer({ min: 0, max: 9 }))
      .map(([number, size]) => [...u16(number), ...u16(size)]),
  )
  const sets = fc.array(anySet, { maxLength: 6 })
  const header = { sequence: fc.nat(), source: fc.nat(6), domain: fc.nat(6) }
  const datagram = fc.oneof(
    fc.tuple(sets, fc.record(header)).map(([list, head]) => netflow9(list, head)),
    fc.tuple(sets, fc.record(header)).map(([list, head]) => ipfix(list, head)),
    fc
      .tuple(fc.nat(40), fc.nat(40))
      .map(([count, records]) => netflow5(new Array(records).fill({}), { count })),
    fc.constant(sflow()),
    fc.uint8Array({ maxLength: 200 }),
    fc
      .tuple(fc.constantFrom(5, 7, 9, 10), fc.uint8Array({ maxLength: 200 }))
      .map(([version, rest]) => Uint8Array.from([0, version, ...rest])),
  )
  const cut = fc.tuple(datagram, fc.nat(400)).map(([whole, at]) => whole.subarray(0, at))

  test('nothing throws, hangs, or is remembered beyond the bounds', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.oneof(datagram, cut), fc.nat(6), fc.nat(3)), { maxLength: 12 }),
        arrivals => {
          const { decode, decoder } = createBench(bounds)
          for (const [message, exporter, port] of arrivals) {
            const rows = decode(message, { exporter: `203.0.113.${exporter}`, port })
            // No record is smaller than a byte, and none is more than two rows.
            expect(rows.length).toBeLessThanOrEqual(
              2 * (message.length + bounds.heldBytesPerExporter),
            )
            for (const row of rows) {
              expect(row.sampling).toBeGreaterThanOrEqual(1)
              expect(row.end).toBeGreaterThanOrEqual(Number(row.start))
            }
          }
          expect(decoder.templates.fields).toBeLessThanOrEqual(bounds.fieldsInTotal)
          expect(decoder.templates.heldBytes).toBeLessThanOrEqual(bounds.heldBytesInTotal)
          const health = [...decoder.exporters()]
          expect(health.length).toBeLessThanOrEqual(bounds.domainsInTotal)
          const saved: unknown = JSON.parse(JSON.stringify(decoder.templates.export()))
          expect(createBench().decoder.templates.import(saved)).toBeLessThanOrEqual(
            decoder.templates.count,
          )
        },
      ),
      { numRuns: 400 },
    )
  })
})
