/** The flow captures of real devices, and what tshark says of them in the words of the columns. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Row } from '../../src/telemetry/native.ts'
import type { Flow, Reading } from './tshark.ts'

export const flowFolder = join(import.meta.dirname, '../../../shared/captures/flow')
export const capturesExist = existsSync(flowFolder)

export interface Capture {
  file: string
  device: string
  /** A device of its own for each, because devices use the same template ids. */
  address: string
  bytes: Uint8Array
}

/** Files whose payload holds more than one datagram back to back. */
const several = ['netflow5.dat', 'ipfix.dat']

/** Every datagram of the folder, a device's templates before its data. */
export function readCaptures(): Capture[] {
  const manifest = readFileSync(join(flowFolder, 'MANIFEST.tsv'), 'utf8').trim().split('\n')
  const captures: Capture[] = []
  const devices: string[] = []
  for (const line of manifest) {
    const [path = '', , , , what = ''] = line.split('\t')
    if (!path.startsWith('logstash-codec-netflow/') || !path.endsWith('.dat')) continue
    const [, file = ''] = path.split('/')
    const format = file.slice(0, 8)
    const device = `${format} ${/device=([^;]*)/.exec(what)?.[1]}`
    if (!devices.includes(device)) devices.push(device)
    const payload = new Uint8Array(readFileSync(join(flowFolder, path)))
    const address = `10.1.0.${devices.indexOf(device) + 1}`
    const datagrams = several.includes(file) ? split(payload) : [payload]
    for (const bytes of datagrams) captures.push({ file, device, address, bytes })
  }
  // Templates first; what comes before its template is held and would appear in another file.
  const isTemplate = ({ file }: Capture) => (/tpl/.test(file) ? 0 : 1)
  return captures.sort((a, b) => isTemplate(a) - isTemplate(b))
}

/** Messages that lie back to back: NetFlow 5 and IPFIX say how long they are. */
export function split(payload: Uint8Array): Uint8Array[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  const parts: Uint8Array[] = []
  for (let at = 0; at + 24 <= payload.length; ) {
    const length =
      view.getUint16(at) === 10 ? view.getUint16(at + 2) : 24 + 48 * view.getUint16(at + 2)
    parts.push(payload.slice(at, at + length))
    at += length
  }
  return parts
}

export function titleOf(captures: Capture[], index: number): string {
  const { file } = captures[index]!
  const missed = missedByTshark[file]
  const part = captures.slice(0, index).filter(other => other.file === file).length
  const name = several.includes(file) ? `${file}, datagram ${part + 1}` : file
  return missed ? `${name} (beyond tshark: ${missed.because})` : name
}

/** Columns and the names under which tshark has them, the first that is there. */
const names: Record<string, string[]> = {
  src_port: ['cflow.srcport'],
  dst_port: ['cflow.dstport'],
  protocol: ['cflow.protocol'],
  packets: ['cflow.packets', 'cflow.permanent_packets', 'cflow.post_packets'],
  bytes: ['cflow.octets', 'cflow.permanent_octets', 'cflow.initiator_octets', 'cflow.post_octets'],
  in_if: ['cflow.inputint', 'cflow.ingress_physical_interface'],
  out_if: ['cflow.outputint', 'cflow.egress_physical_interface'],
  tcp_flags: ['cflow.tcpflags'],
  tos: ['cflow.tos'],
  src_as: ['cflow.srcas'],
  dst_as: ['cflow.dstas'],
  src_mask: ['cflow.srcmask', 'cflow.srcmaskv6'],
  dst_mask: ['cflow.dstmask', 'cflow.dstmaskv6'],
  direction: ['cflow.direction'],
  end_reason: ['cflow.flow_end_reason'],
  nat_src_port: ['cflow.post_naptsource_transport_port'],
  nat_dst_port: ['cflow.post_naptdestination_transport_port'],
  vrf: ['cflow.ingress_vrfid'],
}

