/** NetFlow 5 and 7 (Cisco NetFlow FlowCollector guide, tables B-3, B-4, B-7, B-8): fixed layouts, IPv4 only. */
import type { Batch } from '../telemetry/batch.ts'
import type { flowTable } from '../telemetry/flow.ts'
import type { Domain } from './exporters.ts'
import { isPlausible, wallOfUptime } from './flow-time.ts'
import { createViews, read16, read32 } from './octets.ts'
import type { FlowProblem } from './problems.ts'
import { apply } from './sampling.ts'

export const headerLength = 24
const mapped = 0xffff0000
const saidNothing = 255

/** Version 7 has three more words at the end of a record, and neither engine nor sampling. */
const recordLength = { 5: 48, 7: 52 } as const

/** The engine that sent it, in the column `domain`: its type × 256 + its id. */
export function engineOf(bytes: Uint8Array): number {
  return read16(bytes, 0) === 5 ? read16(bytes, 20) : 0
}

/** Wall time of the header in milliseconds. */
export function exportedOf(bytes: Uint8Array): number {
  return read32(bytes, 8) * 1000 + Math.floor(read32(bytes, 12) / 1e6)
}

/** Flows in the sequence before this datagram. */
export function sequenceOf(bytes: Uint8Array): number {
  return read32(bytes, 16)
}

export interface NetflowV5Decoder {
  /**
   * Writes a row a record.
   * @param bytes at least a header
   * @returns how many records there were
   */
  decode(bytes: Uint8Array, domain: Domain, received: number): number
}

export function createNetflowV5Decoder(
  batch: Batch<typeof flowTable>,
  report: (domain: Domain, problem: FlowProblem) => void,
): NetflowV5Decoder {
  const { cells } = batch
  const wordsOf = (cell: Uint8Array) =>
    new Uint32Array(cell.buffer, cell.byteOffset, cell.length / 4)
  const sources = wordsOf(cells.src_addr.bytes)
  const destinations = wordsOf(cells.dst_addr.bytes)
  const nextHops = wordsOf(cells.next_hop.bytes)
  const time = cells.time.values
  const receivedWords = cells.received.words
  const start = cells.start.words
  const end = cells.end.words
  const byteWords = cells.bytes.words
  const packetWords = cells.packets.words
  const domains = cells.domain.values
  const versions = cells.version.values
  const traffic = cells.traffic.values
  const directions = cells.direction.values
  const samplings = cells.sampling.values
  const inInterfaces = cells.in_if.values
  const outInterfaces = cells.out_if.values
  const srcPorts = cells.src_port.values
  const dstPorts = cells.dst_port.values
  const protocols = cells.protocol.values
  const tcpFlags = cells.tcp_flags.values
  const tos = cells.tos.values
  const icmp = cells.icmp.values
  const srcAs = cells.src_as.values
  const dstAs = cells.dst_as.values
  const srcMasks = cells.src_mask.values
  const dstMasks = cells.dst_mask.values
  const viewOf = createViews()

  /** What the rows of a datagram have in common. */
  const datagram = { version: 5, stride: 0, id: 0, uptime: 0, exported: 0, received: 0, rate: 1 }
  let implausible = false
  let negative = false

  /** Rows from the next one to before `until`; `at` is where the first record begins in the view. */
  function writeRecords(view: DataView<ArrayBufferLike>, at: number, until: number) {
    const { version, stride, id, uptime, exported, received, rate } = datagram
    const receivedHigh = received / 0x1_0000_0000
    for (let row = batch.rows; row < until; row++, at += stride) {
      const last = wallOfUptime(exported, uptime, view.getUint32(at + 28))
      let first = wallOfUptime(exported, uptime, view.getUint32(at + 24))
      if (first > last) {
        first = last
        negative = true
      }
      let accounted = last
      if (!isPlausible(last, received)) {
        accounted = received
        implausible = true
      }
      time[row] = accounted / 1000
      receivedWords[2 * row] = received
      receivedWords[2 * row + 1] = receivedHigh
      start[2 * row] = first
      start[2 * row + 1] = first / 0x1_0000_0000
      end[2 * row] = last
      end[2 * row + 1] = last / 0x1_0000_0000
      sources[4 * row + 2] = mapped
      sources[4 * row + 3] = view.getUint32(at, true)
      destinations[4 * row + 2] = mapped
      destinations[4 * row + 3] = view.getUint32(at + 4, true)
      nextHops[4 * row + 2] = mapped
      nextHops[4 * row + 3] = view.getUint32(at + 8, true)
      inInterfaces[row] = view.getUint16(at + 12)
      outInterfaces[row] = view.getUint16(at + 14)
      packetWords[2 * row] = view.getUint32(at + 16)
      byteWords[2 * row] = view.getUint32(at + 20)
      srcPorts[row] = view.getUint16(at + 32)
      const dstPort = view.getUint16(at + 34)
      dstPorts[row] = dstPort
      tcpFlags[row] = view.getUint8(at + 37)
      const protocol = view.getUint8(at + 38)
      protocols[row] = protocol
      if (protocol === 1) icmp[row] = dstPort
      tos[row] = view.getUint8(at + 39)
      srcAs[row] = view.getUint16(at + 40)
      dstAs[row] = view.getUint16(at + 42)
      srcMasks[row] = view.getUint8(at + 44)
      dstMasks[row] = view.getUint8(at + 45)
      domains[row] = id
      versions[row] = version
      traffic[row] = 1
      directions[row] = saidNothing
      samplings[row] = rate
    }
  }

  return {
    decode(bytes, domain, received) {
      const version = read16(bytes, 0) as 5 | 7
      const stride = recordLength[version]
      const said = read16(bytes, 2)
      const fitting = Math.floor((bytes.length - headerLength) / stride)
      const count = Math.min(said, fitting)
      if (said > fitting) report(domain, 'truncated')
      else if (bytes.length > headerLength + said * stride) report(domain, 'trailing-bytes')

      // The two bits above are the mode (random or not); many leave them zero and sample all the same.
      const interval = version === 5 ? read16(bytes, 22) & 0x3fff : 0
      datagram.version = version
      datagram.stride = stride
      datagram.id = domain.id
      datagram.uptime = read32(bytes, 4)
      datagram.exported = exportedOf(bytes)
      datagram.received = received
      datagram.rate =
        interval > 0 ? apply(domain.applied, interval, 'header') : apply(domain.applied, 1, 'none')
      implausible = false
      negative = false
      const view = viewOf(bytes)
      for (let done = 0; done < count; ) {
        const some = batch.claimMany(count - done)
        const until = batch.rows + some
        cells.exporter.repeat(batch.rows, until, domain.exporter.address)
        writeRecords(view, bytes.byteOffset + headerLength + done * stride, until)
        batch.commitMany(some)
        done += some
      }
      if (implausible) report(domain, 'implausible-time')
      if (negative) report(domain, 'negative-duration')
      return count
    },
  }
}
