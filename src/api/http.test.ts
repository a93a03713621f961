import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Edge,
  ids,
  joinToken,
  otherConsole,
  password,
  startEdge,
} from '../../test/fixtures/http-edge.ts'
import { Conflict, DatabaseAway, InvalidCursor, Overloaded, TermOver } from '../lib/errors.ts'
import { sealJoin } from '../lib/join-token.ts'
import { type Endpoint, errorBody, errorCodes, roles } from './contract/endpoint.ts'
import { basePath, type EndpointName, endpoints } from './contract/index.ts'

/** What each operation needs besides who calls. */
const samples: Partial<Record<EndpointName, { query?: string; body?: object }>> = {
  logIn: { body: { user: 'viewer', password } },
  takeOverSession: { body: { code: 'a code' } },
  changePassword: { body: { current: password, next: 'quite another one' } },
  createToken: { body: { name: 'grafana', role: 'viewer' } },
  createDevice: { body: { name: 'edge-1', address: '192.0.2.7', driver: 'cisco-ios' } },
  updateDevice: { body: { note: 'roof' } },
  createCredential: { body: { name: 'core', username: 'backup', password: 'p' } },
  pausePair: { body: { reason: 'new cables' } },
  startUpgrade: { body: { version: '0.3.0', holder: 'one' } },
  changePairSettings: { body: { settings: {}, version: 3 } },
  joinPair: {
    // Each request is taken once.
    get body() {
      const nonce = randomUUID().replaceAll('-', '')
      const machine = {
        ...{ name: 'kw2', address: null, hosts: [], version: '1.2.3' },
        ...{ publicKey: 'a key', consolePublicKey: 'another' },
      }
      return { id: joinToken.id, nonce, sealed: sealJoin(joinToken, 'request', nonce, machine) }
    },
  },
  setExporter: { body: { sampling: 100 } },
  createSnmpAccess: { body: { name: 'all', access: { version: '2c', community: 'x' } } },
  setNetworks: { body: { networks: [{ prefix: '10.0.0.0/8', name: 'office' }], version: 0 } },
  setApplications: { body: { applications: [{ protocol: 6, port: 8123, name: 'x' }], version: 0 } },
  getTrafficSeries: { query: '?by=src.addr&where=dst.port=443' },
  getTrafficTop: { query: '?by=src.addr,dst.addr' },
}

function pathOf(name: EndpointName): string {
  const { path } = endpoints[name]
  const id: Record<string, string> = {
    '/tokens/:id': ids.token,
    '/devices/:id': ids.device,
    '/devices/:id/backups': ids.device,
    '/credentials/:id': ids.credential,
    '/versions/:id': '9',
    '/versions/:id/diff': '9',
    '/alarms/:id/acknowledge': '2',
    '/exporters/:address': '192.0.2.7',
    '/exporters/:address/interfaces': '192.0.2.7',
    '/traffic/progress/:ask': '7c9e6679-7425-40de-944b-e07fc1f90ae7',
    '/snmp-accesses/:id': ids.snmpAccess,
    '/pair/operations/:id': ids.operation,
    '/pair/left-behind/:id/seen': '1',
  }
  return `${basePath}${path.replace(/:(id|address|ask)/, id[path] ?? '')}${samples[name]?.query ?? ''}`
}

const names = Object.keys(endpoints) as EndpointName[]
const plain = names.filter(name => (endpoints[name] as Endpoint).stream !== true)
const closed = names.filter(name => endpoints[name].role !== 'anyone')
const writes = names.filter(name => endpoints[name].write)

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
beforeEach(() => edge.reset())
afterAll(() => edge.stop())

/** Counting starts anew. */
async function withFresh(check: (fresh: Edge) => Promise<void>) {
  const fresh = await startEdge()
  await check(fresh).finally(() => fresh.stop())
}

function ask(name: EndpointName, headers: Record<string, string> = {}) {
  const body = samples[name]?.body
  return edge.call(endpoints[name].method, pathOf(name), { headers, ...(body ? { body } : {}) })
}

/** An administrator; by a cookie where a token has nothing to say. */
function administrator(name: EndpointName): Record<string, string> {
  return name === 'changePassword' || name === 'handOverSession'
    ? { cookie: edge.cookieOf('administrator') }
    : { authorization: edge.tokenOf('administrator') }
}