const addressNames: Record<string, string[]> = {
  src_addr: ['cflow.srcaddr', 'cflow.srcaddrv6', 'cflow.srcprefix'],
  dst_addr: ['cflow.dstaddr', 'cflow.dstaddrv6', 'cflow.dstprefix'],
  next_hop: ['cflow.nexthop', 'cflow.nexthopv6', 'cflow.bgpnexthop'],
  nat_src_addr: ['cflow.post_natsource_ipv4_address'],
  nat_dst_addr: ['cflow.post_natdestination_ipv4_address'],
}

/** What tshark says of a flow, in our columns; columns that it does not have are absent. */
export function expectedRow(flow: Flow, reading: Reading): Row {
  const row: Row = {}
  for (const [column, candidates] of Object.entries(names)) {
    const value = first(flow, candidates)
    if (value !== undefined) row[column] = Number(value)
  }
  for (const [column, candidates] of Object.entries(addressNames)) {
    const values = candidates.flatMap(name => flow[name] ?? [])
    const value = values.find(text => text !== '0.0.0.0' && text !== '::') ?? values[0]
    if (value !== undefined && !/^(0\.0\.0\.0|::)$/.test(value)) row[column] = value
  }
  Object.assign(row, expectedTimes(flow, reading))
  return row
}

function first(flow: Flow, candidates: string[]): string | undefined {
  for (const name of candidates) if (flow[name] !== undefined) return flow[name][0]
  return undefined
}

function expectedTimes(flow: Flow, { exported, uptime }: Reading): Row {
  const row: Row = {}
  const started = time(flow, 'cflow.abstimestart') ?? uptimeOf('cflow.timestart')
  const ended = time(flow, 'cflow.abstimeend') ?? uptimeOf('cflow.timeend')
  if (ended !== undefined) row.end = ended
  if (started !== undefined) row.start = Math.min(started, ended ?? started)
  return row

  function uptimeOf(name: string): number | undefined {
    const seconds = flow[name]?.[0]
    if (seconds === undefined || uptime === undefined || exported === undefined) return undefined
    // Modulo 2^32: netflow5.dat has a flow that began 1 ms before the boot, as 4294967.295 s.
    return exported + ((Math.round(Number(seconds) * 1000) - uptime) | 0)
  }
}

/** An absolute time; 1970 is how tshark shows a time that is not said (ipfix.dat, nprobe). */
function time(flow: Flow, name: string): number | undefined {
  const text = flow[name]?.[0]
  return text === undefined
    ? undefined
    : Date.parse(text.replace(/(\.\d{3})\d*/, '$1')) || undefined
}

/**
 * The row of the opposite direction, for the two ways in which the captures have one: counters
 * under the reverse enterprise number (tshark gives them the forward names), or of the responder.
 */
export function reverseRow(flow: Flow): Row | undefined {
  const bytes = flow['cflow.permanent_octets']?.[1] ?? first(flow, ['cflow.responder_octets'])
  if (bytes === undefined || bytes === '0') return undefined
  const packets = flow['cflow.permanent_packets']?.[1]
  return {
    src_addr: first(flow, addressNames.dst_addr!)!,
    dst_addr: first(flow, addressNames.src_addr!)!,
    src_port: Number(first(flow, names.dst_port!)),
    dst_port: Number(first(flow, names.src_port!)),
    bytes: Number(bytes),
    ...(packets === undefined ? {} : { packets: Number(packets) }),
  }
}

/** Where tshark is wrong: how many of our rows it does not have, and why. */
export const missedByTshark: Record<string, { rows: number; because: string }> = {
  'netflow9_test_invalid01.dat': { rows: 2, because: 'it stops at the header’s Count of 2' },
  'netflow9_test_h3c_data3281.dat': {
    rows: 15,
    because: 'it takes a field of variable length for an address, and gives up after one record',
  },
}
