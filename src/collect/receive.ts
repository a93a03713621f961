/**
 * The server's end of the link: takes segments from collectors and answers only when the store has
 * them, so that "acknowledged" means durable. Delivered twice is stored once: the segment's identity
 * goes along, and the store answers `duplicate`.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { Gauge, Histogram } from 'prom-client'
import { collectorState } from '../api/contract/watch.ts'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import { type Connections, trackConnections } from '../lib/connections.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import type { Identity } from '../lib/tls.ts'
import { refuseUpgrade } from '../lib/upgraded.ts'
import { within } from '../lib/within.ts'
import { type Kind, kinds } from '../telemetry/table.ts'
import { createBlockMemory } from './block-memory.ts'
import { createDecompressor } from './decompressor.ts'
import {
  type CollectorAnswer,
  type CollectorState,
  certificateRole,
  type LinkRole,
  type LinkRoute,
  linkHeaders,
  linkPaths,
  type ReceivedAnswer,
  type ReceivedSegments,
} from './link.ts'
import { nativeRows, type SegmentId } from './segment.ts'
import type { Zstd } from './zstd.ts'

/** What the receiver needs of a telemetry store. */
export interface SegmentStore {
  /**
   * Stores all rows or none; resolves when they survive a crash, and keeps nothing of the bytes, whose
   * memory is used again then. Rejects with an error whose property
   * `refused` is true if it will never take this segment, with any other if trying again may help.
   * @param packed the same block compressed with zstd, if it is at hand
   */
  insertSegment(
    id: SegmentId & { rows: number },
    native: Uint8Array,
    packed?: Uint8Array,
  ): Promise<'stored' | 'duplicate'>
  /** What it has of a collector. */
  received(collector: string): Promise<ReceivedSegments>
}

