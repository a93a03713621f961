import { existsSync } from 'node:fs'
import { join } from 'node:path'
import cookie from '@fastify/cookie'
import files from '@fastify/static'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { Histogram } from 'prom-client'
import type { z } from 'zod'
import type { Component } from '../lib/component.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { type Endpoint, type ErrorCode, errorCodes, roles } from './contract/endpoint.ts'
import { basePath, type EndpointName, endpoints } from './contract/index.ts'
import { ApiError, type Caller, type Handlers } from './handler.ts'
import { openApi } from './openapi.ts'

export const sessionCookie = 'keepwatch'

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
}

export interface HttpDeps {
  log: Log
  metrics: Metrics
  handlers: Handlers
  pair: PairView
  /** Who a session's or a token's secret belongs to; undefined if to nobody. */
  authenticate(secret: string, via: 'session' | 'token'): Promise<Caller | undefined>
  /** What makes this process unfit to serve, in words; empty if nothing. */
  unhealthy(): string[]
}

export interface HttpConfig {
  host: string
  port: number
  version: string
  /** Folder of the built console; without it only the API is served. */
  consoleDir?: string
  tls?: { key: string; cert: string }
}

export interface HttpServer extends Component {
  /** The port that was bound. */
  readonly port: number
}

const bodyLimit = 1024 * 1024
/** Longer questions than this answer `timeout`. */
const requestDeadlineMs = 60_000
const streamPingMs = 15_000

/** The API, the console's files, and what load balancers and Prometheus ask for. */
export function createHttp(deps: HttpDeps, config: HttpConfig): HttpServer {
  const app: FastifyInstance = fastify({
    bodyLimit,
    forceCloseConnections: true,
    ...(config.tls ? { https: config.tls } : {}),
  } as object)
  const durations = new Histogram({
    name: 'keepwatch_http_request_seconds',
    help: 'Time to answer API requests',
    labelNames: ['operation', 'status'],
    buckets: [0.01, 0.05, 0.1, 0.3, 1, 3, 10, 60],
    registers: [deps.metrics],
  })
  let port = config.port

  app.addHook('onRequest', async (request, reply) => {
    reply.header('X-Content-Type-Options', 'nosniff')
    reply.header('Referrer-Policy', 'same-origin')
    reply.header('X-Frame-Options', 'DENY')
    reply.header(
      'Content-Security-Policy',
      `default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' ${deps.pair.origins().join(' ')}; frame-ancestors 'none'`,
    )
    const { origin } = request.headers
    if (origin !== undefined && deps.pair.origins().includes(origin)) {
      reply.header('Access-Control-Allow-Origin', origin)
      reply.header('Access-Control-Allow-Credentials', 'true')
      reply.header('Vary', 'Origin')
      if (request.method === 'OPTIONS') {
        reply.header('Access-Control-Allow-Methods', 'GET, POST, PUT, PATCH, DELETE')
        reply.header('Access-Control-Allow-Headers', 'Content-Type, Authorization')
        reply.header('Access-Control-Max-Age', '600')
        return reply.code(204).send()
      }
    } else if (origin !== undefined && request.method !== 'GET' && !isSameOrigin(request, origin)) {
      return fail(reply, 'not-allowed', `requests from ${origin} are not accepted`)
    }
  })
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    if (error.statusCode !== undefined && error.statusCode < 500) {
      return fail(reply, 'bad-request', error.message)
    }
    deps.log.error({ err: error, url: request.url }, 'a request failed unexpectedly')
    return fail(reply, 'internal', 'something failed that should not; the server log says what')
  })

  async function start() {
    await app.register(cookie)
    for (const name of Object.keys(endpoints) as EndpointName[]) addEndpoint(name)
    app.get(`${basePath}/openapi.json`, () => openApi(config.version))
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
    await addConsole()
    await app.listen({ host: config.host, port: config.port })
    port = (app.server.address() as { port: number }).port
  }

  function addEndpoint(name: EndpointName) {
    const endpoint: Endpoint = endpoints[name]
    app.route({
      method: endpoint.method,
      url: basePath + endpoint.path,
      handler: async (request, reply) => {
        const done = durations.startTimer({ operation: name })
        try {
          await serve(name, endpoint, request, reply)
        } catch (error) {
          if (error instanceof ApiError) await fail(reply, error.code, error.message)
          else if (error instanceof BadRequest) await fail(reply, 'bad-request', error.message)
          else throw error
        } finally {
          done({ status: reply.statusCode })
        }
        return reply
      },
    })
  }

  async function serve(
    name: EndpointName,
    endpoint: Endpoint,
    request: FastifyRequest,
    reply: FastifyReply,
  ) {
    const caller = await callerOf(request)
    if (endpoint.role !== 'anyone') allow(endpoint, name, caller)
    if (endpoint.write && deps.pair.role() !== 'active') {
      throw new ApiError('not-active', 'this server is the standby and changes nothing')
    }
    const signal = AbortSignal.any([
      abortedWith(reply),
      ...(endpoint.stream ? [] : [AbortSignal.timeout(requestDeadlineMs)]),
    ])
    const call = {
      params: parse(endpoint.params, request.params),
      query: parse(endpoint.query, request.query),
      body: parse(endpoint.body, request.body ?? {}),
      caller,
      signal,
      address: request.ip,
      setSession(session: { secret: string; expires: Date } | undefined) {
        const options = {
          path: '/',
          httpOnly: true,
          secure: true,
          sameSite: 'strict' as const,
        }
        if (session) {
          reply.setCookie(sessionCookie, session.secret, { ...options, expires: session.expires })
        } else reply.clearCookie(sessionCookie, options)
      },
    }
    // The call was checked against the endpoint's own schemas above.
    const handler = deps.handlers[name] as (call: unknown) => unknown
    if (endpoint.stream) {
      await stream(reply, handler(call) as AsyncIterable<unknown>, signal)
    } else {
      // Nothing leaves that the contract does not name.
      const answer = endpoint.response.parse(await handler(call))
      await reply.header('Cache-Control', 'no-store').send(answer)
    }
  }

  async function callerOf(request: FastifyRequest): Promise<Caller | undefined> {
    const bearer = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (bearer !== undefined) return deps.authenticate(bearer, 'token')
    const session = request.cookies[sessionCookie]
    return session === undefined ? undefined : deps.authenticate(session, 'session')
  }

  function fail(reply: FastifyReply, code: ErrorCode, message: string) {
    const active = code === 'not-active' ? { active: deps.pair.activeConsole() } : {}
    return reply
      .code(errorCodes[code])
      .header('Cache-Control', 'no-store')
      .send({ error: { code, message, ...active } })
  }

  async function addConsole() {
    const { consoleDir } = config
    const page = consoleDir === undefined ? undefined : join(consoleDir, 'index.html')
    const served = page !== undefined && existsSync(page)
    if (served) {
      await app.register(files, {
        root: consoleDir!,
        setHeaders(reply, file) {
          const immutable = file.includes('/assets/')
          reply.header(
            'Cache-Control',
            immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
          )
        },
      })
    }
    app.setNotFoundHandler((request, reply) => {
      const isPage = request.method === 'GET' && !request.url.startsWith('/api/')
      if (isPage && served && !/\.\w+$/.test(request.url.split('?')[0]!)) {
        return reply.header('Cache-Control', 'no-cache').sendFile('index.html')
      }
      return fail(reply, 'not-found', `there is nothing at ${request.method} ${request.url}`)
    })
  }

  return {
    start,
    stop: () => app.close(),
    get port() {
      return port
    },
  }
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

