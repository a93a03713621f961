import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Edge, otherConsole, startEdge } from '../../test/fixtures/http-edge.ts'
import { basePath } from './contract/index.ts'

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
beforeEach(() => edge.reset())
afterAll(() => edge.stop())

const foreign = [
  'http://evil.example',
  'null',
  'http://127.0.0.1:1',
  `${otherConsole}.evil.example`,
]
const path = `${basePath}/tokens`
const body = { name: 'x', role: 'viewer' }

describe('a page of the pair’s other console', () => {
  const origin = otherConsole

  test('may ask in advance, for every method of the API', async () => {
    const reply = await edge.call('OPTIONS', path, {
      headers: {
        origin,
        'access-control-request-method': 'DELETE',
        'access-control-request-headers': 'content-type',
      },
    })
    expect(reply.status).toBe(204)
    expect(reply.headers).toMatchObject({
      'access-control-allow-origin': origin,
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
      'access-control-allow-headers': 'Content-Type, Authorization',
    })
    expect(reply.headers.vary).toContain('Origin')
  })

  test('reads answers and errors, and changes things', async () => {
    const cookie = edge.cookieOf('administrator')
    const changed = await edge.call('POST', path, { headers: { origin, cookie }, body })
    expect(changed.status).toBe(200)
    const refused = await edge.call('GET', path, { headers: { origin } })
    expect(refused.status).toBe(401)
    const broken = await edge.call('POST', path, {
      headers: { origin, cookie, 'content-type': 'application/json' },
      body: '{',
    })
    for (const reply of [changed, refused, broken]) {
      expect(reply.headers['access-control-allow-origin']).toBe(origin)
      expect(reply.headers.vary).toContain('Origin')
    }
  })
})

describe('a page of somebody else', () => {
  test.each(foreign)('from %s changes nothing, whatever cookie comes along', async origin => {
    const cookie = edge.cookieOf('administrator')
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const reply = await edge.call(method, path, { headers: { origin, cookie }, body })
      expect(reply.status).toBe(403)
      expect(reply.json.error.code).toBe('not-allowed')
      expect(reply.headers['access-control-allow-origin']).toBeUndefined()
    }
    expect(edge.state.audit).toEqual([])
  })

  test.each(foreign)('from %s logs nobody in or out', async origin => {
    const user = { user: 'viewer', password: edge.state.users.get('viewer')!.password }
    const session = `${basePath}/session`
    const logIn = await edge.call('POST', session, { headers: { origin }, body: user })
    expect(logIn.status).toBe(403)
    expect(logIn.headers['set-cookie']).toBeUndefined()
    const cookie = edge.cookieOf('viewer')
    expect((await edge.call('DELETE', session, { headers: { origin, cookie } })).status).toBe(403)
    expect(edge.state.sessions.has('session-viewer')).toBe(true)
  })

  test.each(foreign)('from %s may not read what it is answered', async origin => {
    const reply = await edge.call('GET', path, {
      headers: { origin, cookie: edge.cookieOf('administrator') },
    })
    expect(reply.headers['access-control-allow-origin']).toBeUndefined()
    expect(reply.headers['cross-origin-resource-policy']).toBe('same-origin')
  })

  test.each(['cross-site', 'same-site'])(
    'that sends no origin but is %s by the browser changes nothing',
    async site => {
      const headers = { 'sec-fetch-site': site, cookie: edge.cookieOf('administrator') }
      expect((await edge.call('POST', path, { headers, body })).status).toBe(403)
      expect((await edge.call('GET', path, { headers })).status).toBe(200)
    },
  )

  test('is counted and logged once', async () => {
    const fresh = await startEdge()
    const headers = { origin: 'http://evil.example' }
    for (let i = 0; i < 4; i++) await fresh.call('POST', path, { headers, body })
    const metrics = await fresh.registry.metrics()
    await fresh.stop()
    expect(metrics).toContain('keepwatch_http_refused_total{reason="foreign-origin"} 4')
    expect(fresh.lines).toMatchObject([{ reason: 'foreign-origin', from: 'http://evil.example' }])
  })
})

test('the server’s own page and programs without an origin change things', async () => {
  const cookie = edge.cookieOf('administrator')
  for (const headers of [
    { cookie },
    { cookie, origin: edge.url },
    { cookie, 'sec-fetch-site': 'same-origin' },
    { cookie, 'sec-fetch-site': 'none' },
  ]) {
    expect((await edge.call('POST', path, { headers, body })).status).toBe(200)
  }
})

test('every answer forbids framing, guessing of types and foreign scripts', async () => {
  for (const where of ['/', '/healthz', '/metrics', path, '/api/nothing', '/api/%zz']) {
    const { headers } = await edge.call('GET', where)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    })
    const policy = headers['content-security-policy']
    expect(policy).toContain("default-src 'self'")
    expect(policy).toContain(`connect-src 'self' ${otherConsole}`)
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toContain('script-src')
  }
})
