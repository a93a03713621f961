/** Who sends flows: what is remembered of each exporter and its observation domains, within bounds. */
import type { FlowProblem } from './problems.ts'
import { type AppliedSampling, createRates, type Rates } from './sampling.ts'
import { createSequenceTracker, type SequenceTracker } from './sequence.ts'
import type { Variant } from './templates.ts'

export interface Exporter {
  /** 16 bytes in network order. */
  readonly address: Uint8Array
  readonly domains: Map<number, Domain>
  /** Rates announced by any of its domains: some announce in another domain than they export in. */
  readonly rates: Rates
  readonly problems: Map<FlowProblem, number>
  /** What was handed on of its names, by thing. */
  readonly names: Map<number, number>
  /** Data sets that wait for their template, oldest first. */
  readonly held: HeldSet[]
  heldBytes: number
  /** Data sets that were held and then decoded. */
  replayed: number
  /** Templates of all its domains. */
  templates: number
  lastReceived: number
  /** False beyond the bound: nothing may be filed under it. */
  readonly remembered: boolean
}

export interface Domain {
  readonly exporter: Exporter
  readonly version: number
  readonly id: number
  readonly templates: Map<number, Variant[]>
  readonly rates: Rates
  readonly applied: AppliedSampling
  /** By source port, because exporters behind one address may count each for itself. */
  readonly sequences: Map<number, SequenceTracker>
  /** What trackers had lost that were dropped for others. */
  lostBefore: number
  /** When the exporter started (IE 160 in options), NaN if it did not say. */
  boot: number
  datagrams: number
  records: number
  lastReceived: number
  skewMs: number
  readonly remembered: boolean
}

/** A data set whose template has not come, and what is needed to decode it later. */
export interface HeldSet {
  domain: Domain
  port: number
  template: number
  received: number
  exported: number
  uptime: number
  bytes: Uint8Array
}

/** The state of one observation domain, as the console shows it. */
export interface ExporterHealth {
  exporter: Uint8Array
  version: number
  domain: number
  datagrams: number
  records: number
  /** Units of the format's sequence that never came: flows (v5, v7), datagrams (v9, sFlow), records (IPFIX). */
  lost: number
  lastReceived: number
  /** The exporter's clock less ours; NaN where the format has no wall clock (sFlow). */
  skewMs: number
  sampling: AppliedSampling
  unknownTemplateSetsHeld: number
  /** Of the exporter as a whole. */
  unknownTemplateSetsReplayed: number
  /** The same: templates that are known of it. */
  templates: number
  /** Of the exporter as a whole. */
  problems: ReadonlyMap<FlowProblem, number>
}

export interface ExporterRegistry {
  readonly size: number
  /** Finds or makes; beyond the bound one that is not remembered. */
  exporter(address: Uint8Array, received: number): Exporter
  /** The exporter if it is known; what is not a flow datagram makes nobody one. */
  find(address: Uint8Array): Exporter | undefined
  domain(exporter: Exporter, version: number, id: number, received: number): Domain
  /** The tracker of a source port. */
  sequence(domain: Domain, port: number): SequenceTracker
  all(): Iterable<Exporter>
  health(): Iterable<ExporterHealth>
}

/** Silent for so long, an exporter or a domain may be forgotten to make room for another. */
const idleMs = 3_600_000
/** How many are looked at to find one that is idle. */
const looks = 32
const maxPorts = 16
const recentSlots = 4096
const versionShift = 0x1_0000_0000

export interface RegistryBounds {
  exporters: number
  domainsPerExporter: number
  /** Domains of all exporters. */
  domainsInTotal: number
}

