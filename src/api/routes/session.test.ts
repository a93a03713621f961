import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Edge, password, send, startEdge } from '../../../test/fixtures/http-edge.ts'
import { basePath } from '../contract/index.ts'
import { createLogInLimit } from '../log-in-limit.ts'

let edge: Edge
beforeEach(async () => {
  edge = await startEdge()
})
afterEach(() => edge.stop())

const session = `${basePath}/session`
const soon = { timeout: 5000 }
const logIn = (user: string, word = password) =>
  edge.call('POST', session, { body: { user, password: word } })
const who = (cookie: string) => edge.call('GET', session, { headers: { cookie } })

describe('a session', () => {
  test('begins with a cookie that only this server and no script sees', async () => {
    const reply = await logIn('operator')
    expect(reply.json).toMatchObject({
      user: 'operator',
      role: 'operator',
      mustChangePassword: false,
    })
    const [cookie, ...others] = reply.headers['set-cookie']!
    expect(others).toEqual([])
    const [pair, ...attributes] = cookie!.split('; ')
    expect(pair).toMatch(/^keepwatch=.{20,}$/)
    expect(attributes).toEqual(
      expect.arrayContaining(['Path=/', 'HttpOnly', 'Secure', 'SameSite=Strict']),
    )
    expect(attributes.some(attribute => /^domain/i.test(attribute))).toBe(false)
    const expires = attributes.find(attribute => attribute.startsWith('Expires='))!.slice(8)
    const hours = (Date.parse(expires) - Date.now()) / 3_600_000
    expect(hours).toBeGreaterThan(11.9)
    expect(hours).toBeLessThan(12.1)
    expect(reply.text).not.toContain(pair!.slice(10))
    expect((await who(pair!)).json).toMatchObject({ user: 'operator' })
  })

  test('ends at log-out, on the server and in the browser', async () => {
    const cookie = (await logIn('viewer')).headers['set-cookie']![0]!.split(';')[0]!
    const reply = await edge.call('DELETE', session, { headers: { cookie } })
    expect(reply).toMatchObject({ status: 200, json: {} })
    expect(reply.headers['set-cookie']![0]).toMatch(/^keepwatch=;.*Expires=Thu, 01 Jan 1970/)
    expect((await who(cookie)).status).toBe(401)
    expect((await edge.call('DELETE', session)).status).toBe(200)
  })

  test('ends at its time', async () => {
    edge.state.sessions.set('short', { name: 'viewer', expires: new Date(Date.now() + 1000) })
    expect((await who('keepwatch=short')).status).toBe(200)
    await expect.poll(async () => (await who('keepwatch=short')).status, soon).toBe(401)
  })

  test('is not begun with a wrong password, and nobody learns which part was wrong', async () => {
    const wrong = await logIn('viewer', 'wrong')
    const unknown = await logIn('nobody')
    expect(wrong.status).toBe(401)
    expect(wrong.headers['set-cookie']).toBeUndefined()
    expect(unknown.json).toEqual(wrong.json)
  })

  test('works on a standby too, where the database takes its line', async () => {
    edge.pair.role = 'standby'
    expect((await logIn('viewer')).status).toBe(200)
  })
})

describe('wrong passwords', () => {
  test('are answered with a wait after five of one name from one address', async () => {
    for (let i = 0; i < 5; i++) expect((await logIn('viewer', `wrong ${i}`)).status).toBe(401)
    const limited = await logIn('viewer')
    expect(limited).toMatchObject({ status: 429, json: { error: { code: 'too-many-requests' } } })
    expect((await logIn('operator')).status).toBe(200)
    const metrics = await edge.registry.metrics()
    expect(metrics).toContain('http_refused_total{reason="wrong-password"} 5')
    expect(metrics).toContain('http_refused_total{reason="too-many"} 1')
    expect(edge.lines.map(line => line.reason)).toEqual(['wrong-password', 'too-many'])
    expect(JSON.stringify(edge.lines)).not.toContain('wrong 0')
  })

  test('sent all at once are no more than five either', async () => {
    const replies = await Promise.all(
      Array.from({ length: 30 }, (_, i) => logIn('viewer', `wrong ${i}`)),
    )
    expect(replies.filter(({ status }) => status === 401)).toHaveLength(5)
    expect(replies.filter(({ status }) => status === 429)).toHaveLength(25)
  })

  test('of many names from one address are bounded too', async () => {
    let tried = 0
    while ((await logIn(`user-${tried}`, 'wrong')).status === 401) tried++
    expect(tried).toBe(20)
  })

  test('count when a password is changed as well', async () => {
    const change = (current: string) =>
      edge.call('POST', `${session}/password`, {
        headers: { cookie: edge.cookieOf('viewer') },
        body: { current, next: 'quite another one' },
      })
    for (let i = 0; i < 5; i++) expect((await change('wrong')).status).toBe(400)
    expect((await change(password)).status).toBe(429)
  })
})

