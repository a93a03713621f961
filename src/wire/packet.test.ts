import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createBatch } from '../telemetry/batch.ts'
import { flowTable } from '../telemetry/flow.ts'
import { decodeNative, encodeNative, type Row } from '../telemetry/native.ts'
import { type Link, writePacket } from './packet.ts'

const macs = '020000000001 020000000002'
const v4 = '45b8 0054 0000 4000 40 06 0000 c0000201 c6336407'
const v6 = (next: string) =>
  `6ab00000 0020 ${next} 40 20010db8000000000000000000000001 20010db8000000000000000000000002`
const tcp = '01bb c000 00000001 00000002 5 018 0000 0000 0000'
const udp = '0035 d431 0000 0000'

function read(link: Link, hex: string, length = 1000, cut = Number.POSITIVE_INFINITY): Row {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const batch = createBatch(flowTable, 1, () => {})
  const row = batch.claim()
  const end = Math.min(cut, bytes.length)
  const found = writePacket(link, bytes, 0, end, length, batch.cells, row)
  batch.commit()
  return { ...decodeNative(encodeNative(batch), flowTable).toRows()[0]!, found: found ? 1 : 0 }
}

const tcpRow = {
  found: 1,
  src_addr: '192.0.2.1',
  dst_addr: '198.51.100.7',
  protocol: 6,
  src_port: 443,
  dst_port: 49152,
  tcp_flags: 0x18,
  tos: 0xb8,
  bytes: 84,
}

describe('a packet', () => {
  test('of TCP in IPv4 in Ethernet gives addresses, ports, flags and the length of IP', () => {
    expect(read('ethernet', `${macs} 0800 ${v4} ${tcp}`)).toMatchObject({
      ...tcpRow,
      dst_mac: 0x020000000001,
      src_mac: 0x020000000002,
      src_vlan: 0,
    })
  })

  test('keeps its outer VLAN under one tag or two', () => {
    for (const tags of ['8100 6064', '88a8 0064 8100 0065', '9100 0064 8100 0065']) {
      expect(read('ethernet', `${macs} ${tags} 0800 ${v4} ${tcp}`)).toMatchObject({
        ...tcpRow,
        src_vlan: 100,
      })
    }
  })

  test('under MPLS labels keeps the top one, also with Ethernet in a pseudowire', () => {
    const labels = '00010040 0001113f'
    const expected = { ...tcpRow, mpls_label: 16 }
    expect(read('ethernet', `${macs} 8847 ${labels} ${v4} ${tcp}`)).toMatchObject(expected)
    expect(read('mpls', `${labels} ${v4} ${tcp}`)).toMatchObject(expected)
    const inner = `00000000 0a0000000001 0a0000000002 8100 0005 0800 ${v4} ${tcp}`
    expect(read('ethernet', `${macs} 8847 ${labels} ${inner}`)).toMatchObject({
      ...expected,
      src_mac: 0x020000000002,
      src_vlan: 0,
    })
  })

  test('in PPP, PPPoE or SNAP is found', () => {
    expect(read('ppp', `ff03 0021 ${v4} ${tcp}`)).toMatchObject(tcpRow)
    expect(read('ppp', `21 ${v4} ${tcp}`)).toMatchObject(tcpRow)
    expect(read('ethernet', `${macs} 8864 1100 0001 0056 0021 ${v4} ${tcp}`)).toMatchObject(tcpRow)
    expect(read('ethernet', `${macs} 005c aaaa03 000000 0800 ${v4} ${tcp}`)).toMatchObject(tcpRow)
  })

  test('of IPv6 is read through its extension headers', () => {
    const expected = {
      found: 1,
      src_addr: '2001:db8::1',
      dst_addr: '2001:db8::2',
      tos: 0xab,
      bytes: 72,
      src_port: 53,
      dst_port: 54321,
      protocol: 17,
    }
    expect(read('ipv6', `${v6('11')} ${udp}`)).toMatchObject(expected)
    const hop = '2b 00 0000 00000000'
    const route = '2c 01 0000 00000000 0000000000000000'
    const fragment = '33 00 0001 00000007'
    const auth = '11 01 0000 00000000 00000000'
    expect(read('ipv6', `${v6('00')} ${hop} ${route} ${fragment} ${auth} ${udp}`)).toMatchObject(
      expected,
    )
    expect(read('ipv6', `${v6('2c')} 11 00 0009 00000007 ${udp}`)).toMatchObject({
      protocol: 17,
      src_port: 0,
    })
  })

  test('of ICMP gives type and code', () => {
    const icmp4 = v4.replace('40 06', '40 01')
    expect(read('ipv4', `${icmp4} 0301 0000`)).toMatchObject({ protocol: 1, icmp: 0x0301 })
    expect(read('ipv6', `${v6('3a')} 8700 0000`)).toMatchObject({ protocol: 58, icmp: 0x8700 })
  })

  test('that is a later fragment has no ports', () => {
    const later = v4.replace('4000 40', '00b9 40')
    expect(read('ipv4', `${later} ${tcp}`)).toMatchObject({ found: 1, src_port: 0, tcp_flags: 0 })
  })

  test('whose header says no length has the length by the link', () => {
    const offloaded = v4.replace('0054', '0000')
    expect(read('ethernet', `${macs} 0800 ${offloaded} ${tcp}`, 9014).bytes).toBe(9000)
  })

  test('that is not IP keeps MACs and the length behind them', () => {
    expect(read('ethernet', `${macs} 0806 0001`, 60)).toMatchObject({
      found: 0,
      bytes: 46,
      src_mac: 0x020000000002,
      protocol: 0,
    })
  })

  test('cut off anywhere tells what is there', () => {
    const frame = `${macs} 0800 ${v4} ${tcp}`
    const whole = 14 + 20 + 20
    for (let cut = 0; cut <= whole; cut++) {
      const row = read('ethernet', frame, 98, cut)
      expect(row.found, `cut at ${cut}`).toBe(cut >= 34 ? 1 : 0)
      expect(row.src_port, `cut at ${cut}`).toBe(cut >= 38 ? 443 : 0)
      expect(row.tcp_flags, `cut at ${cut}`).toBe(cut >= 48 ? 0x18 : 0)
      expect(row.bytes, `cut at ${cut}`).toBe(cut < 14 ? 98 : 84)
    }
  })

  test('of any bytes does no harm', () => {
    const links = fc.constantFrom<Link>('ethernet', 'ipv4', 'ipv6', 'mpls', 'ppp')
    fc.assert(
      fc.property(links, fc.uint8Array({ maxLength: 200 }), (link, bytes) => {
        const row = read(link, Buffer.from(bytes).toString('hex'), 1500)
        expect(row.packets).toBe(0)
      }),
    )
  })
})
