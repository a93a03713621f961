/**
 * Flow datagrams of every format into rows of the batch. The format is told by each datagram
 * itself, not by the port that it came to.
 */
import type { Batch } from '../telemetry/batch.ts'
import type { counterTable } from '../telemetry/counter.ts'
import { type flowTable, flowVersion } from '../telemetry/flow.ts'
import type { nameTable } from '../telemetry/name.ts'
import { createAnnouncedNames, type NameBounds } from './announced-names.ts'
import {
  createExporterRegistry,
  type Domain,
  type Exporter,
  type ExporterHealth,
  type RegistryBounds,
} from './exporters.ts'
import { uptimeSince } from './flow-time.ts'
import * as ipfix from './ipfix.ts'
import * as netflowV5 from './netflow-v5.ts'
import * as netflowV9 from './netflow-v9.ts'
import { read16, read32 } from './octets.ts'
import type { FlowProblem } from './problems.ts'
import { createRecordWriter } from './record.ts'
import { apply } from './sampling.ts'
import { createSetDecoder, type SetBounds } from './sets.ts'
import { decodeSflow } from './sflow.ts'
import type { CounterSink } from './sflow-counters.ts'
import { exportTemplates, importTemplates, type TemplatesSnapshot } from './snapshot.ts'
import { createTemplateStore, type TemplateBounds } from './templates.ts'

export type { FlowProblem } from './problems.ts'

/** What a sender, or many, can make the decoder remember at most. */
export interface FlowDecoderBounds extends TemplateBounds, SetBounds, RegistryBounds, NameBounds {}

const defaultBounds: FlowDecoderBounds = {
  exporters: 10_000,
  domainsPerExporter: 512,
  domainsInTotal: 50_000,
  templatesPerExporter: 2_048,
  fieldsPerTemplate: 512,
  fieldsInTotal: 1_000_000,
  // Some exporters announce their templates once, so a day without use is what ends one.
  templateLifetimeMs: 24 * 3_600_000,
  samplersPerDomain: 4_096,
  samplersInTotal: 500_000,
  namesPerExporter: 16_384,
  namesInTotal: 1_000_000,
  heldSetsPerExporter: 64,
  heldBytesPerExporter: 128 * 1024,
  heldBytesInTotal: 16 * 1024 * 1024,
}

export interface FlowDecoder {
  /**
   * Decodes one datagram. Never throws for what it holds.
   * @param exporter the 16 bytes of the address that it came from (IPv4 mapped)
   * @param port the UDP port that it came from
   * @param received milliseconds since 1970
   * @param session it came over a connection: only then may templates be withdrawn
   */
  decode(
    bytes: Uint8Array,
    exporter: Uint8Array,
    port: number,
    received: number,
    session?: boolean,
  ): void
  readonly templates: {
    export(): TemplatesSnapshot
    /** Files a snapshot, whatever it holds; how many templates were new. */
    import(snapshot: unknown): number
    /** Rises with each change of what `export` gives, save times of use. */
    readonly version: number
    readonly count: number
    readonly fields: number
    /** Bytes of data sets that wait for their template. */
    readonly heldBytes: number
  }
  /** Health by exporter, format and domain. */
  exporters(): Iterable<ExporterHealth>
}

