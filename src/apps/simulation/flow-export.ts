/**
 * Datagrams as exporters send them. Sources: Cisco "NetFlow export datagram format" (v5), RFC 3954
 * (v9), RFC 7011 (IPFIX), sFlow version 5 (sflow.org).
 */
import {
  ipfixNames,
  netflow9Names,
  type SimulatedCounters,
  type SimulatedInterface,
  sflowCounters,
} from './interface-export.ts'
import type { SimulatedFlow } from './traffic.ts'

/** Turns flows into datagrams and keeps the sequence numbers; `now` in milliseconds since 1970. */
export interface FlowExport {
  /** Most flows that one datagram takes. */
  readonly perDatagram: number
  /** @param flows at most `perDatagram` */
  encode(flows: readonly SimulatedFlow[], now: number): Buffer
  /** What it says of its interfaces; v5 can say nothing. */
  describe?(interfaces: readonly SimulatedInterface[], now: number): Buffer
}

const uptimeMs = 12 * 86_400_000

/** NetFlow v5: 24 bytes of header, 48 a record. */
export function createNetflow5(boot: number): FlowExport {
  let sequence = 0
  return {
    perDatagram: 30,
    encode(flows, now) {
      const out = Buffer.alloc(24 + 48 * flows.length)
      out.writeUInt16BE(5, 0)
      out.writeUInt16BE(flows.length, 2)
      putClock(out, 4, boot, now)
      out.writeUInt32BE((now % 1000) * 1_000_000, 12)
      out.writeUInt32BE(sequence, 16)
      sequence = (sequence + flows.length) >>> 0
      for (const [index, flow] of flows.entries()) {
        const at = 24 + 48 * index
        putAddress(out, flow.srcAddr, at)
        putAddress(out, flow.dstAddr, at + 4)
        putAddress(out, flow.nextHop, at + 8)
        out.writeUInt16BE(flow.inIf, at + 12)
        out.writeUInt16BE(flow.outIf, at + 14)
        out.writeUInt32BE(flow.packets, at + 16)
        out.writeUInt32BE(flow.bytes, at + 20)
        out.writeUInt32BE((flow.start - boot) >>> 0, at + 24)
        out.writeUInt32BE((flow.end - boot) >>> 0, at + 28)
        out.writeUInt16BE(flow.srcPort, at + 32)
        out.writeUInt16BE(flow.dstPort, at + 34)
        out[at + 37] = flow.tcpFlags
        out[at + 38] = flow.protocol
        out[at + 39] = flow.tos
        out.writeUInt16BE(flow.srcAs, at + 40)
        out.writeUInt16BE(flow.dstAs, at + 42)
        out[at + 44] = 24
        out[at + 45] = 24
      }
      return out
    },
  }
}

/** [information element, bytes]: the template that v9 and IPFIX share but for the times. */
const template = [
  [8, 4],
  [12, 4],
  [15, 4],
  [10, 4],
  [14, 4],
  [2, 8],
  [1, 8],
  [7, 2],
  [11, 2],
  [6, 1],
  [4, 1],
  [5, 1],
  [61, 1],
  [16, 4],
  [17, 4],
] as const
const switchedTimes = [
  [22, 4],
  [21, 4],
] as const
const absoluteTimes = [
  [152, 8],
  [153, 8],
] as const
const templateId = 256
/** A template is repeated after so many datagrams, for collectors that came later. */
const templateEvery = 20

/** NetFlow v9; times by sysUpTime. The sequence counts datagrams (RFC 3954 §5.1). */
export function createNetflow9(boot: number, sourceId: number): FlowExport {
  let sequence = 0
  const fields = [...template, ...switchedTimes]
  const recordBytes = sizeOf(fields)
  return {
    perDatagram: 25,
    encode(flows, now) {
      const withTemplate = sequence % templateEvery === 0
      const sets = [
        ...(withTemplate ? [templateSet(0, fields)] : []),
        dataSet(flows, recordBytes, (out, at, flow) => {
          out.writeUInt32BE((flow.start - boot) >>> 0, at)
          out.writeUInt32BE((flow.end - boot) >>> 0, at + 4)
        }),
      ]
      return message(flows.length + (withTemplate ? 1 : 0), sets, now)
    },
    describe: (interfaces, now) => message(1 + interfaces.length, netflow9Names(interfaces), now),
  }

  function message(count: number, sets: readonly Buffer[], now: number): Buffer {
    const header = Buffer.alloc(20)
    header.writeUInt16BE(9, 0)
    header.writeUInt16BE(count, 2)
    putClock(header, 4, boot, now)
    header.writeUInt32BE(sequence, 12)
    header.writeUInt32BE(sourceId, 16)
    sequence = (sequence + 1) >>> 0
    return Buffer.concat([header, ...sets])
  }
}

