/** Records into rows of the batch: what NetFlow 5 to 9 and IPFIX have in common once the layout is known. */
import type { Batch } from '../telemetry/batch.ts'
import type { flowTable } from '../telemetry/flow.ts'
import { createColumnWriter } from './columns.ts'
import type { Domain } from './exporters.ts'
import { notes, variableLength } from './fields.ts'
import { isPlausible, uptimeSince, wallOfNtp, wallOfUptime } from './flow-time.ts'
import { copy32, read16, read32, readNumber } from './octets.ts'
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
const icmpProtocols = [1, 58]
const saidNothing = 255
const eventDeleted = 2

/** @param maxFields the most fields that a template may have */
export function createRecordWriter(
  batch: Batch<typeof flowTable>,
  maxFields: number,
): RecordWriter {
  const { cells } = batch
  const columns = createColumnWriter(batch)
  const time = cells.time.values
  const received = cells.received.words
  const start = cells.start.words
  const end = cells.end.words
  const exporter = new Uint32Array(cells.exporter.bytes.buffer)
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

  const noted = new Float64Array(notes.length)
  /** Steps of a record of variable length, with the offsets of this record. */
  const resolved = {
    columns: new Int32Array(stepSize * maxFields),
    steps: new Int32Array(stepSize * maxFields),
  }
  const offsets = new Int32Array(maxFields)
  const lengths = new Int32Array(maxFields)

  let origin: Origin
  let ex0 = 0
  let ex1 = 0
  let ex2 = 0
  let ex3 = 0
  /** The rate where no record and no interface can change it; 0 = they can. */
  let plainRate = 0
  const plain: AppliedSampling = { rate: 1, rule: 'none' }
  let sectionAt = 0
  let sectionEnd = 0
  let sectionLink: Link = 'ethernet'
  let implausible = false
  let negative = false

  /** Writes what is no cell by itself. */
  function finishRow(row: number, plan: Plan, steps: Int32Array, bytes: Uint8Array, base: number) {
    if ((plan.traits & trait.notes) !== 0) noted.fill(0)
    let { uptime } = origin
    const count = plan.steps.length
    for (let i = 0; i < count; i += stepSize) {
      const target = steps[i + 1]!
      const at = base + steps[i + 2]!
      switch (steps[i]) {
        case action.uptime: {
          // NaN where the boot is not known; 0 is "not said" in the notes.
          const wall = wallOfUptime(origin.exported, uptime, read32(bytes, at))
          noted[target] = Number.isNaN(uptime) ? 0 : wall
          break
        }
        case action.note:
          noted[target] = readNumber(bytes, at, steps[i + 3]!)
          break
        case action.seconds:
          noted[target] = readNumber(bytes, at, steps[i + 3]!) * 1000
          break
        case action.micros:
          noted[target] = readNumber(bytes, at, steps[i + 3]!) / 1000
          break
        case action.ntp:
          noted[target] = wallOfNtp(read32(bytes, at), read32(bytes, at + 4))
          break
        case action.age:
          noted[target] = origin.exported - readNumber(bytes, at, steps[i + 3]!) / 1000
          break
        case action.boot:
          uptime = uptimeSince(readNumber(bytes, at, steps[i + 3]!), origin.exported)
          break
        case action.frame:
        case action.packet:
          sectionAt = at
          sectionEnd = at + steps[i + 3]!
          sectionLink = steps[i] === action.frame ? 'ethernet' : ipVersionOf(bytes[at]!)
          break
      }
    }
    if ((plan.traits & trait.section) !== 0) writeSection(row, bytes)
    finish(row, plan.traits)
  }

  /** One sampled packet, as far as its section goes (RFC 5477 §8.4, IE 315 of RFC 7133). */
  function writeSection(row: number, bytes: Uint8Array) {
    const said = noted[note.frameSize]!
    const size = said > 0 ? said : sectionEnd - sectionAt
    writePacket(sectionLink, bytes, sectionAt, sectionEnd, size, cells, row)
    if (packetWords[2 * row] === 0) packetWords[2 * row] = 1
  }

  /** Columns that follow from several values, or from none. */
  function finish(row: number, traits: number) {
    exporter[4 * row] = ex0
    exporter[4 * row + 1] = ex1
    exporter[4 * row + 2] = ex2
    exporter[4 * row + 3] = ex3
    domains[row] = origin.domain.id
    versions[row] = origin.version
    if ((traits & trait.direction) === 0) directions[row] = saidNothing
    finishTimes(row, traits)

    const sampled = trait.rate | trait.sampler
    if (plainRate > 0 && (traits & sampled) === 0) {
      samplings[row] = plainRate
      apply(origin.domain.applied, plain.rate, plain.rule)
    } else samplings[row] = rateOf(row, traits)

    const protocol = protocols[row]!
    if (icmpProtocols.includes(protocol)) {
      if (icmp[row] === 0) icmp[row] = dstPorts[row]!
    } else if (protocol !== 0) icmp[row] = 0

    if ((traits & trait.counters) !== 0) traffic[row] = countsAsTraffic(row, traits) ? 1 : 0
  }

  /**
   * An event with nothing counted is none. Where a firewall reports totals (Cisco ASA: updates and
   * the teardown count the same bytes), the last report alone is traffic.
   */
  function countsAsTraffic(row: number, traits: number): boolean {
    if ((traits & trait.event) === 0 || events[row] === 0) return true
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

  function finishTimes(row: number, traits: number) {
    const arrival = origin.received
    let first = 0
    let last = 0
    if ((traits & (trait.first | trait.last | trait.observed)) !== 0) {
      first = Math.floor(noted[note.first]!)
      last = Math.floor(noted[note.last]!)
      const duration = noted[note.duration]!
      const observed = noted[note.observed]!
      if (last <= 0) last = first > 0 && duration > 0 ? first + duration : observed
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
    put(received, row, arrival)
    put(start, row, first)
    put(end, row, last)
  }

  function rateOf(row: number, traits: number): number {
    const { domain } = origin
    let stated = 0
    if ((traits & trait.rate) !== 0) {
      stated =
        clampRate(noted[note.rate]!) ||
        rateOfInterval(noted[note.interval]!, noted[note.space]!) ||
        rateOfPopulation(noted[note.size]!, noted[note.population]!)
    }
    const sampler = (traits & trait.sampler) !== 0 ? noted[note.sampler]! : -1
    const wide = domain.exporter.rates
    return decideRate(domain.rates, wide, domain.applied, stated, sampler, inInterfaces[row]!)
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
    for (let left = count, at = from; left > 0; ) {
      const some = batch.claimMany(left)
      const row = batch.rows
      columns.write(plan.columns, bytes, at, smallest, row, some)
      for (let i = 0; i < some; i++, at += smallest) {
        finishRow(row + i, plan, plan.steps, bytes, at)
      }
      batch.commitMany(some)
      left -= some
    }
    return count
  }

  /** One direction of one record. */
  function writeOne(plan: Plan, variable: boolean, bytes: Uint8Array, at: number): number {
    const row = batch.claim()
    const cellSteps = variable ? resolve(plan.columns, resolved.columns) : plan.columns
    columns.write(cellSteps, bytes, at, 0, row, 1)
    const steps = variable ? resolve(plan.steps, resolved.steps) : plan.steps
    finishRow(row, plan, steps, bytes, at)
    return row
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
      const { address } = next.domain.exporter
      ex0 = copy32(address, 0)
      ex1 = copy32(address, 4)
      ex2 = copy32(address, 8)
      ex3 = copy32(address, 12)
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

function put(cell: Uint32Array, row: number, value: number) {
  cell[2 * row] = value
  cell[2 * row + 1] = value / 0x1_0000_0000
}
