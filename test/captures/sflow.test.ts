/** sFlow datagrams of real devices, compared with what tshark reads in them. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createBatch } from '../../src/telemetry/batch.ts'
import { flowTable } from '../../src/telemetry/flow.ts'
import { decodeNative, encodeNative, type Row } from '../../src/telemetry/native.ts'
import type { FlowProblem } from '../../src/wire/problems.ts'
import { decodeSflow } from '../../src/wire/sflow.ts'

const folder = join(import.meta.dirname, '../../../shared/captures/flow/tcpdump')
const skip = !existsSync(folder)
  ? ` (skipped: no captures in ${folder})`
  : spawnSync('tshark', ['--version']).status !== 0
    ? ' (skipped: no tshark)'
    : ''

interface Datagram {
  payload: Uint8Array
  seconds: number
}

/** The UDP payloads of a classic little-endian pcap file of Ethernet. */
function readPcap(path: string): Datagram[] {
  const file = readFileSync(path)
  expect(file.readUInt32LE(0)).toBe(0xa1b2c3d4)
  const datagrams: Datagram[] = []
  for (let at = 24; at < file.length; ) {
    const length = file.readUInt32LE(at + 8)
    const frame = file.subarray(at + 16, at + 16 + length)
    const ip = 14
    const udp = frame.readUInt16BE(12) === 0x0800 ? ip + 4 * (frame[ip]! & 15) : ip + 40
    const end = udp + frame.readUInt16BE(udp + 4)
    datagrams.push({ payload: frame.subarray(udp + 8, end), seconds: file.readUInt32LE(at) })
    at += 16 + length
  }
  return datagrams
}

function decode(datagrams: Datagram[]) {
  const problems: FlowProblem[] = []
  const batch = createBatch(flowTable, 10_000, () => {})
  for (const { payload, seconds } of datagrams) {
    decodeSflow(payload, seconds * 1000, batch, problem => problems.push(problem))
  }
  return { rows: decodeNative(encodeNative(batch), flowTable).toRows(), problems }
}

type Layers = { [name: string]: Layers | string | undefined }

/** What tshark says of each flow sample, in the words of our columns. */
function readByTshark(path: string): Row[] {
  const json = execFileSync('tshark', ['-T', 'json', '-d', 'udp.port==6343,sflow', '-r', path], {
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 256 * 1024 * 1024,
  })
  const packets = JSON.parse(json.toString()) as { _source: { layers: Layers } }[]
  const rows: Row[] = []
  for (const { _source } of packets) {
    const sflow = _source.layers.sflow
    if (typeof sflow !== 'object') continue
    const agent = (sflow['sflow_245.agent'] ?? sflow['sflow_245.agent.v6']) as string
    for (const [name, sample] of Object.entries(sflow)) {
      if (!/flow sample/i.test(name) || typeof sample !== 'object') continue
      rows.push({ exporter: agent, ...sampleRow(sample) })
    }
  }
  return rows
}

function sampleRow(sample: Layers): Row {
  const value = (name: string) => find(sample, name) ?? '0'
  const compactOutput = Number(find(sample, 'sflow.flow_sample.output_interface') ?? 0)
  return {
    sampling: Number(value('sflow.flow_sample.sampling_rate')),
    in_if: Number(
      find(sample, 'sflow.flow_sample.input_interface_value') ??
        value('sflow.flow_sample.input_interface'),
    ),
    out_if:
      compactOutput >= 2 ** 30 ? 0 : Number(value('sflow.flow_sample.output_interface_value')),
    src_mac: Number.parseInt(value('eth.src').replaceAll(':', ''), 16),
    dst_mac: Number.parseInt(value('eth.dst').replaceAll(':', ''), 16),
    src_vlan: Number(find(sample, 'sflow_245.vlan.in') ?? value('vlan.id')),
    dst_vlan: Number(value('sflow_245.vlan.out')),
    src_addr: value('ip.src'),
    dst_addr: value('ip.dst'),
    protocol: Number(value('ip.proto')),
    tos: Number(value('ip.dsfield')),
    bytes: Number(value('ip.len')),
    src_port: Number(find(sample, 'tcp.srcport') ?? value('udp.srcport')),
    dst_port: Number(find(sample, 'tcp.dstport') ?? value('udp.dstport')),
    tcp_flags: Number(value('tcp.flags')),
    src_as: Number(value('sflow_245.srcAS')),
    src_mask: Number(value('sflow_245.nexthop.src_mask')),
    dst_mask: Number(value('sflow_245.nexthop.dst_mask')),
    packets: 1,
  }
}

function find(layers: Layers, name: string): string | undefined {
  const here = layers[name]
  if (typeof here === 'string') return here
  for (const inner of Object.values(layers)) {
    if (typeof inner !== 'object') continue
    const found = find(inner, name)
    if (found !== undefined) return found
  }
  return undefined
}

describe.skipIf(skip !== '')(`sFlow of real devices${skip}`, () => {
  test.each([
    ['sflow_expanded.pcap', 1],
    ['sflow-print-v6.pcap', 1],
  ])('%s is read as tshark reads it', (name, atLeast) => {
    const path = join(folder, name)
    const expected = readByTshark(path)
    const { rows, problems } = decode(readPcap(path))
    expect(problems).toEqual([])
    expect(rows.length).toBeGreaterThanOrEqual(atLeast)
    expect(rows).toHaveLength(expected.length)
    expect(rows).toMatchObject(expected)
  })

  test('the gateway and router of an expanded sample are told', () => {
    expect(decode(readPcap(join(folder, 'sflow_expanded.pcap'))).rows).toMatchObject([
      { src_as: 203476, dst_as: 0x31a61, next_hop: '54.54.54.54', src_mask: 32, dst_mask: 22 },
    ])
  })

  test('counter samples give no row, and NetFlow on the sFlow port is told apart', () => {
    const { rows, problems } = decode(readPcap(join(folder, 'sflow_multiple_counter_30_pdus.pcap')))
    expect(rows).toEqual([])
    expect(problems.filter(problem => problem === 'sflow-bad-version')).toHaveLength(5)
    expect(new Set(problems)).toEqual(new Set(['sflow-bad-version']))
  })

  test('a datagram that is cut off is counted', () => {
    expect(decode(readPcap(join(folder, 'sflow_print-segv.pcap')))).toMatchObject({
      rows: [],
      problems: ['sflow-truncated'],
    })
  })
})