/** IPFIX; times in absolute milliseconds. The sequence counts data records (RFC 7011 §3.1). */
export function createIpfix(domain: number): FlowExport {
  let sequence = 0
  let sent = 0
  const fields = [...template, ...absoluteTimes]
  const recordBytes = sizeOf(fields)
  return {
    perDatagram: 20,
    encode(flows, now) {
      const sets = [
        ...(sent++ % templateEvery === 0 ? [templateSet(2, fields)] : []),
        dataSet(flows, recordBytes, (out, at, flow) => {
          out.writeBigUInt64BE(BigInt(flow.start), at)
          out.writeBigUInt64BE(BigInt(flow.end), at + 8)
        }),
      ]
      return message(flows.length, sets, now)
    },
    describe: (interfaces, now) => message(interfaces.length, ipfixNames(interfaces), now),
  }

  function message(records: number, sets: readonly Buffer[], now: number): Buffer {
    const header = Buffer.alloc(16)
    header.writeUInt16BE(10, 0)
    header.writeUInt16BE(16 + sets.reduce((sum, set) => sum + set.length, 0), 2)
    header.writeUInt32BE(Math.floor(now / 1000), 4)
    header.writeUInt32BE(sequence, 8)
    header.writeUInt32BE(domain, 12)
    sequence = (sequence + records) >>> 0
    return Buffer.concat([header, ...sets])
  }
}

/** sFlow v5 flow samples with the sampled Ethernet header; one packet of each flow. */
export function createSflow(boot: number, agent: string, rate: number): FlowExport {
  let sequence = 0
  let samples = 0
  let readings = 0
  const counters = new Map<number, SimulatedCounters>()
  return {
    perDatagram: 7,
    encode: (flows, now) => datagram(flows.map(sample), now),
    describe(interfaces, now) {
      readings++
      return datagram(
        interfaces.map(one => sflowCounters(one, readings, countersOf(one.index))),
        now,
      )
    },
  }

  function datagram(contents: readonly Buffer[], now: number): Buffer {
    const header = Buffer.alloc(28)
    header.writeUInt32BE(5, 0)
    header.writeUInt32BE(1, 4)
    putAddress(header, agent, 8)
    header.writeUInt32BE(0, 12)
    header.writeUInt32BE(++sequence, 16)
    header.writeUInt32BE((now - boot) >>> 0, 20)
    header.writeUInt32BE(contents.length, 24)
    return Buffer.concat([header, ...contents])
  }

  function countersOf(index: number): SimulatedCounters {
    const counted = counters.get(index) ?? {
      ...{ inOctets: 0, inPackets: 0, outOctets: 0, outPackets: 0 },
    }
    counters.set(index, counted)
    return counted
  }

  /** The sample stands for as many packets as the rate says. */
  function countIn({ inIf, outIf }: SimulatedFlow, frameBytes: number) {
    const [input, output] = [countersOf(inIf), countersOf(outIf)]
    input.inOctets += rate * frameBytes
    input.inPackets += rate
    output.outOctets += rate * frameBytes
    output.outPackets += rate
  }

  function sample(flow: SimulatedFlow): Buffer {
    const frame = ethernetFrame(flow)
    const frameBytes = Math.min(1518, Math.round(flow.bytes / flow.packets) + 18)
    countIn(flow, frameBytes)
    const padded = (frame.length + 3) & ~3
    const out = Buffer.alloc(8 + 32 + 8 + 16 + padded)
    out.writeUInt32BE(1, 0)
    out.writeUInt32BE(out.length - 8, 4)
    out.writeUInt32BE(++samples, 8)
    out.writeUInt32BE(flow.inIf, 12)
    out.writeUInt32BE(rate, 16)
    out.writeUInt32BE((samples * rate) >>> 0, 20)
    out.writeUInt32BE(0, 24)
    out.writeUInt32BE(flow.inIf, 28)
    out.writeUInt32BE(flow.outIf, 32)
    out.writeUInt32BE(1, 36)
    out.writeUInt32BE(1, 40)
    out.writeUInt32BE(16 + padded, 44)
    out.writeUInt32BE(1, 48)
    out.writeUInt32BE(frameBytes, 52)
    out.writeUInt32BE(4, 56)
    out.writeUInt32BE(frame.length, 60)
    frame.copy(out, 64)
    return out
  }
}