function expectError(reply: { status: number; json: unknown }, code: keyof typeof errorCodes) {
  const { error } = errorBody.parse(reply.json)
  expect({ code: error.code, status: reply.status }).toEqual({ code, status: errorCodes[code] })
  expect(error.message).toMatch(/^\S.{5,}/)
  return error
}

describe('every operation of the contract', () => {
  test.each(plain)('%s answers by its schema and by nothing more', async name => {
    const reply = await ask(name, administrator(name))
    expect(reply.json, reply.text).toEqual(endpoints[name].response.parse(reply.json))
    expect(reply.status).toBe(200)
    expect(reply.headers['cache-control']).toBe('no-store')
    expect(reply.text).not.toContain('never to be told')
  })

  test.each(closed)('%s is closed to whoever is not logged in', async name => {
    expectError(await ask(name), 'not-logged-in')
    expectError(await ask(name, { cookie: 'keepwatch=guessed' }), 'not-logged-in')
    expectError(await ask(name, { authorization: 'Bearer kw_guessed' }), 'not-logged-in')
    expectError(await ask(name, { authorization: 'Basic YTpi' }), 'not-logged-in')
  })

  test.each(closed)('%s is for its role and those above it', async name => {
    const needed = roles.indexOf(endpoints[name].role as (typeof roles)[number])
    for (const [rank, role] of roles.entries()) {
      if (rank >= needed) continue
      const error = expectError(await ask(name, { cookie: edge.cookieOf(role) }), 'not-allowed')
      expect(error.message).toContain(endpoints[name].role)
    }
    if ((endpoints[name] as Endpoint).stream) return
    expect((await ask(name, { cookie: edge.cookieOf(roles[needed]!) })).status).toBe(200)
  })

  test.each(closed)('%s waits until the first password was changed', async name => {
    const reply = await ask(name, { cookie: edge.cookieOf('new') })
    if (name === 'getSession' || name === 'changePassword') expect(reply.status).toBe(200)
    else expectError(reply, 'password-change-required')
  })

  test.each(writes)('%s is refused by a standby, which names the active', async name => {
    edge.pair.role = 'standby'
    const error = expectError(
      await ask(name, { cookie: edge.cookieOf('administrator') }),
      'not-active',
    )
    expect(error.active).toBe(otherConsole)
    edge.pair.activeConsole = null
    const alone = await ask(name, { cookie: edge.cookieOf('administrator') })
    expect(expectError(alone, 'not-active').active).toBeNull()
    expect(edge.state.audit).toEqual([])
  })

  test.each(plain.filter(name => !endpoints[name].write))(
    '%s works on a standby too',
    async name => {
      edge.pair.role = 'standby'
      expect((await ask(name, administrator(name))).status).toBe(200)
    },
  )
})

describe('a standby where no address moves', () => {
  const asAdministrator = () => ({ authorization: edge.tokenOf('administrator') })
  const page = { accept: 'text/html' }
  const noMove = () => Object.assign(edge.pair, { role: 'standby', addressMoves: false })

  test('sends people to the same page of the active, and programs with their change', async () => {
    noMove()
    const opened = await edge.call('GET', '/devices?x=1', { headers: page })
    expect(opened.status).toBe(307)
    expect(opened.headers.location).toBe(`${otherConsole}/devices?x=1`)
    const body = { reason: 'new cables' }
    const changed = await edge.call('POST', `${basePath}/pair/pause`, {
      headers: asAdministrator(),
      body,
    })
    expect(changed.status).toBe(307)
    expect(changed.headers.location).toBe(`${otherConsole}${basePath}/pair/pause`)
    expect(errorBody.parse(changed.json).error.code).toBe('not-active')
  })

  test('hands the log-in over to where it sends somebody', async () => {
    noMove()
    const opened = await edge.call('GET', '/devices', {
      headers: { ...page, cookie: edge.cookieOf('viewer') },
    })
    expect(opened.headers.location).toMatch(
      new RegExp(`^${otherConsole}/devices#hand-over=code-[0-9a-f-]{36}$`),
    )
    const stranger = await edge.call('GET', '/devices', {
      headers: { ...page, cookie: 'keepwatch=guessed' },
    })
    expect(stranger.headers.location).toBe(`${otherConsole}/devices`)
  })

  test('answers questions itself, and shows its own console to who asks for it', async () => {
    noMove()
    expect(
      (await edge.call('GET', `${basePath}/pair`, { headers: asAdministrator() })).status,
    ).toBe(200)
    expect((await edge.call('GET', '/?here', { headers: page })).headers.location).toBeUndefined()
  })

  test('sends nobody anywhere when nobody is active', async () => {
    noMove()
    edge.pair.activeConsole = null
    expect((await edge.call('GET', '/', { headers: page })).headers.location).toBeUndefined()
  })
})

