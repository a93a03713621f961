/**
 * Delivery to one server: everything that the spool holds for it, in order per kind, several at a
 * time. After each (re)connection the server is asked what it has, so that nothing is sent again;
 * what it will never take is put aside; everything else is repeated until it is acknowledged.
 *
 * Between the collectors of a pair a segment is claimed before it is sent: the other server says
 * which of its datagrams it has taken itself, and their rows are left out.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Counter } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Identity } from '../lib/tls.ts'
import { type Kind, kinds } from '../telemetry/table.ts'
import { type Answer, createCaller } from './caller.ts'
import { leaveOut } from './leave-out.ts'
import {
  type ClaimStored,
  type CollectorAnswer,
  type CollectorState,
  claimAnswer,
  collectorAnswer,
  linkHeaders,
  linkPaths,
  receivedAnswer,
  stateForOlder,
} from './link.ts'
import { emptyManifest, encodeManifest } from './manifest.ts'
import { forOlder, type Parcel, parcelOf, type WholeSegment } from './segment.ts'
import type { Settlement } from './settlement.ts'
import type { Waiting } from './shelves.ts'
import type { Spool } from './spool.ts'

export interface DeliveryConfig {
  /** The server's name, by which the spool knows it, and its URL (`https://host:port`). */
  server: { name: string; url: string }
  /** Segments of one kind under way at once. */
  pipeline?: number
  /** How long a segment may take until it is acknowledged. */
  segmentTimeoutMs?: number
  /**
   * In a pair: the other server's collector is asked before each segment; the own server gets one
   * only when it is settled with the other.
   */
  pair?: 'other' | 'own'
}

export interface DeliveryState {
  server: string
  reachable: boolean
  waiting: number
  /** How long ago the oldest of what waits was received; 0: nothing waits. */
  behindMs: number
  delivered: number
  lastError: string | null
}

export interface Delivery extends Component {
  state(): DeliveryState
  /** Tells the other server's collector that this one is active. */
  alive(): Promise<void>
  /** Tells it that this one begins to listen. Resolves when it knows, or when it does not answer. */
  hello(): Promise<void>
  /** The server has just been heard: it is tried again at once. */
  wake(): void
  /** Tells the server how the collector is; what it answers, undefined when it cannot be told. */
  report(collector: CollectorState): Promise<CollectorAnswer | undefined>
}

/** What waits for a server, of one kind. */
interface Lane {
  kind: Kind
  sent: number
  /** Passed over because they are not ready. */
  held: Waiting[]
}

const backoff = { firstMs: 50, mostMs: 5000 }
const reportTimeoutMs = 5000
const claimTimeoutMs = 3000
/** The start of a server waits for it. */
const helloTimeoutMs = 1500
/** A segment that the other server does not take for so long is stored by the own one alone. */
const keepAfterMs = 2000

