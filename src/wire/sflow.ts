/**
 * sFlow version 5 datagrams: one row a flow sample.
 * Source: sFlow.org, "sFlow Version 5" (2004), and "sFlow Dropped Packet Notification Structures"
 * (2020). All numbers are XDR: 4 bytes, big-endian; opaque data is padded to 4.
 */
import type { Batch } from '../telemetry/batch.ts'
import { type flowTable, flowVersion } from '../telemetry/flow.ts'
import { type FlowCells, type Link, writePacket } from './packet.ts'
import type { FlowProblem } from './problems.ts'
import { type CounterSink, decodeCounterSample } from './sflow-counters.ts'

/** Sample types: enterprise 0, format. */
const sampleType = {
  flow: 1,
  counters: 2,
  expandedFlow: 3,
  expandedCounters: 4,
  discardedPacket: 5,
} as const

/** Flow record types that are read: enterprise 0, format. */
const recordType = {
  header: 1,
  ethernet: 2,
  ipv4: 3,
  ipv6: 4,
  switch: 1001,
  router: 1002,
  gateway: 1003,
  nat: 1007,
  natPort: 1020,
} as const

/** The header protocols of a raw packet header that are read. */
const links: Record<number, Link> = {
  1: 'ethernet',
  7: 'ppp',
  11: 'ipv4',
  12: 'ipv6',
  13: 'mpls',
  14: 'ppp',
}

/** The device itself as an interface. */
const internal = 0x3fff_ffff

/**
 * Decodes one datagram into `rows`. The exporter is the agent address, not where the datagram came
 * from. A sample's rate goes to `sampling`, `packets` is 1, `bytes` the length of the IP packet.
 * Counter samples go to `counters`, if anybody wants them. Types that are not known are skipped by their length.
 *
 * @param received milliseconds since 1970
 * @param count told of everything that was not as it should be; never ends the datagram by itself
 */
export function decodeSflow(
  bytes: Uint8Array,
  received: number,
  rows: Batch<typeof flowTable>,
  count: (problem: FlowProblem) => void,
  counters?: CounterSink,
) {
  if (bytes.length < 8) return count('sflow-truncated')
  if (u32(bytes, 0) !== 5) return count('sflow-bad-version')
  const addressType = u32(bytes, 4)
  if (addressType !== 1 && addressType !== 2) return count('sflow-bad-address')
  let at = 8 + (addressType === 1 ? 4 : 16)
  if (at + 16 > bytes.length) return count('sflow-truncated')
  const datagram: Datagram = {
    bytes,
    received,
    addressType,
    subAgent: u32(bytes, at),
    rows,
    count,
    counters,
  }
  const samples = u32(bytes, at + 12)
  at += 16
  const tooMany = samples > (bytes.length - at) / 8
  for (let index = 0; index < samples; index++) {
    if (at + 8 > bytes.length) return count(tooMany ? 'sflow-too-many-samples' : 'sflow-truncated')
    const type = u32(bytes, at)
    const length = u32(bytes, at + 4)
    at += 8
    const end = at + length
    if (end > bytes.length) count('sflow-truncated')
    decodeSample(datagram, type, at, Math.min(end, bytes.length))
    at += padded(length)
  }
  if (at < bytes.length) count('trailing-bytes')
}

interface Datagram {
  bytes: Uint8Array
  received: number
  addressType: number
  subAgent: number
  rows: Batch<typeof flowTable>
  count: (problem: FlowProblem) => void
  counters: CounterSink | undefined
}

function decodeSample(datagram: Datagram, type: number, at: number, end: number) {
  switch (type) {
    case sampleType.flow:
      return decodeFlowSample(datagram, at, end)
    case sampleType.expandedFlow:
      return decodeExpandedFlowSample(datagram, at, end)
    case sampleType.discardedPacket:
      return decodeDiscardedPacket(datagram, at, end)
    case sampleType.counters:
    case sampleType.expandedCounters: {
      const expanded = type === sampleType.expandedCounters
      if (datagram.counters === undefined) return
      return decodeCounterSample(datagram.bytes, at, end, expanded, datagram.counters)
    }
    default:
      return datagram.count('sflow-skipped-sample')
  }
}

