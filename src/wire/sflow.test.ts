import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createBatch } from '../telemetry/batch.ts'
import { flowTable } from '../telemetry/flow.ts'
import { decodeNative, encodeNative } from '../telemetry/native.ts'
import type { FlowProblem } from './problems.ts'
import { decodeSflow } from './sflow.ts'

const received = 1_700_000_000_250

function decode(bytes: Uint8Array) {
  const problems: FlowProblem[] = []
  const batch = createBatch(flowTable, 100, () => {
    throw new Error('not expected to be full')
  })
  decodeSflow(bytes, received, batch, problem => problems.push(problem))
  return { rows: decodeNative(encodeNative(batch), flowTable).toRows(), problems }
}

/** XDR: numbers as 4 bytes, hex text as it is, padded to 4. */
function xdr(...parts: (number | string | Buffer)[]): Buffer {
  return Buffer.concat(
    parts.map(part => {
      if (typeof part === 'number') {
        const four = Buffer.alloc(4)
        four.writeUInt32BE(part)
        return four
      }
      const bytes = typeof part === 'string' ? Buffer.from(part.replaceAll(' ', ''), 'hex') : part
      return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
    }),
  )
}

const typed = (type: number, ...parts: (number | string | Buffer)[]) => {
  const body = xdr(...parts)
  return xdr(type, body.length, body)
}
const agent = 'c0000209'
const datagram = (...samples: Buffer[]) =>
  xdr(5, 1, agent, 7, 100, 60_000, samples.length, ...samples)
/** source 3, one in 512, in at 3, out at 4 unless said otherwise */
const flowSample = (records: Buffer[], input = 3, output = 4) =>
  typed(1, 1, 3, 512, 1000, 0, input, output, records.length, ...records)

const frame =
  '020000000001 020000000002 8100 0064 0800' +
  '4500 0054 0000 4000 40 06 0000 c0000201 c6336407' +
  '01bb c000 00000001 00000002 5 012 0000 0000 0000'
const frameBytes = frame.replaceAll(' ', '').length / 2
const header = typed(1, 1, 106, 4, frameBytes, frame)
const ethernet = typed(2, 102, '020000000002', '020000000001', 0x0800)
const ipv4 = typed(3, 84, 17, 'c0000263', 'c6336463', 53, 5353, 0, 8)

