/**
 * The collector: everything between a socket and a segment that every server has. Datagrams are
 * decoded into column batches; each second, or when full, a batch is sealed into the spool, and
 * from there delivered to each server.
 */
import type { RemoteInfo } from 'node:dgram'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import type { Identity } from '../lib/tls.ts'
import { formatAddress } from '../telemetry/address.ts'
import { type Batch, createBatch } from '../telemetry/batch.ts'
import { encodeNative } from '../telemetry/native.ts'
import { type Kind, kinds } from '../telemetry/table.ts'
import { tables } from '../telemetry/tables.ts'
import { createFlowDecoder, type FlowProblem } from '../wire/flow-decoder.ts'
import { createTrapDecoder, type TrapProblem } from '../wire/snmp.ts'
import { createSyslogDecoder, type SyslogProblem } from '../wire/syslog.ts'
import { createSyslogFramer } from '../wire/syslog-stream.ts'
import { createBlockMemory } from './block-memory.ts'
import { createDelivery } from './deliver.ts'
import type { CollectorState } from './link.ts'
import {
  createSenderCache,
  createTcpListener,
  createUdpListener,
  type Listener,
  type ListenerName,
  type UdpListener,
} from './listen.ts'
import { observeCollector } from './observe.ts'
import { createSealer } from './seal.ts'
import type { CollectorSettings } from './settings.ts'
import { createSpool } from './spool.ts'
import { createTemplatesFile } from './templates-file.ts'

export type { CollectorState } from './link.ts'

export interface Collector extends Component {
  state(): CollectorState
  /** The real ports; a listener that is off has none. Known after `start`. */
  readonly ports: Partial<Record<ListenerName, number>>
}

const sealMs = 1000
/** An INFORM waits for its segment: senders repeat after a second, so it must not wait for one. */
const informSealMs = 200
const reportMs = 2000
const capacities: Record<Kind, { rows: number; bytes: number }> = {
  flow: { rows: 65_536, bytes: 64 * 1024 * 1024 },
  syslog: { rows: 65_536, bytes: 16 * 1024 * 1024 },
  trap: { rows: 16_384, bytes: 16 * 1024 * 1024 },
}
const idleConnectionMs = 3_600_000
/** What a stop may take: for the disk, then for the servers. */
const stopMs = { seal: 10_000, deliver: 3000 }
/** Exporters in the state that is reported; those heard last. */
const maxExporters = 1000

type ListenProblem = 'decoder-failed' | 'connection-refused' | 'connection-displaced'

interface Lane {
  batch: Batch
  firstMs: number
  lastMs: number
  /** Sealed or being sealed. */
  rows: number
}

interface Reply {
  bytes: Uint8Array
  address: string
  port: number
}

