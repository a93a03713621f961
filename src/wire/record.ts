/** Records into rows of the batch: what NetFlow 5 to 9 and IPFIX have in common once the layout is known. */
import type { Batch } from '../telemetry/batch.ts'
import type { flowTable } from '../telemetry/flow.ts'
import { createColumnWriter } from './columns.ts'
import type { Domain } from './exporters.ts'
import { notes, variableLength } from './fields.ts'
import { isPlausible, uptimeSince, wallOfNtp, wallOfUptime } from './flow-time.ts'
import { createViews, read16, read32, readNumber } from './octets.ts'
import { type Link, writePacket } from './packet.ts'
import { action, type Plan, stepSize, trait } from './plan.ts'
import {
  type AppliedSampling,
  apply,
  clampRate,
  decideRate,
  rateOfInterval,
  rateOfPopulation,
} from './sampling.ts'
import type { Template } from './templates.ts'

/** What the rows of one datagram have in common. */
export interface Origin {
  domain: Domain
  version: number
  /** When it was received, and when it was sent by the exporter's clock, in milliseconds. */
  received: number
  exported: number
  /** The exporter's uptime at `exported` modulo 2^32; NaN where it is not known. */
  uptime: number
  /** Where the datagram came from. */
  port: number
}

export interface RecordWriter {
  /** Sets what the rows that follow have in common. */
  begin(origin: Origin): void
  /**
   * Writes the rows of the records from `at` to `end`, which may end with padding.
   * @returns how many there were, and whether one did not fit
   */
  write(
    template: Template,
    bytes: Uint8Array,
    at: number,
    end: number,
  ): { count: number; truncated: boolean }
  /** What was wrong with records since the last call. */
  takeFaults(): { implausible: boolean; negative: boolean }
}

const note = Object.fromEntries(notes.map((name, index) => [name, index])) as Record<
  (typeof notes)[number],
  number
>
const icmpProtocol = 1
const icmp6Protocol = 58
const saidNothing = 255
const noteCount = notes.length
/** Records that are written at once: what is noted of them stays in the processor's cache. */
const mostAtOnce = 64
const eventDeleted = 2

