/**
 * Telemetry that this server lacks and the other has: from before this one joined, or from when it was
 * away for longer than collectors could keep it. It is copied from the other in the background, the
 * newest first, at most half of the time. What collectors still have, they bring.
 */
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { constants, createZstdCompress } from 'node:zlib'
import { Counter, Gauge } from 'prom-client'
import { z } from 'zod'
import type { CollectorState, Receiver } from '../../collect/receive.ts'
import type { LinkClient } from '../../failover/files/link-client.ts'
import {
  answering,
  type Route,
  RouteRefusal,
  readBody,
  sendJson,
} from '../../failover/files/route.ts'
import type { PeerAddress } from '../../failover/peer.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Tally } from '../../lib/tally.ts'
import type { History, Lacks, Window } from '../../store/clickhouse/history.ts'
import { type Kind, kinds } from '../../telemetry/table.ts'

export interface CatchUp extends Component {
  readonly routes: readonly Route[]
  state(): Completeness[]
}

/** How much of the telemetry that its pair has a server lacks, as far as it is known. */
export interface Completeness {
  server: string
  /** By kind; empty: nothing. Undefined: not known yet. */
  lacks: readonly Lacks[] | undefined
  /** When that was found, ms since 1970. */
  foundAt: number | undefined
  /** What is copied now. */
  copying: Pick<Window, 'kind' | 'rows' | 'fromMs' | 'toMs'> | undefined
  /** Rows, since the last time that nothing was lacking. */
  copiedRows: number
  lastError: string | undefined
}

const paths = { offer: '/link/v1/history/offer', rows: '/link/v1/history/rows' } as const
const idleMs = 30_000
const againMs = 5000
const mostRestMs = 10_000
/** What is younger may be on its way by itself. */
const settledMs = 60_000
/** A collector that was heard so recently brings what it has. */
const heardMs = 15_000
const behindMs = 30_000
const mostRows = 1_000_000
const offerWithinMs = 120_000
const rowsWithinMs = 600_000
const maxRequestBytes = 16 * 1024 * 1024

const count = z.number().int().min(0)
const kind = z.enum(kinds)
const ranges = z.array(z.tuple([count, count]))
const offerRequest = z.object({
  has: z.record(z.string(), z.partialRecord(kind, ranges)),
  before: z.partialRecord(kind, count),
  untilMs: count,
  mostRows: count.min(1),
  /** Since when the collector inside the server that asks has stored something; null: never, or there is none. */
  listensSince: count.nullable(),
})
const span = { kind, fromMs: count, toMs: count }
const segments = z.object({ collector: z.string(), first: count, last: count, kind })
const window = z.object({
  ...{ ...span, rows: count, sum: z.string(), mark: count },
  completes: z.array(segments.extend({ rows: count, fromMs: count, toMs: count })),
})
const offerAnswer = z.object({
  lacks: z.array(z.object({ ...span, segments: count, rows: count })),
  ranges: z.array(segments),
  window: window.optional(),
})

