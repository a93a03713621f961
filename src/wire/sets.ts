/** The sets that a NetFlow 9 or IPFIX message is made of: data, held data, options. */
import type { AnnouncedNames } from './announced-names.ts'
import type { Domain, HeldSet } from './exporters.ts'
import { type Named, readOptions, tellsAnything } from './options.ts'
import type { FlowProblem } from './problems.ts'
import type { Origin, RecordWriter } from './record.ts'
import { type Announcement, announce, type Rates } from './sampling.ts'
import type { Definition, Template, TemplateStore } from './templates.ts'

export interface SetBounds {
  /** Samplers and interfaces with a rate of their own. */
  samplersPerDomain: number
  samplersInTotal: number
  heldSetsPerExporter: number
  heldBytesPerExporter: number
  heldBytesInTotal: number
}

export interface SetDecoder {
  /** Bytes of data sets that wait for their template. */
  readonly heldBytes: number
  /** Rises when a sampling rate changes. */
  readonly version: number
  /** The sets of one message follow. */
  open(origin: Origin): void
  template(definition: Definition): void
  /** Decodes the data set from `at` to `end`. */
  data(bytes: Uint8Array, at: number, end: number, template: number): void
  /** A template of the message's sender is taken back; all of a kind, if `id` is that of their set. */
  withdraw(id: number, options: boolean): void
  /** Something was wrong with the message. */
  problem(problem: FlowProblem): void
  /** Replays what the message's templates explain; how many data records it had, undefined if some could not be read. */
  close(): number | undefined
  /** Files a sampling rate that a domain announced. */
  announce(domain: Domain, heard: Announcement): void
  /** Drops what is held of a domain that is forgotten, and takes its rates out of the count. */
  forget(domain: Domain): void
  /** The same of the rates of an exporter as a whole. */
  forgetRates(rates: Rates): void
}

