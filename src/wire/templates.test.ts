import { describe, expect, test } from 'vitest'
import {
  createBench,
  type Field,
  ip,
  ipfix,
  netflow9,
  optionsTemplate9,
  plainFields,
  plainRecord,
  received,
  set,
  template9,
  template10,
  u32,
} from '../../test/fixtures/flow-messages.ts'

const plain = template9(256, plainFields)
const data = (bytes: number) => set(256, plainRecord(bytes))
/** A layout of the same id that reads the same bytes as something else. */
const swapped = template9(256, [[12, 4], [8, 4], ...plainFields.slice(2)])
const day = 24 * 3_600_000

describe('a template', () => {
  test('holds for the datagrams that follow', () => {
    const { decode } = createBench()
    decode(netflow9([plain]))
    expect(decode(netflow9([data(1)]))).toMatchObject([{ bytes: 1 }])
  })

  test('is replaced when it is defined anew', () => {
    const { decode, decoder } = createBench()
    decode(netflow9([plain]))
    decode(netflow9([swapped]))
    expect(decode(netflow9([data(1)]))).toMatchObject([{ dst_addr: '192.0.2.1' }])
    expect(decoder.templates.count).toBe(1)
  })

  test('is of one exporter, one format and one domain', () => {
    const { decode, problems } = createBench()
    decode(netflow9([plain], { source: 1 }))
    expect(decode(netflow9([data(1)], { source: 2 }))).toEqual([])
    expect(decode(netflow9([data(1)], { source: 1 }), { exporter: '203.0.113.2' })).toEqual([])
    expect(decode(ipfix([data(1)], { domain: 1 }))).toEqual([])
    expect(problems).toEqual(['unknown-template', 'unknown-template', 'unknown-template'])
  })

  test('holds on when the exporter changes its source port', () => {
    const { decode } = createBench()
    decode(netflow9([plain]), { port: 5000 })
    expect(decode(netflow9([data(1)]), { port: 5001 })).toHaveLength(1)
    decode(netflow9([swapped]), { port: 5001 })
    expect(decode(netflow9([data(1)]), { port: 5001 })).toMatchObject([{ dst_addr: '192.0.2.1' }])
  })

  test('is told apart by the source port where exporters share an address', () => {
    const { decode } = createBench()
    decode(netflow9([plain]), { port: 5000 })
    decode(netflow9([swapped]), { port: 6000 })
    for (let round = 0; round < 2; round++) {
      expect(decode(netflow9([data(1)]), { port: 5000 })).toMatchObject([{ src_addr: '192.0.2.1' }])
      expect(decode(netflow9([data(1)]), { port: 6000 })).toMatchObject([{ dst_addr: '192.0.2.1' }])
      decode(netflow9([plain]), { port: 5000 })
    }
  })

  test('is forgotten after a day in which it was neither announced nor used', () => {
    const { decode, problems } = createBench()
    decode(netflow9([plain]))
    expect(decode(netflow9([data(1)]), { received: received + day })).toHaveLength(1)
    expect(decode(netflow9([data(1)]), { received: received + 2 * day })).toHaveLength(1)
    expect(decode(netflow9([data(1)]), { received: received + 3 * day + 1 })).toEqual([])
    expect(problems).toContain('unknown-template')
  })
})

