/**
 * From datagrams to blocks: decoders, the batches that they fill, and the sealing of a batch each
 * second or when it is full. What is in a datagram ends here, whatever it is.
 */
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import { formatAddress } from '../telemetry/address.ts'
import { type Batch, createBatch } from '../telemetry/batch.ts'
import { type InterfaceCounters, writeCounters } from '../telemetry/counter.ts'
import { encodeNative } from '../telemetry/native.ts'
import { type Kind, kinds } from '../telemetry/table.ts'
import { tables } from '../telemetry/tables.ts'
import { createFlowDecoder, type FlowDecoder, type FlowProblem } from '../wire/flow-decoder.ts'
import { createTrapDecoder, type TrapProblem } from '../wire/snmp.ts'
import { createSyslogDecoder, type SyslogProblem } from '../wire/syslog.ts'
import { hashDatagram } from './datagram-hash.ts'
import { createInformMemory, isInform } from './informs.ts'
import type { CollectorState } from './link.ts'
import { createSenderCache, type UdpListenerName } from './listen.ts'
import { createManifestBuilder, type Manifest, type ManifestBuilder } from './manifest.ts'
import type { Block } from './seal.ts'
import type { TakenSet } from './taken.ts'
import { mergeTemplates } from './templates-merge.ts'

/** A datagram to be decoded. */
export interface Arrival {
  listener: UdpListenerName
  bytes: Uint8Array
  address: string
  port: number
  /** The address that was asked, where it has a socket of its own. */
  at?: string | undefined
  /** When it came, ms since 1970. */
  received: number
  /** 0 where nobody asks for manifests. */
  hash: number
  source: string
}

export interface Intake {
  take(arrival: Arrival): void
  /** A message that came over a connection. */
  takeMessage(bytes: Uint8Array, sender: string, received: number): void
  /** An IPFIX message that came over a connection. */
  takeFlows(bytes: Uint8Array, sender: string, port: number, received: number): void
  /** What an exporter has told by SNMP. */
  takeCounters(exporter: string, counters: readonly InterfaceCounters[], received: number): void
  /** What was wrong with a message before it could be taken. */
  syslogProblem(problem: SyslogProblem): void
  /** An INFORM that was taken before: answered again where it can be, and not to be taken. */
  repeated(arrival: Arrival): boolean
  /** A datagram that is not taken here; false if it is an INFORM that was heard before. */
  hearInform(arrival: Arrival): boolean
  /** Decodes flows for their templates and sampling rates alone. */
  learn(arrival: Arrival): void
  seal(kind: Kind): void
  sealAll(): void
  /** Begins afresh with what was learned and a snapshot of templates, the newer of each exporter. */
  activate(snapshot: unknown): void
  /** Decodes with what was learned until now, and goes on learning. */
  catchUp(): void
  /** Goes on learning with what is known. */
  deactivate(): void
  /** What is known of templates and rates; another object after `activate`. */
  templates(): FlowDecoder['templates']
  /** Hashes of what is decoded and not sealed. */
  pending(): TakenSet[]
  /** Rows decoded since the start. */
  rows(kind: Kind): number
  exporters(): CollectorState['exporters']
  problems(): Record<string, ReadonlyMap<string, number>>
}

/** An INFORM waits for its segment: senders repeat after a second, so it must not wait for one. */
const informSealMs = 200
/** Longer than senders go on repeating. */
const informBounds = { informs: 10_000, ms: 60_000 }
const capacities: Record<Kind, { rows: number; bytes: number }> = {
  flow: { rows: 131_072, bytes: 64 * 1024 * 1024 },
  syslog: { rows: 65_536, bytes: 16 * 1024 * 1024 },
  trap: { rows: 16_384, bytes: 16 * 1024 * 1024 },
  counter: { rows: 16_384, bytes: 16 * 1024 * 1024 },
  name: { rows: 16_384, bytes: 16 * 1024 * 1024 },
}
/** Filled beside flows, from the same datagrams. */
const alongside: readonly Kind[] = ['name', 'counter']
const learnedRows = 1024
/** Exporters in the state that is reported; those heard last. */
const maxExporters = 1000

interface Lane {
  batch: Batch
  manifest: ManifestBuilder
  firstMs: number
  lastMs: number
  /** Sealed or being sealed. */
  rows: number
}

interface Reply {
  key: string
  bytes: Uint8Array
  address: string
  port: number
  at: string | undefined
}

export const kindOf: Record<UdpListenerName, Kind> = {
  netflow: 'flow',
  ipfix: 'flow',
  sflow: 'flow',
  syslog_udp: 'syslog',
  traps: 'trap',
}