test('the first password is changed, and then the rest is open', async () => {
  const logIn = await edge.call('POST', `${basePath}/session`, { body: { user: 'new', password } })
  const cookie = logIn.headers['set-cookie']![0]!.split(';')[0]!
  expect(logIn.json).toMatchObject({ mustChangePassword: true })
  expectError(await ask('listDevices', { cookie }), 'password-change-required')
  const next = 'quite another one'
  const change = (body: object) =>
    edge.call('POST', `${basePath}/session/password`, { headers: { cookie }, body })
  expectError(await change({ current: 'wrong', next }), 'bad-request')
  expectError(await change({ current: password, next: 'short' }), 'bad-request')
  expectError(await change({ current: password, next: password }), 'bad-request')
  expect((await change({ current: password, next })).json).toMatchObject({
    mustChangePassword: false,
  })
  expect((await ask('listDevices', { cookie })).status).toBe(200)
  expectError(await ask('listDevices', { cookie: edge.cookieOf('new') }), 'not-logged-in')
})

describe('what a store fails with becomes an answer', () => {
  test.each([
    [new InvalidCursor('x'), 'bad-request', 'cursor'],
    [new DatabaseAway('connect 10.1.2.3:5432', 'nothing-written'), 'unavailable', 'try again'],
    [new DatabaseAway('timeout', 'unknown'), 'unavailable', 'look before you repeat it'],
    [new Overloaded('too many wait for the database'), 'unavailable', 'try again'],
    [new TermOver(3, 4), 'not-active', 'term 3 is over'],
    [new Conflict('Key (name)=(x) already exists.', 'tokens_name_key'), 'conflict', 'of this name'],
    [new TypeError('of the program'), 'internal', 'the log of the server says what'],
  ] as const)('%s', async (failure, code, words) => {
    const cookie = edge.cookieOf('administrator')
    expect((await ask('listAudit', { cookie })).status).toBe(200)
    edge.state.broken = failure
    // Who asks is remembered only while the database is away, so a defect shows in both.
    for (const name of ['listAudit', 'createToken'] as const) {
      const error = expectError(await ask(name, { cookie }), code)
      expect(error.message).toContain(words)
      expect(error.message).not.toContain('10.1.2.3')
    }
  })

  test('a defect is counted and logged with its stack, and not with every request', async () => {
    await withFresh(async ({ state, call, tokenOf, lines, registry }) => {
      state.broken = new TypeError('of the program')
      const headers = { authorization: tokenOf('viewer') }
      for (let i = 0; i < 5; i++) await call('GET', `${basePath}/alarms`, { headers })
      expect(lines).toMatchObject([{ reason: 'failed', error: expect.stringContaining('at ') }])
      expect(await registry.metrics()).toContain('http_refused_total{reason="failed"} 5')
    })
  })
})