describe('a data set before its template', () => {
  test('in the same datagram is decoded', () => {
    const { decode } = createBench()
    expect(decode(netflow9([data(1), plain, data(2)]))).toMatchObject([{ bytes: 2 }, { bytes: 1 }])
  })

  test('is held until the template comes, and is of when it was received', () => {
    const { decode, decoder } = createBench()
    expect(decode([netflow9([data(1)]), netflow9([data(2)])])).toEqual([])
    expect([...decoder.exporters()][0]).toMatchObject({ unknownTemplateSetsHeld: 2, records: 0 })
    const rows = decode(netflow9([plain]), { received: received + 60_000 })
    expect(rows).toMatchObject([
      { bytes: 1, received },
      { bytes: 2, received },
    ])
    expect([...decoder.exporters()][0]).toMatchObject({ unknownTemplateSetsHeld: 0, records: 2 })
    expect(decoder.templates.heldBytes).toBe(0)
    expect(decode(netflow9([plain]))).toEqual([])
  })

  test('is dropped, the oldest first, beyond so many sets or bytes of an exporter', () => {
    for (const bound of [{ heldSetsPerExporter: 2 }, { heldBytesPerExporter: 2 * 21 }]) {
      const { decode, problems } = createBench(bound)
      decode([1, 2, 3].map(bytes => netflow9([data(bytes)])))
      expect(problems.filter(problem => problem === 'held-dropped')).toHaveLength(1)
      expect(decode(netflow9([plain]))).toMatchObject([{ bytes: 2 }, { bytes: 3 }])
    }
  })

  test('is dropped, the oldest first, beyond so many bytes of all exporters', () => {
    const { decode, decoder } = createBench({ heldBytesInTotal: 2 * 21 })
    for (const exporter of ['203.0.113.1', '203.0.113.2', '203.0.113.3']) {
      decode(netflow9([data(1)]), { exporter })
    }
    expect(decoder.templates.heldBytes).toBe(42)
    expect(decode(netflow9([plain]), { exporter: '203.0.113.1' })).toEqual([])
    expect(decode(netflow9([plain]), { exporter: '203.0.113.2' })).toHaveLength(1)
  })
})

describe('bounds', () => {
  test('on the fields of a template', () => {
    const { decode, problems } = createBench({ fieldsPerTemplate: 3 })
    decode(netflow9([plain]))
    expect(problems).toEqual(['too-many-fields'])
  })

  test('on the templates of an exporter, which others do not feel', () => {
    const { decode, problems, decoder } = createBench({ templatesPerExporter: 2 })
    const templates = [256, 257, 258].map(id => template9(id, plainFields))
    decode(netflow9(templates))
    expect(problems).toEqual(['too-many-templates'])
    decode(netflow9([plain]), { exporter: '203.0.113.2' })
    expect(decoder.templates.count).toBe(3)
    expect(decode(netflow9([data(1)]))).toHaveLength(1)
  })

  test('on the fields of all templates', () => {
    const { decode, problems, decoder } = createBench({ fieldsInTotal: 10 })
    decode(netflow9([plain]))
    decode(netflow9([plain]), { exporter: '203.0.113.2' })
    expect(problems).toEqual(['too-many-templates'])
    expect(decoder.templates.fields).toBe(plainFields.length)
  })

  test('on the domains of an exporter; idle ones make room', () => {
    const { decode, problems, decoder } = createBench({ domainsPerExporter: 2 })
    decode([1, 2, 3].map(source => netflow9([plain, data(source)], { source })))
    expect(problems).toContain('too-many-domains')
    expect([...decoder.exporters()].map(({ domain }) => domain)).toEqual([1, 2])
    expect(decoder.templates.count).toBe(2)
    const later = { received: received + 2 * 3_600_000 }
    expect(decode(netflow9([plain, data(9)], { source: 3 }), later)).toHaveLength(1)
    expect(decoder.templates.count).toBe(2)
  })

  test('on the domains of all exporters', () => {
    const { decode, problems, decoder } = createBench({ domainsInTotal: 3 })
    for (const exporter of ['203.0.113.1', '203.0.113.2']) {
      decode(
        [1, 2].map(source => netflow9([plain], { source })),
        { exporter },
      )
    }
    expect(problems).toContain('too-many-domains')
    expect([...decoder.exporters()]).toHaveLength(3)
    const later = { exporter: '203.0.113.3', received: received + 2 * 3_600_000 }
    decode(netflow9([plain]), later)
    expect([...decoder.exporters()]).toHaveLength(3)
  })

  test('on the exporters; idle ones make room', () => {
    const { decode, problems, decoder } = createBench({ exporters: 2 })
    for (const last of [1, 2, 3]) {
      decode(netflow9([plain, data(1)]), { exporter: `203.0.113.${last}` })
    }
    expect(problems).toContain('too-many-exporters')
    expect([...decoder.exporters()]).toHaveLength(2)
    const later = { exporter: '203.0.113.3', received: received + 2 * 3_600_000 }
    expect(decode(netflow9([plain, data(1)]), later)).toHaveLength(1)
    expect([...decoder.exporters()]).toHaveLength(2)
    expect(decoder.templates.count).toBe(2)
  })
})