describe('a session that is handed over', () => {
  const handOver = (headers: Record<string, string>) =>
    edge.call('POST', `${session}/hand-over`, { headers })
  const takeOver = (code: string) => edge.call('POST', `${session}/take-over`, { body: { code } })

  test('goes on with a cookie of its own, for the same person and no longer', async () => {
    const cookie = edge.cookieOf('operator')
    const made = await handOver({ cookie })
    expect(made.status).toBe(200)
    const minutes = (Date.parse(made.json.expires) - Date.now()) / 60_000
    expect(minutes).toBeGreaterThan(9.9)
    expect(minutes).toBeLessThan(10.1)
    const taken = await takeOver(made.json.code)
    expect(taken.json).toEqual((await who(cookie)).json)
    const own = taken.headers['set-cookie']![0]!.split(';')[0]!
    expect(own).not.toBe(cookie)
    expect((await who(own)).json).toMatchObject({ user: 'operator' })
  })

  test('is taken over once, and the code opens nothing else', async () => {
    const { code } = (await handOver({ cookie: edge.cookieOf('viewer') })).json
    expect((await who(`keepwatch=${code}`)).status).toBe(401)
    expect((await takeOver(code)).status).toBe(200)
    const again = await takeOver(code)
    expect(again).toMatchObject({ status: 401, json: { error: { code: 'not-logged-in' } } })
    expect(again.headers['set-cookie']).toBeUndefined()
  })

  test('is one of a person whose password is chosen, not a token', async () => {
    expect((await handOver({})).status).toBe(401)
    expect((await handOver({ cookie: edge.cookieOf('new') })).json.error.code).toBe(
      'password-change-required',
    )
    expect((await handOver({ authorization: edge.tokenOf('viewer') })).json.error.code).toBe(
      'not-allowed',
    )
  })

  test('is not had by trying codes', async () => {
    for (let i = 0; i < 5; i++) expect((await takeOver(`wrong ${i}`)).status).toBe(401)
    expect((await takeOver('wrong')).status).toBe(429)
    expect((await logIn('viewer')).status).toBe(200)
  })

  test('goes on at a standby too', async () => {
    edge.pair.role = 'standby'
    const { code } = (await handOver({ cookie: edge.cookieOf('viewer') })).json
    expect((await takeOver(code)).status).toBe(200)
  })
})

describe('the limit on log-ins', () => {
  test('forgets after a minute, forgives what was right, and counts a network of IPv6 as one', () => {
    let now = 1_000_000
    const limit = createLogInLimit(() => now)
    const fail = (name: string, address: string) => limit.begin(name, address) !== false
    for (let i = 0; i < 50; i++) {
      const attempt = limit.begin('ann', '192.0.2.1')
      expect(attempt).not.toBe(false)
      if (attempt) attempt.forgive()
    }
    const tries = Array.from({ length: 7 }, (_, i) => fail('ann', `2001:db8::${i}`))
    expect(tries).toEqual([true, true, true, true, true, false, false])
    expect(fail('ann', '2001:db8:0:1::1')).toBe(true)
    expect(fail('ann', '::ffff:192.0.2.1')).toBe(true)
    now += 60_000
    expect(fail('ann', '2001:db8::1')).toBe(true)
  })

  test('stops many addresses that guess one name', () => {
    const limit = createLogInLimit(() => 0)
    const tries = Array.from({ length: 200 }, (_, i) => limit.begin('ann', `10.0.0.${i}`) !== false)
    expect(tries.filter(Boolean)).toHaveLength(100)
    expect(limit.begin('bob', '10.0.0.1')).not.toBe(false)
  })

  test('remembers the last failures of those who are many', () => {
    const limit = createLogInLimit(() => 0)
    for (let i = 0; i < 20; i++) limit.begin(`name ${i}`, '192.0.2.1')
    for (let i = 0; i < 1000; i++) limit.begin(`other ${i}`, `10.0.${i >> 8}.${i & 255}`)
    expect(limit.begin('x', '192.0.2.1')).toBe(false)
    for (let i = 0; i < 20_000; i++) limit.begin(`more ${i}`, `10.1.${i >> 8}.${i & 255}`)
    expect(limit.begin('x', '192.0.2.1')).not.toBe(false)
  })
})

describe('a token', () => {
  const make = (body: object) =>
    edge.call('POST', `${basePath}/tokens`, {
      headers: { cookie: edge.cookieOf('administrator') },
      body,
    })

  test('is shown once, works until it is revoked, and has no password', async () => {
    const made = await make({ name: ' grafana ', role: 'viewer' })
    expect(made.json.token).toMatchObject({ name: 'grafana', role: 'viewer', expires: null })
    const headers = { authorization: `Bearer ${made.json.secret}` }
    expect((await edge.call('GET', `${basePath}/devices`, { headers })).status).toBe(200)
    expect((await edge.call('GET', session, { headers })).json).toMatchObject({
      user: 'token grafana',
      expires: null,
    })
    expect((await edge.call('GET', `${basePath}/tokens`, { headers })).status).toBe(403)
    const change = { current: password, next: 'quite another one' }
    expect(
      (await edge.call('POST', `${session}/password`, { headers, body: change })).json.error.code,
    ).toBe('not-allowed')
    const admin = { cookie: edge.cookieOf('administrator') }
    const list = await edge.call('GET', `${basePath}/tokens`, { headers: admin })
    expect(list.text).not.toContain(made.json.secret)
    const revoke = () =>
      edge.call('DELETE', `${basePath}/tokens/${made.json.token.id}`, { headers: admin })
    expect((await revoke()).status).toBe(200)
    expect((await revoke()).status).toBe(404)
    expect((await edge.call('GET', `${basePath}/devices`, { headers })).status).toBe(401)
    expect(edge.state.audit).toEqual([
      { action: 'create token', subject: 'grafana', detail: { role: 'viewer' } },
      { action: 'revoke token', subject: 'grafana' },
    ])
  })

  test('comes before a cookie, and ends at its time', async () => {
    const expires = new Date(Date.now() + 1000).toISOString()
    const { secret } = (await make({ name: 'short', role: 'viewer', expires })).json
    const headers = {
      authorization: `bearer ${secret}`,
      cookie: edge.cookieOf('administrator'),
    }
    const ask = () => send(edge.url, 'GET', session, { headers })
    expect((await ask()).json).toMatchObject({ user: 'token short' })
    await expect.poll(async () => (await ask()).status, soon).toBe(401)
  })
})
