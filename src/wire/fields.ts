/**
 * Information elements (IANA IPFIX registry; NetFlow 9 numbers are the same below 128, plus Cisco's
 * own above 32767) and the columns or notes that they become.
 */
import type { flowTable } from '../telemetry/flow.ts'

export type FlowColumn = (typeof flowTable)['columns'][number]['name']

/** Values of a record that end up in columns only together with others. */
export const notes = [
  'first',
  'last',
  'duration',
  'observed',
  'rate',
  'sampler',
  'interval',
  'space',
  'size',
  'population',
  'section',
  'frameSize',
] as const
export type Note = (typeof notes)[number]

/**
 * How a value is read.
 * number: 1–8 bytes, reduced-size encoding included (RFC 7011 §6.2). seconds, micros: to milliseconds.
 * ntp: RFC 7011 §6.1.9. uptime: milliseconds since the exporter started. age: microseconds before
 * the datagram. boot: when the exporter started, for uptimes. frame, packet: the start of a sampled
 * packet with or without its Ethernet header. The others are as their element says.
 */
export type Form =
  | 'number'
  | 'v4'
  | 'v6'
  | 'mpls'
  | 'application'
  | 'forwarding'
  | 'icmpType'
  | 'icmpCode'
  | 'seconds'
  | 'micros'
  | 'ntp'
  | 'uptime'
  | 'age'
  | 'boot'
  | 'frame'
  | 'packet'

export interface Element {
  readonly target: FlowColumn | Note
  readonly form: Form
  /** Where several elements of a template mean one column, the lowest rank is taken. */
  readonly rank: number
}

/** The enterprise number under which elements are of the reverse direction (RFC 5103 §6.1). */
export const reverseEnterprise = 29305

/** Field length that says: the record itself says how long (RFC 7011 §7). */
export const variableLength = 65535

