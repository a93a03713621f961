import { describe, expect, test } from 'vitest'
import {
  createBench,
  type Field,
  ip,
  netflow9,
  optionsTemplate9,
  plainFields,
  plainRecord,
  received,
  set,
  template9,
  text,
  u8,
  u16,
  u32,
  u64,
  uptime,
} from '../../test/fixtures/flow-messages.ts'

const template = template9(256, plainFields)
const data = (...bytes: number[]) => set(256, ...bytes.map(size => plainRecord(size)))

/** The rows of one record with the given fields. */
function rowsOf(fields: readonly Field[], ...values: number[][]) {
  const bench = createBench()
  const rows = bench.decode(netflow9([template9(300, fields), set(300, ...values)]))
  return { rows, problems: bench.problems }
}

describe('a NetFlow 9 datagram', () => {
  test('gives one row a record of its template', () => {
    const { decode, problems } = createBench()
    const rows = decode(netflow9([template, data(100, 200)], { source: 77 }))
    expect(problems).toEqual([])
    expect(rows).toMatchObject([
      { bytes: 100, packets: 10, src_addr: '192.0.2.1', protocol: 17, domain: 77, version: 9 },
      { bytes: 200, dst_port: 50_000, traffic: 1, sampling: 1, direction: 255 },
    ])
  })

  test('is walked by its bytes, whatever its count says', () => {
    for (const count of [0, 1, 2, 60_000]) {
      expect(createBench().decode(netflow9([template, data(1, 2)], { count }))).toHaveLength(2)
    }
  })

  test('may pad its sets, those of templates too', () => {
    const { decode, problems } = createBench()
    const padded = set(0, template.slice(4), [0, 0, 0, 0])
    const rows = decode(netflow9([padded, set(256, plainRecord(), [0, 0, 0])]))
    expect(rows).toHaveLength(1)
    expect(problems).toEqual([])
  })

  test('cannot define a template without bytes, and may define fields without', () => {
    const { decode, problems } = createBench()
    const zeros = template9(257, [
      [8, 0],
      [12, 0],
    ])
    expect(decode(netflow9([zeros, template9(258, []), set(257, [1, 2, 3, 4])]))).toEqual([])
    expect(problems.slice(0, 2)).toEqual(['empty-template', 'empty-template'])
    const { rows } = rowsOf(
      [
        [8, 0],
        [1, 4],
        [95, 0],
      ],
      u32(5),
      u32(6),
    )
    expect(rows).toMatchObject([{ bytes: 5 }, { bytes: 6 }])
  })

  test('ends at a set shorter than its header, and keeps what came before', () => {
    const { decode, problems } = createBench()
    expect(decode(netflow9([template, data(1), [1, 0, 0, 3, 9, 9]]))).toHaveLength(1)
    expect(problems).toEqual(['bad-set-length'])
  })

  test('may be filled up with zeros', () => {
    const { decode, problems } = createBench()
    expect(decode(netflow9([template, data(1), new Array(900).fill(0)]))).toHaveLength(1)
    expect(problems).toEqual(['trailing-bytes'])
  })

  test('whose last set is cut off gives the records that are whole', () => {
    const { decode, problems } = createBench()
    expect(decode(netflow9([template, data(1, 2)]).subarray(0, -5))).toHaveLength(1)
    expect(problems).toEqual(['set-truncated'])
  })

  test('with a set of a reserved id goes on behind it', () => {
    const { decode, problems } = createBench()
    expect(decode(netflow9([set(2, u32(1)), template, data(1)]))).toHaveLength(1)
    expect(problems).toEqual(['unknown-set'])
  })

  test('with a template that is cut off keeps the others', () => {
    const { decode, problems } = createBench()
    const cut = set(0, template.slice(4), u16(257), u16(9), u16(8), u16(4))
    expect(decode(netflow9([cut, data(1)]))).toHaveLength(1)
    expect(problems).toEqual(['bad-template'])
  })

  test('may have fields of variable length like IPFIX', () => {
    const { rows } = rowsOf(
      [
        [8, 4],
        [300, 65535],
        [1, 4],
      ],
      [...ip('192.0.2.8'), 3, ...text('abc'), ...u32(11)],
      [...ip('192.0.2.9'), 255, ...u16(2), ...text('de'), ...u32(12)],
      [...ip('192.0.2.10'), 0, ...u32(13)],
    )
    expect(rows).toMatchObject([
      { src_addr: '192.0.2.8', bytes: 11 },
      { src_addr: '192.0.2.9', bytes: 12 },
      { src_addr: '192.0.2.10', bytes: 13 },
    ])
  })

  test('may tell of itself with options whose scope has no length', () => {
    const { decode, problems, decoder } = createBench()
    const options = optionsTemplate9(257, [[1, 0]], [[34, 4]])
    const rows = decode(netflow9([options, set(257, u32(512)), template, data(1)]))
    expect(rows).toMatchObject([{ sampling: 512 }])
    expect(problems).toEqual([])
    expect([...decoder.exporters()][0]?.sampling).toEqual({ rate: 512, rule: 'domain' })
  })

  test('has lengths in bytes in an options template', () => {
    const { decode } = createBench()
    const scopes: Field[] = [[2, 4]]
    const options: Field[] = [
      [34, 4],
      [35, 1],
    ]
    const first = [...u32(3), ...u32(100), 2]
    const second = [...u32(4), ...u32(200), 2]
    const table = netflow9([optionsTemplate9(257, scopes, options), set(257, first, second)])
    const flows = netflow9([
      template9(258, [
        [10, 4],
        [1, 4],
      ]),
      set(258, u32(4), u32(1), u32(3), u32(1), u32(5), u32(1)),
    ])
    const rows = decode([table, flows])
    expect(rows).toMatchObject([{ sampling: 200 }, { sampling: 100 }, { sampling: 1 }])
  })
})

