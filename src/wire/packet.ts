/**
 * The start of a packet, as sampled by sFlow (raw packet header) or exported by IPFIX (IE 313–315),
 * into the cells of a flow row: addresses, ports, flags, VLAN, MPLS, type of service, ICMP.
 * The bytes may end anywhere; what is there is written, what is cut off stays zero.
 * Sources: IEEE 802.1Q, 802.3; RFC 791, 8200, 3032, 9293, 792, 4443, 1661, 2516, 4385.
 */
import type { CellsByName } from '../telemetry/cells.ts'
import type { flowTable } from '../telemetry/flow.ts'

export type FlowCells = CellsByName<typeof flowTable>

/** What the first byte belongs to. */
export type Link = 'ethernet' | 'ipv4' | 'ipv6' | 'mpls' | 'ppp'

const etherType = {
  ipv4: 0x0800,
  ipv6: 0x86dd,
  mpls: 0x8847,
  mplsUpstream: 0x8848,
  pppoeSession: 0x8864,
} as const

/** Tags, lengths and labels are read in turn; more than this of them is not a packet but an attack. */
const maxTags = 16

/**
 * Writes what bytes[start, end) says about the packet into `row`.
 * The cell `bytes` gets the length of the IP packet by its own header; where that is cut off or
 * says 0 (segmentation offload), or the packet is not IP, what follows the link's header.
 *
 * @param length bytes of the whole packet from `start` on, of which only some are here
 * @returns whether an IP packet was found
 */
export function writePacket(
  link: Link,
  bytes: Uint8Array,
  start: number,
  end: number,
  length: number,
  cells: FlowCells,
  row: number,
): boolean {
  const packet: Packet = { bytes, start, end, length, cells, row }
  cells.bytes.set(row, length)
  switch (link) {
    case 'ethernet':
      return ethernet(packet, start)
    case 'ipv4':
      return ipv4(packet, start)
    case 'ipv6':
      return ipv6(packet, start)
    case 'mpls':
      return mpls(packet, start, true)
    case 'ppp':
      return ppp(packet, start)
  }
}

interface Packet {
  bytes: Uint8Array
  start: number
  end: number
  length: number
  cells: FlowCells
  row: number
}

function ethernet(packet: Packet, at: number): boolean {
  const { bytes, cells, row } = packet
  if (at + 14 > packet.end) return false
  const macs = 2 * row
  cells.dst_mac.words[macs] = u32(bytes, at + 2)
  cells.dst_mac.words[macs + 1] = u16(bytes, at)
  cells.src_mac.words[macs] = u32(bytes, at + 8)
  cells.src_mac.words[macs + 1] = u16(bytes, at + 6)
  return etherPayload(packet, at + 12, true)
}

/** @param outer false inside a pseudowire, whose tags and labels are not those of this network */
function etherPayload(packet: Packet, at: number, outer: boolean): boolean {
  const { bytes, end, cells, row } = packet
  for (let tags = 0; tags < maxTags; tags++) {
    if (at + 2 > end) return false
    const type = u16(bytes, at)
    at += 2
    switch (type) {
      case 0x8100: // 802.1Q
      case 0x88a8: // 802.1ad
      case 0x9100: // QinQ before it was a standard
      case 0x9200:
        if (at + 2 > end) return false
        if (outer && tags === 0) cells.src_vlan.values[row] = u16(bytes, at) & 0x0fff
        at += 2
        continue
      case etherType.ipv4:
        return ipv4(packet, at)
      case etherType.ipv6:
        return ipv6(packet, at)
      case etherType.mpls:
      case etherType.mplsUpstream:
        return outer && mpls(packet, at, true)
      case etherType.pppoeSession:
        return ppp(packet, at + 6)
      default:
        // 802.3 length, then LLC/SNAP with an Ethernet type inside.
        if (type <= 1500 && at + 6 <= end && u32(bytes, at) === 0xaaaa0300 && bytes[at + 4] === 0) {
          at += 6
          continue
        }
        layer3(packet, at)
        return false
    }
  }
  return false
}

/** @param outer whether an Ethernet frame in a pseudowire may follow: one level, no deeper */
function mpls(packet: Packet, at: number, outer: boolean): boolean {
  const { bytes, end, cells, row } = packet
  let bottom = false
  for (let labels = 0; labels < maxTags && !bottom; labels++) {
    if (at + 4 > end) return false
    if (labels === 0) cells.mpls_label.values[row] = u32(bytes, at) >>> 12
    bottom = (bytes[at + 2]! & 1) === 1
    at += 4
  }
  if (at >= end) return false
  switch (bytes[at]! >> 4) {
    case 4:
      return ipv4(packet, at)
    case 6:
      return ipv6(packet, at)
    case 0: // the control word of a pseudowire (RFC 4385 §3), then the frame
      return outer && etherPayload(packet, at + 4 + 12, false)
    default:
      return false
  }
}