describe('a snapshot', () => {
  test('gives another decoder the templates and rates, port and all', () => {
    const first = createBench()
    first.decode(netflow9([plain]), { port: 5000 })
    first.decode(netflow9([swapped]), { port: 6000 })
    const options = optionsTemplate9(257, [[1, 4]], [[34, 4]])
    first.decode(netflow9([options, set(257, u32(0), u32(100))]))
    const fields: Field[] = [...plainFields, [999, 4, 29305]]
    first.decode(ipfix([template10(300, fields)]), { exporter: '2001:db8::1' })

    const second = createBench()
    const saved: unknown = JSON.parse(JSON.stringify(first.decoder.templates.export()))
    expect(second.decoder.templates.import(saved)).toBe(4)
    expect(second.decode(netflow9([data(1)]), { port: 6000 })).toMatchObject([
      { dst_addr: '192.0.2.1', sampling: 100 },
    ])
    const six = set(300, [...plainRecord(), ...ip('0.0.0.0')])
    expect(second.decode(ipfix([six]), { exporter: '2001:db8::1' })).toHaveLength(1)
  })

  test('does not replace what is known, and keeps to the bounds', () => {
    const first = createBench()
    first.decode(netflow9([swapped]))
    first.decode(netflow9([template9(257, plainFields)]))
    const second = createBench({ templatesPerExporter: 1 })
    second.decode(netflow9([plain]))
    expect(second.decoder.templates.import(first.decoder.templates.export())).toBe(0)
    expect(second.decode(netflow9([data(1)]))).toMatchObject([{ src_addr: '192.0.2.1' }])
  })

  test('may be anything at all', () => {
    const { decoder } = createBench()
    const template = { id: 256, options: false, scopes: 0, fields: [8, 4, 0], port: 1, lastUsed: 1 }
    const domain = { exporter: '192.0.2.1', version: 9, domain: 1, templates: [template] }
    const broken = [
      undefined,
      null,
      7,
      [],
      {},
      { domains: 'x' },
      { domains: [null, 3, {}, { exporter: 'nobody' }, { ...domain, version: 3 }] },
      { domains: [{ ...domain, templates: [null] }] },
      { domains: [{ ...domain, templates: [{ ...template, fields: [8, 4] }] }] },
      { domains: [{ ...domain, templates: [{ ...template, fields: [8, -4, 0] }] }] },
      { domains: [{ ...domain, templates: [{ ...template, fields: 'abc' }] }] },
      { domains: [{ ...domain, templates: [{ ...template, id: 2 }] }] },
      { domains: [{ ...domain, templates: [{ ...template, id: 70_000 }] }] },
      { domains: [{ ...domain, templates: [], rates: { base: -1, samplers: [7, [1]] } }] },
    ]
    for (const snapshot of broken) expect(decoder.templates.import(snapshot)).toBe(0)
    expect(decoder.templates.count).toBe(0)
    expect(decoder.templates.import({ domains: [domain] })).toBe(1)
  })

  test('has a version that rises with each change and with nothing else', () => {
    const { decode, decoder } = createBench()
    const versions = [decoder.templates.version]
    for (const sets of [[plain], [plain], [data(1)], [swapped]]) {
      decode(netflow9(sets))
      versions.push(decoder.templates.version)
    }
    const [none, first, again, used, replaced] = versions as [
      number,
      number,
      number,
      number,
      number,
    ]
    expect(first).toBeGreaterThan(none)
    expect([again, used]).toEqual([first, first])
    expect(replaced).toBeGreaterThan(first)
  })
})
