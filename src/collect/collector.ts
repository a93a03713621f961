/**
 * The collector: everything between a socket and a segment that every server has. Datagrams are
 * decoded into column batches; each second, or when full, a batch is sealed into the spool, and
 * from there delivered to each server. One inside a server of a pair does so while that server is
 * active, and keeps what it hears while it stands by.
 */
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import type { Identity } from '../lib/tls.ts'
import type { InterfaceCounters } from '../telemetry/counter.ts'
import type { AloneBounds } from './alone.ts'
import { createAloneFile } from './alone-file.ts'
import { createBlockMemory } from './block-memory.ts'
import { createCompressor } from './compressor.ts'
import { hashDatagram } from './datagram-hash.ts'
import { createDelivery, type Delivery } from './deliver.ts'
import { createFlowSockets, type FlowDatagram } from './flow-sockets.ts'
import { createFollower, type NamedServer } from './follow.ts'
import { sayHello } from './hello.ts'
import { type Arrival, createIntake } from './intake.ts'
import type { ClaimAnswer, CollectorState } from './link.ts'
import {
  createUdpListener,
  flowListeners,
  type Listener,
  type ListenerName,
  type StreamTls,
  type UdpListener,
  type UdpListenerName,
} from './listen.ts'
import { observeCollector } from './observe.ts'
import { type Claim, createReception, type Role } from './reception.ts'
import { createSealer } from './seal.ts'
import { createSenders } from './senders.ts'
import type { CollectorSettings, PairConfig } from './settings.ts'
import { createSettlement } from './settlement.ts'
import type { Sockets } from './sockets.ts'
import { createSpool } from './spool.ts'
import { createStreams, type StreamProblem } from './streams.ts'
import { createTemplatesFile } from './templates-file.ts'
import type { Zstd } from './zstd.ts'

export type { CollectorState } from './link.ts'

export interface Collector extends Component {
  state(): CollectorState
  /** The real ports; a listener that is off has none. Known after `start`. */
  readonly ports: Partial<Record<ListenerName, number>>
  /** Identity of its spool; known after `start`. */
  readonly id: string
  /** To whom it delivers by now. */
  servers(): NamedServer[]
}

/** A collector inside a server of a pair: a standby until it is told otherwise. */
export interface PairCollector extends Collector {
  /** To be said each second: one that hears nothing for a while takes in nothing until it does. */
  setRole(role: Role, storing: Iterable<string>): void
  /**
   * Addresses of the pair that this host has: who asks there is answered from there. To be said each
   * second.
   */
  setAnswering(addresses: readonly string[]): void
  /** Who must have each segment from now on; the own server is always among them. */
  setServers(servers: readonly NamedServer[]): void
  /** @see Reception.claim */
  claim(claim: Claim): Promise<ClaimAnswer>
  /** @see Reception.otherIsAlive */
  otherIsAlive(): void
  /** The other server's collector begins to listen: from now on nothing is stored behind its back. */
  otherBegins(server: string): void
  /** What an exporter has told by SNMP. */
  takeCounters(exporter: string, counters: readonly InterfaceCounters[]): void
  /** @see Reception.ended */
  ended(segment: string, stored: boolean, storing: Iterable<string>): void
  /** The server is gone: what is decoded goes to the spool, and nothing else is waited for. */
  abandon(withinMs: number): Promise<void>
}

export interface CollectorDeps {
  identity: Identity
  log: Log
  metrics: Metrics
  clock: Clock
  /** Of the program. */
  version: string
  /** Of the listeners with TLS. */
  streamTls?: StreamTls | undefined
  /** To receive many datagrams at once, where that can be. */
  sockets?: Sockets | undefined
  /** To compress without garbage, where that can be. */
  zstd?: Zstd | undefined
}

const sealMs = 1000
const reportMs = 2000
/** What a stop may take: for the disk, then for the servers. */
const stopMs = { seal: 10_000, deliver: 3000 }
/** An INFORM is answered when another host has its row too; or after so long, if one could have. */
const elsewhereMs = 800
const aloneMarginMs = 30_000
const maxAlone = 8_000_000

type ListenProblem = 'decoder-failed' | StreamProblem

interface Destination extends NamedServer {
  delivery: Delivery
  reports: NodeJS.Timeout | undefined
}

