import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server as TlsServer } from 'node:tls'
import cookie from '@fastify/cookie'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { Gauge, Histogram } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import { trackConnections } from '../lib/connections.ts'
import { InvalidCursor } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import { answerNotHttp, answerTo } from './answers.ts'
import { addConsole } from './console-files.ts'
import { type Endpoint, errorCodes, roles } from './contract/endpoint.ts'
import { basePath, type EndpointName, endpoints } from './contract/index.ts'
import { judgeOrigin, setSecurityHeaders } from './guard.ts'
import { ApiError, type Caller, type Handlers } from './handler.ts'
import { given, parse } from './input.ts'
import { openApi } from './openapi.ts'
import { type Asked, changeAtActive, pageOfActive } from './redirect.ts'
import { type StreamTimes, sendEvents, streamTimes } from './stream.ts'

const sessionCookie = 'keepwatch'

/** What the HTTP edge needs to know of this server's place in the pair. */
export interface PairView {
  role(): 'active' | 'standby' | 'stopped'
  /** Console URL of the active server, null if nobody is active as far as this one knows. */
  activeConsole(): string | null
  /** Who is active, in which term, since when and why: what `/active` answers. */
  summary(): {
    server: string
    role: 'active' | 'standby' | 'stopped'
    term: number
    since: string
    active: string | null
    activeConsole: string | null
    sentence: string
  }
  /** Origins of the pair's consoles: they may call each other's API from a browser. */
  origins(): readonly string[]
  /** An address or a name moves with the active; else a standby sends people and programs to it. */
  addressMoves(): boolean
}

export interface HttpDeps {
  log: Log
  metrics: Metrics
  clock: Clock
  handlers: Handlers
  pair: PairView
  /** Who a session's or a token's secret belongs to; undefined if to nobody. */
  authenticate(secret: string, via: 'session' | 'token'): Promise<Caller | undefined>
  /** What makes this process unfit to serve, in words; empty if nothing. */
  unhealthy(): string[]
  /** A code that logs the owner of this session's secret in at the other server, once. */
  handOver?(secret: string): Promise<string | undefined>
  /** Has the active server answer what a local caller asked of this standby. @throws ApiError */
  forward?(request: ForwardedRequest): Promise<{ status: number; body: unknown }>
}

/** A changing request of a local caller, on its way to the active server. */
export interface ForwardedRequest {
  method: string
  /** Path and query. */
  url: string
  body: unknown
  caller: string
}

export interface HttpConfig {
  host: string
  port: number
  version: string
  /** Folder of the built console; without it only the API is served. */
  consoleDir?: string
  tls?: { key: string; cert: string }
  /** Longer questions than this answer `timeout`. */
  requestDeadlineMs?: number
  streams?: StreamTimes
}

export interface HttpServer extends Component {
  /** The port that was bound. */
  readonly port: number
  /**
   * Answers a request that came another way than by this port: its caller is known already.
   *
   * @param from.forwarded it has been sent on once, and is not sent on again
   */
  answer(
    request: IncomingMessage,
    response: ServerResponse,
    from: { caller: Caller; forwarded: boolean },
  ): void
  /** New connections are served with this key and certificate; without TLS nothing changes. */
  renewTls(tls: { key: string; cert: string }): void
}

const bodyLimit = 1024 * 1024
const defaultRequestDeadlineMs = 60_000
/** A request has to have arrived whole by then: its head, its body. */
const headDeadlineMs = 15_000
const arrivalDeadlineMs = 30_000
const maxConnections = 1000
/** A page is not kept from its reader for longer, only because he may have to log in there. */
const handOverDeadlineMs = 1000
const maxStreams = 100
/** Of a path that is nobody's, in the answer and in the log. */
const shownPath = 100

type Refusal =
  | 'malformed'
  | 'invalid'
  | 'foreign-origin'
  | 'wrong-password'
  | 'too-many'
  | 'failed'
  | 'stream-failed'

