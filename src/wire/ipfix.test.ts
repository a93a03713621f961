import { describe, expect, test } from 'vitest'
import {
  createBench,
  type Field,
  ip,
  ipfix,
  optionsTemplate10,
  plainFields,
  plainRecord,
  received,
  seconds,
  set,
  template10,
  text,
  u8,
  u16,
  u32,
  u64,
} from '../../test/fixtures/flow-messages.ts'

const template = template10(256, plainFields)
const reverse = 29305

function rowsOf(fields: readonly Field[], ...values: number[][]) {
  const bench = createBench()
  const rows = bench.decode(ipfix([template10(300, fields), set(300, ...values)]))
  return { rows, problems: bench.problems }
}

describe('an IPFIX message', () => {
  test('gives one row a record of its template', () => {
    const { decode, problems } = createBench()
    const rows = decode(ipfix([template, set(256, plainRecord(1), plainRecord(2))], { domain: 9 }))
    expect(problems).toEqual([])
    expect(rows).toMatchObject([
      { bytes: 1, version: 10, domain: 9, src_addr: '192.0.2.1' },
      { bytes: 2, version: 10, domain: 9, traffic: 1 },
    ])
  })

  test('that says more bytes than it has is decoded as far as it goes', () => {
    const { decode, problems } = createBench()
    const message = ipfix([template, set(256, plainRecord(1))], { length: 2000 })
    expect(decode(message)).toHaveLength(1)
    expect(problems).toEqual(['truncated'])
  })

  test('is not read behind the length that it says', () => {
    const { decode, problems } = createBench()
    const message = ipfix([template, set(256, plainRecord(1))])
    expect(decode(Uint8Array.from([...message, ...set(256, plainRecord(2))]))).toHaveLength(1)
    expect(problems).toEqual(['trailing-bytes'])
  })

  test('has records of variable length, whose smallest field is one byte', () => {
    const { rows, problems } = rowsOf([[82, 65535]], [3, ...text('eth')], [0], [255, ...u16(1), 65])
    expect(rows).toHaveLength(3)
    expect(problems).toEqual([])
  })

  test('with a record that its set does not hold whole keeps those before', () => {
    const fields: Field[] = [
      [1, 4],
      [82, 65535],
    ]
    for (const tail of [
      [9, 1],
      [255, 1, 0, 7],
      [255, 1],
    ]) {
      const { rows, problems } = rowsOf(fields, [...u32(5), 0], [...u32(6), ...tail])
      expect(rows).toMatchObject([{ bytes: 5 }])
      expect(problems).toEqual(['record-truncated'])
    }
  })

  test('may hold lists, which are passed over by their length', () => {
    const fields: Field[] = [
      [291, 65535],
      [292, 65535],
      [293, 65535],
      [1, 4],
    ]
    const list = [5, 255, 0, 8, 0, 4]
    const { rows } = rowsOf(fields, [...list, 255, ...u16(3), 1, 2, 3, 0, ...u32(77)])
    expect(rows).toMatchObject([{ bytes: 77 }])
  })

  test('may hold elements of enterprises, in options templates too', () => {
    const { rows } = rowsOf(
      [
        [1, 4, 9],
        [1, 4],
        [12, 4, 4711],
      ],
      u32(1),
      u32(2),
      u32(3),
    )
    expect(rows).toMatchObject([{ bytes: 2, dst_addr: '::' }])
    const { decode, problems } = createBench()
    const options = optionsTemplate10(257, 1, [
      [149, 4],
      [34, 4, 9],
      [34, 4],
    ])
    const message = ipfix([
      options,
      set(257, u32(1), u32(7), u32(8)),
      template,
      set(256, plainRecord()),
    ])
    expect(decode(message)).toMatchObject([{ sampling: 8 }])
    expect(problems).toEqual([])
  })

  test('refuses options without scope', () => {
    const { decode, problems } = createBench()
    expect(decode(ipfix([optionsTemplate10(257, 0, [[34, 4]])]))).toEqual([])
    expect(problems).toEqual(['bad-template'])
  })

  test('refuses templates that are cut off or of reserved ids', () => {
    const { decode, problems, decoder } = createBench()
    decode(ipfix([set(2, u16(256), u16(3), u16(8), u16(4))]))
    decode(ipfix([set(2, u16(256), u16(1), u16(0x8008), u16(4))]))
    decode(ipfix([template10(255, plainFields)]))
    expect(problems).toEqual(['bad-template', 'bad-template', 'bad-template'])
    expect(decoder.templates.count).toBe(0)
  })

  test('cannot withdraw a template over UDP', () => {
    const { decode, problems } = createBench()
    decode(ipfix([template]))
    decode(ipfix([set(2, u16(256), u16(0)), set(2, u16(2), u16(0)), set(3, u16(3), u16(0))]))
    expect(problems).toEqual(['withdrawal-ignored', 'withdrawal-ignored', 'withdrawal-ignored'])
    expect(decode(ipfix([set(256, plainRecord())]))).toHaveLength(1)
  })

  test('can withdraw its own templates over a connection, one or all of a kind', () => {
    const { decode, problems, decoder } = createBench()
    const tcp = { port: 5000, session: true }
    const options = optionsTemplate10(300, 1, [
      [149, 4],
      [34, 4],
    ])
    const withdrawn = (...sets: number[][]) => {
      decode(ipfix([template, template10(257, [[4, 1]]), options]), tcp)
      decode(ipfix(sets), tcp)
      return decoder.templates.count
    }
    expect(withdrawn(set(2, u16(256), u16(0)))).toBe(2)
    expect(withdrawn(set(2, u16(2), u16(0)))).toBe(1)
    expect(withdrawn(set(3, u16(3), u16(0)))).toBe(2)
    decode(ipfix([set(2, u16(2), u16(0))]), { port: 5001, session: true })
    expect([decoder.templates.count, problems]).toEqual([2, []])
  })
})