describe('bad input', () => {
  const cookie = () => edge.cookieOf('administrator')
  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    edge.call('POST', basePath + path, { body, headers: { cookie: cookie(), ...headers } })
  const json = { 'content-type': 'application/json' }

  test.each([
    ['{', 'JSON'],
    ['', 'empty'],
    ['[]', 'expected'],
    ['"text"', 'expected'],
    ['null', 'name'],
    ['{"name":"x"}', 'role'],
    ['{"name":7,"role":"viewer"}', 'name'],
    ['{"name":"x","role":"emperor"}', 'role'],
    ['{"name":"x","role":"viewer","expires":"tomorrow"}', 'expires'],
    ['{"name":"x","role":"viewer","expires":"2001-01-01T00:00:00Z"}', 'expires'],
    ['{"name":"a\\u0000b","role":"viewer"}', 'name'],
    ['{"name":"a\\ud800b","role":"viewer"}', 'name'],
    ['{"__proto__":{"name":"x"},"name":"x","role":"viewer"}', 'JSON'],
    [`${'['.repeat(100_000)}`, 'JSON'],
    [`{"name":${'['.repeat(100_000)}${']'.repeat(100_000)},"role":"viewer"}`, 'name'],
  ])('the body %.40s is refused in words', async (body, word) => {
    const error = expectError(await post('/tokens', body, json), 'bad-request')
    expect(error.message).toContain(word)
    expect(edge.state.audit).toEqual([])
  })

  test('is counted by reason, and logged once for many', async () => {
    await withFresh(async ({ call, tokenOf, lines, registry }) => {
      const headers = { authorization: tokenOf('administrator'), ...json }
      const path = `${basePath}/tokens`
      for (let i = 0; i < 5; i++) await call('POST', path, { headers, body: '{' })
      for (let i = 0; i < 3; i++) await call('POST', path, { headers, body: '{}' })
      const metrics = await registry.metrics()
      expect(metrics).toContain('keepwatch_http_refused_total{reason="malformed"} 5')
      expect(metrics).toContain('keepwatch_http_refused_total{reason="invalid"} 3')
      expect(metrics).toContain(
        'keepwatch_http_request_seconds_count{operation="createToken",status="400"} 8',
      )
      expect(lines.map(({ reason, operation }) => [reason, operation])).toEqual([
        ['malformed', 'createToken'],
        ['invalid', 'createToken'],
      ])
    })
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'nonsense'])(
    'a body of type %s is refused, also where no body is wanted',
    async type => {
      const headers = { 'content-type': type }
      const body = JSON.stringify({ name: 'x', role: 'viewer' })
      expectError(await post('/tokens', body, headers), 'bad-request')
      expectError(await post('/pair/switchover', body, headers), 'bad-request')
      expect(edge.state.audit).toEqual([])
    },
  )

  test('a body without a type is refused', async () => {
    expectError(await post('/tokens', '{"name":"x","role":"viewer"}'), 'bad-request')
  })

  test('a body that is too large is refused', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(1024 * 1024), role: 'viewer' })
    expect(expectError(await post('/tokens', body, json), 'bad-request').message).toContain('1 MiB')
  })

  test.each([
    '/logs?cursor=garbage',
    '/logs?cursor=999999999999999-0',
    "/logs?cursor=1'%20OR%201-1",
    '/traps?cursor=-1-1',
    `/logs?cursor=${'1'.repeat(300)}`,
    '/logs?limit=0',
    '/logs?limit=1001',
    '/logs?limit=1&limit=2',
    '/logs?limit=many',
    '/logs?severity=8',
    '/logs?from=yesterday',
    '/logs?from=2025-01-02T00:00:00Z&to=2025-01-01T00:00:00Z',
    '/logs?to=2025-01-01T00:00:00Z&from=2025-01-01T00:00:00Z',
    '/logs/histogram?from=0001-01-01T00:00:00Z',
    '/logs/histogram?from=1970-01-01T00:00:00Z&to=2030-01-01T00:00:00Z',
    '/traffic/series?to=9999-12-31T00:00:00Z',
    '/logs?text=%00',
    '/traffic/top',
    '/traffic/top?by=src.addr,password',
    '/traffic/top?by=src.addr,src.addr,src.addr,src.addr,src.addr',
    '/traffic/top?by=src.addr&limit=10001',
    '/traffic/series?where=src.addr',
    '/traffic/series?where=src.addr=1.2.3',
    '/traffic/series?where=src.addr=fe80::1::2',
    "/traffic/series?where=dst.port=1'",
    '/devices/1',
    '/versions/abc',
    '/versions/1.5',
    '/versions/9?secrets=all',
    '/versions/9/diff?context=-1',
    '/jobs?state=lost',
    '/jobs?device=edge-1',
    '/alarms?open=maybe',
  ])('%s is refused in words', async path => {
    const reply = await edge.call('GET', basePath + path, { headers: { cookie: cookie() } })
    expectError(reply, 'bad-request')
  })

  test('a form that sends its empty fields asks nothing by them', async () => {
    edge.state.rows = []
    const path = `${basePath}/logs?text=&severity=&sender=&cursor=&limit=&from=&to=`
    expect((await edge.call('GET', path, { headers: { cookie: cookie() } })).status).toBe(200)
  })

  test.each([
    ['with six fields', '* * * * * *'],
    ['that never comes', '0 0 31 2 *'],
    ['that is none', 'daily'],
    ['with nonsense', '61 * * * *'],
  ])('a schedule %s is refused', async (_, schedule) => {
    const error = expectError(
      await post('/devices', JSON.stringify({ ...samples.createDevice!.body, schedule }), json),
      'bad-request',
    )
    expect(error.message).toContain('schedule')
  })
})

