import { defineTable } from './table.ts'

/** Flow formats as they stand in the column `version`: the number the datagram carries, sFlow as 105. */
export const flowVersion = {
  netflow5: 5,
  netflow7: 7,
  netflow9: 9,
  ipfix: 10,
  sflow5: 105,
} as const

/** Flow records: one row a record, counters as the exporter sent them, never scaled. */
export const flowTable = defineTable({
  kind: 'flow',
  doc: 'Flow records of NetFlow, IPFIX and sFlow; counters are raw, `sampling` says by what to multiply.',
  // No finer: of what is merged many rows lie together then, and are copied together.
  orderBy: ['toStartOfFiveMinutes(time)', 'exporter', 'in_if'],
  granule: 32_768,
  partitionBy: 'toYYYYMMDD(time)',
  receipt: { column: 'received', near: { pastMs: 25 * 3_600_000, futureMs: 60_000 } },
  numbersInserts: true,
  keepDays: 15,
  // biome-ignore format: one line a column, to be read as a table
  columns: [
    { name: 'time', type: 'DateTime', before: 'end', codec: 'Delta, LZ4', doc: 'When the flow is accounted: its end by the exporter if that is plausible, else when it was received.' },
    { name: 'received', type: 'DateTime64(3)', codec: 'DoubleDelta, ZSTD(1)', doc: 'When the collector received the datagram.' },
    { name: 'start', type: 'DateTime64(3)', before: 'end', codec: 'Delta, ZSTD(1)', doc: 'First packet by the exporter; equals `received` where it does not say.' },
    { name: 'end', type: 'DateTime64(3)', before: 'received', codec: 'Delta, ZSTD(1)', doc: 'Last packet by the exporter; equals `received` where it does not say.' },
    { name: 'exporter', type: 'IPv6', steady: true, codec: 'LZ4', dimension: { name: 'exporter', label: 'Exporter' }, doc: 'The exporter: UDP source of NetFlow and IPFIX, agent address of sFlow.' },
    { name: 'domain', type: 'UInt32', codec: 'ZSTD(1)', doc: 'NetFlow v9 source id, IPFIX observation domain, sFlow sub-agent, v5 engine.' },
    { name: 'version', type: 'UInt8', codec: 'LZ4', dimension: { name: 'version', label: 'Format' }, doc: '5, 7, 9, 10 (IPFIX), 105 (sFlow v5).' },
    { name: 'traffic', type: 'UInt8', codec: 'LZ4', doc: '1: counts as traffic. 0: an event (NAT, firewall) that must not be added up.' },
    { name: 'direction', type: 'UInt8', codec: 'ZSTD(1)', doc: 'flowDirection (IE 61): 0 ingress, 1 egress, 255 not said.' },
    { name: 'sampling', type: 'UInt32', codec: 'T64, LZ4', doc: 'Packets of which one was looked at; multiply counters by it. At least 1.' },
    { name: 'in_if', type: 'UInt32', codec: 'T64, LZ4', dimension: { name: 'in.if', label: 'Input interface' }, doc: 'ifIndex of input, 0 = not said.' },
    { name: 'out_if', type: 'UInt32', codec: 'T64, LZ4', dimension: { name: 'out.if', label: 'Output interface' }, doc: 'ifIndex of output, 0 = not said or dropped.' },
    { name: 'src_addr', type: 'IPv6', codec: 'ZSTD(1)', dimension: { name: 'src.addr', label: 'Source address' }, doc: 'Source address.' },
    { name: 'dst_addr', type: 'IPv6', codec: 'ZSTD(1)', dimension: { name: 'dst.addr', label: 'Destination address' }, doc: 'Destination address.' },
    { name: 'src_port', type: 'UInt16', codec: 'LZ4', dimension: { name: 'src.port', label: 'Source port' }, doc: 'TCP, UDP or SCTP source port.' },
    { name: 'dst_port', type: 'UInt16', codec: 'LZ4', dimension: { name: 'dst.port', label: 'Destination port' }, doc: 'TCP, UDP or SCTP destination port.' },
    { name: 'protocol', type: 'UInt8', codec: 'LZ4', dimension: { name: 'protocol', label: 'Protocol' }, doc: 'IP protocol number.' },
    { name: 'tcp_flags', type: 'UInt16', codec: 'ZSTD(1)', doc: 'TCP flags, or-ed over the flow (IE 6).' },
    { name: 'tos', type: 'UInt8', codec: 'LZ4', dimension: { name: 'tos', label: 'Type of service' }, doc: 'IP type of service / traffic class byte.' },
    { name: 'icmp', type: 'UInt16', codec: 'ZSTD(1)', doc: 'ICMP type × 256 + code, 0 where the protocol is not ICMP.' },
    { name: 'bytes', type: 'UInt64', codec: 'T64, LZ4', doc: 'IP bytes as sent by the exporter, not scaled.' },
    { name: 'packets', type: 'UInt64', codec: 'T64, LZ4', doc: 'Packets as sent by the exporter, not scaled.' },
    { name: 'next_hop', type: 'IPv6', codec: 'ZSTD(1)', dimension: { name: 'next.hop', label: 'Next hop' }, doc: 'Next hop, :: where not said.' },
    { name: 'src_as', type: 'UInt32', codec: 'T64, LZ4', dimension: { name: 'src.as', label: 'Source AS' }, doc: 'Source autonomous system by the exporter.' },
    { name: 'dst_as', type: 'UInt32', codec: 'T64, LZ4', dimension: { name: 'dst.as', label: 'Destination AS' }, doc: 'Destination autonomous system by the exporter.' },
    { name: 'src_mask', type: 'UInt8', codec: 'ZSTD(1)', doc: 'Prefix length of the source route.' },
    { name: 'dst_mask', type: 'UInt8', codec: 'ZSTD(1)', doc: 'Prefix length of the destination route.' },
    { name: 'src_vlan', type: 'UInt16', codec: 'T64, LZ4', dimension: { name: 'src.vlan', label: 'Source VLAN' }, doc: 'VLAN on input, 0 = none.' },
    { name: 'dst_vlan', type: 'UInt16', codec: 'T64, LZ4', dimension: { name: 'dst.vlan', label: 'Destination VLAN' }, doc: 'VLAN on output, 0 = none.' },
    { name: 'src_mac', type: 'UInt64', codec: 'ZSTD(1)', doc: 'Source MAC address as a number, 0 = not said.' },
    { name: 'dst_mac', type: 'UInt64', codec: 'ZSTD(1)', doc: 'Destination MAC address as a number, 0 = not said.' },
    { name: 'mpls_label', type: 'UInt32', codec: 'ZSTD(1)', doc: 'Top MPLS label (20 bits), 0 = none.' },
    { name: 'vrf', type: 'UInt32', codec: 'T64, LZ4', dimension: { name: 'vrf', label: 'VRF' }, doc: 'Ingress VRF id (IE 234).' },
    { name: 'application', type: 'UInt32', codec: 'T64, LZ4', doc: 'applicationId (IE 95): engine × 2^24 + selector.' },
    { name: 'forwarding', type: 'UInt8', codec: 'ZSTD(1)', doc: 'forwardingStatus (IE 89).' },
    { name: 'end_reason', type: 'UInt8', codec: 'ZSTD(1)', doc: 'flowEndReason (IE 136).' },
    { name: 'event', type: 'UInt8', codec: 'ZSTD(1)', doc: 'natEvent (IE 230) or firewallEvent (IE 233), 0 = none.' },
    { name: 'nat_src_addr', type: 'IPv6', codec: 'ZSTD(1)', doc: 'Source address after translation, :: = none.' },
    { name: 'nat_dst_addr', type: 'IPv6', codec: 'ZSTD(1)', doc: 'Destination address after translation, :: = none.' },
    { name: 'nat_src_port', type: 'UInt16', codec: 'ZSTD(1)', doc: 'Source port after translation.' },
    { name: 'nat_dst_port', type: 'UInt16', codec: 'ZSTD(1)', doc: 'Destination port after translation.' },
  ],
  derived: [
    {
      name: 'service_port',
      type: 'UInt16',
      // Servers listen on the lower port nearly always, and both directions of a conversation agree.
      expression: 'least(src_port, dst_port)',
      dimension: { name: 'port', label: 'Service port' },
      doc: 'The lower of the two ports: the service, whichever direction the flow has.',
    },
  ],
})