function ppp(packet: Packet, at: number): boolean {
  const { bytes, end } = packet
  if (at + 2 <= end && u16(bytes, at) === 0xff03) at += 2
  if (at + 2 > end) return false
  // The protocol is compressed to one byte if that byte is odd (RFC 1661 §6.5).
  const compressed = (bytes[at]! & 1) === 1
  const protocol = compressed ? bytes[at]! : u16(bytes, at)
  at += compressed ? 1 : 2
  if (protocol === 0x21) return ipv4(packet, at)
  if (protocol === 0x57) return ipv6(packet, at)
  if (protocol === 0x0281 || protocol === 0x0283) return mpls(packet, at, false)
  return false
}

function ipv4(packet: Packet, at: number): boolean {
  const { bytes, end, cells, row } = packet
  layer3(packet, at)
  if (at + 20 > end || bytes[at]! >> 4 !== 4) return false
  const headerLength = (bytes[at]! & 0x0f) * 4
  if (headerLength < 20) return false
  const total = u16(bytes, at + 2)
  if (total !== 0) cells.bytes.set(row, total)
  cells.tos.values[row] = bytes[at + 1]!
  const protocol = bytes[at + 9]!
  cells.protocol.values[row] = protocol
  cells.src_addr.setV4(row, bytes, at + 12)
  cells.dst_addr.setV4(row, bytes, at + 16)
  const first = (u16(bytes, at + 6) & 0x1fff) === 0
  if (first) transport(packet, protocol, at + headerLength)
  return true
}

function ipv6(packet: Packet, at: number): boolean {
  const { bytes, end, cells, row } = packet
  layer3(packet, at)
  if (at + 40 > end || bytes[at]! >> 4 !== 6) return false
  const payload = u16(bytes, at + 4)
  if (payload !== 0) cells.bytes.set(row, 40 + payload)
  cells.tos.values[row] = (u16(bytes, at) >> 4) & 0xff
  cells.src_addr.setV6(row, bytes, at + 8)
  cells.dst_addr.setV6(row, bytes, at + 24)
  let protocol = bytes[at + 6]!
  let first = true
  at += 40
  while (isExtension(protocol) && at + 8 <= end) {
    if (protocol === 44 && (u16(bytes, at + 2) & 0xfff8) !== 0) first = false
    const length = extensionLength(protocol, bytes[at + 1]!)
    protocol = bytes[at]!
    at += length
  }
  cells.protocol.values[row] = protocol
  if (first) transport(packet, protocol, at)
  return true
}

/** Hop-by-hop, routing, fragment, authentication, destination, mobility, HIP, shim6 (RFC 7045 §4). */
function isExtension(protocol: number): boolean {
  switch (protocol) {
    case 0:
    case 43:
    case 44:
    case 51:
    case 60:
    case 135:
    case 139:
    case 140:
      return true
    default:
      return false
  }
}

function extensionLength(protocol: number, lengthField: number): number {
  if (protocol === 44) return 8
  if (protocol === 51) return (lengthField + 2) * 4
  return (lengthField + 1) * 8
}

function transport(packet: Packet, protocol: number, at: number) {
  const { bytes, end, cells, row } = packet
  switch (protocol) {
    case 6:
      if (at + 14 <= end) cells.tcp_flags.values[row] = u16(bytes, at + 12) & 0x0fff
      ports(packet, at)
      return
    case 17:
    case 33: // DCCP
    case 132: // SCTP
    case 136: // UDP-Lite
      ports(packet, at)
      return
    case 1:
    case 58:
      if (at + 2 <= end) cells.icmp.values[row] = u16(bytes, at)
      return
  }
}

function ports({ bytes, end, cells, row }: Packet, at: number) {
  if (at + 4 > end) return
  cells.src_port.values[row] = u16(bytes, at)
  cells.dst_port.values[row] = u16(bytes, at + 2)
}

/** The length by the link: what is left of the packet from `at` on. */
function layer3({ start, length, cells, row }: Packet, at: number) {
  cells.bytes.set(row, Math.max(0, length - (at - start)))
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) * 0x10000 + u16(bytes, at + 2)) >>> 0
}
