/** sFlow captures, and what tshark says of them in the words of the columns. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Row } from '../../src/telemetry/native.ts'

export interface Datagram {
  payload: Uint8Array
  seconds: number
}

/** The UDP payloads of a classic little-endian pcap file of Ethernet. */
export function readPcap(path: string): Datagram[] {
  const file = readFileSync(path)
  if (file.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error(`${path} is no such file`)
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

/** What tshark says of each interface's counters, in the words of the columns. */
export function countersByTshark(path: string): Row[] {
  const fields = [
    ...['ifindex', 'ifspeed', 'ifinoct', 'ifinpkt', 'ifinmcast', 'ifinbcast', 'ifindisc'],
    ...['ifinerr', 'ifoutoct', 'ifoutpkt', 'ifoutmcast', 'ifoutbcast', 'ifoutdisc', 'ifouterr'],
  ].map(name => `sflow_245.${name}`)
  const columns = [
    ...['if_index', 'speed', 'in_octets', 'in_unicast', 'in_multicast', 'in_broadcast'],
    ...['in_discards', 'in_errors', 'out_octets', 'out_unicast', 'out_multicast'],
    ...['out_broadcast', 'out_discards', 'out_errors'],
  ]
  const text = execFileSync(
    'tshark',
    [
      ...['-r', path, '-d', 'udp.port==6343,sflow', '-Y', 'sflow_245.ifindex', '-T', 'fields'],
      ...fields.flatMap(field => ['-e', field]),
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  ).toString()
  return text
    .trimEnd()
    .split('\n')
    .flatMap(line => {
      const values = line.split('\t').map(list => list.split(','))
      return values[0]!.map((_, index) =>
        Object.fromEntries(columns.map((name, column) => [name, values[column]![index]!])),
      )
    })
}

type Layers = { [name: string]: Layers | string | undefined }

/** What tshark says of each flow sample, in the words of our columns. */
export function readByTshark(path: string): Row[] {
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