export function createDelivery(
  deps: {
    spool: Spool
    identity: Identity
    log: Log
    metrics: Metrics
    clock: Clock
    /** In a pair. */
    settlement?: Settlement
    /** At each connection; awaited before anything is delivered. */
    onReached?(): Promise<void>
  },
  config: DeliveryConfig,
): Delivery {
  const { server, pipeline = 4, segmentTimeoutMs = 30_000 } = config
  const { spool, settlement } = deps
  const segments = deliveredCounter(deps.metrics)
  const caller = createCaller(deps, {
    url: server.url,
    // One for the state, and one for what is kept.
    maxConnections: kinds.length * pipeline + 2,
  })
  const { call } = caller
  let stopping = new AbortController()
  let waking = new AbortController()
  let running: Promise<void> = Promise.resolve()
  let reachable = false
  let takesNarrow = true
  /** What the server has a table for. */
  let takes: readonly Kind[] = kinds
  let delivered = 0
  let lastError: string | null = null

  /** Connect, ask, deliver; again after every error, later and later. */
  async function run(stop: AbortSignal) {
    let failures = 0
    while (!stop.aborted) {
      const session = new AbortController()
      const signal = AbortSignal.any([stop, session.signal])
      try {
        const has = await call('GET', linkPaths.segments(spool.collector), { signal })
        if (has.status !== 200) throw new Error(`${has.status}: ${has.text.slice(0, 200)}`)
        const received = receivedAnswer.parse(JSON.parse(has.text))
        takes = kinds.filter(kind => received[kind] !== undefined)
        for (const kind of takes) spool.received(server.name, kind, received[kind]!)
        takesNarrow = received.narrow
        if (!reachable) deps.log.info({ server: server.name }, 'server reached')
        reachable = true
        lastError = null
        failures = 0
        if (settlement !== undefined && config.pair === 'other') {
          await clearReceived(settlement.own, signal)
        }
        await deps.onReached?.()
        await deliverAll(signal)
      } catch (error) {
        session.abort()
        if (stop.aborted) return
        const { message, code } = error as NodeJS.ErrnoException
        // Where a name has several addresses, the error of them all has no message.
        note(message || (code ?? 'unknown'))
        failed((error as NodeJS.ErrnoException).code === 'ECONNREFUSED')
        await pause(failures++, AbortSignal.any([stop, waking.signal]))
      }
    }
  }

  function note(message: string) {
    if (reachable || lastError === null) {
      deps.log.warn({ server: server.name, error: message }, 'server not reached, trying on')
    }
    reachable = false
    lastError = message
  }

  function failed(refused: boolean) {
    if (config.pair === 'other') settlement?.failed(server.name, refused)
  }

  /** Ends with the first error of the connection, when nothing of it is under way any more. */
  async function deliverAll(signal: AbortSignal) {
    const first = new AbortController()
    const both = AbortSignal.any([signal, first.signal])
    const lanes = takes.flatMap(kind => {
      const lane: Lane = { kind, sent: -1, held: [] }
      return Array.from({ length: pipeline }, () =>
        carry(lane, both).catch(error => {
          first.abort(error)
          throw error
        }),
      )
    })
    const results = await Promise.allSettled(lanes)
    if (signal.aborted) return
    throw first.signal.reason ?? results
  }

  async function carry(lane: Lane, signal: AbortSignal) {
    while (!signal.aborted) {
      const segment = nextOf(lane)
      if (segment === undefined) await more(lane, signal)
      else await deliver(segment, signal)
    }
  }

  function behindMs(): number {
    const oldest = spool.oldest(server.name)
    return oldest === undefined ? 0 : Math.max(0, deps.clock.wall() - oldest)
  }

  function nextOf(lane: Lane): Waiting | undefined {
    const ready = (segment: Waiting) =>
      config.pair !== 'own' || settlement === undefined || settlement.ready(segment)
    lane.held = lane.held.filter(segment => !spool.has(server.name, segment))
    const settled = lane.held.findIndex(ready)
    if (settled >= 0) return lane.held.splice(settled, 1)[0]
    for (;;) {
      const segment = spool.next(server.name, lane.kind, lane.sent)
      if (segment === undefined) return undefined
      lane.sent = segment.sequence
      if (ready(segment)) return segment
      lane.held.push(segment)
    }
  }

  /** Until something was sealed, or something held may be ready. */
  function more(lane: Lane, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        for (const end of ends) end()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const ends = [spool.onSealed(kind => kind === lane.kind && done())]
      if (config.pair === 'own' && settlement !== undefined) {
        ends.push(spool.onAcknowledged(kind => kind === lane.kind && done()))
        ends.push(settlement.onReady(done))
      }
      signal.addEventListener('abort', done)
    })
  }

  /** Until the server has it or has refused it. @throws when the connection is the trouble */
  async function deliver(segment: Waiting, signal: AbortSignal) {
    const slow = new AbortController()
    const timer =
      config.pair === 'other' ? setTimeout(() => void keep(segment, slow), keepAfterMs) : undefined
    try {
      await deliverUntil(segment, signal)
    } finally {
      clearTimeout(timer)
      slow.abort()
    }
  }

  /** The other server takes datagrams' names, but not the segment: then it stays with the own one. */
  async function keep(segment: Waiting, until: AbortController) {
    try {
      const whole = await spool.read(segment)
      if (whole === undefined || until.signal.aborted) return
      const answer = await claim(whole, AbortSignal.any([until.signal, stopping.signal]), 'there')
      if (answer.status === 404) return settlement?.settle(segment)
      if (answer.status !== 200) return
      const { taken } = claimAnswer.parse(JSON.parse(answer.text))
      if (taken.length === 0) settlement?.settle(segment)
    } catch (error) {
      deps.log.debug({ server: server.name, error }, 'a segment could not be kept')
    }
  }

  async function deliverUntil(segment: Waiting, signal: AbortSignal) {
    const { kind, sequence } = segment
    for (let failures = 0; !signal.aborted; failures++) {
      const answer = await put(segment, signal)
      if (answer === undefined) return
      switch (answer.status) {
        case 200:
          spool.acknowledged(server.name, kind, sequence)
          if (config.pair === 'other') {
            settlement?.settle(segment)
            settlement?.agreed(segment)
          }
          segments.inc({ server: server.name, kind, result: 'delivered' })
          delivered++
          if (failures > 0) lastError = null
          return
        case 422:
          lastError = `${kind} segment ${sequence} refused: ${answer.text.slice(0, 200)}`
          segments.inc({ server: server.name, kind, result: 'refused' })
          await spool.refused(server.name, kind, sequence)
          return
        default:
          lastError = `${answer.status}: ${answer.text.slice(0, 200)}`
          segments.inc({ server: server.name, kind, result: 'again' })
          await pause(failures, signal, 1000 * Number(answer.retryAfter ?? 0))
      }
    }
  }

  async function put(segment: Waiting, signal: AbortSignal): Promise<Answer | undefined> {
    if (config.pair === 'other') {
      const cleared = await clear(segment, signal, 'later')
      if (cleared === 'not-now') return { status: 503, text: 'the own server gets it first' }
      if (cleared === undefined || 'status' in cleared) return cleared
      return send(segment, cleared, signal)
    }
    const read = () => spool.read(segment)
    const whole =
      config.pair === 'own' ? await settlement!.read(segment, read).catch(failedRead) : await read()
    if (whole === 'not-now') return { status: 503, text: 'it is just being written anew' }
    if (whole === undefined || 'status' in whole) return whole
    return send(segment, parcelOf(whole), signal)
  }

  /** A disk on which nothing can be noted is waited for, as a server is that cannot store. */
  function failedRead(error: Error): Answer {
    return { status: 503, text: `not sent: ${error.message}` }
  }

  async function send(
    { kind, sequence }: Waiting,
    whole: Parcel,
    signal: AbortSignal,
  ): Promise<Answer> {
    const parcel = takesNarrow ? whole : await forOlder(kind, whole)
    return call('PUT', linkPaths.segment(spool.collector, kind, sequence), {
      signal,
      timeoutMs: segmentTimeoutMs,
      body: parcel.body,
      headers: {
        'content-type': 'application/octet-stream',
        'content-encoding': 'zstd',
        [linkHeaders.rows]: parcel.rows,
        [linkHeaders.nativeBytes]: parcel.nativeBytes,
        [linkHeaders.sha256]: parcel.sha256,
      },
    })
  }

  /**
   * Claims a segment, and leaves out what is not to be stored.
   *
   * @returns what the server is to get of it; or what it answers instead; undefined: nothing of the
   *   segment remains; 'not-now': the own server has yet to get what would be left out
   */
  async function clear(
    segment: Waiting,
    signal: AbortSignal,
    stored: ClaimStored,
  ): Promise<Parcel | Answer | 'not-now' | undefined> {
    const whole = await spool.read(segment)
    if (whole === undefined) return undefined
    const answer = await claim(whole, signal, stored)
    // A server without a collector of its own has taken nothing.
    if (answer.status !== 200 && answer.status !== 404) {
      failed(false)
      return answer
    }
    settlement?.reached(server.name)
    if (answer.status === 404) return parcelOf(whole)
    const { taken, stored: there } = claimAnswer.parse(JSON.parse(answer.text))
    let parcel: Parcel | undefined = parcelOf(whole)
    if (taken.length > 0) {
      const rest = await leaveOut(whole, taken)
      const hashes = taken.map(place => whole.manifest!.hashes[place]!)
      const write = () => spool.replace(segment, rest)
      if (!(await settlement!.leaveOut(segment, hashes, write))) return 'not-now'
      parcel = rest && parcelOf(rest)
      if (parcel === undefined) settlement!.agreed(segment)
    }
    if (parcel === undefined || there.length === 0) return parcel
    const rest = await leaveOut(
      whole,
      [...taken, ...there].sort((a, b) => a - b),
    )
    // What is not sent is there.
    return rest ? parcelOf(rest) : { status: 200, text: '' }
  }

  /**
   * What the server has, but not from this connection: it may have been brought there by others,
   * without what they had of their own.
   */
  async function clearReceived(own: string, signal: AbortSignal) {
    for (const kind of takes) {
      for (let after = -1; ; ) {
        const segment = spool.next(own, kind, after)
        if (segment === undefined) break
        after = segment.sequence
        if (!spool.has(server.name, segment) || settlement!.isSettled(segment)) continue
        const cleared = await clear(segment, signal, 'here')
        // What the own server stores alone needs no agreement.
        if (cleared === undefined || cleared === 'not-now') continue
        if ('status' in cleared && cleared.status !== 200) {
          throw new Error(`${cleared.status}: ${cleared.text}`)
        }
        settlement!.settle(segment)
      }
    }
  }

  function claim({ header, manifest }: WholeSegment, signal: AbortSignal, stored: ClaimStored) {
    return call('POST', linkPaths.claim(header.collector, header.kind, header.sequence), {
      signal,
      timeoutMs: claimTimeoutMs,
      body: encodeManifest(manifest ?? emptyManifest),
      headers: {
        'content-type': 'application/octet-stream',
        [linkHeaders.age]: Math.max(0, Math.round(deps.clock.wall() - header.lastMs)),
        [linkHeaders.stored]: stored,
      },
    })
  }

  async function tell(path: string, timeoutMs: number, headers = {}) {
    if (!caller.isOpen) return
    await call('POST', path, { signal: stopping.signal, timeoutMs, headers }).catch(error =>
      deps.log.debug({ server: server.name, error }, 'not told'),
    )
  }

  return {
    async start() {
      stopping = new AbortController()
      caller.open()
      running = run(stopping.signal)
    },

    async stop() {
      stopping.abort()
      await running
      caller.close()
    },

    async alive() {
      if (reachable) await tell(linkPaths.alive, claimTimeoutMs)
    },

    hello: () =>
      tell(linkPaths.hello, helloTimeoutMs, { [linkHeaders.server]: settlement?.own ?? '' }),

    wake() {
      waking.abort()
      waking = new AbortController()
    },

    async report(collector) {
      if (!caller.isOpen) return undefined
      const known = takesNarrow ? collector : stateForOlder(collector)
      const body = Buffer.from(JSON.stringify(known))
      try {
        const { status, text } = await call('POST', linkPaths.collectors, {
          signal: stopping.signal,
          timeoutMs: reportTimeoutMs,
          body,
          headers: { 'content-type': 'application/json' },
        })
        return status === 200 ? collectorAnswer.parse(JSON.parse(text)) : undefined
      } catch (error) {
        deps.log.debug({ server: server.name, error }, 'state not reported')
        return undefined
      }
    },

    state: () => ({
      server: server.name,
      reachable,
      waiting: spool.waiting(server.name),
      behindMs: behindMs(),
      delivered,
      lastError,
    }),
  }
}

/** Half of the time for sure, the other half by chance, so that many collectors do not come at once. */
function pause(failures: number, signal: AbortSignal, atLeastMs = 0): Promise<void> {
  const most = Math.min(backoff.mostMs, backoff.firstMs * 2 ** Math.min(failures, 10))
  const ms = Math.max(Math.min(atLeastMs, backoff.mostMs), most / 2 + (Math.random() * most) / 2)
  return sleep(ms, undefined, { signal }).catch(() => {})
}

/** One counter for all servers of a process. */
function deliveredCounter(metrics: Metrics): Counter<'server' | 'kind' | 'result'> {
  const name = 'keepwatch_delivered_segments_total'
  const existing = metrics.getSingleMetric(name)
  if (existing !== undefined) return existing as Counter<'server' | 'kind' | 'result'>
  return new Counter({
    name,
    help: 'Segments sent to a server, by what became of it.',
    labelNames: ['server', 'kind', 'result'],
    registers: [metrics],
  })
}