export function createIntake(deps: {
  log: Log
  metrics: Metrics
  clock: Clock
  allocate: (length: number) => Uint8Array
  /** Under which rank datagrams are taken now; undefined: nobody asks for manifests. */
  rank: () => number | undefined
  /** @param onSealed to be called when the block is on disk and, where it matters, elsewhere too */
  onBlock: (block: Block & { manifest: Manifest | undefined }, onSealed: () => void) => void
  /** Sends from the traps' port. */
  reply: (bytes: Uint8Array, address: string, port: number, at: string | undefined) => void
  onFailure: (listener: string, error: unknown) => void
}): Intake {
  const { clock } = deps
  const tallies = {
    flow: createTally<FlowProblem>(deps, {
      name: 'flow_problems',
      help: 'What was wrong with flow datagrams, by reason.',
    }),
    syslog: createTally<SyslogProblem>(deps, {
      name: 'syslog_problems',
      help: 'What was wrong with syslog messages, by reason.',
    }),
    trap: createTally<TrapProblem>(deps, {
      name: 'trap_problems',
      help: 'What was wrong with SNMP notifications, by reason.',
    }),
  }
  const { flow, syslog: messages, trap, counter, name } = capacities
  const batches = {
    flow: createBatch(tables.flow, flow.rows, () => full('flow'), flow.bytes),
    syslog: createBatch(tables.syslog, messages.rows, () => full('syslog'), messages.bytes),
    trap: createBatch(tables.trap, trap.rows, () => full('trap'), trap.bytes),
    counter: createBatch(tables.counter, counter.rows, () => full('counter'), counter.bytes),
    name: createBatch(tables.name, name.rows, () => full('name'), name.bytes),
  }
  const laneOf = (batch: object): Lane => ({
    batch: batch as Batch,
    manifest: createManifestBuilder(),
    firstMs: 0,
    lastMs: 0,
    rows: 0,
  })
  const lanes: Record<Kind, Lane> = {
    flow: laneOf(batches.flow),
    syslog: laneOf(batches.syslog),
    trap: laneOf(batches.trap),
    counter: laneOf(batches.counter),
    name: laneOf(batches.name),
  }
  let flows = flowDecoder()
  let learner: typeof flows | undefined
  /** The learner's version that `flows` knows. */
  let caughtUp = Number.NaN
  const syslog = createSyslogDecoder({
    batch: batches.syslog,
    onProblem: problem => tallies.syslog.count(problem),
  })
  const traps = createTrapDecoder({
    batch: batches.trap,
    onProblem: problem => tallies.trap.count(problem),
  })
  const unsealed = createBatch(tables.trap, 16, batch => batch.clear())
  /** For the answer to an INFORM whose row is elsewhere. */
  const answers = createTrapDecoder({ batch: unsealed, onProblem: () => {} })
  const informs = createInformMemory(informBounds)
  const sender = createSenderCache()
  /** Of INFORMs whose rows are in the open batch. */
  let replies: Reply[] = []
  let informTimer: NodeJS.Timeout | undefined

  function flowDecoder() {
    return createFlowDecoder({
      batch: batches.flow,
      counters: batches.counter,
      names: batches.name,
      onProblem: (problem, exporter) =>
        tallies.flow.count(problem, () => ({ exporter: formatAddress(exporter) })),
    })
  }

  function learningDecoder() {
    const unused = createBatch(tables.flow, learnedRows, batch => batch.clear())
    return createFlowDecoder({ batch: unused, onProblem: () => {} })
  }

  function decode(arrival: Arrival) {
    const { listener, bytes, address, port, received } = arrival
    switch (listener) {
      case 'syslog_udp':
        return syslog.decode(bytes, sender(address), 'udp', received)
      case 'traps':
        return takeTrap(arrival)
      default:
        return flows.decode(bytes, sender(address), port, received)
    }
  }

  const informKey = ({ address, hash, bytes }: Arrival) =>
    `${address} ${hash || hashDatagram(0, bytes)}`

  function takeTrap(arrival: Arrival) {
    const { bytes, address, port, at, received } = arrival
    if (!isInform(bytes)) return traps.decode(bytes, sender(address), received)
    const key = informKey(arrival)
    const reply = traps.decode(bytes, sender(address), received)
    if (reply === undefined) return
    informs.note(key, 'sealing', clock.monotonic())
    replies.push({ key, bytes: reply.bytes, address, port, at })
    informTimer ??= setTimeout(() => seal('trap'), informSealMs)
  }

  /** One that was heard before: its row is stored, or will be. */
  function repeated(arrival: Arrival): boolean {
    if (arrival.listener !== 'traps' || !isInform(arrival.bytes)) return false
    const key = informKey(arrival)
    const state = informs.state(key)
    if (state === undefined) return false
    if (state === 'sealing') return true
    const { bytes, address, port, at, received } = arrival
    const answer =
      state === 'heard' ? answers.decode(bytes, sender(address), received)?.bytes : state
    if (answer !== undefined) deps.reply(answer, address, port, at)
    return true
  }

  function begin(kind: Kind, received: number): Lane {
    const lane = lanes[kind]
    if (lane.firstMs === 0) lane.firstMs = received
    lane.lastMs = received
    return lane
  }

  function full(kind: Kind) {
    seal(kind)
    // The datagram that did not fit goes on in the next batch.
    lanes[kind].firstMs = lanes[kind].lastMs
  }

  /** What came with datagrams that are named elsewhere: it does no harm to have it from both servers. */
  function attend(lane: Lane) {
    if (deps.rank() !== undefined) lane.manifest.stream(lane.batch.rows)
    lane.lastMs = clock.wall()
    lane.firstMs ||= lane.lastMs
  }

  function seal(kind: Kind) {
    const lane = lanes[kind]
    const { batch } = lane
    const { rows } = batch
    if (alongside.includes(kind)) attend(lane)
    const { firstMs, lastMs } = lane
    let open: Reply[] = []
    if (kind === 'trap') {
      open = replies
      replies = []
      clearTimeout(informTimer)
      informTimer = undefined
    }
    lane.firstMs = 0
    // Datagrams without rows are named by the next segment.
    if (rows === 0) return
    const rank = deps.rank()
    const manifest = lane.manifest.seal(rows, rank ?? 0)
    const native = encodeNative(batch, deps.allocate)
    batch.clear()
    lane.rows += rows
    const block = { kind, native, rows, firstMs, lastMs }
    deps.onBlock({ ...block, manifest: rank === undefined ? undefined : manifest }, () => {
      for (const { key, bytes, address, port, at } of open) {
        informs.note(key, bytes, clock.monotonic())
        deps.reply(bytes, address, port, at)
      }
    })
  }

  return {
    take(arrival) {
      const { listener, hash, source, received } = arrival
      const lane = begin(kindOf[listener], received)
      try {
        if (hash !== 0) lane.manifest.open(hash, source)
        decode(arrival)
      } catch (error) {
        deps.onFailure(listener, error)
      }
      if (hash !== 0) lane.manifest.close(lane.batch.rows)
    },

    takeMessage(bytes, from, received) {
      const lane = begin('syslog', received)
      try {
        syslog.decode(bytes, sender(from), 'tcp', received)
      } catch (error) {
        deps.onFailure('syslog_tcp', error)
      }
      if (deps.rank() !== undefined) lane.manifest.stream(lane.batch.rows)
    },

    takeFlows(bytes, from, port, received) {
      const lane = begin('flow', received)
      try {
        flows.decode(bytes, sender(from), port, received, true)
      } catch (error) {
        deps.onFailure('ipfix_tcp', error)
      }
      if (deps.rank() !== undefined) lane.manifest.stream(lane.batch.rows)
    },

    takeCounters(exporter, counters, received) {
      for (const one of counters) writeCounters(batches.counter, sender(exporter), one, received)
    },

    learn({ bytes, address, port, received }) {
      // The others have no templates.
      if (bytes.length < 2 || (bytes[1] !== 9 && bytes[1] !== 10) || bytes[0] !== 0) return
      learner ??= learningDecoder()
      learner.decode(bytes, sender(address), port, received)
    },

    syslogProblem: problem => tallies.syslog.count(problem),

    repeated,

    hearInform(arrival) {
      if (!isInform(arrival.bytes)) return true
      const key = informKey(arrival)
      if (informs.state(key) !== undefined) return false
      informs.note(key, 'heard', clock.monotonic())
      return true
    },

    seal,

    sealAll() {
      for (const kind of kinds) seal(kind)
    },

    activate(snapshot) {
      const learned = learner?.templates.export()
      learner = undefined
      caughtUp = Number.NaN
      flows = flowDecoder()
      const count = flows.templates.import(mergeTemplates([learned, snapshot]))
      if (count > 0) deps.log.info({ count }, 'flow templates taken over')
    },

    catchUp() {
      if (learner === undefined || learner.templates.version === caughtUp) return
      caughtUp = learner.templates.version
      flows = flowDecoder()
      flows.templates.import(learner.templates.export())
    },

    deactivate() {
      learner = learningDecoder()
      learner.templates.import(flows.templates.export())
    },

    templates: () => flows.templates,

    pending() {
      const rank = deps.rank()
      if (rank === undefined) return []
      return kinds.map(kind => ({ rank, hashes: lanes[kind].manifest.pending() }))
    },

    rows: kind => lanes[kind].rows + lanes[kind].batch.rows,

    exporters() {
      let all = [...flows.exporters()]
      if (all.length > maxExporters) {
        all = all.sort((a, b) => b.lastReceived - a.lastReceived).slice(0, maxExporters)
      }
      return all.map(health => ({
        exporter: formatAddress(health.exporter),
        version: health.version,
        domain: health.domain,
        datagrams: health.datagrams,
        records: health.records,
        lost: health.lost,
        lastReceived: new Date(health.lastReceived).toISOString(),
        skewMs: Number.isNaN(health.skewMs) ? null : health.skewMs,
        sampling: { rate: health.sampling.rate, rule: health.sampling.rule },
        held: health.unknownTemplateSetsHeld,
        replayed: health.unknownTemplateSetsReplayed,
        templates: health.templates,
        problems: Object.fromEntries(health.problems),
      }))
    },

    problems: () => ({
      flow: tallies.flow.totals,
      syslog: tallies.syslog.totals,
      trap: tallies.trap.totals,
    }),
  }
}
