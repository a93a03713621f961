/** Which pages may speak to this server, and what a browser may do with its answers. */
import type { FastifyReply, FastifyRequest } from 'fastify'

const methods = 'GET, POST, PUT, PATCH, DELETE'
const preflightSeconds = 600

/** Headers of every answer. `origins`: those of the pair's consoles. */
export function setSecurityHeaders(reply: FastifyReply, origins: readonly string[]): void {
  reply.headers({
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Content-Security-Policy': [
      "default-src 'self'",
      "style-src 'self' 'unsafe-inline'",
      "img-src 'self' data:",
      `connect-src ${["'self'", ...origins].join(' ')}`,
      "base-uri 'none'",
      "form-action 'self'",
      "frame-ancestors 'none'",
    ].join('; '),
    Vary: 'Origin',
  })
}

/**
 * Decides by where a request comes from (Fetch standard, "CORS protocol" and "Origin header").
 * `preflight`: answered by the headers that this has set. `foreign`: a page of somebody else wants
 * to change something, with whatever cookies the browser adds.
 */
export function judgeOrigin(
  request: FastifyRequest,
  reply: FastifyReply,
  origins: readonly string[],
): 'go-on' | 'preflight' | 'foreign' {
  const { origin } = request.headers
  const site = request.headers['sec-fetch-site']
  const changes = request.method !== 'GET' && request.method !== 'HEAD'
  if (origin === undefined) {
    // Programs send neither header. A browser that sends no origin still says whose page asks.
    const own = site === undefined || site === 'same-origin' || site === 'none'
    return changes && !own ? 'foreign' : 'go-on'
  }
  if (origins.includes(origin)) {
    reply.headers({
      'Access-Control-Allow-Origin': origin,
      'Access-Control-Allow-Credentials': 'true',
    })
    if (request.method !== 'OPTIONS') return 'go-on'
    reply.headers({
      'Access-Control-Allow-Methods': methods,
      'Access-Control-Allow-Headers': 'Content-Type, Authorization',
      'Access-Control-Max-Age': preflightSeconds,
    })
    return 'preflight'
  }
  const own = `${request.protocol}://${request.headers.host ?? ''}`.toLowerCase()
  return changes && origin.toLowerCase() !== own ? 'foreign' : 'go-on'
}