/** When the simulated exporters were switched on. */
export function bootBefore(now: number): number {
  return now - uptimeMs
}

function ethernetFrame(flow: SimulatedFlow): Buffer {
  const out = Buffer.alloc(14 + 20 + 20)
  out.writeUIntBE(0x02_00_00_00_00_02, 0, 6)
  out.writeUIntBE(0x02_00_00_00_00_01, 6, 6)
  out.writeUInt16BE(0x0800, 12)
  out[14] = 0x45
  out[15] = flow.tos
  out.writeUInt16BE(Math.min(1500, Math.round(flow.bytes / flow.packets)), 16)
  out[22] = 64
  out[23] = flow.protocol
  putAddress(out, flow.srcAddr, 26)
  putAddress(out, flow.dstAddr, 30)
  out.writeUInt16BE(flow.srcPort, 34)
  out.writeUInt16BE(flow.dstPort, 36)
  if (flow.protocol === 6) {
    out[46] = 0x50
    out[47] = flow.tcpFlags
  } else out.writeUInt16BE(8, 38)
  return out
}

function templateSet(setId: number, fields: readonly (readonly [number, number])[]): Buffer {
  const out = Buffer.alloc(8 + 4 * fields.length)
  out.writeUInt16BE(setId, 0)
  out.writeUInt16BE(out.length, 2)
  out.writeUInt16BE(templateId, 4)
  out.writeUInt16BE(fields.length, 6)
  for (const [index, [id, length]] of fields.entries()) {
    out.writeUInt16BE(id, 8 + 4 * index)
    out.writeUInt16BE(length, 10 + 4 * index)
  }
  return out
}

function dataSet(
  flows: readonly SimulatedFlow[],
  recordBytes: number,
  putTimes: (out: Buffer, at: number, flow: SimulatedFlow) => void,
): Buffer {
  const out = Buffer.alloc((4 + recordBytes * flows.length + 3) & ~3)
  out.writeUInt16BE(templateId, 0)
  out.writeUInt16BE(out.length, 2)
  for (const [index, flow] of flows.entries()) {
    const at = 4 + recordBytes * index
    putAddress(out, flow.srcAddr, at)
    putAddress(out, flow.dstAddr, at + 4)
    putAddress(out, flow.nextHop, at + 8)
    out.writeUInt32BE(flow.inIf, at + 12)
    out.writeUInt32BE(flow.outIf, at + 16)
    out.writeBigUInt64BE(BigInt(flow.packets), at + 20)
    out.writeBigUInt64BE(BigInt(flow.bytes), at + 28)
    out.writeUInt16BE(flow.srcPort, at + 36)
    out.writeUInt16BE(flow.dstPort, at + 38)
    out[at + 40] = flow.tcpFlags
    out[at + 41] = flow.protocol
    out[at + 42] = flow.tos
    out.writeUInt32BE(flow.srcAs, at + 44)
    out.writeUInt32BE(flow.dstAs, at + 48)
    putTimes(out, at + 52, flow)
  }
  return out
}

function sizeOf(fields: readonly (readonly [number, number])[]): number {
  return fields.reduce((sum, [, length]) => sum + length, 0)
}

/** sysUpTime and seconds since 1970. */
function putClock(out: Buffer, at: number, boot: number, now: number) {
  out.writeUInt32BE((now - boot) >>> 0, at)
  out.writeUInt32BE(Math.floor(now / 1000), at + 4)
}

function putAddress(out: Buffer, address: string, at: number) {
  let offset = at
  for (const part of address.split('.')) out[offset++] = Number(part)
}