function decodeFlowSample(datagram: Datagram, at: number, end: number) {
  const { bytes } = datagram
  if (at + 32 > end) return datagram.count('sflow-bad-length')
  const row = beginRow(datagram)
  const { cells } = datagram.rows
  cells.traffic.values[row] = 1
  cells.sampling.values[row] = Math.max(1, u32(bytes, at + 8))
  // Format in the top two bits, value in the low thirty.
  const input = u32(bytes, at + 20)
  const output = u32(bytes, at + 24)
  putInterfaces(cells, row, input >>> 30, input & internal, output >>> 30, output & internal)
  putDirection(cells, row, bytes[at + 4]!, u32(bytes, at + 4) & 0x00ff_ffff)
  decodeRecords(datagram, row, at + 28, end)
}

function decodeExpandedFlowSample(datagram: Datagram, at: number, end: number) {
  const { bytes } = datagram
  if (at + 44 > end) return datagram.count('sflow-bad-length')
  const row = beginRow(datagram)
  const { cells } = datagram.rows
  cells.traffic.values[row] = 1
  cells.sampling.values[row] = Math.max(1, u32(bytes, at + 12))
  putInterfaces(
    cells,
    row,
    u32(bytes, at + 24),
    u32(bytes, at + 28),
    u32(bytes, at + 32),
    u32(bytes, at + 36),
  )
  putDirection(cells, row, u32(bytes, at + 4), u32(bytes, at + 8))
  decodeRecords(datagram, row, at + 40, end)
}

/** A packet that the device dropped: an event, because its samples count the same packet. */
function decodeDiscardedPacket(datagram: Datagram, at: number, end: number) {
  const { bytes } = datagram
  if (at + 32 > end) return datagram.count('sflow-bad-length')
  const row = beginRow(datagram)
  const { cells } = datagram.rows
  cells.sampling.values[row] = 1
  putInterfaces(cells, row, 0, u32(bytes, at + 16), 0, u32(bytes, at + 20))
  cells.direction.values[row] = 255
  cells.forwarding.values[row] = forwardingStatus(u32(bytes, at + 24))
  decodeRecords(datagram, row, at + 28, end)
}

function beginRow({ bytes, received, addressType, subAgent, rows }: Datagram): number {
  const row = rows.claim()
  const { cells } = rows
  cells.time.values[row] = received / 1000
  cells.received.set(row, received)
  cells.start.set(row, received)
  cells.end.set(row, received)
  if (addressType === 1) cells.exporter.setV4(row, bytes, 8)
  else cells.exporter.setV6(row, bytes, 8)
  cells.domain.values[row] = subAgent
  cells.version.values[row] = flowVersion.sflow5
  cells.packets.words[2 * row] = 1
  return row
}

/** Formats of an interface: 0 an index, 1 discarded for a reason, 2 a number of interfaces. */
function putInterfaces(
  cells: FlowCells,
  row: number,
  inFormat: number,
  input: number,
  outFormat: number,
  output: number,
) {
  if (inFormat === 0 && input !== internal) cells.in_if.values[row] = input
  if (outFormat === 0 && output !== internal) cells.out_if.values[row] = output
  if (outFormat === 1) cells.forwarding.values[row] = forwardingStatus(output)
}

/** Which side the sampler sits on: its data source is an interface (type 0) of the packet's two. */
function putDirection(cells: FlowCells, row: number, sourceType: number, sourceIndex: number) {
  const isInput = sourceType === 0 && sourceIndex === cells.in_if.values[row]
  const isOutput = sourceType === 0 && sourceIndex === cells.out_if.values[row]
  cells.direction.values[row] = isInput === isOutput ? 255 : isInput ? 0 : 1
}

/** The reason of a discard as IPFIX forwardingStatus (RFC 7270 §4.12): 128 and up = dropped. */
function forwardingStatus(reason: number): number {
  switch (reason) {
    case 257: // TTL exceeded
      return 137
    case 258: // ACL
      return 129
    case 260: // RED
      return 139
    case 261: // traffic shaping
      return 138
    case 262: // packet too big
      return 133
    default:
      // Below 256 it is an ICMP destination-unreachable code (RFC 1812 §5.2.7.1).
      return reason < 256 ? 131 : 128
  }
}