export function createCollector(
  deps: CollectorDeps,
  config: CollectorSettings & { pair?: undefined },
): Collector
export function createCollector(
  deps: CollectorDeps,
  config: CollectorSettings & { pair: PairConfig },
): PairCollector
export function createCollector(
  deps: CollectorDeps,
  config: CollectorSettings & { pair?: PairConfig | undefined },
): PairCollector {
  const { log, metrics, clock } = deps
  const { listen, pair } = config
  const tally = createTally<ListenProblem>(deps, {
    name: 'listen_problems',
    help: 'What the listeners could not take, by reason.',
  })
  const follower = createFollower(deps, {
    file: join(config.spool, 'servers.json'),
    servers: config.servers,
    follow: config.followPair && pair === undefined,
  })
  const spool = createSpool(deps, {
    dir: config.spool,
    quotaBytes: config.quotaBytes,
    servers: follower.servers().map(({ name }) => name),
  })
  const memory = createBlockMemory({ keep: 4 })
  const compressor = createCompressor({ zstd: deps.zstd })
  const sealer = createSealer(
    {
      ...deps,
      spool,
      compressor,
      onRelief: () => streams.resume(),
      onCompressed: block => memory.giveBack(block),
    },
    { maxWaitingBytes: config.memoryBytes },
  )
  const alone =
    pair &&
    createAloneFile(
      { log, clock, stored: segment => spool.has(pair.own, segment) },
      { file: join(config.spool, 'alone'), bounds: aloneBounds(pair) },
    )
  const settlement =
    pair &&
    createSettlement(
      {
        spool,
        alone: alone!,
        clock,
        role: () => ({
          active: reception!.role().active && reception!.fresh(),
          term: reception!.role().term,
          otherTerm: reception!.otherTerm(),
        }),
        others: () => others,
      },
      pair,
    )
  let destinations: Destination[] = follower.servers().map(destination)
  /** Servers that this collector is not inside of, by name. */
  let others = otherNames()

  const intake = createIntake({
    ...deps,
    allocate: length => memory.take(length),
    rank: () => (others.length > 0 ? reception?.rank() : undefined),
    onBlock(block, onSealed) {
      const onDisk = block.manifest && reception?.closed(block.kind, block.manifest)
      sealer.seal(block, sequence => {
        onDisk?.()
        if (block.kind === 'trap') void elsewhere(sequence).then(onSealed)
      })
      if (sealer.congested) streams.pause()
    },
    reply: (bytes, address, port, at) => trapListener?.reply(bytes, address, port, at),
    onFailure: (listener, error) => tally.count('decoder-failed', () => ({ listener, error })),
  })
  const templates = createTemplatesFile(
    { templates: intake.templates, log, clock },
    pair?.templates ?? join(config.spool, 'templates.json'),
  )
  const reception =
    pair &&
    createReception(
      { clock, log, intake, templates: templates.read, alone: alone! },
      { dir: config.spool, ring: pair.ring },
    )
  let timers: NodeJS.Timeout[] = []
  let accepting = false
  /** Datagrams that were read before. */
  let skipped = 0
  let startedAt = new Date(0)

  const section = pair === undefined ? 'listen' : 'collect.listen'
  const senders = {
    netflow: createSenders('netflow'),
    ipfix: createSenders('ipfix'),
    sflow: createSenders('sflow'),
    syslog_udp: createSenders('syslog_udp'),
    traps: createSenders('traps'),
  }
  const listeners: Listener[] = []
  const flowSockets =
    deps.sockets && createFlowSockets({ sockets: deps.sockets, log, clock }, flowConfigs(), take)
  if (flowSockets === undefined) for (const name of flowListeners) addUdp(name)
  else listeners.push(...flowSockets.listeners)
  addUdp('syslog_udp')
  const trapListener = addUdp('traps')
  const streams = createStreams(
    {
      log,
      onMessage(bytes, sender) {
        if (accepting) intake.takeMessage(bytes, sender, clock.wall())
      },
      onFlows(bytes, sender, port) {
        if (accepting) intake.takeFlows(bytes, sender, port, clock.wall())
      },
      onSyslogProblem: intake.syslogProblem,
      onProblem: (problem, detail) => tally.count(problem, detail),
    },
    { ...listen, section, ports: listen, tls: deps.streamTls },
  )
  listeners.push(...streams.listeners)

  function flowConfigs() {
    const { address, bufferBytes } = listen
    return flowListeners.flatMap(name => {
      const port = listen[name]
      return port === false ? [] : [{ name, address, port, bufferBytes, section }]
    })
  }

  function addUdp(name: UdpListenerName): UdpListener | undefined {
    const { address, bufferBytes, [name]: port } = listen
    if (port === false) return undefined
    const listener = createUdpListener(
      { log },
      // Of all that is received, only an INFORM is answered.
      { name, address, port, bufferBytes, section, answers: name === 'traps' },
      (bytes, from, at) =>
        hear({
          ...{ listener: name, bytes, address: from.address, port: from.port, at },
          received: clock.wall(),
          ...{ hash: 0, source: name },
        }),
    )
    listeners.push(listener)
    return listener
  }

  function take(datagram: FlowDatagram) {
    hear({ ...datagram, hash: 0, source: datagram.listener })
  }

  function hear(arrival: Arrival) {
    if (!accepting) {
      skipped++
      return
    }
    if (reception === undefined) {
      if (!intake.repeated(arrival)) intake.take(arrival)
      return
    }
    if (others.length > 0) {
      const sender = senders[arrival.listener](arrival.address)
      arrival.hash = hashDatagram(sender.hash, arrival.bytes)
      arrival.source = sender.name
    }
    reception.hear(arrival)
  }

  function otherNames(): string[] {
    return destinations.map(({ name }) => name).filter(name => name !== pair?.own)
  }

  function destination({ name, url }: NamedServer): Destination {
    const lane = pair && (name === pair.own ? ('own' as const) : ('other' as const))
    const delivery = createDelivery(
      {
        ...{ ...deps, spool, ...(settlement ? { settlement } : {}) },
        // What it says of other servers is known before a segment is removed because it has it.
        onReached: () => report(name, delivery),
      },
      { server: { name, url }, ...(lane ? { pair: lane } : {}) },
    )
    return { name, url, delivery, reports: undefined }
  }

  async function report(to: string, delivery: Delivery) {
    const answer = await delivery.report(collector.state())
    if (answer !== undefined && follower.heard(to, answer)) setServers(follower.servers())
  }

  async function open(to: Destination) {
    await to.delivery.start()
    let reporting = false
    to.reports = setInterval(async () => {
      if (reporting || !accepting) return
      reporting = true
      if (others.includes(to.name) && reception?.role().active && reception.fresh()) {
        await to.delivery.alive()
      }
      await report(to.name, to.delivery)
      reporting = false
    }, reportMs)
  }

  async function close(to: Destination) {
    clearInterval(to.reports)
    await to.delivery.stop()
  }

  function setServers(servers: readonly NamedServer[]) {
    if (servers.length === 0) throw new Error('segments need a server to go to')
    const stays = (one: NamedServer) =>
      destinations.find(({ name, url }) => name === one.name && url === one.url)
    const next = servers.map(server => stays(server) ?? destination(server))
    const leaving = destinations.filter(one => !next.includes(one))
    const coming = next.filter(one => !destinations.includes(one))
    if (leaving.length + coming.length === 0) return
    // Of a batch, all datagrams are named in its manifest or none.
    intake.sealAll()
    destinations = next
    others = otherNames()
    spool.setServers(next.map(({ name }) => name))
    log.info({ servers: next.map(({ name }) => name) }, 'segments go to these servers from now on')
    for (const one of leaving) void close(one)
    if (accepting) for (const one of coming) void open(one)
  }

  /** Until another host has the segment too, if there is one that answers. */
  async function elsewhere(sequence: number): Promise<void> {
    const segment = { kind: 'trap', sequence, rows: 0, bytes: 0, lastMs: 0, rank: 0 } as const
    const reachable = () =>
      destinations.some(({ name, delivery }) => others.includes(name) && delivery.state().reachable)
    if (pair === undefined) return
    const there = () => others.some(name => spool.has(name, segment))
    if (there() || !reachable()) return
    const done = Promise.withResolvers<void>()
    const end = spool.onAcknowledged(() => there() && done.resolve())
    await Promise.race([done.promise, sleep(elsewhereMs, undefined, { ref: false })])
    end()
  }

  function turnStreams() {
    if (reception !== undefined) streams.turn(accepting && reception.role().active)
  }

  function tick() {
    intake.sealAll()
    reception?.tick()
    settlement?.tick()
    alone?.tick()
    turnStreams()
    if (reception === undefined || reception.role().active) void templates.save()
  }

  async function closeAll() {
    await streams.settled()
    await flowSockets?.stop()
    for (const listener of listeners) await listener.stop()
    await Promise.all(destinations.map(close))
    await spool.stop()
  }

  const collector: PairCollector = {
    get ports() {
      return Object.fromEntries(listeners.map(({ name, port }) => [name, port]))
    },
    get id() {
      return spool.collector
    },
    servers: follower.servers,

    async start() {
      try {
        await spool.start()
        if (pair === undefined) templates.load()
        else mkdirSync(dirname(pair.templates), { recursive: true, mode: 0o750 })
        alone?.start()
        reception?.start()
        await flowSockets?.start()
        for (const listener of listeners) await listener.start()
        // Opened once, so that a port that is taken is known before a takeover.
        if (pair !== undefined) for (const one of streams.listeners) await one.stop()
        for (const one of destinations) await open(one)
      } catch (error) {
        await closeAll()
        throw error
      }
      const told = destinations.filter(({ name }) => pair !== undefined && others.includes(name))
      await sayHello(
        told.map(({ delivery }) => delivery),
        { clock, skipped: () => skipped },
      )
      startedAt = new Date(clock.wall())
      accepting = true
      timers = [setInterval(tick, sealMs)]
    },

    async stop() {
      if (timers.length === 0) return
      for (const timer of timers.splice(0)) clearInterval(timer)
      await streams.settled()
      await flowSockets?.stop()
      for (const listener of listeners) if (listener !== trapListener) await listener.stop()
      accepting = false
      intake.sealAll()
      // The traps' socket stays until its last answers are out.
      await sealer.drain(stopMs.seal)
      compressor.close()
      if (reception === undefined || reception.role().active) await templates.save(true)
      const deadline = clock.monotonic() + stopMs.deliver
      while (clock.monotonic() < deadline && destinations.some(busy)) await sleep(20)
      await closeAll()
    },

    setRole(role, storing) {
      reception?.setRole(role, storing)
      turnStreams()
    },
    setAnswering: addresses => trapListener?.setAnswering(addresses),
    setServers,
    claim(claim) {
      if (reception === undefined) throw new Error('this collector is not one of a pair')
      return reception.claim(claim)
    },
    otherIsAlive: () => reception?.otherIsAlive(),
    otherBegins(server) {
      settlement?.reached(server)
      destinations.find(({ name }) => name === server)?.delivery.wake()
    },
    takeCounters: (exporter, counters) => intake.takeCounters(exporter, counters, clock.wall()),
    ended: (segment, stored, storing) => reception?.ended(segment, stored, storing),
    async abandon(withinMs) {
      accepting = false
      for (const timer of timers.splice(0)) clearInterval(timer)
      intake.sealAll()
      await sealer.drain(withinMs)
      compressor.close()
    },

    state() {
      const pairState = reception?.state()
      return {
        id: spool.collector,
        name: config.name,
        version: deps.version,
        startedAt: startedAt.toISOString(),
        listeners: listeners.map(listener => listener.state()),
        kinds: spool.state().map(state => ({ ...state, rows: intake.rows(state.kind) })),
        deliveries: destinations.map(({ delivery }) => delivery.state()),
        exporters: intake.exporters(),
        problems: problems(),
        ...(pairState === undefined ? {} : { pair: pairState }),
      }
    },
  }

  function problems(): Record<string, number> {
    const all: Record<string, number> = {}
    const parts: Record<string, ReadonlyMap<string, number>> = {
      listen: tally.totals,
      ...intake.problems(),
      spool: spool.problems,
      seal: sealer.problems,
    }
    for (const [part, totals] of Object.entries(parts)) {
      for (const [reason, count] of totals) all[`${part}.${reason}`] = count
    }
    return all
  }

  observeCollector({ metrics, clock, state: () => (accepting ? collector.state() : undefined) })
  return collector
}

/** As long as the other server may have kept what it heard, and what that may come to. */
function aloneBounds({ ring }: PairConfig): AloneBounds {
  return { ms: ring.ms + aloneMarginMs, datagrams: maxAlone }
}

function busy({ delivery }: Destination): boolean {
  const { reachable, waiting } = delivery.state()
  return reachable && waiting > 0
}