describe('an sFlow datagram', () => {
  test('gives one row a flow sample, by the agent, with the sampling rate', () => {
    const { rows, problems } = decode(datagram(flowSample([header]), flowSample([header])))
    expect(problems).toEqual([])
    expect(rows).toHaveLength(2)
    expect(rows[0]).toMatchObject({
      time: 1_700_000_000,
      received,
      start: received,
      end: received,
      exporter: '192.0.2.9',
      domain: 7,
      version: 105,
      traffic: 1,
      direction: 0,
      sampling: 512,
      in_if: 3,
      out_if: 4,
      src_addr: '192.0.2.1',
      dst_addr: '198.51.100.7',
      src_port: 443,
      dst_port: 49152,
      protocol: 6,
      tcp_flags: 0x12,
      bytes: 84,
      packets: 1,
      src_vlan: 100,
      src_mac: 0x020000000002,
    })
  })

  test('counts a sample once that carries header, Ethernet and IPv4, and believes the header', () => {
    for (const records of [
      [header, ethernet, ipv4],
      [ipv4, ethernet, header],
    ]) {
      const { rows } = decode(datagram(flowSample(records)))
      expect(rows).toHaveLength(1)
      expect(rows[0]).toMatchObject({ src_addr: '192.0.2.1', src_port: 443, bytes: 84, packets: 1 })
    }
  })

  test('is read from parsed records where there is no header', () => {
    const { rows } = decode(datagram(flowSample([ethernet, ipv4]), flowSample([ethernet])))
    expect(rows).toMatchObject([
      { src_addr: '192.0.2.99', dst_port: 5353, protocol: 17, tos: 8, bytes: 84 },
      { src_addr: '::', src_mac: 0x020000000002, dst_mac: 0x020000000001, bytes: 102 },
    ])
    const ipv6 = typed(
      4,
      72,
      58,
      `20010db8${'00'.repeat(11)}01`,
      `20010db8${'00'.repeat(11)}02`,
      0,
      0,
      0,
      0,
    )
    expect(decode(datagram(flowSample([ipv6]))).rows).toMatchObject([
      { src_addr: '2001:db8::1', dst_addr: '2001:db8::2', protocol: 58, bytes: 72 },
    ])
  })

  test('tells VLANs, route, AS path and translation by the extended records', () => {
    const { rows, problems } = decode(
      datagram(
        flowSample([
          typed(1001, 20, 0, 30, 0),
          header,
          typed(
            1003,
            2,
            `20010db8${'00'.repeat(11)}05`,
            65000,
            65001,
            65002,
            2,
            2,
            2,
            65003,
            65004,
            2,
            1,
            65005,
            0,
            100,
          ),
          typed(1002, 1, 'c00002fe', 24, 16),
          typed(1007, 1, 'cb007101', 1, 'cb007102'),
          typed(1020, 1024, 2048),
        ]),
      ),
    )
    expect(problems).toEqual([])
    expect(rows).toMatchObject([
      {
        src_vlan: 20,
        dst_vlan: 30,
        next_hop: '192.0.2.254',
        src_mask: 24,
        dst_mask: 16,
        src_as: 65001,
        dst_as: 65005,
        nat_src_addr: '203.0.113.1',
        nat_dst_addr: '203.0.113.2',
        nat_src_port: 1024,
        nat_dst_port: 2048,
      },
    ])
  })

  test('tells index, discard, several outputs and the device itself apart, compact or expanded', () => {
    const compact = (input: number, output: number) =>
      decode(datagram(flowSample([header], input, output))).rows[0]
    expect(compact(0x3fff_ffff, 5)).toMatchObject({ in_if: 0, out_if: 5, direction: 255 })
    expect(compact(9, 3)).toMatchObject({ in_if: 9, out_if: 3, direction: 1 })
    expect(compact(3, 0x4000_0102)).toMatchObject({ in_if: 3, out_if: 0, forwarding: 129 })
    expect(compact(3, 0x8000_0007)).toMatchObject({ in_if: 3, out_if: 0, forwarding: 0 })
    const expanded = typed(3, 1, 0, 70_000, 100, 1000, 0, 0, 70_000, 0, 2_000_000_000, 1, header)
    expect(decode(datagram(expanded)).rows).toMatchObject([
      { in_if: 70_000, out_if: 2_000_000_000, sampling: 100, direction: 0, src_port: 443 },
    ])
  })

  test('passes over counters and skips what it does not know by its length', () => {
    const counters = typed(2, 1, 3, 1, typed(1, '00'.repeat(88)))
    const foreign = typed(4300 * 4096 + 5, 1, 2, 3)
    const { rows, problems } = decode(
      datagram(counters, foreign, flowSample([typed(8800 * 4096 + 1, 9), header])),
    )
    expect(rows).toMatchObject([{ src_port: 443 }])
    expect(problems).toEqual(['sflow-skipped-sample', 'sflow-skipped-record'])
  })

  test('tells a dropped packet as an event, not as traffic', () => {
    const dropped = typed(5, 1, 0, 3, 0, 3, 0, 258, 1, header)
    expect(decode(datagram(dropped)).rows).toMatchObject([
      { traffic: 0, in_if: 3, forwarding: 129, src_port: 443, sampling: 1 },
    ])
  })

  test('with a sample that tells nothing of a packet gives no row', () => {
    expect(decode(datagram(flowSample([]), flowSample([header])))).toMatchObject({
      rows: [{ src_port: 443 }],
      problems: ['sflow-no-header'],
    })
  })

  test('that lies about counts and lengths is read as far as it goes', () => {
    const many = datagram(flowSample([header]))
    many.writeUInt32BE(0xffff_ffff, 24)
    expect(decode(many)).toMatchObject({
      rows: [{ packets: 1 }],
      problems: ['sflow-too-many-samples'],
    })
    const long = datagram(flowSample([header]))
    long.writeUInt32BE(0xffff_fff0, 32)
    expect(decode(long)).toMatchObject({ rows: [{ packets: 1 }], problems: ['sflow-truncated'] })
    const records = datagram(flowSample([header]))
    records.writeUInt32BE(0xffff_ffff, 64)
    expect(decode(records).rows).toHaveLength(1)
    const extra = Buffer.concat([datagram(flowSample([header])), Buffer.alloc(4)])
    expect(decode(extra)).toMatchObject({ rows: [{ packets: 1 }], problems: ['trailing-bytes'] })
  })

  test('of another version or kind of agent is refused', () => {
    expect(decode(xdr(4, 1, agent, 0, 0, 0, 0)).problems).toEqual(['sflow-bad-version'])
    expect(decode(xdr(5, 0, 0, 0, 0, 0, 0)).problems).toEqual(['sflow-bad-address'])
    expect(decode(Buffer.alloc(0)).problems).toEqual(['sflow-truncated'])
  })

  test('cut off or with any byte changed never throws', () => {
    const whole = datagram(flowSample([header, ethernet, ipv4]), flowSample([header]))
    for (let length = 0; length < whole.length; length++) {
      expect(decode(whole.subarray(0, length)).problems, `${length} bytes`).not.toEqual([])
    }
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }),
        changes => {
          const broken = Buffer.from(whole)
          for (const [at, value] of changes) broken[at] = value
          expect(decode(broken).rows.length).toBeLessThanOrEqual(2)
        },
      ),
    )
  })
})