/** @param maxFields the most fields that a template may have */
export function createRecordWriter(
  batch: Batch<typeof flowTable>,
  maxFields: number,
): RecordWriter {
  const { cells } = batch
  const columns = createColumnWriter(batch)
  const viewOf = createViews()
  const time = cells.time.values
  const received = cells.received.words
  const start = cells.start.words
  const end = cells.end.words
  const domains = cells.domain.values
  const versions = cells.version.values
  const traffic = cells.traffic.values
  const directions = cells.direction.values
  const samplings = cells.sampling.values
  const protocols = cells.protocol.values
  const icmp = cells.icmp.values
  const dstPorts = cells.dst_port.values
  const events = cells.event.values
  const inInterfaces = cells.in_if.values
  const byteWords = cells.bytes.words
  const packetWords = cells.packets.words

  /** Of the records that are written at once, one after the other. */
  const noted = new Float64Array(noteCount * mostAtOnce)
  /** Steps of a record of variable length, with the offsets of this record. */
  const resolved = {
    columns: new Int32Array(stepSize * maxFields),
    steps: new Int32Array(stepSize * maxFields),
  }
  const offsets = new Int32Array(maxFields)
  const lengths = new Int32Array(maxFields)

  let origin: Origin
  /** The rate where no record and no interface can change it; 0 = they can. */
  let plainRate = 0
  const plain: AppliedSampling = { rate: 1, rule: 'none' }
  let sectionAt = 0
  let sectionEnd = 0
  let sectionLink: Link = 'ethernet'
  let implausible = false
  let negative = false

  /** Notes what is no cell by itself. */
  function takeNotes(
    steps: Int32Array,
    bytes: Uint8Array,
    begin: number,
    stride: number,
    count: number,
  ) {
    const last = noteCount * count
    noted.fill(0, 0, last)
    let { uptime } = origin
    const { exported } = origin
    const view = viewOf(bytes)
    const base = bytes.byteOffset
    for (let step = 0; step < steps.length; step += stepSize) {
      const length = steps[step + 3]!
      let at = begin + steps[step + 2]!
      let to = steps[step + 1]!
      switch (steps[step]) {
        case action.uptime:
          // NaN where the boot is not known; 0 is "not said" in the notes.
          if (Number.isNaN(uptime)) break
          for (; to < last; to += noteCount, at += stride) {
            noted[to] = wallOfUptime(exported, uptime, view.getUint32(base + at))
          }
          break
        case action.note:
          if (length !== 8) {
            for (; to < last; to += noteCount, at += stride) {
              noted[to] = readNumber(bytes, at, length)
            }
            break
          }
          for (; to < last; to += noteCount, at += stride) {
            noted[to] = view.getUint32(base + at) * 0x1_0000_0000 + view.getUint32(base + at + 4)
          }
          break
        case action.seconds:
          for (; to < last; to += noteCount, at += stride) {
            noted[to] = readNumber(bytes, at, length) * 1000
          }
          break
        case action.micros:
          for (; to < last; to += noteCount, at += stride) {
            noted[to] = readNumber(bytes, at, length) / 1000
          }
          break
        case action.ntp:
          for (; to < last; to += noteCount, at += stride) {
            noted[to] = wallOfNtp(read32(bytes, at), read32(bytes, at + 4))
          }
          break
        case action.age:
          for (; to < last; to += noteCount, at += stride) {
            noted[to] = exported - readNumber(bytes, at, length) / 1000
          }
          break
        // Of the following there is one record at a time.
        case action.boot:
          uptime = uptimeSince(readNumber(bytes, at, length), exported)
          break
        case action.frame:
        case action.packet:
          sectionAt = at
          sectionEnd = at + length
          sectionLink = steps[step] === action.frame ? 'ethernet' : ipVersionOf(bytes[at]!)
          break
      }
    }
  }

  /** One sampled packet, as far as its section goes (RFC 5477 §8.4, IE 315 of RFC 7133). */
  function writeSection(row: number, bytes: Uint8Array) {
    const said = noted[note.frameSize]!
    const size = said > 0 ? said : sectionEnd - sectionAt
    writePacket(sectionLink, bytes, sectionAt, sectionEnd, size, cells, row)
    if (packetWords[2 * row] === 0) packetWords[2 * row] = 1
  }

  /** Columns that follow from several values, or from none. */
  function finish(row: number, count: number, traits: number) {
    const last = row + count
    cells.exporter.repeat(row, last, origin.domain.exporter.address)
    domains.fill(origin.domain.id, row, last)
    versions.fill(origin.version, row, last)
    if ((traits & trait.direction) === 0) directions.fill(saidNothing, row, last)
    finishTimes(row, count, traits)
    finishRates(row, count, traits)
    for (let i = row; i < last; i++) {
      const protocol = protocols[i]!
      if (protocol === icmpProtocol || protocol === icmp6Protocol) {
        if (icmp[i] === 0) icmp[i] = dstPorts[i]!
      } else if (protocol !== 0) icmp[i] = 0
    }
    if ((traits & trait.counters) === 0) return
    if ((traits & trait.event) === 0) traffic.fill(1, row, last)
    else for (let i = row; i < last; i++) traffic[i] = countsAsTraffic(i, traits) ? 1 : 0
  }

  /**
   * An event with nothing counted is none. Where a firewall reports totals (Cisco ASA: updates and
   * the teardown count the same bytes), the last report alone is traffic.
   */
  function countsAsTraffic(row: number, traits: number): boolean {
    if (events[row] === 0) return true
    if (!hasCounters(row)) return false
    return (traits & trait.eventTotals) === 0 || events[row] === eventDeleted
  }

  function hasCounters(row: number): boolean {
    return (
      (byteWords[2 * row]! |
        byteWords[2 * row + 1]! |
        packetWords[2 * row]! |
        packetWords[2 * row + 1]!) !==
      0
    )
  }

  function finishTimes(row: number, count: number, traits: number) {
    const arrival = origin.received
    const arrivalHigh = arrival / 0x1_0000_0000
    const said = (traits & (trait.first | trait.last | trait.observed)) !== 0
    for (let i = 0, at = 0; i < count; i++, row++, at += noteCount) {
      let first = 0
      let last = 0
      if (said) {
        first = Math.floor(noted[at + note.first]!)
        last = Math.floor(noted[at + note.last]!)
        const duration = noted[at + note.duration]!
        if (last <= 0) {
          last = first > 0 && duration > 0 ? first + duration : noted[at + note.observed]!
        }
        if (first <= 0) first = last > 0 ? last - duration : 0
      }
      if (!(last > 0)) last = Math.max(first, arrival)
      if (!(first > 0)) first = last
      if (first > last) {
        // The flow is accounted at its end, so the end is the time to keep.
        first = last
        negative = true
      }
      let accounted = last
      if (!isPlausible(last, arrival)) {
        accounted = arrival
        implausible = true
      }
      time[row] = accounted / 1000
      received[2 * row] = arrival
      received[2 * row + 1] = arrivalHigh
      start[2 * row] = first
      start[2 * row + 1] = first / 0x1_0000_0000
      end[2 * row] = last
      end[2 * row + 1] = last / 0x1_0000_0000
    }
  }

  function finishRates(row: number, count: number, traits: number) {
    const { domain } = origin
    if (plainRate > 0 && (traits & (trait.rate | trait.sampler)) === 0) {
      samplings.fill(plainRate, row, row + count)
      apply(domain.applied, plain.rate, plain.rule)
      return
    }
    const wide = domain.exporter.rates
    for (let i = 0, at = 0; i < count; i++, row++, at += noteCount) {
      const stated = (traits & trait.rate) === 0 ? 0 : statedRate(at)
      const sampler = (traits & trait.sampler) === 0 ? -1 : noted[at + note.sampler]!
      samplings[row] = decideRate(
        domain.rates,
        wide,
        domain.applied,
        stated,
        sampler,
        inInterfaces[row]!,
      )
    }
  }

  function statedRate(at: number): number {
    return (
      clampRate(noted[at + note.rate]!) ||
      rateOfInterval(noted[at + note.interval]!, noted[at + note.space]!) ||
      rateOfPopulation(noted[at + note.size]!, noted[at + note.population]!)
    )
  }

  /** Finds where the fields of a record of variable length are; −1 if it does not fit. */
  function locate(template: Template, bytes: Uint8Array, at: number, limit: number): number {
    const { fields } = template
    const from = at
    for (let field = 0; 3 * field < fields.length; field++) {
      let size = fields[3 * field + 1]!
      if (size === variableLength) {
        if (at >= limit) return -1
        size = bytes[at++]!
        if (size === 255) {
          if (at + 2 > limit) return -1
          size = read16(bytes, at)
          at += 2
        }
      }
      offsets[field] = at - from
      lengths[field] = size
      at += size
      if (at > limit) return -1
    }
    return at - from
  }

  /** The steps with the places and lengths of this record. */
  function resolve(steps: Int32Array, into: Int32Array): Int32Array {
    for (let i = 0; i < steps.length; i += stepSize) {
      const field = steps[i + 2]!
      into[i] = steps[i]!
      into[i + 1] = steps[i + 1]!
      into[i + 2] = offsets[field]!
      into[i + 3] = lengths[field]!
    }
    return into.subarray(0, steps.length)
  }

  /** Of records of one length, as many as there are. */
  function writeRun(template: Template, bytes: Uint8Array, from: number, end: number): number {
    const { plan, smallest } = template
    const count = Math.floor((end - from) / smallest)
    const most = (plan.traits & trait.alone) === 0 ? mostAtOnce : 1
    for (let left = count, at = from; left > 0; ) {
      const some = batch.claimMany(Math.min(left, most))
      writeRows(batch.rows, some, plan.traits, plan.columns, plan.steps, bytes, at, smallest)
      batch.commitMany(some)
      left -= some
      at += some * smallest
    }
    return count
  }

  /** One direction of one record. */
  function writeOne(plan: Plan, variable: boolean, bytes: Uint8Array, at: number): number {
    const row = batch.claim()
    const cellSteps = variable ? resolve(plan.columns, resolved.columns) : plan.columns
    const steps = variable ? resolve(plan.steps, resolved.steps) : plan.steps
    writeRows(row, 1, plan.traits, cellSteps, steps, bytes, at, 0)
    return row
  }

  function writeRows(
    row: number,
    count: number,
    traits: number,
    cellSteps: Int32Array,
    steps: Int32Array,
    bytes: Uint8Array,
    at: number,
    stride: number,
  ) {
    columns.write(cellSteps, bytes, at, stride, row, count)
    if (steps.length > 0) takeNotes(steps, bytes, at, stride, count)
    if ((traits & trait.section) !== 0) writeSection(row, bytes)
    finish(row, count, traits)
  }

  return {
    takeFaults() {
      const faults = { implausible, negative }
      implausible = false
      negative = false
      return faults
    },
    begin(next) {
      origin = next
      // Where no record and no interface can change the rate, it is decided once.
      const { domain } = next
      const { rates } = domain.exporter
      plainRate =
        domain.rates.interfaces.size + rates.interfaces.size > 0
          ? 0
          : decideRate(domain.rates, rates, plain, 0, -1, 0)
    },
    write(template, bytes, from, end) {
      const { plan, reverse, variable, smallest } = template
      if (!variable && reverse === undefined) {
        return { count: writeRun(template, bytes, from, end), truncated: false }
      }
      let count = 0
      // What is left and shorter than the smallest record is padding (RFC 7011 §3.3.1).
      for (let at = from; end - at >= smallest; count++) {
        const length = variable ? locate(template, bytes, at, end) : smallest
        if (length < 0) return { count, truncated: true }
        writeOne(plan, variable, bytes, at)
        batch.commit()
        if (reverse !== undefined && hasCounters(writeOne(reverse, variable, bytes, at))) {
          batch.commit()
        }
        at += length
      }
      return { count, truncated: false }
    },
  }
}

function ipVersionOf(byte: number): Link {
  return byte >> 4 === 6 ? 'ipv6' : 'ipv4'
}