// biome-ignore format: one line an element, to be read as a table
const rows: readonly (readonly [id: number, target: FlowColumn | Note, form: Form, rank: number])[] = [
  // Counters: one per direction is taken, never a sum (delta, total, after middleboxes, layer 2).
  [1, 'bytes', 'number', 0], [2, 'packets', 'number', 0],
  [85, 'bytes', 'number', 1], [86, 'packets', 'number', 1],
  [231, 'bytes', 'number', 2], [298, 'packets', 'number', 2],
  [23, 'bytes', 'number', 3], [24, 'packets', 'number', 3],
  [171, 'bytes', 'number', 4], [172, 'packets', 'number', 4],
  [352, 'bytes', 'number', 5], [353, 'bytes', 'number', 6],

  [4, 'protocol', 'number', 0],
  [5, 'tos', 'number', 0],
  [6, 'tcp_flags', 'number', 0],
  [7, 'src_port', 'number', 0], [180, 'src_port', 'number', 1], [182, 'src_port', 'number', 1],
  [11, 'dst_port', 'number', 0], [181, 'dst_port', 'number', 1], [183, 'dst_port', 'number', 1],
  [8, 'src_addr', 'v4', 0], [27, 'src_addr', 'v6', 1],
  [12, 'dst_addr', 'v4', 0], [28, 'dst_addr', 'v6', 1],
  [44, 'src_addr', 'v4', 2], [170, 'src_addr', 'v6', 3],
  [45, 'dst_addr', 'v4', 2], [169, 'dst_addr', 'v6', 3],
  [9, 'src_mask', 'number', 0], [29, 'src_mask', 'number', 1],
  [13, 'dst_mask', 'number', 0], [30, 'dst_mask', 'number', 1],
  [10, 'in_if', 'number', 0], [252, 'in_if', 'number', 1],
  [14, 'out_if', 'number', 0], [253, 'out_if', 'number', 1],
  [15, 'next_hop', 'v4', 0], [62, 'next_hop', 'v6', 1],
  [18, 'next_hop', 'v4', 2], [63, 'next_hop', 'v6', 3],
  [16, 'src_as', 'number', 0],
  [17, 'dst_as', 'number', 0],
  [32, 'icmp', 'number', 0], [139, 'icmp', 'number', 1],
  [176, 'icmp', 'icmpType', 2], [178, 'icmp', 'icmpType', 2],
  [177, 'icmp', 'icmpCode', 2], [179, 'icmp', 'icmpCode', 2],
  [56, 'src_mac', 'number', 0], [81, 'src_mac', 'number', 1],
  [80, 'dst_mac', 'number', 0], [57, 'dst_mac', 'number', 1],
  [58, 'src_vlan', 'number', 0], [243, 'src_vlan', 'number', 1], [245, 'src_vlan', 'number', 2],
  [59, 'dst_vlan', 'number', 0], [254, 'dst_vlan', 'number', 1], [255, 'dst_vlan', 'number', 2],
  [61, 'direction', 'number', 0],
  [70, 'mpls_label', 'mpls', 0],
  [89, 'forwarding', 'forwarding', 0],
  [95, 'application', 'application', 0],
  [136, 'end_reason', 'number', 0],
  [234, 'vrf', 'number', 0],

  [230, 'event', 'number', 0], [233, 'event', 'number', 1],
  [225, 'nat_src_addr', 'v4', 0], [281, 'nat_src_addr', 'v6', 1],
  [226, 'nat_dst_addr', 'v4', 0], [282, 'nat_dst_addr', 'v6', 1],
  [227, 'nat_src_port', 'number', 0], [228, 'nat_dst_port', 'number', 0],
  // Cisco ASA before 8.4.
  [40001, 'nat_src_addr', 'v4', 2], [40002, 'nat_dst_addr', 'v4', 2],
  [40003, 'nat_src_port', 'number', 2], [40004, 'nat_dst_port', 'number', 2],
  [40005, 'event', 'number', 2],

  [160, 'first', 'boot', 0],
  [152, 'first', 'number', 1], [153, 'last', 'number', 1],
  [156, 'first', 'ntp', 2], [157, 'last', 'ntp', 2],
  [154, 'first', 'ntp', 3], [155, 'last', 'ntp', 3],
  [22, 'first', 'uptime', 4], [21, 'last', 'uptime', 4],
  [158, 'first', 'age', 5], [159, 'last', 'age', 5],
  [150, 'first', 'seconds', 6], [151, 'last', 'seconds', 6],
  [161, 'duration', 'number', 0], [162, 'duration', 'micros', 1],
  [323, 'observed', 'number', 0], [324, 'observed', 'ntp', 1],
  [325, 'observed', 'ntp', 2], [322, 'observed', 'seconds', 3],

  [34, 'rate', 'number', 0], [50, 'rate', 'number', 1],
  [48, 'sampler', 'number', 1], [302, 'sampler', 'number', 0],
  [305, 'interval', 'number', 0], [306, 'space', 'number', 0],
  [309, 'size', 'number', 0], [310, 'population', 'number', 0],

  [315, 'section', 'frame', 0], [313, 'section', 'packet', 1],
  [312, 'frameSize', 'number', 0],
]

export const elements: ReadonlyMap<number, Element> = new Map(
  rows.map(([id, target, form, rank]) => [id, { target, form, rank }]),
)

/** Responder counters: they make a record two-way like those of the reverse enterprise. */
export const responderElements: ReadonlyMap<number, Element> = new Map([
  [232, { target: 'bytes', form: 'number', rank: 0 }],
  [299, { target: 'packets', form: 'number', rank: 0 }],
])

/** Columns where several elements may hold the value and all but one are zero. */
export const alternatives: ReadonlySet<string> = new Set<FlowColumn>([
  'src_addr',
  'dst_addr',
  'next_hop',
  'nat_src_addr',
  'nat_dst_addr',
  'in_if',
  'out_if',
  'src_mask',
  'dst_mask',
])

/** What source is to one direction of a flow, destination is to the other. */
export const opposite: ReadonlyMap<string, FlowColumn> = new Map(
  (
    [
      ['src_addr', 'dst_addr'],
      ['src_port', 'dst_port'],
      ['src_mask', 'dst_mask'],
      ['src_as', 'dst_as'],
      ['src_vlan', 'dst_vlan'],
      ['src_mac', 'dst_mac'],
      ['nat_src_addr', 'nat_dst_addr'],
      ['nat_src_port', 'nat_dst_port'],
      ['in_if', 'out_if'],
    ] as const
  ).flatMap(([a, b]) => [
    [a, b],
    [b, a],
  ]),
)

/** What a forward value says nothing about in the other direction. */
export const oneWay: ReadonlySet<string> = new Set<FlowColumn>([
  'bytes',
  'packets',
  'tcp_flags',
  'tos',
  'next_hop',
  'direction',
  'forwarding',
  'mpls_label',
])
