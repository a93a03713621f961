/**
 * Delivery to one server: everything that the spool holds for it, in order per kind, several at a
 * time. After each (re)connection the server is asked what it has, so that nothing is sent again;
 * what it will never take is put aside; everything else is repeated until it is acknowledged.
 */
import { Agent, request as httpsRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { Counter } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Identity } from '../lib/tls.ts'
import { type Kind, kinds } from '../telemetry/table.ts'
import { certificateRole, linkHeaders, linkPaths, receivedSegments } from './link.ts'
import type { Spool, Waiting } from './spool.ts'

export interface DeliveryConfig {
  /** The server's name, by which the spool knows it, and its URL (`https://host:port`). */
  server: { name: string; url: string }
  /** Segments of one kind under way at once. */
  pipeline?: number
  /** How long a segment may take until it is acknowledged. */
  segmentTimeoutMs?: number
}

export interface DeliveryState {
  server: string
  reachable: boolean
  waiting: number
  delivered: number
  lastError: string | null
}

export interface Delivery extends Component {
  state(): DeliveryState
  /** Tells the server how the collector is; resolves when it was told or cannot be. */
  report(collector: object): Promise<void>
}

const backoff = { firstMs: 50, mostMs: 5000 }
const questionTimeoutMs = 10_000
const reportTimeoutMs = 5000
const maxAnswerBytes = 4 * 1024 * 1024

export function createDelivery(
  deps: {
    spool: Spool
    identity: Identity
    log: Log
    metrics: Metrics
    clock: Clock
  },
  config: DeliveryConfig,
): Delivery {
  const { server, pipeline = 4, segmentTimeoutMs = 30_000 } = config
  const { spool } = deps
  const segments = deliveredCounter(deps.metrics)
  let agent: Agent | undefined
  let stopping = new AbortController()
  let running: Promise<void> = Promise.resolve()
  let reachable = false
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
        const received = receivedSegments.parse(JSON.parse(has.text))
        for (const kind of kinds) spool.received(server.name, kind, received[kind])
        if (!reachable) deps.log.info({ server: server.name }, 'server reached')
        reachable = true
        lastError = null
        failures = 0
        await deliverAll(signal)
      } catch (error) {
        session.abort()
        if (stop.aborted) return
        note((error as Error).message)
        await pause(failures++, stop)
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

  /** Ends with the first error of the connection, when nothing of it is under way any more. */
  async function deliverAll(signal: AbortSignal) {
    const first = new AbortController()
    const both = AbortSignal.any([signal, first.signal])
    const lanes = kinds.flatMap(kind => {
      const lane = { kind, sent: -1 }
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

  async function carry(lane: { kind: Kind; sent: number }, signal: AbortSignal) {
    while (!signal.aborted) {
      const segment = spool.next(server.name, lane.kind, lane.sent)
      if (segment === undefined) {
        await sealed(lane.kind, signal)
        continue
      }
      lane.sent = segment.sequence
      await deliver(segment, signal)
    }
  }

  function sealed(kind: Kind, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        end()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const end = spool.onSealed(sealedKind => sealedKind === kind && done())
      signal.addEventListener('abort', done)
    })
  }

  /** Until the server has it or has refused it. @throws when the connection is the trouble */
  async function deliver(segment: Waiting, signal: AbortSignal) {
    const { kind, sequence } = segment
    for (let failures = 0; !signal.aborted; failures++) {
      const answer = await put(segment, signal)
      if (answer === undefined) return
      switch (answer.status) {
        case 200:
          spool.acknowledged(server.name, kind, sequence)
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

  async function put(segment: Waiting, signal: AbortSignal) {
    const whole = await spool.read(segment)
    if (whole === undefined) return undefined
    const { header, body } = whole
    return call('PUT', linkPaths.segment(header.collector, header.kind, header.sequence), {
      signal,
      timeoutMs: segmentTimeoutMs,
      body,
      headers: {
        'content-type': 'application/octet-stream',
        'content-encoding': 'zstd',
        [linkHeaders.rows]: header.rows,
        [linkHeaders.nativeBytes]: header.nativeBytes,
        [linkHeaders.sha256]: header.sha256,
      },
    })
  }

  function call(
    method: string,
    path: string,
    options: {
      signal: AbortSignal
      timeoutMs?: number
      body?: Uint8Array
      headers?: Record<string, string | number>
    },
  ): Promise<{ status: number; text: string; retryAfter: string | undefined }> {
    const { body, timeoutMs = questionTimeoutMs } = options
    return new Promise((resolve, reject) => {
      const deadline = AbortSignal.timeout(timeoutMs)
      const request = httpsRequest(
        new URL(path, server.url),
        {
          method,
          agent: agent!,
          signal: AbortSignal.any([options.signal, deadline]),
          headers: { ...options.headers, 'content-length': body?.length ?? 0 },
        },
        response => {
          const chunks: Buffer[] = []
          let length = 0
          response.on('data', (chunk: Buffer) => {
            chunks.push(chunk)
            length += chunk.length
            if (length > maxAnswerBytes) request.destroy(new Error('the answer is too long'))
          })
          response.on('error', fail)
          response.on('end', () =>
            resolve({
              status: response.statusCode!,
              text: Buffer.concat(chunks).toString('utf8'),
              retryAfter: response.headers['retry-after'],
            }),
          )
        },
      )
      function fail(error: Error) {
        reject(deadline.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error)
      }
      request.on('error', fail)
      request.end(body)
    })
  }

  return {
    async start() {
      stopping = new AbortController()
      agent = new Agent({
        key: deps.identity.key,
        cert: deps.identity.cert,
        ca: deps.identity.ca,
        minVersion: 'TLSv1.3',
        keepAlive: true,
        maxSockets: kinds.length * pipeline + 1,
        // Any server of the deployment will do, at whatever name or shared address it is reached:
        // what counts is that the authority calls it a server.
        checkServerIdentity: (_, certificate) =>
          certificateRole(certificate) === 'server'
            ? undefined
            : new Error('the other side is not a server of this deployment'),
      })
      running = run(stopping.signal)
    },

    async stop() {
      stopping.abort()
      await running
      agent?.destroy()
      agent = undefined
    },

    async report(collector) {
      if (agent === undefined) return
      const body = Buffer.from(JSON.stringify(collector))
      await call('POST', linkPaths.collectors, {
        signal: stopping.signal,
        timeoutMs: reportTimeoutMs,
        body,
        headers: { 'content-type': 'application/json' },
      }).catch(error => deps.log.debug({ server: server.name, error }, 'state not reported'))
    },

    state: () => ({
      server: server.name,
      reachable,
      waiting: spool.waiting(server.name),
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