/** @param forget called when domains, or an exporter with all of its own, are dropped from memory */
export function createExporterRegistry(
  bounds: RegistryBounds,
  forget: (domains: Iterable<Domain>, exporter?: Exporter) => void,
): ExporterRegistry {
  const exporters = new Map<string, Exporter>()
  let domains = 0
  /** Those heard lately, by a hash of their address: to make a key of it for each datagram costs more than to decode it. */
  const recent: (Exporter | undefined)[] = new Array(recentSlots).fill(undefined)

  function create(address: Uint8Array, remembered: boolean): Exporter {
    return {
      address: address.slice(),
      domains: new Map(),
      rates: createRates(),
      problems: new Map(),
      names: new Map(),
      held: [],
      heldBytes: 0,
      replayed: 0,
      templates: 0,
      lastReceived: 0,
      remembered,
    }
  }

  return {
    get size() {
      return exporters.size
    },
    exporter(address, received) {
      const slot = slotOf(address)
      const heard = recent[slot]
      if (heard !== undefined && equal(heard.address, address)) {
        heard.lastReceived = received
        return heard
      }
      const key = keyOf(address)
      let exporter = exporters.get(key)
      if (exporter === undefined) {
        const room = makeRoom(exporters, bounds.exporters, received, idle => {
          if (recent[slotOf(idle.address)] === idle) recent[slotOf(idle.address)] = undefined
          domains -= idle.domains.size
          forget(idle.domains.values(), idle)
        })
        exporter = create(address, room)
        if (room) exporters.set(key, exporter)
      }
      exporter.lastReceived = received
      if (exporter.remembered) recent[slot] = exporter
      return exporter
    },
    find: address => exporters.get(keyOf(address)),
    domain(exporter, version, id, received) {
      const key = version * versionShift + id
      let domain = exporter.domains.get(key)
      if (domain === undefined) {
        const own = exporter.domains
        const room =
          exporter.remembered &&
          makeRoom(own, bounds.domainsPerExporter, received, idle => {
            domains--
            forget([idle])
          }) &&
          domains < bounds.domainsInTotal
        domain = createDomain(exporter, version, id, room)
        if (room) {
          own.set(key, domain)
          domains++
        }
      }
      domain.lastReceived = received
      return domain
    },
    sequence(domain, port) {
      let tracker = domain.sequences.get(port)
      if (tracker === undefined) {
        for (const [oldest, { lost }] of domain.sequences) {
          if (domain.sequences.size < maxPorts) break
          domain.sequences.delete(oldest)
          domain.lostBefore += lost
        }
        tracker = createSequenceTracker()
        domain.sequences.set(port, tracker)
      }
      return tracker
    },
    all: () => exporters.values(),
    *health() {
      for (const exporter of exporters.values()) {
        for (const domain of exporter.domains.values()) yield healthOf(domain)
      }
    },
  }
}

function createDomain(
  exporter: Exporter,
  version: number,
  id: number,
  remembered: boolean,
): Domain {
  return {
    exporter,
    version,
    id,
    templates: new Map(),
    rates: createRates(),
    applied: { rate: 1, rule: 'none' },
    sequences: new Map(),
    lostBefore: 0,
    boot: Number.NaN,
    datagrams: 0,
    records: 0,
    lastReceived: 0,
    skewMs: Number.NaN,
    remembered,
  }
}

function healthOf(domain: Domain): ExporterHealth {
  let lost = domain.lostBefore
  for (const sequence of domain.sequences.values()) lost += sequence.lost
  return {
    exporter: domain.exporter.address,
    version: domain.version,
    domain: domain.id,
    datagrams: domain.datagrams,
    records: domain.records,
    lost,
    lastReceived: domain.lastReceived,
    skewMs: domain.skewMs,
    sampling: { ...domain.applied },
    unknownTemplateSetsHeld: domain.exporter.held.filter(set => set.domain === domain).length,
    unknownTemplateSetsReplayed: domain.exporter.replayed,
    templates: domain.exporter.templates,
    problems: domain.exporter.problems,
  }
}

/** Whether there is room for one more, after dropping an idle one if need be. */
function makeRoom<K, V extends { lastReceived: number }>(
  map: Map<K, V>,
  bound: number,
  received: number,
  drop: (idle: V) => void,
): boolean {
  if (map.size < bound) return true
  let looked = 0
  for (const [key, value] of map) {
    map.delete(key)
    if (value.lastReceived < received - idleMs) {
      drop(value)
      return true
    }
    // To the end, so that the next search looks at others.
    map.set(key, value)
    if (++looked === looks) break
  }
  return false
}

function keyOf(address: Uint8Array): string {
  return String.fromCharCode(...address)
}

function slotOf(address: Uint8Array): number {
  let hash = 0
  for (let i = 0; i < 16; i++) hash = Math.imul(hash, 31) + address[i]!
  return (hash ^ (hash >>> 12)) & (recentSlots - 1)
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 15; i >= 0; i--) if (a[i] !== b[i]) return false
  return true
}