export function createCollector(
  deps: {
    identity: Identity
    log: Log
    metrics: Metrics
    clock: Clock
    /** Of the program. */
    version: string
  },
  config: CollectorSettings,
): Collector {
  const { log, metrics, clock } = deps
  const { listen } = config
  const tallies = {
    listen: createTally<ListenProblem>(deps, {
      name: 'listen_problems',
      help: 'What the listeners could not take, by reason.',
    }),
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

  const spool = createSpool(deps, {
    dir: config.spool,
    quotaBytes: config.quotaBytes,
    servers: config.servers.map(({ name }) => name),
  })
  const memory = createBlockMemory({ keep: 4 })
  const sealer = createSealer(
    {
      ...deps,
      spool,
      onRelief: () => syslogTcp?.resume(),
      onCompressed: block => memory.giveBack(block),
    },
    { maxWaitingBytes: config.memoryBytes },
  )
  const deliveries = config.servers.map(server => createDelivery({ ...deps, spool }, { server }))

  const batches = {
    flow: createBatch(tables.flow, capacities.flow.rows, full('flow'), capacities.flow.bytes),
    syslog: createBatch(
      tables.syslog,
      capacities.syslog.rows,
      full('syslog'),
      capacities.syslog.bytes,
    ),
    trap: createBatch(tables.trap, capacities.trap.rows, full('trap'), capacities.trap.bytes),
  }
  const lane = (batch: object): Lane => ({ batch: batch as Batch, firstMs: 0, lastMs: 0, rows: 0 })
  const lanes: Record<Kind, Lane> = {
    flow: lane(batches.flow),
    syslog: lane(batches.syslog),
    trap: lane(batches.trap),
  }
  const flows = createFlowDecoder({
    batch: batches.flow,
    onProblem: (problem, exporter) =>
      tallies.flow.count(problem, () => ({ exporter: formatAddress(exporter) })),
  })
  const syslog = createSyslogDecoder({
    batch: batches.syslog,
    onProblem: problem => tallies.syslog.count(problem),
  })
  const traps = createTrapDecoder({
    batch: batches.trap,
    onProblem: problem => tallies.trap.count(problem),
  })
  const templates = createTemplatesFile(
    { templates: flows.templates, log, clock },
    join(config.spool, 'templates.json'),
  )
  const sender = createSenderCache()
  /** Of INFORMs whose rows are in the open batch. */
  let replies: Reply[] = []
  let informTimer: NodeJS.Timeout | undefined
  let timers: NodeJS.Timeout[] = []
  let accepting = false
  let startedAt = new Date(0)

  const listeners: Listener[] = []
  for (const name of ['netflow', 'ipfix', 'sflow'] as const) {
    addUdp(name, 'flow', (bytes, from, now) =>
      flows.decode(bytes, sender(from.address), from.port, now),
    )
  }
  addUdp('syslog_udp', 'syslog', (bytes, from, now) =>
    syslog.decode(bytes, sender(from.address), 'udp', now),
  )
  const trapListener = addUdp('traps', 'trap', takeTrap)
  const syslogTcp =
    listen.syslog_tcp === false
      ? undefined
      : createTcpListener(
          {
            log,
            onRefused: () => tallies.listen.count('connection-refused'),
            onDisplaced: () => tallies.listen.count('connection-displaced'),
          },
          {
            name: 'syslog_tcp',
            address: listen.address,
            port: listen.syslog_tcp,
            maxConnections: listen.maxConnections,
            idleMs: idleConnectionMs,
          },
          readStream,
        )
  if (syslogTcp !== undefined) listeners.push(syslogTcp)

  function addUdp(
    name: Exclude<ListenerName, 'syslog_tcp'>,
    kind: Kind,
    decode: (bytes: Buffer, from: RemoteInfo, now: number) => void,
  ): UdpListener | undefined {
    const { address, bufferBytes, [name]: port } = listen
    if (port === false) return undefined
    const listener = createUdpListener(
      { log },
      { name, address, port, bufferBytes },
      (bytes, from) => take(name, kind, now => decode(bytes, from, now)),
    )
    listeners.push(listener)
    return listener
  }

  /** One datagram or piece of a stream; whatever is in it ends here. */
  function take(name: ListenerName, kind: Kind, decode: (now: number) => void) {
    if (!accepting) return
    const now = clock.wall()
    const lane = lanes[kind]
    if (lane.firstMs === 0) lane.firstMs = now
    lane.lastMs = now
    try {
      decode(now)
    } catch (error) {
      tallies.listen.count('decoder-failed', () => ({ listener: name, error }))
    }
  }

  function takeTrap(bytes: Buffer, from: RemoteInfo, now: number) {
    const reply = traps.decode(bytes, sender(from.address), now)
    if (reply === undefined) return
    replies.push({ bytes: reply.bytes, address: from.address, port: from.port })
    informTimer ??= setTimeout(() => seal('trap'), informSealMs)
  }

  function readStream(remote: string) {
    const address = sender(remote)
    let messages = 0
    const framer = createSyslogFramer(
      {
        onMessage(bytes) {
          messages++
          take('syslog_tcp', 'syslog', now => syslog.decode(bytes, address, 'tcp', now))
        },
        onProblem: problem => tallies.syslog.count(problem),
      },
      { maxBytes: listen.maxMessageBytes },
    )
    return {
      push(bytes: Uint8Array) {
        messages = 0
        framer.push(bytes)
        return messages
      },
      end: () => framer.end(),
    }
  }

  function full(kind: Kind) {
    return () => {
      seal(kind)
      // The datagram that did not fit goes on in the next batch.
      lanes[kind].firstMs = lanes[kind].lastMs
    }
  }

  function seal(kind: Kind) {
    const lane = lanes[kind]
    const { batch, firstMs, lastMs } = lane
    const { rows } = batch
    let answers: Reply[] = []
    if (kind === 'trap') {
      answers = replies
      replies = []
      clearTimeout(informTimer)
      informTimer = undefined
    }
    lane.firstMs = 0
    if (rows === 0) return
    const native = encodeNative(batch, length => memory.take(length))
    batch.clear()
    lane.rows += rows
    sealer.seal({ kind, native, rows, firstMs, lastMs }, () => {
      for (const { bytes, address, port } of answers) trapListener?.reply(bytes, address, port)
    })
    if (sealer.congested) syslogTcp?.pause()
  }

  function tick() {
    for (const kind of kinds) seal(kind)
    void templates.save()
  }

  async function closeAll() {
    for (const component of [...listeners, ...deliveries, spool]) await component.stop()
  }

  const collector: Collector = {
    get ports() {
      return Object.fromEntries(listeners.map(({ name, port }) => [name, port]))
    },

    async start() {
      try {
        await spool.start()
        templates.load()
        for (const delivery of deliveries) await delivery.start()
        for (const listener of listeners) await listener.start()
      } catch (error) {
        await closeAll()
        throw error
      }
      startedAt = new Date(clock.wall())
      accepting = true
      const reports = deliveries.map(delivery => {
        let reporting = false
        return setInterval(() => {
          if (reporting) return
          reporting = true
          void delivery.report(collector.state()).finally(() => {
            reporting = false
          })
        }, reportMs)
      })
      timers = [setInterval(tick, sealMs), ...reports]
    },

    async stop() {
      if (timers.length === 0) return
      for (const timer of timers.splice(0)) clearInterval(timer)
      for (const listener of listeners) if (listener !== trapListener) await listener.stop()
      accepting = false
      for (const kind of kinds) seal(kind)
      // The traps' socket stays until its last answers are out.
      await sealer.drain(stopMs.seal)
      await templates.save(true)
      const deadline = clock.monotonic() + stopMs.deliver
      while (clock.monotonic() < deadline && deliveries.some(busy)) await sleep(20)
      await closeAll()
    },

    state() {
      const spoolState = spool.state()
      return {
        id: spool.collector,
        name: config.name,
        version: deps.version,
        startedAt: startedAt.toISOString(),
        listeners: listeners.map(listener => listener.state()),
        kinds: spoolState.map(state => ({
          ...state,
          rows: lanes[state.kind].rows + lanes[state.kind].batch.rows,
        })),
        deliveries: deliveries.map(delivery => delivery.state()),
        exporters: exporters(),
        problems: problems(),
      }
    },
  }

  function exporters(): CollectorState['exporters'] {
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
      problems: Object.fromEntries(health.problems),
    }))
  }

  function problems(): Record<string, number> {
    const all: Record<string, number> = {}
    const parts = { ...mapOf(tallies), spool: spool.problems, seal: sealer.problems }
    for (const [part, totals] of Object.entries(parts)) {
      for (const [reason, count] of totals) all[`${part}.${reason}`] = count
    }
    return all
  }

  observeCollector({ metrics, clock, state: () => (accepting ? collector.state() : undefined) })
  return collector
}

function busy(delivery: { state(): { reachable: boolean; waiting: number } }): boolean {
  const { reachable, waiting } = delivery.state()
  return reachable && waiting > 0
}

function mapOf(
  tallies: Record<string, { totals: ReadonlyMap<string, number> }>,
): Record<string, ReadonlyMap<string, number>> {
  return Object.fromEntries(Object.entries(tallies).map(([part, { totals }]) => [part, totals]))
}