/** What a sample's records have told so far; the packet header outweighs the parsed forms. */
interface Seen {
  header: boolean
  ip: boolean
  any: boolean
  nextHop: boolean
}

function decodeRecords(datagram: Datagram, row: number, at: number, end: number) {
  const { bytes, rows, count } = datagram
  const records = u32(bytes, at)
  at += 4
  const tooMany = records > (end - at) / 8
  const seen: Seen = { header: false, ip: false, any: false, nextHop: false }
  for (let index = 0; index < records; index++) {
    if (at + 8 > end) {
      count(tooMany ? 'sflow-too-many-records' : 'sflow-bad-length')
      break
    }
    const type = u32(bytes, at)
    const length = u32(bytes, at + 4)
    at += 8
    if (at + length > end) count('sflow-bad-length')
    decodeRecord(datagram, row, seen, type, at, Math.min(at + length, end))
    at += padded(length)
  }
  if (seen.any) rows.commit()
  else count('sflow-no-header')
}

function decodeRecord(
  datagram: Datagram,
  row: number,
  seen: Seen,
  type: number,
  at: number,
  end: number,
) {
  const { count } = datagram
  switch (type) {
    case recordType.header:
      return decodeHeader(datagram, row, seen, at, end)
    case recordType.ethernet:
      return decodeEthernet(datagram, row, seen, at, end)
    case recordType.ipv4:
      return decodeIp(datagram, row, seen, at, end, 4)
    case recordType.ipv6:
      return decodeIp(datagram, row, seen, at, end, 16)
    case recordType.switch:
      return decodeSwitch(datagram, row, at, end)
    case recordType.router:
      return decodeRouter(datagram, row, seen, at, end)
    case recordType.gateway:
      return decodeGateway(datagram, row, seen, at, end)
    case recordType.nat:
      return decodeNat(datagram, row, at, end)
    case recordType.natPort: {
      const { cells } = datagram.rows
      if (at + 8 > end) return count('sflow-bad-length')
      cells.nat_src_port.values[row] = u32(datagram.bytes, at)
      cells.nat_dst_port.values[row] = u32(datagram.bytes, at + 4)
      return
    }
    default:
      // Between 1004 and 1040 stand the standard's other extensions, which have no column.
      if (type < 1004 || type > 1040) count('sflow-skipped-record')
  }
}

function decodeHeader(datagram: Datagram, row: number, seen: Seen, at: number, end: number) {
  const { bytes, rows, count } = datagram
  if (at + 16 > end) return count('sflow-bad-header')
  if (seen.header) return
  const link = links[u32(bytes, at)]
  const frameLength = u32(bytes, at + 4)
  const stripped = u32(bytes, at + 8)
  const sampled = u32(bytes, at + 12)
  at += 16
  if (at + sampled > end) count('sflow-bad-header')
  const length = Math.max(0, frameLength - stripped)
  seen.any = true
  seen.header = true
  if (link === undefined) {
    if (!seen.ip) rows.cells.bytes.set(row, length)
    return count('sflow-skipped-record')
  }
  const vlan = rows.cells.src_vlan.values[row]!
  const parsedLength = rows.cells.bytes.words[2 * row]!
  const isIp = writePacket(link, bytes, at, Math.min(at + sampled, end), length, rows.cells, row)
  // What the switch said of VLANs, or the parsed form of the length, came first and knows better.
  if (vlan !== 0) rows.cells.src_vlan.values[row] = vlan
  if (!isIp && seen.ip) rows.cells.bytes.set(row, parsedLength)
  seen.ip ||= isIp
}

/** Length, source and destination MAC of 6 bytes padded to 8, type. */
function decodeEthernet(datagram: Datagram, row: number, seen: Seen, at: number, end: number) {
  const { bytes, count } = datagram
  if (at + 24 > end) return count('sflow-bad-length')
  seen.any = true
  if (seen.header) return
  const { cells } = datagram.rows
  if (!seen.ip) cells.bytes.set(row, u32(bytes, at))
  const words = 2 * row
  cells.src_mac.words[words] = u32(bytes, at + 6)
  cells.src_mac.words[words + 1] = u32(bytes, at + 4) >>> 16
  cells.dst_mac.words[words] = u32(bytes, at + 14)
  cells.dst_mac.words[words + 1] = u32(bytes, at + 12) >>> 16
}