export interface ReceiverDeps {
  store: SegmentStore
  identity: Identity
  log: Log
  metrics: Metrics
  clock: Clock
  /** Else Node's own way to unpack is gone, which is slower. */
  zstd: Zstd | undefined
  /** Called after each segment that was stored, not for duplicates; its memory is used again after. */
  onStored?: (kind: Kind, native: Uint8Array, collector: string) => void
  /** What the peer server is told when it asks. */
  linkState: () => object
  /** What other parts of the server answer on the link. */
  routes?: readonly LinkRoute[]
  /** Takes a connection that changes over to a protocol of its own. @returns false if it is for nobody */
  upgrade?(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  /** Whether a segment of a server's own collector may be stored, and what became of it. */
  gate?: SegmentGate
  /** Who the servers of the pair are, for collectors that were told of one. */
  servers?: () => CollectorAnswer
}

/** Between the collectors of a pair: a segment is stored only after its datagrams were claimed. */
export interface SegmentGate {
  /** False: it has to be claimed first, and is sent again then. */
  admit(id: SegmentId): boolean
  /** Once for each that was admitted: the store has it, or not; maybe after the sender lost patience. */
  ended(id: SegmentId, stored: boolean): void
}

export interface ReceiverConfig {
  host: string
  /** 0: any free one. */
  port: number
  /** Compressed bytes of one segment. */
  maxBodyBytes?: number
  /** Bytes of one segment unpacked. */
  maxNativeBytes?: number
  /** Bytes of all segments being received and stored; beyond it a collector is told to wait. */
  maxInFlightBytes?: number
  /** How long the store may take before the collector is told to try again. */
  storeTimeoutMs?: number
}

export type { CollectorState } from './link.ts'

export interface Receiver extends Component {
  readonly port: number
  /** What each collector last said of itself, and when (ms since 1970). */
  collectors(): { state: CollectorState; seenAt: number }[]
}

type ReceiveProblem =
  | 'bad-certificate'
  | 'wrong-role'
  | 'bad-request'
  | 'too-large'
  | 'busy'
  | 'checksum'
  | 'not-decodable'
  | 'refused-by-store'
  | 'store-failed'
  | 'store-slow'
  | 'connection-lost'
  /** A segment of the other server that it has to claim first. */
  | 'not-claimed'
  /** Two programs say that they are the same collector. */
  | 'identity-used-twice'
  | 'listener-failed'

/** An answer other than 200. */
class Refusal extends Error {
  readonly status: number
  readonly problem: ReceiveProblem
  constructor(status: number, problem: ReceiveProblem, message: string) {
    super(message)
    this.status = status
    this.problem = problem
  }
}

const maxCollectors = 1000
/** Memory of bodies that is used again: garbage of this size costs more than all else that is done here. */
const keptBodies = { keep: 8, mostBytes: 16 * 1024 * 1024 }
const stopMs = 5000
const maxStateBytes = 8 * 1024 * 1024
const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const segmentPath = new RegExp(`^/link/v1/segments/(${uuid})/(${kinds.join('|')})/(\\d{1,15})$`)
const segmentsPath = new RegExp(`^/link/v1/segments/(${uuid})$`)

export function createReceiver(deps: ReceiverDeps, config: ReceiverConfig): Receiver {
  const {
    maxBodyBytes = 128 * 1024 * 1024,
    maxNativeBytes = 256 * 1024 * 1024,
    maxInFlightBytes = 512 * 1024 * 1024,
    storeTimeoutMs = 25_000,
  } = config
  const tally = createTally<ReceiveProblem>(deps, {
    name: 'receive_problems',
    help: 'What was wrong with collectors and their requests, by reason.',
  })
  const duration = new Histogram({
    name: 'keepwatch_receive_segment_seconds',
    help: 'Time from the request for a segment to its answer, by result.',
    labelNames: ['result'],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [deps.metrics],
  })
  let inFlightBytes = 0
  new Gauge({
    name: 'keepwatch_receive_in_flight_bytes',
    help: 'Bytes of segments being received and stored.',
    registers: [deps.metrics],
    collect() {
      this.set(inFlightBytes)
    },
  })
  const collectors = new Map<string, { state: CollectorState; seenAt: number }>()
  const unpacked = createDecompressor(deps)
  const bodies = createBlockMemory(keptBodies)
  /** By identity: a collector that lost patience sends again while the first is still being stored. */
  const inserts = new Map<string, Promise<'stored' | 'duplicate'>>()
  let server: Server | undefined
  let connections: Connections | undefined
  let port = config.port

  async function answer(request: IncomingMessage, response: ServerResponse) {
    const { method = '', url = '' } = request
    const certificate = (request.socket as TLSSocket).getPeerCertificate()
    const role = certificateRole(certificate)
    const segment = method === 'PUT' ? segmentPath.exec(url) : null
    if (segment !== null) {
      demand(role, 'collector')
      const id = {
        collector: segment[1]!,
        kind: segment[2] as Kind,
        sequence: Number(segment[3]),
      }
      const end = duration.startTimer()
      const result =
        role === 'server' && deps.gate !== undefined
          ? await takeGated(request, id, deps.gate)
          : await takeSegment(request, id)
      end({ result })
      return json(response, 200, { result })
    }
    const segments = method === 'GET' ? segmentsPath.exec(url) : null
    if (segments !== null) {
      demand(role, 'collector')
      const received = await storeAnswer(deps.store.received(segments[1]!))
      return json(response, 200, { ...received, narrow: true } satisfies ReceivedAnswer)
    }
    if (method === 'POST' && url === linkPaths.collectors) {
      demand(role, 'collector')
      takeState(await readBody(request, contentLength(request, maxStateBytes)))
      return json(response, 200, deps.servers?.() ?? {})
    }
    if (method === 'GET' && url === linkPaths.state) {
      demand(role, 'server')
      return json(response, 200, deps.linkState())
    }
    const route = deps.routes?.find(one => one.method === method && url.startsWith(one.prefix))
    if (route !== undefined) {
      demand(role, route.role)
      return route.answer(request, response, { role: role!, name: String(certificate.subject.CN) })
    }
    throw new Refusal(404, 'bad-request', `there is no ${method} ${url}`)
  }

  async function takeGated(request: IncomingMessage, id: SegmentId, gate: SegmentGate) {
    if (!gate.admit(id)) {
      throw new Refusal(409, 'not-claimed', 'say first which datagrams are in it')
    }
    let stored = false
    try {
      const result = await takeSegment(request, id)
      stored = true
      return result
    } finally {
      const running = inserts.get(keyOf(id))
      if (running === undefined) gate.ended(id, stored)
      else {
        running.then(
          () => gate.ended(id, true),
          () => gate.ended(id, false),
        )
      }
    }
  }

  async function takeSegment(request: IncomingMessage, id: SegmentId) {
    if (request.headers['content-encoding'] !== 'zstd') {
      throw new Refusal(400, 'bad-request', 'the content encoding must be zstd')
    }
    const bodyBytes = contentLength(request, maxBodyBytes)
    const nativeBytes = numberHeader(request, linkHeaders.nativeBytes)
    const rows = numberHeader(request, linkHeaders.rows)
    if (nativeBytes > maxNativeBytes) {
      throw new Refusal(422, 'too-large', `a segment has at most ${maxNativeBytes} bytes unpacked`)
    }
    const weight = bodyBytes + nativeBytes
    if (inFlightBytes > 0 && inFlightBytes + weight > maxInFlightBytes) {
      throw new Refusal(503, 'busy', 'too much is being stored at this moment')
    }
    inFlightBytes += weight
    let storing: Promise<unknown> | undefined
    try {
      const body = bodies.take(bodyBytes).subarray(0, bodyBytes)
      await readInto(body, request)
      if (createHash('sha256').update(body).digest('hex') !== request.headers[linkHeaders.sha256]) {
        throw new Refusal(400, 'checksum', 'the body is not what its checksum says')
      }
      const native = await unpacked.decompress(body, nativeBytes).catch(() => undefined)
      if (native?.length !== nativeBytes || nativeRows(native) !== rows) {
        throw new Refusal(
          422,
          'not-decodable',
          'the body is not the Native block that it should be',
        )
      }
      const insert = insertOnce({ ...id, rows }, native, body).then(result => {
        // After an error somebody may still be reading it.
        bodies.giveBack(body)
        unpacked.giveBack(native)
        return result
      })
      storing = insert
      return await storeAnswer(insert)
    } finally {
      const done = () => {
        inFlightBytes -= weight
      }
      // A store that is slower than the answer still holds the bytes.
      if (storing === undefined) done()
      else void storing.then(done, done)
    }
  }

  function insertOnce(id: SegmentId & { rows: number }, native: Uint8Array, packed: Uint8Array) {
    const key = keyOf(id)
    const running = inserts.get(key)
    if (running !== undefined) return running.then((): 'duplicate' => 'duplicate')
    const insert = deps.store
      .insertSegment(id, native, packed)
      .then(result => {
        if (result === 'stored') announce(id, native)
        return result
      })
      .finally(() => inserts.delete(key))
    inserts.set(key, insert)
    return insert
  }

  function announce({ kind, collector }: SegmentId, native: Uint8Array) {
    try {
      deps.onStored?.(kind, native, collector)
    } catch (error) {
      deps.log.error({ kind, error }, 'a stored segment could not be announced')
    }
  }

  /** The store's answer within its deadline; its errors as the collector is to understand them. */
  async function storeAnswer<T>(pending: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Refusal(503, 'store-slow', 'the store did not answer in time')),
        storeTimeoutMs,
      )
    })
    try {
      return await Promise.race([pending, late])
    } catch (error) {
      if (error instanceof Refusal) throw error
      const { message, refused } = error as Error & { refused?: boolean }
      if (refused === true) throw new Refusal(422, 'refused-by-store', message)
      throw new Refusal(503, 'store-failed', message)
    } finally {
      clearTimeout(timer)
    }
  }

  function takeState(body: Buffer) {
    let state: CollectorState
    try {
      state = collectorState.parse(JSON.parse(body.toString('utf8')))
    } catch (error) {
      throw new Refusal(400, 'bad-request', `not a collector’s state: ${(error as Error).message}`)
    }
    const before = collectors.get(state.id)?.state
    if (before !== undefined && before.startedAt > state.startedAt) {
      // Each would be told that its segments are duplicates of the other's.
      tally.count('identity-used-twice', () => ({
        collector: state.id,
        names: [before.name, state.name],
        hint: 'one runs on a copy of the other’s spool: give it an empty folder',
      }))
    }
    // Taken out and put back, the map is in order of time, and its first is the longest silent.
    collectors.delete(state.id)
    collectors.set(state.id, { state, seenAt: deps.clock.wall() })
    if (collectors.size > maxCollectors) collectors.delete(collectors.keys().next().value!)
  }

  async function handle(request: IncomingMessage, response: ServerResponse) {
    try {
      await answer(request, response)
    } catch (error) {
      if (request.destroyed && !request.complete) return tally.count('connection-lost')
      const { status, problem, message } =
        error instanceof Refusal
          ? error
          : new Refusal(500, 'listener-failed', (error as Error).message)
      tally.count(problem, () => ({
        message,
        url: request.url,
        from: request.socket.remoteAddress,
      }))
      // What was not read is read and thrown away, so that the connection stays usable.
      request.resume()
      if (status === 503) response.setHeader('retry-after', '1')
      json(response, status, { error: { code: problem, message } })
    }
  }

  return {
    get port() {
      return port
    },

    async start() {
      const opened = createServer(
        {
          key: deps.identity.key,
          cert: deps.identity.cert,
          ca: deps.identity.ca,
          requestCert: true,
          rejectUnauthorized: true,
          minVersion: 'TLSv1.3',
          requestTimeout: 60_000,
          headersTimeout: 10_000,
          keepAliveTimeout: 60_000,
          handshakeTimeout: 10_000,
        },
        (request, response) => void handle(request, response),
      )
      opened.maxConnections = 4096
      opened.on('upgrade', (request, socket, head) => {
        if (deps.upgrade?.(request, socket, head)) return
        refuseUpgrade(socket, '404 Not Found')
      })
      connections = trackConnections(opened)
      opened.on('tlsClientError', (error, socket) =>
        tally.count('bad-certificate', () => ({
          error: error.message,
          from: socket.remoteAddress,
        })),
      )
      await new Promise<void>((resolve, reject) => {
        opened.once('error', reject)
        opened.listen({ host: config.host, port: config.port }, resolve)
      })
      opened.removeAllListeners('error')
      opened.on('error', error => tally.count('listener-failed', () => ({ error: error.message })))
      port = (opened.address() as AddressInfo).port
      server = opened
    },

    async stop() {
      const closing = server
      server = undefined
      if (closing === undefined) return
      const closed = new Promise<void>(resolve => closing.close(() => resolve()))
      connections?.cut()
      await closed
      // What the store finishes now need not be sent again; one that hangs is not waited for.
      await within(Math.min(storeTimeoutMs, stopMs), Promise.allSettled(inserts.values()))
    },

    collectors: () => [...collectors.values()],
  }
}

