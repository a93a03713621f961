/**
 * The collector inside a server: a process of its own, started again when it ends. It receives what
 * devices send to this server's addresses and to the virtual one; while the server stands by it
 * keeps it for a takeover. Here is also the server's part in the agreement with the other server's
 * collector on who has taken which datagram: a segment of that one is stored after it was claimed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Counter } from 'prom-client'
import {
  type ClaimAnswer,
  type ClaimStored,
  type CollectorState,
  claimStored,
  type LinkRoute,
  linkHeaders,
  linkPaths,
} from '../../collect/link.ts'
import type { ListenerName, StreamTls } from '../../collect/listen.ts'
import { encodeManifest, type Manifest } from '../../collect/manifest.ts'
import { observeCollector } from '../../collect/observe.ts'
import type { SegmentGate } from '../../collect/receive.ts'
import type { SegmentId } from '../../collect/segment.ts'
import type { OwnCollectorSettings } from '../../collect/settings.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log, LogLevel } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Identity } from '../../lib/tls.ts'
import type { InterfaceCounters } from '../../telemetry/counter.ts'
import { kinds } from '../../telemetry/table.ts'
import type {
  NamedServer,
  OwnCollectorOrder,
  OwnCollectorReport,
} from './own-collector-protocol.ts'

export interface OwnCollectorConfig {
  /** Of the server; the collector is called the same. */
  name: string
  /** Of the server: the spool is in `spool/`, the flow templates in `flow/templates.json`. */
  dataDir: string
  /** Longer than the lease: the other server is gone if it was silent so long and this one is still active. */
  goneAfterMs: number
  settings: OwnCollectorSettings
  log: LogLevel
  /** Of its listeners with TLS. */
  streamTls?: StreamTls | undefined
}

export interface OwnCollector extends Component {
  /** Passive at start. Resolves when the collector's process has it, or is not there at present. */
  setMode(mode: 'active' | 'standby', term: number): Promise<void>
  /** Identity of its spool, once it was open. */
  readonly id: string | undefined
  /** What it last said of itself; undefined while its process is not there. */
  state(): CollectorState | undefined
  readonly ports: Partial<Record<ListenerName, number>>
  readonly pid: number | undefined
  /** What an exporter has told by SNMP, to be stored as what it sends by itself. */
  takeCounters(exporter: string, counters: readonly InterfaceCounters[]): void
  /** For the receiver: where the other server's collector claims. */
  readonly routes: readonly LinkRoute[]
  /** For the receiver: a segment of another server is stored only after it was claimed. */
  readonly gate: SegmentGate
  /**
   * For a segment that the other server left in the shared folder: places of datagrams that were
   * taken or stored here.
   */
  taken(manifest: Manifest, segment: SegmentId): Promise<number[]>
}

const firstDelayMs = 100
const lastDelayMs = 10_000
/** A collector that ran this long ended for a new reason. */
const settledMs = 60_000
const openDeadlineMs = 30_000
const stopDeadlineMs = 16_000
const roleEveryMs = 1000
const hearDeadlineMs = 1000
const claimDeadlineMs = 2800
const maxManifestBytes = 32 * 1024 * 1024
const maxAdmitted = 100_000
/** Half of what the collector keeps its promise for. */
const admittedMs = 30_000
const unknownAge = Number.MAX_SAFE_INTEGER
/** In which a killed server's collector lets go of ports and spool. */
const predecessorMs = 3000
const claimPath = new RegExp(
  `^/link/v1/claims/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/(?:${kinds.join('|')})/\\d{1,15})$`,
)