/** The API, the console's files, and what load balancers and Prometheus ask for. */
export function createHttp(deps: HttpDeps, config: HttpConfig): HttpServer {
  const requestDeadlineMs = config.requestDeadlineMs ?? defaultRequestDeadlineMs
  const refused = createTally<Refusal>(deps, {
    name: 'http_refused',
    help: 'Requests that were refused or failed, by reason',
  })
  const durations = new Histogram({
    name: 'keepwatch_http_request_seconds',
    help: 'Time to answer API requests',
    labelNames: ['operation', 'status'],
    buckets: [0.01, 0.05, 0.1, 0.3, 1, 3, 10, 60],
    registers: [deps.metrics],
  })
  let streams = 0
  new Gauge({
    name: 'keepwatch_http_streams',
    help: 'Live streams of events that are open',
    registers: [deps.metrics],
    collect() {
      this.set(streams)
    },
  })
  const app: FastifyInstance = fastify({
    bodyLimit,
    requestTimeout: arrivalDeadlineMs,
    clientErrorHandler: notHttp,
    frameworkErrors(error: Error, request: FastifyRequest, reply: FastifyReply) {
      setSecurityHeaders(reply, deps.pair.origins())
      answerError(error, request, reply)
    },
    ...(config.tls ? { https: config.tls } : {}),
  } as object)
  app.server.headersTimeout = headDeadlineMs
  app.server.maxConnections = maxConnections
  const connections = trackConnections(app.server)
  // All bodies are JSON. A form of a foreign page could send plain text without asking first.
  app.removeContentTypeParser('text/plain')
  let port = config.port
  const known = new WeakMap<IncomingMessage, { caller: Caller; forwarded: boolean }>()

  app.addHook('onRequest', async (request, reply) => {
    const origins = deps.pair.origins()
    setSecurityHeaders(reply, origins)
    const page = standbyOnly() && pageOfActive(asked(request), deps.pair.activeConsole())
    if (page) {
      const there = page + (await logInAt(page, request))
      return reply.header('Cache-Control', 'no-store').redirect(there, 307)
    }
    const judgement = judgeOrigin(request, reply, origins)
    if (judgement === 'preflight') return reply.code(204).send()
    if (judgement === 'foreign') {
      const from = request.headers.origin ?? 'other pages'
      refused.count('foreign-origin', () => ({ from, address: plainAddress(request.ip) }))
      return fail(reply, new ApiError('not-allowed', `requests from ${from} are not accepted`))
    }
  })
  /** The fragment with which who is logged in here is logged in there; empty if it cannot be had. */
  async function logInAt(page: string, request: FastifyRequest): Promise<string> {
    // Of hosts with one name the cookie is one, too.
    if (!deps.handOver || URL.parse(page)?.hostname === request.hostname) return ''
    const secret = sessionIn(request.headers.cookie)
    if (secret === undefined) return ''
    const late = sleep(handOverDeadlineMs, undefined, { ref: false })
    const code = await Promise.race([deps.handOver(secret).catch(() => undefined), late])
    return code === undefined ? '' : `#hand-over=${code}`
  }

  function standbyOnly(): boolean {
    return deps.pair.role() !== 'active' && !deps.pair.addressMoves()
  }

  app.addHook('onResponse', async (request, reply) => {
    const { operation } = request.routeOptions.config as { operation?: string }
    if (operation === undefined) return
    durations.observe({ operation, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
  app.setErrorHandler(answerError)

  async function start() {
    await app.register(cookie)
    for (const name of Object.keys(endpoints) as EndpointName[]) addEndpoint(name)
    const document = openApi(config.version)
    app.get(`${basePath}/openapi.json`, () => document)
    app.get('/healthz', (_request, reply) => {
      const problems = deps.unhealthy()
      return reply.code(problems.length === 0 ? 200 : 503).send({ alive: true, problems })
    })
    app.get('/active', (_request, reply) => {
      const summary = deps.pair.summary()
      return reply.code(summary.role === 'active' ? 200 : 503).send(summary)
    })
    app.get('/metrics', async (_request, reply) =>
      reply.type(deps.metrics.contentType).send(await deps.metrics.metrics()),
    )
    await addConsole(app, config.consoleDir, ({ method, url }, reply) => {
      const what = `${method} ${url.slice(0, shownPath)}`
      return fail(reply, new ApiError('not-found', `there is nothing at ${what}`))
    })
    await app.listen({ host: config.host, port: config.port })
    port = (app.server.address() as { port: number }).port
  }

  async function stop() {
    const closed = app.close()
    connections.cut()
    await closed
  }

  function addEndpoint(name: EndpointName) {
    const endpoint: Endpoint = endpoints[name]
    app.route({
      method: endpoint.method,
      url: basePath + endpoint.path,
      exposeHeadRoute: endpoint.method === 'GET' && endpoint.stream !== true,
      config: endpoint.stream ? {} : { operation: name },
      handler: (request, reply) =>
        endpoint.stream
          ? stream(name, endpoint, request, reply)
          : serve(name, endpoint, request, reply),
    })
  }

  async function serve(
    name: EndpointName,
    endpoint: Endpoint,
    request: FastifyRequest,
    reply: FastifyReply,
  ) {
    const gone = goneWith(reply)
    const late = AbortSignal.timeout(endpoint.deadlineMs ?? requestDeadlineMs)
    const call = await admit(name, endpoint, request, reply)
    const signal = AbortSignal.any([gone, late])
    if (call === 'elsewhere') {
      const { method, url, body } = request
      const { caller } = known.get(request.raw)!
      const forwarding = deps.forward!({ method, url, body, caller: caller.name })
      const answer = await unlessAborted(forwarding, gone)
      return reply.code(answer.status).header('Cache-Control', 'no-store').send(answer.body)
    }
    // The call was checked against the endpoint's own schemas.
    const handler = deps.handlers[name] as (call: unknown) => Promise<unknown>
    try {
      const answer = await unlessAborted(handler({ ...call, signal }), signal)
      reply.header('Cache-Control', 'no-store')
      // Nothing leaves that the contract does not name.
      return endpoint.response.parse(answer)
    } catch (error) {
      if (gone.aborted) return reply.hijack()
      if (!late.aborted || error !== late.reason) throw error
      throw new ApiError(
        'timeout',
        endpoint.write
          ? 'the change takes too long and may yet be made: look before you repeat it'
          : 'the answer takes too long; ask for less, or for a shorter time',
      )
    }
  }

  async function stream(
    name: EndpointName,
    endpoint: Endpoint,
    request: FastifyRequest,
    reply: FastifyReply,
  ) {
    const gone = goneWith(reply)
    const call = await admit(name, endpoint, request, reply)
    if (call === 'elsewhere') throw new ApiError('not-active', 'only the active server streams it')
    if (streams >= maxStreams) {
      throw new ApiError('too-many-requests', `there are ${maxStreams} live streams open already`)
    }
    const handler = deps.handlers[name] as (call: unknown) => AsyncIterable<unknown>
    const mayGoOn = async () => {
      try {
        allow(endpoint, name, await callerOf(request))
        return true
      } catch (error) {
        // While the database is away, who was allowed stays so.
        return answerTo(error)?.code === 'unavailable'
      }
    }
    streams++
    try {
      const open = (signal: AbortSignal) => handler({ ...call, signal })
      await sendEvents(reply, open, gone, mayGoOn, config.streams ?? streamTimes)
    } catch (error) {
      refused.count('stream-failed', () => ({ operation: name, error: (error as Error).stack }))
    } finally {
      streams--
    }
    return reply
  }

  /** Who calls and with what, if he may; `elsewhere` if the active is to be asked. @throws ApiError */
  async function admit(
    name: EndpointName,
    endpoint: Endpoint,
    request: FastifyRequest,
    reply: FastifyReply,
  ) {
    const caller = await callerOf(request)
    if (endpoint.role !== 'anyone') allow(endpoint, name, caller)
    if (endpoint.write && deps.pair.role() !== 'active') {
      if (deps.forward && known.get(request.raw)?.forwarded === false) return 'elsewhere'
      throw new ApiError('not-active', 'this server is the standby and changes nothing')
    }
    return {
      params: parse(endpoint.params, request.params),
      query: parse(endpoint.query, given(request.query as Record<string, unknown>)),
      body: parse(endpoint.body, request.body ?? {}),
      caller,
      // A socket of this machine has none.
      address: plainAddress(request.ip) ?? 'local',
      setSession(session: { secret: string; expires: Date } | undefined) {
        const options = { path: '/', httpOnly: true, secure: true, sameSite: 'strict' as const }
        if (session) {
          reply.setCookie(sessionCookie, session.secret, { ...options, expires: session.expires })
        } else reply.clearCookie(sessionCookie, options)
      },
    }
  }

  async function callerOf(request: FastifyRequest): Promise<Caller | undefined> {
    const from = known.get(request.raw)
    if (from) return from.caller
    const bearer = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (bearer !== undefined) return deps.authenticate(bearer, 'token')
    const session = request.cookies[sessionCookie]
    return session === undefined ? undefined : deps.authenticate(session, 'session')
  }

  function answerError(error: Error, request: FastifyRequest, reply: FastifyReply) {
    const answer = answerTo(error)
    const operation = (request.routeOptions?.config as { operation?: string })?.operation
    const about = { operation, address: plainAddress(request.ip), error: error.message }
    const reason = reasonOf(error, answer, operation)
    if (reason === 'failed') refused.count(reason, () => ({ ...about, error: error.stack }))
    else if (reason !== undefined) refused.count(reason, () => about)
    const untold = 'something failed that should not; the log of the server says what'
    return fail(reply, answer ?? new ApiError('internal', untold), elsewhere(answer, request))
  }

  /** Where a program goes on with its change; undefined where an address leads to the active, too. */
  function elsewhere(answer: ApiError | undefined, request: FastifyRequest) {
    if (answer?.code !== 'not-active' || known.has(request.raw) || !standbyOnly()) return undefined
    return changeAtActive(asked(request), deps.pair.activeConsole())
  }

  function fail(reply: FastifyReply, { code, message }: ApiError, location?: string) {
    const active = code === 'not-active' ? { active: deps.pair.activeConsole() } : {}
    if (location !== undefined) reply.header('Location', location)
    return reply
      .code(location === undefined ? errorCodes[code] : 307)
      .header('Cache-Control', 'no-store')
      .send({ error: { code, message, ...active } })
  }

  /** What the parser of HTTP itself refuses: there is no request to answer, only a socket. */
  function notHttp(error: Error & { code?: string }, socket: Socket) {
    if (error.code === 'ECONNRESET' || socket.destroyed) return
    refused.count('malformed', () => ({ address: socket.remoteAddress, error: error.message }))
    answerNotHttp(socket, error)
  }

  return {
    start,
    stop,
    answer(request, response, from) {
      known.set(request, from)
      app.routing(request, response)
    },
    renewTls(tls) {
      if (app.server instanceof TlsServer) app.server.setSecureContext(tls)
    },
    get port() {
      return port
    },
  }
}

/** Before the cookies are parsed. */
function sessionIn(header: string | undefined): string | undefined {
  const value = header?.split(/; */).find(pair => pair.startsWith(`${sessionCookie}=`))
  return value === undefined ? undefined : decodeURIComponent(value.slice(sessionCookie.length + 1))
}

function asked({ method, url, headers }: FastifyRequest): Asked {
  return { method, url, accept: headers.accept, origin: headers.origin }
}

function allow(endpoint: Endpoint, name: EndpointName, caller: Caller | undefined) {
  if (!caller) throw new ApiError('not-logged-in', 'log in, or send a token')
  if (caller.mustChangePassword && name !== 'getSession' && name !== 'changePassword') {
    throw new ApiError('password-change-required', 'change the first password before anything else')
  }
  if (roles.indexOf(caller.role) < roles.indexOf(endpoint.role as Caller['role'])) {
    throw new ApiError('not-allowed', `this needs the role ${endpoint.role}`)
  }
}

/** What is wrong with the request itself, or with us; undefined for the everyday. */
function reasonOf(
  error: Error,
  answer: ApiError | undefined,
  operation: string | undefined,
): Refusal | undefined {
  switch (answer?.code) {
    case undefined:
    case 'internal':
      return 'failed'
    case 'bad-request':
      return answer === error || error instanceof InvalidCursor ? 'invalid' : 'malformed'
    case 'too-many-requests':
      return 'too-many'
    case 'not-logged-in':
      return operation === 'logIn' ? 'wrong-password' : undefined
    default:
      return undefined
  }
}

/** Aborted when the connection closes before the answer is out. */
function goneWith(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  const { raw } = reply
  const check = () => {
    if (!raw.writableFinished) controller.abort()
  }
  if (raw.closed || raw.destroyed) check()
  else raw.once('close', check)
  return controller.signal
}

/** The result, or the signal's reason if that comes first: not all work can be aborted. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** A socket for both families shows IPv4 in its mapped form (RFC 4291 § 2.5.5.2). */
function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:(?=\d+\.)/, '')
}