export function createSetDecoder(
  deps: {
    writer: RecordWriter
    templates: TemplateStore
    names: AnnouncedNames
    report: (domain: Domain, problem: FlowProblem) => void
  },
  bounds: SetBounds,
): SetDecoder {
  const { writer, templates, names, report } = deps
  /** All that is held, oldest first, so that the total bound drops the oldest. */
  const held = new Set<HeldSet>()
  let heldBytes = 0
  /** Rates of samplers and interfaces on file. */
  let samplers = 0
  let version = 0
  let origin: Origin
  let records: number | undefined
  let learned = false

  function hold(bytes: Uint8Array, at: number, end: number, template: number) {
    const { domain, port, received, exported, uptime } = origin
    const { exporter } = domain
    report(domain, 'unknown-template')
    const size = end - at
    if (!domain.remembered || size > bounds.heldBytesPerExporter) {
      report(domain, 'held-dropped')
      return
    }
    while (
      exporter.held.length >= bounds.heldSetsPerExporter ||
      exporter.heldBytes + size > bounds.heldBytesPerExporter
    ) {
      release(exporter.held[0]!)
      report(domain, 'held-dropped')
    }
    for (const oldest of held) {
      if (heldBytes + size <= bounds.heldBytesInTotal) break
      release(oldest)
      report(oldest.domain, 'held-dropped')
    }
    const part = bytes.slice(at, end)
    const set = { domain, port, template, received, exported, uptime, bytes: part }
    exporter.held.push(set)
    exporter.heldBytes += size
    held.add(set)
    heldBytes += size
  }

  function release(set: HeldSet) {
    const { exporter } = set.domain
    exporter.held.splice(exporter.held.indexOf(set), 1)
    exporter.heldBytes -= set.bytes.length
    held.delete(set)
    heldBytes -= set.bytes.length
  }

  function replay() {
    const { domain } = origin
    const current = origin
    for (const set of [...domain.exporter.held]) {
      if (set.domain !== domain) continue
      const template = templates.find(domain, set.port, current.received, set.template)
      if (template === undefined) continue
      release(set)
      domain.exporter.replayed++
      const { port, received, exported, uptime } = set
      begin({ domain, version: current.version, port, received, exported, uptime })
      walk(template, set.bytes, 0, set.bytes.length)
    }
  }

  function begin(next: Origin) {
    origin = next
    writer.begin(next)
  }

  function walk(template: Template, bytes: Uint8Array, at: number, end: number): number {
    const { domain } = origin
    const read = template.options ? readOptionsSet : readDataSet
    const count = read(template, bytes, at, end)
    domain.records += template.options ? 0 : count
    return count
  }

  function readDataSet(template: Template, bytes: Uint8Array, at: number, end: number): number {
    const { count, truncated } = writer.write(template, bytes, at, end)
    if (truncated) report(origin.domain, 'record-truncated')
    return count
  }

  function readOptionsSet(template: Template, bytes: Uint8Array, at: number, end: number): number {
    if (!template.variable && !tellsAnything(template))
      return Math.floor((end - at) / template.smallest)
    let count = 0
    while (end - at >= template.smallest) {
      const record = readOptions(template, bytes, at, end)
      if (record.length < 0) {
        report(origin.domain, 'record-truncated')
        break
      }
      at += record.length
      count++
      const { domain } = origin
      if (record.boot !== undefined) domain.boot = record.boot
      if (record.sampling !== undefined && domain.remembered) hear(domain, record.sampling)
      if (record.named !== undefined) hearName(domain, record.named)
    }
    // Rates may have changed for the records that follow in this message.
    writer.begin(origin)
    return count
  }

  function hearName(domain: Domain, { what, id, name, description }: Named) {
    const { received } = origin
    if (!names.hear(domain.exporter, what, id, name, description, received)) {
      report(domain, 'too-many-names')
    }
  }

  function hear(domain: Domain, heard: Announcement) {
    const answer = file(domain.rates, heard)
    if (answer === 'full') report(domain, 'too-many-samplers')
    if (answer !== 'new') return
    file(domain.exporter.rates, heard)
    version++
  }

  function file(rates: Rates, heard: Announcement): ReturnType<typeof announce> {
    const before = sizeOf(rates)
    const answer = announce(
      rates,
      heard,
      samplers < bounds.samplersInTotal ? bounds.samplersPerDomain : 0,
    )
    samplers += sizeOf(rates) - before
    return answer
  }

  function forgetRates(rates: Rates) {
    samplers -= sizeOf(rates)
  }

  return {
    get heldBytes() {
      return heldBytes
    },
    get version() {
      return version
    },
    open(next) {
      begin(next)
      records = 0
      learned = false
    },
    template(definition) {
      const answer = templates.add(origin.domain, origin.port, origin.received, definition)
      if (answer === 'new') learned = true
      else if (answer !== 'same') report(origin.domain, answer)
    },
    withdraw(id, options) {
      templates.withdraw(origin.domain, origin.port, id, options)
    },
    problem(problem) {
      report(origin.domain, problem)
    },
    data(bytes, at, end, id) {
      const template = templates.find(origin.domain, origin.port, origin.received, id)
      if (template === undefined) {
        hold(bytes, at, end, id)
        records = undefined
        return
      }
      const count = walk(template, bytes, at, end)
      if (records !== undefined) records += count
    },
    close() {
      const { domain } = origin
      if (learned && domain.exporter.held.length > 0) replay()
      const { implausible, negative } = writer.takeFaults()
      if (implausible) report(domain, 'implausible-time')
      if (negative) report(domain, 'negative-duration')
      return records
    },
    announce: hear,
    forgetRates,
    forget(domain) {
      forgetRates(domain.rates)
      for (const set of [...domain.exporter.held]) {
        if (set.domain !== domain) continue
        report(domain, 'held-dropped')
        release(set)
      }
    },
  }
}

function sizeOf({ samplers, interfaces }: Rates): number {
  return samplers.size + interfaces.size
}