describe('a path', () => {
  test('that is nobody’s is not found', async () => {
    for (const path of ['/api/v1/nothing', '/api/v2/devices', '/nothing', '/devices/']) {
      const error = expectError(await edge.call('GET', path), 'not-found')
      expect(error.message).toContain(path)
    }
    expectError(await edge.call('PUT', `${basePath}/devices`), 'not-found')
    expectError(await edge.call('POST', '/'), 'not-found')
    const long = await edge.call('GET', `/api/${'x'.repeat(5000)}`)
    expect(long.text.length).toBeLessThan(300)
  })

  test('that is not correctly encoded is refused, with the headers of every answer', async () => {
    const reply = await edge.call('GET', '/api/%zz')
    expectError(reply, 'bad-request')
    expect(reply.headers['x-content-type-options']).toBe('nosniff')
  })

  test('longer than any is refused, as is a query that is', async () => {
    const reply = await edge.call('GET', `${basePath}/logs?text=${'x'.repeat(100_000)}`)
    expect(reply.status).toBe(431)
    expect(errorBody.parse(reply.json).error.code).toBe('bad-request')
    expectError(await edge.call('GET', `${basePath}/devices/${'1'.repeat(500)}`), 'bad-request')
  })
})

describe('for load balancers and Prometheus', () => {
  test('/active is 200 on the active alone, and says who is', async () => {
    expect(await edge.call('GET', '/active')).toMatchObject({
      status: 200,
      json: { server: 'one', role: 'active', term: 3, sentence: 'as the test says' },
    })
    edge.pair.role = 'standby'
    expect(await edge.call('GET', '/active')).toMatchObject({
      status: 503,
      json: { role: 'standby', activeConsole: otherConsole },
    })
    expect((await edge.call('HEAD', '/active')).status).toBe(503)
  })

  test('/healthz is 200 while the process is fit to serve', async () => {
    expect(await edge.call('GET', '/healthz')).toMatchObject({
      status: 200,
      json: { alive: true, problems: [] },
    })
    edge.state.broken = new Error('x')
    expect(await edge.call('GET', '/healthz')).toMatchObject({
      status: 503,
      json: { alive: true, problems: ['the telemetry engine does not answer'] },
    })
  })

  test('/metrics counts requests by operation and status', async () => {
    await withFresh(async ({ call, tokenOf, state }) => {
      const list = (headers = {}) => call('GET', `${basePath}/devices`, { headers })
      const headers = { authorization: tokenOf('viewer') }
      await list()
      await list(headers)
      state.broken = new TypeError('x')
      await list(headers)
      const metrics = await call('GET', '/metrics')
      expect(metrics.headers['content-type']).toContain('text/plain')
      for (const status of [200, 401, 500]) {
        expect(metrics.text).toContain(`_count{operation="listDevices",status="${status}"} 1`)
      }
    })
  })
})

describe('a question', () => {
  test('that takes too long is given up and answers timeout', async () => {
    const hasty = await startEdge({ requestDeadlineMs: 50 })
    const { promise, resolve } = Promise.withResolvers<void>()
    hasty.state.hold = promise
    const headers = { authorization: hasty.tokenOf('viewer') }
    expectError(await hasty.call('GET', `${basePath}/logs`, { headers }), 'timeout')
    expect(hasty.state.abandoned).toBe(1)
    resolve()
    await hasty.stop()
  })

  test('whose caller goes away is given up, which is nobody’s fault', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    edge.state.hold = promise
    const leaving = new AbortController()
    const asked = fetch(`${edge.url}${basePath}/logs`, {
      headers: { authorization: edge.tokenOf('viewer') },
      signal: leaving.signal,
    })
    setTimeout(() => leaving.abort(), 100)
    await expect(asked).rejects.toThrow()
    await expect.poll(() => edge.state.abandoned, { timeout: 5000 }).toBe(1)
    resolve()
    expect(edge.lines).toEqual([])
  })
})