export function createOwnCollector(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    identity: Identity
    version: string
    /** The servers of the pair as far as they are known, this one among them. */
    servers: () => readonly NamedServer[]
    /** Addresses of the pair that this server has at the moment. */
    heldAddresses: () => readonly string[]
  },
  config: OwnCollectorConfig,
): OwnCollector {
  const { log, clock } = deps
  const restarts = new Counter({
    name: 'keepwatch_own_collector_restarts_total',
    help: 'How often the process of the server’s own collector ended by itself.',
    registers: [deps.metrics],
  })
  let child: ChildProcess | undefined
  let ready = false
  let running = false
  let delayMs = firstDelayMs
  let restart: NodeJS.Timeout | undefined
  let timer: NodeJS.Timeout | undefined
  let state: CollectorState | undefined
  let ports: Partial<Record<ListenerName, number>> = {}
  let id: string | undefined
  let mode = { active: false, term: 0 }
  let told = ''
  let asked = 0
  const answers = new Map<
    number,
    { resolve(answer: ClaimAnswer): void; reject(error: Error): void }
  >()
  /** Orders that are only heard. */
  const hearing = new Map<number, () => void>()
  /** Segments that were claimed since the last takeover, and until when they are let in; the oldest first. */
  const admitted = new Map<string, number>()
  /** How often each is being stored at this moment. */
  const storing = new Map<string, number>()

  function tell(order: OwnCollectorOrder) {
    // A process that has ended by now says so by `close`.
    child?.send(order, () => {})
  }

  function sayRole(): number {
    const order = ++asked
    const answering = deps.heldAddresses()
    tell({ type: 'role', id: order, ...mode, storing: [...storing.keys()], answering })
    return order
  }

  /** Resolves when the order was heard, or the process does not answer. */
  async function heardOf(order: number) {
    await new Promise<void>(resolve => {
      const late = setTimeout(resolve, hearDeadlineMs)
      hearing.set(order, () => {
        clearTimeout(late)
        resolve()
      })
    })
    hearing.delete(order)
  }

  function sayServers() {
    const servers = servingServers()
    const text = JSON.stringify(servers)
    if (text === told) return
    told = text
    tell({ type: 'servers', servers })
  }

  function servingServers(): NamedServer[] {
    return deps.servers().map(({ name, url }) => ({ name, url }))
  }

  /** Resolves when it receives. @throws if it ends before, in its own words */
  async function launch() {
    const servers = servingServers()
    if (!servers.some(({ name }) => name === config.name)) {
      throw new Error('this server does not know its own address on the link yet')
    }
    const { ring, ...settings } = config.settings
    const started = spawn(process.execPath, [processFile()], {
      // In a session of its own Ctrl-C in a terminal does not reach it.
      detached: true,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
      env: process.env,
    } as Parameters<typeof spawn>[2] & object)
    child = started
    const startedAt = clock.monotonic()
    await new Promise<void>((resolve, reject) => {
      let settled = false
      let reason = ''
      const late = setTimeout(() => started.kill('SIGKILL'), openDeadlineMs)
      started.on('error', error => {
        reason = error.message
      })
      started.on('message', (message: OwnCollectorReport) => {
        if (message.type === 'failed') reason = message.message
        if (message.type !== 'ready') return heard(message)
        clearTimeout(late)
        settled = true
        ready = true
        id = message.collector
        ports = message.ports
        told = JSON.stringify(servers)
        sayRole()
        resolve()
      })
      started.once('close', (code, signal) => {
        clearTimeout(late)
        forget()
        if (!settled) return reject(new Error(reason || `it ended (${signal ?? code})`))
        if (!running) return
        if (clock.monotonic() - startedAt > settledMs) delayMs = firstDelayMs
        again({ code, signal })
      })
      tell({
        type: 'open',
        identity: deps.identity,
        version: deps.version,
        log: config.log,
        streamTls: config.streamTls,
        settings: {
          ...settings,
          // Any free port stays the same one when the process is started again.
          listen: { ...settings.listen, ...ports },
          name: config.name,
          spool: join(config.dataDir, 'spool'),
          servers,
          followPair: false,
        },
        pair: {
          own: config.name,
          goneAfterMs: config.goneAfterMs,
          ring: { ms: 1000 * ring.seconds, bytes: ring.bytes },
          templates: join(config.dataDir, 'flow', 'templates.json'),
        },
      })
    })
  }

  function heard(message: OwnCollectorReport) {
    switch (message.type) {
      case 'heard':
        hearing.get(message.id)?.()
        break
      case 'claimed':
        answers.get(message.id)?.resolve(message.answer)
        break
      case 'not-claimed':
        answers.get(message.id)?.reject(new Error(message.message))
        break
      case 'state':
        state = message.state
        ports = message.ports
    }
  }

  function forget() {
    child = undefined
    ready = false
    state = undefined
    for (const { reject } of answers.values()) reject(new Error('the collector’s process ended'))
    for (const resolve of hearing.values()) resolve()
  }

  function again(detail: Record<string, unknown>) {
    restarts.inc()
    log.warn({ ...detail, againInMs: delayMs }, 'the server’s own collector ended by itself')
    restart = setTimeout(() => {
      launch().catch((error: Error) => {
        if (running) again({ error: error.message })
      })
    }, delayMs)
    delayMs = Math.min(2 * delayMs, lastDelayMs)
  }

  function ask(order: {
    segment: string
    manifest: Uint8Array
    ageMs: number
    stored: ClaimStored
  }) {
    if (!ready) return Promise.reject(new Error('the collector is being started'))
    const question = ++asked
    const answer = Promise.withResolvers<ClaimAnswer>()
    const late = setTimeout(
      () => answer.reject(new Error(`no answer of the collector within ${claimDeadlineMs} ms`)),
      claimDeadlineMs,
    )
    answers.set(question, answer)
    tell({ type: 'claim', id: question, ...order })
    return answer.promise.finally(() => {
      clearTimeout(late)
      answers.delete(question)
    })
  }

  async function claim(order: Parameters<typeof ask>[0]): Promise<ClaimAnswer> {
    const takeover = mode
    const answer = await ask(order)
    // What was agreed with the standby does not hold for the active.
    if (takeover !== mode) throw new Error('this server has just changed its role')
    admitted.delete(order.segment)
    admitted.set(order.segment, clock.monotonic() + admittedMs)
    if (admitted.size > maxAdmitted) admitted.delete(admitted.keys().next().value!)
    return answer
  }

  async function answerClaim(request: IncomingMessage, response: ServerResponse) {
    if (request.url === linkPaths.alive) {
      request.resume()
      tell({ type: 'alive' })
      return say(response, 200, {})
    }
    if (request.url === linkPaths.hello) {
      request.resume()
      const order = ++asked
      tell({ type: 'hello', id: order, server: String(request.headers[linkHeaders.server]) })
      if (ready) await heardOf(order)
      return say(response, 200, {})
    }
    const segment = claimPath.exec(request.url ?? '')?.[1]
    const length = Number(request.headers['content-length'] ?? Number.NaN)
    const ageMs = Number(request.headers[linkHeaders.age] ?? Number.NaN)
    const stored = claimStored.safeParse(request.headers[linkHeaders.stored])
    if (
      segment === undefined ||
      !(length <= maxManifestBytes) ||
      !(ageMs >= 0) ||
      !stored.success
    ) {
      request.resume()
      return say(response, 400, { error: { code: 'bad-request', message: 'not a claim' } })
    }
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const manifest = Buffer.concat(chunks)
    try {
      say(response, 200, await claim({ segment, manifest, ageMs, stored: stored.data }))
    } catch (error) {
      const { message } = error as Error
      say(response, 503, { error: { code: 'not-now', message } })
    }
  }

  async function end() {
    running = false
    clearInterval(timer)
    clearTimeout(restart)
    const ending = child
    if (ending === undefined) return
    const closed = new Promise<void>(resolve => ending.once('close', () => resolve()))
    tell({ type: 'stop' })
    const late = setTimeout(() => ending.kill('SIGKILL'), stopDeadlineMs)
    await closed
    clearTimeout(late)
  }

  observeCollector({ metrics: deps.metrics, clock, state: () => state })

  return {
    get ports() {
      return ports
    },
    get pid() {
      return child?.pid
    },
    state: () => state,
    get id() {
      return id
    },
    async taken(manifest, { collector, kind, sequence }) {
      const { taken, stored } = await ask({
        segment: `${collector}/${kind}/${sequence}`,
        manifest: encodeManifest(manifest),
        ageMs: unknownAge,
        stored: 'here',
      })
      return [...taken, ...stored].sort((a, b) => a - b)
    },

    async start() {
      running = true
      delayMs = firstDelayMs
      timer = setInterval(() => {
        if (!ready) return
        sayRole()
        sayServers()
      }, roleEveryMs)
      const until = clock.monotonic() + predecessorMs
      for (let launched = false; !launched; ) {
        try {
          await launch()
          launched = true
        } catch (error) {
          if (clock.monotonic() < until) await sleep(firstDelayMs)
          else {
            await end()
            throw error
          }
        }
      }
      log.info({ pid: child?.pid, ports }, 'the server’s own collector listens')
    },
    stop: end,
    takeCounters: (exporter, counters) => tell({ type: 'counters', exporter, counters }),

    async setMode(wanted, term) {
      if (mode.active === (wanted === 'active') && mode.term === term) return
      mode = { active: wanted === 'active', term }
      // Each of them has to be claimed anew; those that are being stored are named to the collector.
      admitted.clear()
      if (!ready) return
      await heardOf(sayRole())
    },

    routes: [{ method: 'POST', prefix: '/link/v1/claims/', role: 'server', answer: answerClaim }],

    gate: {
      admit({ collector, kind, sequence }) {
        const segment = `${collector}/${kind}/${sequence}`
        if (collector !== id && !((admitted.get(segment) ?? 0) > clock.monotonic())) return false
        storing.set(segment, (storing.get(segment) ?? 0) + 1)
        return true
      },
      ended({ collector, kind, sequence }, stored) {
        const segment = `${collector}/${kind}/${sequence}`
        const left = (storing.get(segment) ?? 1) - 1
        if (left > 0) storing.set(segment, left)
        else storing.delete(segment)
        if (stored) admitted.delete(segment)
        if (collector === id || (!stored && left > 0)) return
        // The active takes back what was agreed until now.
        if (!stored && mode.active) admitted.clear()
        tell({ type: 'ended', segment, stored, storing: [...storing.keys()] })
      },
    },
  }
}

function say(response: ServerResponse, status: number, body: object) {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

/** The process's file beside this one: `.ts` as it is, `.js` when compiled. */
function processFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fileURLToPath(new URL(`./own-collector-process.${extension}`, import.meta.url))
}