/** Aborted when the connection closes before the answer is out. */
function abortedWith(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort()
  })
  return controller.signal
}

/** Server-sent events; a comment now and then shows both sides that the other still lives. */
async function stream(reply: FastifyReply, events: AsyncIterable<unknown>, signal: AbortSignal) {
  const headers = reply.getHeaders() as Record<string, string>
  reply.hijack()
  reply.raw.writeHead(200, {
    ...headers,
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-store',
  })
  reply.raw.write(':\n\n')
  const ping = setInterval(() => reply.raw.write(':\n\n'), streamPingMs)
  try {
    for await (const event of events) {
      if (signal.aborted) break
      if (!reply.raw.write(`data: ${JSON.stringify(event)}\n\n`)) {
        await new Promise<void>(resolve => {
          const go = () => {
            reply.raw.off('drain', go)
            signal.removeEventListener('abort', go)
            resolve()
          }
          reply.raw.once('drain', go)
          signal.addEventListener('abort', go, { once: true })
        })
      }
    }
  } finally {
    clearInterval(ping)
    reply.raw.end()
  }
}

function isSameOrigin(request: FastifyRequest, origin: string): boolean {
  return origin === `${request.protocol}://${request.headers.host}`
}

class BadRequest extends Error {}

function parse(schema: z.ZodType | undefined, input: unknown): unknown {
  const result = schema?.safeParse(input)
  if (result?.success === false) throw new BadRequest(sentenceOf(result.error))
  return result?.data
}

function sentenceOf(error: z.ZodError): string {
  return error.issues
    .map(issue =>
      issue.path.length > 0 ? `${issue.path.join('.')}: ${issue.message}` : issue.message,
    )
    .join('; ')
}