describe('a record', () => {
  test('of two directions is two rows, the second with the ends exchanged', () => {
    const fields: Field[] = [
      ...plainFields,
      [6, 1],
      [6, 1, reverse],
      [1, 4, reverse],
      [2, 4, reverse],
      [152, 8],
      [153, 8],
    ]
    const times = [...u64(received - 3000), ...u64(received - 1000)]
    const { rows } = rowsOf(
      fields,
      [...plainRecord(1500), 0x02, 0x12, ...u32(7000), ...u32(20), ...times],
      [...plainRecord(1501), 0x02, 0x00, ...u32(0), ...u32(0), ...times],
    )
    expect(rows).toHaveLength(3)
    expect(rows).toMatchObject([
      { src_addr: '192.0.2.1', src_port: 443, bytes: 1500, packets: 10, tcp_flags: 2 },
      {
        src_addr: '198.51.100.7',
        dst_addr: '192.0.2.1',
        src_port: 50_000,
        dst_port: 443,
        bytes: 7000,
        packets: 20,
        tcp_flags: 0x12,
        start: received - 3000,
        end: received - 1000,
      },
      { bytes: 1501 },
    ])
  })

  test('has times in seconds, milliseconds, NTP fractions or microseconds before the export', () => {
    const times = (start: number, end: number, length: number, ...values: number[][]) =>
      rowsOf(
        [
          [start, length],
          [end, length],
        ],
        ...values,
      ).rows
    const at = { start: received - 3000, end: received - 1000 }
    expect(times(150, 151, 4, u32(seconds - 3), u32(seconds - 1))).toMatchObject([at])
    expect(times(152, 153, 8, u64(received - 3000), u64(received - 1000))).toMatchObject([at])
    const ntp = (ago: number) => [...u32(seconds + 2_208_988_800 - ago), ...u32(0)]
    expect(times(154, 155, 8, ntp(3), ntp(1))).toMatchObject([at])
    expect(times(156, 157, 8, ntp(3), ntp(1))).toMatchObject([at])
    expect(times(158, 159, 4, u32(3_000_000), u32(1_000_000))).toMatchObject([at])
  })

  test('has an end or a start by its duration', () => {
    const start: Field[] = [
      [152, 8],
      [161, 4],
    ]
    const end: Field[] = [
      [153, 8],
      [162, 4],
    ]
    expect(rowsOf(start, u64(received - 3000), u32(2000)).rows).toMatchObject([
      { start: received - 3000, end: received - 1000 },
    ])
    expect(rowsOf(end, u64(received - 1000), u32(2_000_000)).rows).toMatchObject([
      { start: received - 3000, end: received - 1000 },
    ])
  })

  test('has uptimes only with the moment of the boot, in the record or in options', () => {
    const boot = received - 60 * 86_400_000
    const up = (before: number) => u32((received - before - boot) % 2 ** 32)
    const fields: Field[] = [
      [22, 4],
      [21, 4],
      [1, 4],
    ]
    const at = { start: received - 3000, end: received - 1000 }
    const without = rowsOf(fields, up(3000), up(1000), u32(1))
    expect(without.rows).toMatchObject([{ start: received, end: received }])
    const inRecord = rowsOf([...fields, [160, 8]], up(3000), up(1000), u32(1), u64(boot))
    expect(inRecord.rows).toMatchObject([at])
    const { decode } = createBench()
    const options = optionsTemplate10(257, 1, [
      [149, 4],
      [160, 8],
    ])
    decode(ipfix([options, set(257, u32(1), u64(boot))]))
    const flows = ipfix([template10(258, fields), set(258, up(3000), up(1000), u32(1))])
    expect(decode(flows)).toMatchObject([at])
  })

  test('may be a sampled packet with its headers', () => {
    const frame = [
      ...[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0],
      ...[0x45, 0, ...u16(60), 0, 0, 0, 0, 64, 17, 0, 0, ...ip('192.0.2.1'), ...ip('198.51.100.7')],
      ...[...u16(53), ...u16(5353), ...u16(40), 0, 0],
    ]
    const fields: Field[] = [
      [10, 4],
      [312, 2],
      [315, 65535],
    ]
    const record = [...u32(3), ...u16(74), ...u8(frame.length), ...frame]
    expect(rowsOf(fields, record).rows).toMatchObject([
      {
        src_addr: '192.0.2.1',
        dst_addr: '198.51.100.7',
        src_port: 53,
        protocol: 17,
        bytes: 60,
        packets: 1,
        in_if: 3,
        traffic: 1,
      },
    ])
  })

  test('that counts nothing is no traffic', () => {
    expect(rowsOf([[8, 4]], ip('192.0.2.1')).rows).toMatchObject([{ traffic: 0 }])
  })
})