export function createFlowDecoder(
  deps: {
    batch: Batch<typeof flowTable>
    /** What interfaces have counted by themselves, by sFlow. */
    counters?: Batch<typeof counterTable>
    /** What exporters call their things. */
    names?: Batch<typeof nameTable>
    /** Told of everything that was not as it should be; the exporter's bytes are not to be kept. */
    onProblem: (problem: FlowProblem, exporter: Uint8Array) => void
  },
  config: Partial<FlowDecoderBounds> = {},
): FlowDecoder {
  const bounds = { ...defaultBounds, ...config }
  const templates = createTemplateStore(bounds)
  const registry = createExporterRegistry(bounds, (domains, exporter) => {
    for (const domain of domains) {
      sets.forget(domain)
      templates.forget(domain)
    }
    if (exporter === undefined) return
    sets.forgetRates(exporter.rates)
    names.forget(exporter)
  })
  const report = (domain: Domain, problem: FlowProblem) => reportOf(domain.exporter, problem)
  const names = createAnnouncedNames(deps.names, bounds)
  const writer = createRecordWriter(deps.batch, bounds.fieldsPerTemplate)
  const sets = createSetDecoder({ writer, templates, names, report }, bounds)
  const v5 = netflowV5.createNetflowV5Decoder(deps.batch, report)
  const visitor: netflowV9.SetVisitor = {
    template: sets.template,
    data: sets.data,
    problem: sets.problem,
    // RFC 7011 §8.4: over UDP a withdrawal is to be ignored, because anybody can send it.
    withdraw: (id, options) =>
      inSession ? sets.withdraw(id, options) : sets.problem('withdrawal-ignored'),
  }
  let inSession = false
  let committed = 0
  let sampling = 0
  const countedBatch: Batch<typeof flowTable> = Object.create(deps.batch, {
    commit: {
      value: () => {
        committed++
        sampling = deps.batch.cells.sampling.values[deps.batch.rows]!
        deps.batch.commit()
      },
    },
  })

  function reportOf(exporter: Exporter, problem: FlowProblem) {
    exporter.problems.set(problem, (exporter.problems.get(problem) ?? 0) + 1)
    deps.onProblem(problem, exporter.address)
  }

  /** Of a datagram that is no message at all. */
  function reportStray(address: Uint8Array, problem: FlowProblem) {
    const exporter = registry.find(address)
    if (exporter === undefined) deps.onProblem(problem, address)
    else reportOf(exporter, problem)
  }

  function meet(address: Uint8Array, version: number, id: number, received: number): Domain {
    const exporter = registry.exporter(address, received)
    const domain = registry.domain(exporter, version, id, received)
    domain.datagrams++
    if (!exporter.remembered) reportOf(exporter, 'too-many-exporters')
    else if (!domain.remembered) reportOf(exporter, 'too-many-domains')
    return domain
  }

  function decodeV5(bytes: Uint8Array, address: Uint8Array, port: number, received: number) {
    const version = read16(bytes, 0)
    const domain = meet(address, version, netflowV5.engineOf(bytes), received)
    domain.skewMs = netflowV5.exportedOf(bytes) - received
    const count = v5.decode(bytes, domain, received)
    domain.records += count
    registry.sequence(domain, port).see(netflowV5.sequenceOf(bytes), count)
  }

  function decodeV9(bytes: Uint8Array, address: Uint8Array, port: number, received: number) {
    const domain = meet(address, flowVersion.netflow9, read32(bytes, 16), received)
    const exported = netflowV9.exportedOf(bytes)
    domain.skewMs = exported - received
    const uptime = read32(bytes, 4)
    sets.open({ domain, version: flowVersion.netflow9, received, exported, uptime, port })
    netflowV9.walkNetflowV9(bytes, visitor)
    sets.close()
    registry.sequence(domain, port).see(read32(bytes, 12), 1)
  }

  function decodeIpfix(bytes: Uint8Array, address: Uint8Array, port: number, received: number) {
    const domain = meet(address, flowVersion.ipfix, read32(bytes, 12), received)
    const exported = ipfix.exportedOf(bytes)
    domain.skewMs = exported - received
    const uptime = Number.isNaN(domain.boot) ? domain.boot : uptimeSince(domain.boot, exported)
    sets.open({ domain, version: flowVersion.ipfix, received, exported, uptime, port })
    ipfix.walkIpfix(bytes, visitor)
    registry.sequence(domain, port).see(read32(bytes, 8), sets.close())
  }

  /** The exporter of sFlow is its agent, wherever the datagram came from. */
  function decodeSflow5(bytes: Uint8Array, address: Uint8Array, port: number, received: number) {
    const agent = agentOf(bytes)
    const subAgentAt = agent === undefined ? 0 : 8 + (read32(bytes, 4) === 1 ? 4 : 16)
    const subAgent = agent === undefined ? 0 : read32(bytes, subAgentAt)
    const domain = meet(agent ?? address, flowVersion.sflow5, subAgent, received)
    committed = 0
    const count = (problem: FlowProblem) => report(domain, problem)
    decodeSflow(bytes, received, countedBatch, count, countersOf(domain, received, count))
    domain.records += committed
    if (committed > 0) apply(domain.applied, sampling, 'record')
    if (agent !== undefined) {
      registry.sequence(domain, port).see(read32(bytes, subAgentAt + 4), 1)
    }
  }

  function countersOf(
    domain: Domain,
    received: number,
    count: (problem: FlowProblem) => void,
  ): CounterSink | undefined {
    const { exporter } = domain
    return (
      deps.counters && {
        ...{ exporter: exporter.address, received, counters: deps.counters, count },
        name(what, id, name) {
          if (!names.hear(exporter, what, id, name, '', received)) count('too-many-names')
        },
      }
    )
  }

  return {
    decode(bytes, address, port, received, session = false) {
      inSession = session
      if (bytes.length >= 4 && read32(bytes, 0) === 5) {
        decodeSflow5(bytes, address, port, received)
        return
      }
      const version = bytes.length >= 2 ? read16(bytes, 0) : 0
      const headerLength = headerLengths[version]
      if (headerLength === undefined) {
        reportStray(address, 'unknown-version')
      } else if (bytes.length < headerLength) {
        reportStray(address, 'truncated')
      } else if (version === flowVersion.netflow9) decodeV9(bytes, address, port, received)
      else if (version === flowVersion.ipfix) decodeIpfix(bytes, address, port, received)
      else decodeV5(bytes, address, port, received)
    },
    templates: {
      export: () => exportTemplates(registry),
      import: snapshot => importTemplates(snapshot, registry, templates, sets.announce),
      get version() {
        return templates.version + sets.version
      },
      get count() {
        return templates.templates
      },
      get fields() {
        return templates.fields
      },
      get heldBytes() {
        return sets.heldBytes
      },
    },
    exporters: () => registry.health(),
  }
}

/** By the version in the first two bytes. */
const headerLengths: Record<number, number> = {
  [flowVersion.netflow5]: netflowV5.headerLength,
  [flowVersion.netflow7]: netflowV5.headerLength,
  [flowVersion.netflow9]: netflowV9.headerLength,
  [flowVersion.ipfix]: ipfix.headerLength,
}

/** The agent address of an sFlow datagram as 16 bytes, undefined if it has none. */
function agentOf(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < 28) return undefined
  const type = read32(bytes, 4)
  const agent = new Uint8Array(16)
  if (type === 1) {
    agent.set([0xff, 0xff], 10)
    agent.set(bytes.subarray(8, 12), 12)
    return agent
  }
  if (type !== 2 || bytes.length < 40) return undefined
  agent.set(bytes.subarray(8, 24))
  return agent
}