/** Length, protocol, addresses, ports, TCP flags, type of service. */
function decodeIp(
  datagram: Datagram,
  row: number,
  seen: Seen,
  at: number,
  end: number,
  width: 4 | 16,
) {
  const { bytes, count } = datagram
  if (at + 24 + 2 * width > end) return count('sflow-bad-length')
  seen.any = true
  if (seen.ip) return
  seen.ip = true
  const { cells } = datagram.rows
  const after = at + 8 + 2 * width
  cells.bytes.set(row, u32(bytes, at))
  cells.protocol.values[row] = u32(bytes, at + 4)
  if (width === 4) {
    cells.src_addr.setV4(row, bytes, at + 8)
    cells.dst_addr.setV4(row, bytes, at + 12)
  } else {
    cells.src_addr.setV6(row, bytes, at + 8)
    cells.dst_addr.setV6(row, bytes, at + 24)
  }
  cells.src_port.values[row] = u32(bytes, after)
  cells.dst_port.values[row] = u32(bytes, after + 4)
  cells.tcp_flags.values[row] = u32(bytes, after + 8)
  cells.tos.values[row] = u32(bytes, after + 12)
}

function decodeSwitch({ bytes, rows, count }: Datagram, row: number, at: number, end: number) {
  if (at + 16 > end) return count('sflow-bad-length')
  const source = u32(bytes, at)
  const destination = u32(bytes, at + 8)
  if (source !== 0 && source < 4096) rows.cells.src_vlan.values[row] = source
  if (destination < 4096) rows.cells.dst_vlan.values[row] = destination
}

function decodeRouter(datagram: Datagram, row: number, seen: Seen, at: number, end: number) {
  const { bytes, count } = datagram
  const { cells } = datagram.rows
  const after = putAddress(bytes, at, end, cells.next_hop, row)
  if (after < 0 || after + 8 > end) return count('sflow-bad-length')
  seen.nextHop = true
  cells.src_mask.values[row] = u32(bytes, after)
  cells.dst_mask.values[row] = u32(bytes, after + 4)
}

/** BGP next hop, own AS, source AS, source peer AS, then the path to the destination in segments. */
function decodeGateway(datagram: Datagram, row: number, seen: Seen, at: number, end: number) {
  const { bytes, count } = datagram
  const { cells } = datagram.rows
  const after = putAddress(bytes, at, end, seen.nextHop ? undefined : cells.next_hop, row)
  if (after < 0 || after + 16 > end) return count('sflow-bad-length')
  cells.src_as.values[row] = u32(bytes, after + 4)
  let segments = u32(bytes, after + 12)
  at = after + 16
  for (; segments > 0; segments--) {
    if (at + 8 > end) return count('sflow-bad-length')
    const length = u32(bytes, at + 4)
    at += 8
    if (at + 4 * length > end) return count('sflow-bad-length')
    at += 4 * length
    if (length > 0) cells.dst_as.values[row] = u32(bytes, at - 4)
  }
}

function decodeNat({ bytes, rows, count }: Datagram, row: number, at: number, end: number) {
  const after = putAddress(bytes, at, end, rows.cells.nat_src_addr, row)
  if (after < 0 || putAddress(bytes, after, end, rows.cells.nat_dst_addr, row) < 0) {
    count('sflow-bad-length')
  }
}

/** An address with its type; writes it and gives the offset behind it, −1 if it does not fit. */
function putAddress(
  bytes: Uint8Array,
  at: number,
  end: number,
  cells: FlowCells['next_hop'] | undefined,
  row: number,
): number {
  if (at + 4 > end) return -1
  switch (u32(bytes, at)) {
    case 0:
      return at + 4
    case 1:
      if (at + 8 > end) return -1
      // The row may hold an IPv6 address of an earlier record.
      cells?.bytes.fill(0, 16 * row, 16 * row + 10)
      cells?.setV4(row, bytes, at + 4)
      return at + 8
    case 2:
      if (at + 20 > end) return -1
      cells?.setV6(row, bytes, at + 4)
      return at + 20
    default:
      return -1
  }
}

function padded(length: number): number {
  return 4 * Math.ceil(length / 4)
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  )
}