function keyOf({ collector, kind, sequence }: SegmentId): string {
  return `${collector}/${kind}/${sequence}`
}

function demand(role: LinkRole | undefined, wanted: LinkRole) {
  // A server may ask what a collector may: it has a collector inside.
  if (role === wanted || role === 'server') return
  throw new Refusal(403, 'wrong-role', `only a ${wanted} may ask this`)
}

function contentLength(request: IncomingMessage, most: number): number {
  const length = numberHeader(request, 'content-length')
  if (length > most) throw new Refusal(422, 'too-large', `a body has at most ${most} bytes`)
  return length
}

function numberHeader(request: IncomingMessage, name: string): number {
  const text = request.headers[name]
  if (typeof text !== 'string' || !/^\d{1,15}$/.test(text)) {
    throw new Refusal(400, 'bad-request', `the header ${name} must be a number`)
  }
  return Number(text)
}

async function readBody(request: IncomingMessage, length: number): Promise<Buffer> {
  const body = Buffer.allocUnsafe(length)
  await readInto(body, request)
  return body
}

/** @throws if that is not its length */
async function readInto(body: Uint8Array, request: IncomingMessage) {
  let at = 0
  for await (const chunk of request) {
    ;(chunk as Buffer).copy(body, at)
    at += (chunk as Buffer).length
  }
  if (at !== body.length) throw new Refusal(400, 'connection-lost', 'the body was cut off')
}

function json(response: ServerResponse, status: number, body: object) {
  if (response.destroyed || response.headersSent) return void response.destroy()
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}