describe('a record', () => {
  test('has integers of any length from 1 to 8 bytes', () => {
    for (const length of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const { rows } = rowsOf(
        [
          [1, length],
          [10, length],
          [7, length],
          [4, length],
        ],
        ...[200, 7, 53, 17].map(value => u64(value).slice(-length)),
      )
      expect(rows).toMatchObject([{ bytes: 200, in_if: 7, src_port: 53, protocol: 17 }])
    }
    const { rows } = rowsOf([[1, 6]], u64(2 ** 47 + 1).slice(2))
    expect(rows).toMatchObject([{ bytes: 2 ** 47 + 1 }])
  })

  test('passes over integers and addresses of impossible length', () => {
    const { rows } = rowsOf(
      [
        [1, 9],
        [8, 5],
        [27, 4],
        [2, 4],
      ],
      new Array(18).fill(1),
      u32(3),
    )
    expect(rows).toMatchObject([{ bytes: 0, src_addr: '::', packets: 3 }])
  })

  test('takes the one of IPv4 and IPv6 addresses that is not zero', () => {
    const fields: Field[] = [
      [8, 4],
      [27, 16],
      [12, 4],
      [28, 16],
      [15, 4],
      [62, 16],
    ]
    const { rows } = rowsOf(
      fields,
      [...ip('192.0.2.1'), ...ip('::'), ...ip('0.0.0.0'), ...ip('2001:db8::1')],
      [...ip('0.0.0.0'), ...ip('2001:db8::2')],
    )
    expect(rows).toMatchObject([
      { src_addr: '192.0.2.1', dst_addr: '2001:db8::1', next_hop: '2001:db8::2' },
    ])
  })

  test('takes the prefix length of either family that is not zero', () => {
    const fields: Field[] = [
      [9, 1],
      [29, 1],
      [13, 1],
      [30, 1],
    ]
    const { rows } = rowsOf(fields, [24, 0, 0, 64], [0, 48, 16, 0])
    expect(rows).toMatchObject([
      { src_mask: 24, dst_mask: 64 },
      { src_mask: 48, dst_mask: 16 },
    ])
  })

  test('takes its times from the uptime, modulo 2^32', () => {
    const fields: Field[] = [
      [22, 4],
      [21, 4],
      [1, 4],
    ]
    const { rows } = rowsOf(fields, u32(uptime - 9000), u32(uptime - 2000), u32(1))
    expect(rows).toMatchObject([
      { start: received - 9000, end: received - 2000, time: received / 1000 - 2 },
    ])
  })

  test('without times happened when it was received', () => {
    const { rows } = rowsOf([[1, 4]], u32(1))
    expect(rows).toMatchObject([{ start: received, end: received, time: received / 1000 }])
  })

  test('that ends before it starts is clamped to its end', () => {
    const { rows, problems } = rowsOf(
      [
        [22, 4],
        [21, 4],
      ],
      u32(uptime - 1000),
      u32(uptime - 5000),
    )
    expect(rows).toMatchObject([{ start: received - 5000, end: received - 5000 }])
    expect(problems).toEqual(['negative-duration'])
  })

  test('takes one counter a direction and never adds two', () => {
    const { rows } = rowsOf(
      [
        [85, 4],
        [1, 4],
        [23, 4],
        [24, 4],
        [86, 4],
      ],
      ...[5000, 100, 90, 9, 50].map(u32),
    )
    expect(rows).toMatchObject([{ bytes: 100, packets: 50 }])
    expect(rowsOf([[23, 4]], u32(90)).rows).toMatchObject([{ bytes: 90 }])
  })

  test('of initiator and responder is two rows, or one if nothing came back', () => {
    const fields: Field[] = [
      [8, 4],
      [12, 4],
      [7, 2],
      [11, 2],
      [10, 2],
      [14, 2],
      [231, 4],
      [232, 4],
    ]
    const ends = [...ip('192.0.2.1'), ...ip('198.51.100.7'), ...u16(5000), ...u16(443)]
    const { rows } = rowsOf(
      fields,
      [...ends, ...u16(1), ...u16(2), ...u32(100), ...u32(900)],
      [...ends, ...u16(1), ...u16(2), ...u32(101), ...u32(0)],
    )
    expect(rows).toHaveLength(3)
    expect(rows).toMatchObject([
      { src_addr: '192.0.2.1', src_port: 5000, in_if: 1, out_if: 2, bytes: 100 },
      { src_addr: '198.51.100.7', src_port: 443, dst_port: 5000, in_if: 2, out_if: 1, bytes: 900 },
      { bytes: 101 },
    ])
  })

  test('has direction, end reason and forwarding status of 1 or 4 bytes', () => {
    const { rows } = rowsOf(
      [
        [61, 1],
        [136, 1],
        [89, 1],
      ],
      [1, 3, 0x40],
    )
    expect(rows).toMatchObject([{ direction: 1, end_reason: 3, forwarding: 0x40 }])
    expect(rowsOf([[89, 4]], u32(0x40)).rows).toMatchObject([{ forwarding: 0x40 }])
    expect(rowsOf([[89, 4]], u32(0x4000_0000)).rows).toMatchObject([{ forwarding: 0x40 }])
  })

  test('of a translation is an event and no traffic', () => {
    const fields: Field[] = [
      [230, 1],
      [225, 4],
      [226, 4],
      [227, 2],
      [228, 2],
      [323, 8],
    ]
    const { rows } = rowsOf(fields, [
      1,
      ...ip('203.0.113.5'),
      ...ip('198.51.100.7'),
      ...u16(1024),
      ...u16(80),
      ...u64(received - 500),
    ])
    expect(rows).toMatchObject([
      {
        traffic: 0,
        event: 1,
        bytes: 0,
        nat_src_addr: '203.0.113.5',
        nat_dst_addr: '198.51.100.7',
        nat_src_port: 1024,
        nat_dst_port: 80,
        start: received - 500,
        end: received - 500,
      },
    ])
  })

  test('of a firewall that reports totals counts at the end of the connection alone', () => {
    const fields: Field[] = [
      [233, 1],
      [231, 4],
      [232, 4],
    ]
    const events = [1, 3, 5, 2].map(event => [
      event,
      ...u32(event < 4 && event !== 2 ? 0 : 70),
      ...u32(0),
    ])
    const { rows } = rowsOf(fields, ...events)
    expect(rows.map(({ event, traffic }) => [event, traffic])).toEqual([
      [1, 0],
      [3, 0],
      [5, 0],
      [2, 1],
    ])
  })

  test('of a firewall that reports what came since counts each time', () => {
    const { rows } = rowsOf(
      [
        [233, 1],
        [1, 4],
      ],
      [5, ...u32(70)],
      [2, ...u32(30)],
      [1, ...u32(0)],
    )
    expect(rows.map(({ traffic }) => traffic)).toEqual([1, 1, 0])
  })

  test('has an application of an engine and a selector', () => {
    expect(rowsOf([[95, 4]], [13, 0, 1, 2]).rows).toMatchObject([
      { application: 13 * 2 ** 24 + 258 },
    ])
    expect(rowsOf([[95, 2]], [3, 80]).rows).toMatchObject([{ application: 3 * 2 ** 24 + 80 }])
    const long = rowsOf([[95, 9]], [20, ...u32(9), ...u32(7)])
    expect(long.rows).toMatchObject([{ application: 20 * 2 ** 24 + 7 }])
  })

  test('has ICMP type and code in one field, in two, or in the destination port', () => {
    const icmp = (fields: Field[], ...values: number[]) => rowsOf([[4, 1], ...fields], values).rows
    expect(icmp([[32, 2]], 1, 3, 1)).toMatchObject([{ icmp: 0x0301 }])
    expect(icmp([[139, 2]], 58, 129, 0)).toMatchObject([{ icmp: 0x8100 }])
    const two: Field[] = [
      [177, 1],
      [176, 1],
    ]
    expect(icmp(two, 1, 4, 3)).toMatchObject([{ icmp: 0x0304 }])
    expect(icmp([[11, 2]], 1, 8, 0)).toMatchObject([{ icmp: 0x0800 }])
    expect(icmp([[32, 2]], 6, 3, 1)).toMatchObject([{ icmp: 0 }])
  })

  test('has its MPLS label in the upper 20 bits of 3 bytes', () => {
    expect(rowsOf([[70, 3]], [0x00, 0x12, 0x31]).rows).toMatchObject([{ mpls_label: 0x123 }])
  })

  test('has its interfaces in 2 or 4 bytes, or else the physical ones', () => {
    const { rows } = rowsOf(
      [
        [10, 2],
        [14, 4],
        [252, 4],
        [253, 4],
      ],
      [...u16(0), ...u32(70_000), ...u32(9), ...u32(10)],
      [...u16(3), ...u32(0), ...u32(9), ...u32(10)],
    )
    expect(rows).toMatchObject([
      { in_if: 9, out_if: 70_000 },
      { in_if: 3, out_if: 10 },
    ])
  })

  test('has AS numbers, masks, VLANs, MAC addresses, VRF and flags', () => {
    const fields: Field[] = [
      [16, 2],
      [17, 4],
      [9, 1],
      [13, 1],
      [58, 2],
      [59, 2],
      [56, 6],
      [80, 6],
      [234, 4],
      [6, 2],
      [5, 1],
    ]
    const { rows } = rowsOf(fields, [
      ...u16(64_500),
      ...u32(4_200_000_000),
      ...[24, 16],
      ...u16(100),
      ...u16(200),
      ...[2, 0, 0, 0, 0, 1],
      ...[2, 0, 0, 0, 0, 2],
      ...u32(5),
      ...u16(0x112),
      ...u8(0xb8),
    ])
    expect(rows).toMatchObject([
      {
        src_as: 64_500,
        dst_as: 4_200_000_000,
        src_mask: 24,
        dst_mask: 16,
        src_vlan: 100,
        dst_vlan: 200,
        src_mac: 0x0200_0000_0001,
        dst_mac: 0x0200_0000_0002,
        vrf: 5,
        tcp_flags: 0x112,
        tos: 0xb8,
      },
    ])
  })
})
