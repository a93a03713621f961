import { describe, expect, test } from 'vitest'
import { createBench, netflow5, received, uptime } from '../../test/fixtures/flow-messages.ts'

describe('a NetFlow 5 datagram', () => {
  test('gives one row a record', () => {
    const { decode, problems } = createBench()
    const rows = decode(netflow5([{}, { src: '192.0.2.2' }], { engine: 0x0102 }))
    expect(problems).toEqual([])
    expect(rows).toHaveLength(2)
    expect(rows[0]).toEqual({
      time: received / 1000 - 1,
      received,
      start: received - 5000,
      end: received - 1000,
      exporter: '203.0.113.1',
      domain: 0x0102,
      version: 5,
      traffic: 1,
      direction: 255,
      sampling: 1,
      in_if: 3,
      out_if: 4,
      src_addr: '192.0.2.1',
      dst_addr: '198.51.100.7',
      src_port: 443,
      dst_port: 50_000,
      protocol: 6,
      tcp_flags: 0x1b,
      tos: 0x20,
      icmp: 0,
      bytes: 1500,
      packets: 10,
      next_hop: '192.0.2.254',
      src_as: 64_500,
      dst_as: 64_501,
      src_mask: 24,
      dst_mask: 16,
      src_vlan: 0,
      dst_vlan: 0,
      src_mac: 0,
      dst_mac: 0,
      mpls_label: 0,
      vrf: 0,
      application: 0,
      forwarding: 0,
      end_reason: 0,
      event: 0,
      nat_src_addr: '::',
      nat_dst_addr: '::',
      nat_src_port: 0,
      nat_dst_port: 0,
    })
    expect(rows[1]).toMatchObject({ src_addr: '192.0.2.2' })
  })

  test('of version 7 has longer records', () => {
    const rows = createBench().decode(netflow5([{}, { bytes: 7 }], { version: 7 }))
    expect(rows).toMatchObject([{ version: 7 }, { version: 7, bytes: 7 }])
  })

  test('has its sampling interval in the low 14 bits, whatever the mode above says', () => {
    const { decode, decoder } = createBench()
    expect(decode(netflow5([{}], { sampling: 0x4000 | 100 }))).toMatchObject([{ sampling: 100 }])
    expect(decode(netflow5([{}], { sampling: 100 }))).toMatchObject([{ sampling: 100 }])
    expect([...decoder.exporters()][0]?.sampling).toEqual({ rate: 100, rule: 'header' })
    expect(decode(netflow5([{}], { sampling: 0x8000 }))).toMatchObject([{ sampling: 1 }])
    expect([...decoder.exporters()][0]?.sampling).toEqual({ rate: 1, rule: 'none' })
  })

  test('has ICMP type and code in the destination port', () => {
    const rows = createBench().decode(
      netflow5([{ protocol: 1, dstPort: 0x0301 }, { dstPort: 769 }]),
    )
    expect(rows).toMatchObject([{ icmp: 0x0301 }, { icmp: 0 }])
  })

  test('keeps the AS number 23456 that stands for a longer one', () => {
    expect(createBench().decode(netflow5([{ srcAs: 23_456 }]))).toMatchObject([{ src_as: 23_456 }])
  })

  test('that is cut off gives the records that are whole', () => {
    const { decode, problems } = createBench()
    expect(decode(netflow5([{}, {}]).subarray(0, 24 + 48 + 47))).toHaveLength(1)
    expect(problems).toEqual(['truncated'])
  })

  test('that is longer than its count gives as many as the count', () => {
    const { decode, problems } = createBench()
    expect(decode(netflow5([{}, {}], { count: 1 }))).toHaveLength(1)
    expect(problems).toEqual(['trailing-bytes'])
  })

  test('shorter than its header is counted and gives nothing', () => {
    const { decode, problems } = createBench()
    expect(decode(netflow5([]).subarray(0, 23))).toEqual([])
    expect(problems).toEqual(['truncated'])
  })

  test('may tell of times before the uptime wrapped and of one just after the export', () => {
    const before = netflow5([{ first: 2 ** 32 - 3000, last: uptime + 200 }])
    const wrapped = new Uint8Array(before)
    new DataView(wrapped.buffer).setUint32(4, 1000)
    new DataView(wrapped.buffer).setUint32(24 + 28, 1200)
    const [row] = createBench().decode(wrapped)
    expect(row).toMatchObject({ start: received - 4000, end: received + 200 })
  })

  test('that ends before it starts is clamped to its end', () => {
    const { decode, problems } = createBench()
    const [row] = decode(netflow5([{ first: uptime - 10, last: uptime - 2000 }]))
    expect(row).toMatchObject({ start: received - 2000, end: received - 2000 })
    expect(problems).toEqual(['negative-duration'])
  })

  test('of an exporter whose clock is wrong is accounted when it was received', () => {
    const { decode, problems, decoder } = createBench()
    const late = received + 26 * 3_600_000
    const [row] = decode(netflow5([{}]), { received: late })
    expect(row).toMatchObject({ time: late / 1000, end: received - 1000, received: late })
    expect(problems).toEqual(['implausible-time'])
    expect([...decoder.exporters()][0]?.skewMs).toBe(-26 * 3_600_000)
  })
})