export function createCatchUp(
  deps: {
    clock: Clock
    log: Log
    metrics: Metrics
    tally: Pick<Tally<'catch-up'>, 'count'>
    history: History
    link: LinkClient
    /** The engine takes and gives. */
    ready(): boolean
    peer(): PeerAddress | undefined
    collectors: Receiver['collectors']
    /** Identity of the collector inside this server, if there is one. */
    ownCollector(): string | undefined
  },
  config: { self: string },
): CatchUp {
  const { clock, history, link, log, tally } = deps
  const own = nothingKnown(config.self)
  let other: Completeness | undefined
  let stopping = new AbortController()
  let running: Promise<void> = Promise.resolve()
  /** By kind: from where on everything was looked at. */
  let before: Partial<Record<Kind, number>> = {}
  const copied = new Counter({
    name: 'keepwatch_history_rows_total',
    help: 'Rows of telemetry in the windows that were copied from the other server.',
    labelNames: ['kind'],
    registers: [deps.metrics],
  })
  new Gauge({
    name: 'keepwatch_history_lacking_rows',
    help: 'Rows of telemetry that the other server has and this one has not.',
    labelNames: ['kind'],
    registers: [deps.metrics],
    collect() {
      for (const kind of kinds) {
        this.set({ kind }, own.lacks?.find(each => each.kind === kind)?.rows ?? 0)
      }
    },
  })

  async function run(stop: AbortSignal) {
    while (!stop.aborted) {
      let restMs = againMs
      const peer = deps.peer()
      try {
        if (peer !== undefined && deps.ready() && !collectorsBring())
          restMs = await step(peer, stop)
      } catch (error) {
        if (stop.aborted) return
        before = {}
        own.lastError = (error as Error).message
        tally.count('catch-up', () => ({ error: own.lastError }))
      }
      own.copying = undefined
      await sleep(restMs, undefined, { signal: stop }).catch(() => {})
    }
  }

  /** @returns how long to rest */
  async function step(peer: PeerAddress, stop: AbortSignal): Promise<number> {
    const began = clock.monotonic()
    const offer = await ask(peer, stop)
    own.lacks = offer.lacks
    own.foundAt = clock.wall()
    own.lastError = undefined
    if (offer.window === undefined) {
      const again = Object.keys(before).length > 0
      before = {}
      if (offer.lacks.length > 0) return again ? againMs : idleMs
      if (own.copiedRows > 0)
        log.info({ rows: own.copiedRows }, 'all telemetry of the other is here')
      own.copiedRows = 0
      // What the other does not offer yet may still be known as being here in part.
      if (offer.ranges.length === 0) await history.forget()
      return idleMs
    }
    await take(peer, offer.window, offer.ranges, stop)
    return Math.min(mostRestMs, clock.monotonic() - began)
  }

  async function take(
    peer: PeerAddress,
    next: Window,
    ranges: Parameters<History['expect']>[0],
    stop: AbortSignal,
  ) {
    const { fromMs, kind, rows, toMs } = next
    own.copying = { fromMs, kind, rows, toMs }
    await history.expect(ranges)
    if ((await history.compare(next)) !== 'same') {
      await history.take(next, await open(peer, next, stop))
      const there = await history.compare(next)
      // More: this server has some of that time that the other lacks.
      if (there === 'less' || there === 'other') {
        throw new Error(
          `a window of ${rows} rows of ${kind} is ${there === 'less' ? 'not whole' : 'not the same'} after it was copied from ${peer.name}`,
        )
      }
      copied.inc({ kind }, rows)
      own.copiedRows += rows
    }
    await history.record(next.completes)
    before[kind] = fromMs
  }

  async function ask(peer: PeerAddress, stop: AbortSignal) {
    const collector = deps.ownCollector()
    const listensSince = collector === undefined ? undefined : await history.firstOf(collector)
    const request: z.input<typeof offerRequest> = {
      ...{ has: history.has(), before, mostRows, untilMs: clock.wall() - settledMs },
      listensSince: listensSince ?? null,
    }
    const { body } = await link.ask(peer, {
      ...{ method: 'POST', path: paths.offer, withinMs: offerWithinMs, stopped: stop },
      body: Buffer.from(JSON.stringify(request)),
    })
    return offerAnswer.parse(JSON.parse(body.toString()))
  }

  function open(peer: PeerAddress, next: Window, stop: AbortSignal): Promise<IncomingMessage> {
    return link.open(peer, {
      ...{ method: 'POST', path: paths.rows, withinMs: rowsWithinMs, stopped: stop },
      body: Buffer.from(JSON.stringify({ ...next, completes: [] })),
    })
  }

  /** Whether collectors that are there still have much for this server. */
  function collectorsBring(): boolean {
    const heard = deps.collectors().filter(({ seenAt }) => clock.wall() - seenAt < heardMs)
    return heard.some(({ state }) => delivers(state))
  }

  function delivers({ deliveries }: CollectorState): boolean {
    return deliveries.some(
      delivery => delivery.server === config.self && (delivery.behindMs ?? 0) > behindMs,
    )
  }

  const routes: Route[] = [
    {
      ...{ method: 'POST', prefix: paths.offer, role: 'server' },
      answer: (request, response, from) =>
        answering(response, async () => {
          const { listensSince, untilMs, ...asked } = await bodyOf(request, offerRequest)
          const offer = await history.offer({
            ...asked,
            untilMs: Math.min(untilMs, listensSince === null ? untilMs : await alone(listensSince)),
          })
          other = { ...(other ?? nothingKnown(from.name)), lacks: offer.lacks }
          other.server = from.name
          other.foundAt = clock.wall()
          sendJson(response, 200, offer)
        }),
    },
    {
      ...{ method: 'POST', prefix: paths.rows, role: 'server' },
      answer: (request, response) =>
        answering(response, async () => {
          const rows = await history.read(await bodyOf(request, window))
          if (rows === undefined) throw new RouteRefusal(409, 'there is more in it by now')
          const level = { [constants.ZSTD_c_compressionLevel]: 1 }
          const packed = createZstdCompress({ params: level })
          rows.once('error', error => packed.destroy(error))
          packed.once('error', () => response.destroy())
          response.once('close', () => rows.destroy())
          response.writeHead(200, { 'content-type': 'application/octet-stream' })
          rows.pipe(packed).pipe(response)
        }),
    },
  ]

  /**
   * Where the collectors of both servers listen, each has what it heard itself, with its own time of
   * receipt: only what is older can be told apart.
   */
  async function alone(listensSince: number): Promise<number> {
    const collector = deps.ownCollector()
    const own = collector === undefined ? undefined : await history.firstOf(collector)
    return own === undefined ? Number.MAX_SAFE_INTEGER : listensSince - 1
  }

  return {
    routes,
    state: () => [{ ...own }, ...(other === undefined ? [] : [{ ...other }])],
    start() {
      stopping = new AbortController()
      running = run(stopping.signal)
      return Promise.resolve()
    },
    async stop() {
      stopping.abort()
      await running
      link.close()
    },
  }
}

function nothingKnown(server: string): Completeness {
  return {
    ...{ server, lacks: undefined, foundAt: undefined, copying: undefined, copiedRows: 0 },
    lastError: undefined,
  }
}

async function bodyOf<T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<T> {
  const body = await readBody(request, maxRequestBytes)
  try {
    return schema.parse(JSON.parse(body.toString()))
  } catch (error) {
    throw new RouteRefusal(400, (error as Error).message)
  }
}
