/** The API from the socket to the rows of the database and back. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { freePort } from '../../src/lib/ports.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import { createUsers } from '../../src/store/postgres/users.ts'
import {
  createTestDatabases,
  log,
  setUpMs,
  type TestDatabases,
  takeOver,
} from '../contract/databases.ts'
import { startProxy, type Proxy as TcpProxy } from '../contract/proxy.ts'
import { type CallOptions, send } from '../fixtures/http-edge.ts'
import { type ApiServer, createApiServer } from './server.ts'

let folder: string
let postgres: EmbeddedPostgres
let databases: TestDatabases
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-api-'))
  postgres = createEmbeddedPostgres(
    { log },
    { dataDir: join(folder, 'postgres'), port: await freePort() },
  )
  await postgres.start()
  databases = await createTestDatabases(postgres.url)
}, setUpMs)
afterAll(async () => {
  await databases?.stop()
  await postgres?.stop()
  await rm(folder, { recursive: true })
}, setUpMs)

let url: string
let admin: pg.Client
let proxy: TcpProxy
let server: ApiServer
let first: string
beforeEach(async () => {
  url = await databases.create()
  admin = new pg.Client({ connectionString: url })
  await admin.connect()
  await takeOver(admin, 1)
  const target = new URL(url)
  proxy = await startProxy({ host: target.hostname, port: Number(target.port) })
  target.host = `127.0.0.1:${proxy.port}`
  server = createApiServer({ url: target.href })
  await server.start()
  const users = createUsers({ database: server.database })
  const made = await server.database.fenced(1, { name: 'keepwatch' }, tx => users.createFirst(tx))
  first = made!.password
}, setUpMs)
afterEach(async () => {
  proxy.mend()
  await server.stop()
  await proxy.stop()
  await admin.end()
  await databases.drop(url)
}, setUpMs)

const call = (method: string, path: string, options?: CallOptions) =>
  send(server.url, method, path.startsWith('/') ? path : `/api/v1/${path}`, options)

const own = 'a password of my own'

async function logIn(user: string, password: string) {
  const reply = await call('POST', 'session', { body: { user, password } })
  const cookie = reply.headers['set-cookie']?.[0]?.split(';')[0] ?? ''
  return { reply, headers: { cookie } }
}

/** An administrator who has chosen his password. */
async function administrator() {
  const { headers } = await logIn('admin', first)
  const body = { current: first, next: own }
  expect((await call('POST', 'session/password', { headers, body })).status).toBe(200)
  return headers
}

const aDevice = { name: 'edge-1', address: '192.0.2.1', driver: 'cisco-ios' }

async function auditLines() {
  const { rows } = await admin.query('SELECT who, action, subject, term FROM audit ORDER BY id')
  return rows.map(row => `${row.who}: ${row.action} ${row.subject} (${row.term})`)
}

describe('from the first log-in on', () => {
  test('a person chooses a password, makes a token, and a program uses that', async () => {
    expect((await logIn('admin', 'guessed')).reply.status).toBe(401)
    const { reply, headers } = await logIn('admin', first)
    expect(reply.json).toMatchObject({ user: 'admin', mustChangePassword: true })
    expect((await call('GET', 'devices', { headers })).json.error.code).toBe(
      'password-change-required',
    )
    const other = await logIn('admin', first)
    const body = { current: first, next: own }
    const changed = await call('POST', 'session/password', { headers, body })
    expect(changed.json).toMatchObject({ mustChangePassword: false })
    expect((await call('GET', 'devices', { headers })).json).toEqual({ devices: [] })
    expect((await call('GET', 'session', { headers: other.headers })).status).toBe(401)
    expect((await logIn('admin', first)).reply.status).toBe(401)
    expect((await logIn('admin', own)).reply.status).toBe(200)

    const made = await call('POST', 'tokens', {
      headers,
      body: { name: 'ansible', role: 'operator', expires: '2100-01-01T00:00:00Z' },
    })
    expect(made.status).toBe(200)
    const token = { authorization: `Bearer ${made.json.secret}` }
    expect((await call('GET', 'session', { headers: token })).json).toEqual({
      user: 'token ansible',
      role: 'operator',
      mustChangePassword: false,
      expires: '2100-01-01T00:00:00.000Z',
    })
    expect((await call('POST', 'devices', { headers: token, body: aDevice })).status).toBe(200)
    expect((await call('GET', 'tokens', { headers: token })).status).toBe(403)
    const revoked = await call('DELETE', `tokens/${made.json.token.id}`, { headers })
    expect(revoked.status).toBe(200)
    expect((await call('GET', 'devices', { headers: token })).status).toBe(401)
    expect((await call('DELETE', 'session', { headers })).status).toBe(200)
    expect((await call('GET', 'devices', { headers })).status).toBe(401)
    expect(await auditLines()).toEqual([
      'admin: change password admin (1)',
      'admin: create token ansible (1)',
      'token ansible: add device edge-1 (1)',
      'admin: revoke token ansible (1)',
    ])
  })

  test('devices and credentials are added, changed and removed, and what fails says why', async () => {
    const headers = await administrator()
    const write = (method: string, path: string, body?: object) =>
      call(method, path, { headers, ...(body ? { body } : {}) })
    const secrets = { password: 'p4ssw0rd-x', enable: 'en4ble-x', privateKey: '-----BEGIN k3y-x' }
    const credential = await write('POST', 'credentials', {
      name: 'core',
      username: 'backup',
      ...secrets,
    })
    expect(credential.json).toEqual({
      id: expect.any(String),
      name: 'core',
      username: 'backup',
      created: expect.any(String),
    })
    const device = await write('POST', 'devices', { ...aDevice, credentialId: credential.json.id })
    expect(device.json).toMatchObject({ ...aDevice, port: 22, enabled: true, lastJob: null })
    const { id } = device.json
    const patch = { note: 'roof', schedule: '0 3 * * *' }
    expect((await write('PATCH', `devices/${id}`, patch)).json).toMatchObject(patch)
    const job = await write('POST', `devices/${id}/backups`)
    expect(job.json).toMatchObject({ device: 'edge-1', state: 'queued', requestedBy: 'admin' })

    const none = '0190a000-0000-4000-8000-00000000dead'
    for (const [reply, code, message] of [
      [await write('POST', 'devices', aDevice), 'conflict', 'a device of this name exists already'],
      [
        await write('POST', 'devices', { ...aDevice, name: 'x', credentialId: none }),
        'conflict',
        'credentialId: there is no such credential',
      ],
      [
        await write('DELETE', `credentials/${credential.json.id}`),
        'conflict',
        'a device still uses this credential',
      ],
      [
        await write('POST', 'credentials', { name: 'core', username: 'x', password: 'y' }),
        'conflict',
        'a credential of this name exists already',
      ],
      [await write('PATCH', `devices/${none}`, patch), 'not-found', 'there is no such device'],
      [await write('DELETE', `devices/${none}`), 'not-found', 'there is no such device'],
      [await write('DELETE', `credentials/${none}`), 'not-found', 'there is no such credential'],
      [await write('DELETE', `tokens/${none}`), 'not-found', 'there is no such token'],
      [await write('POST', 'alarms/7/acknowledge'), 'not-found', 'there is no such alarm'],
      [await write('GET', 'versions/7'), 'not-found', 'there is no such version'],
      [await write('GET', 'jobs?cursor=garbage'), 'bad-request', 'cursor: not one'],
      [await write('GET', 'audit?cursor=1%20OR%201'), 'bad-request', 'cursor: not one'],
      [await write('GET', 'alarms?cursor=7'), 'bad-request', 'cursor: not one'],
      [await write('GET', 'versions?cursor=-1'), 'bad-request', 'cursor: not one'],
      [await write('GET', 'pair/history?cursor=x'), 'bad-request', 'cursor: not one'],
    ] as const) {
      expect(reply.json.error).toMatchObject({ code, message: expect.stringContaining(message) })
    }
    for (const path of ['versions/9007199254740991', 'alarms?limit=1', 'audit?limit=1000']) {
      expect((await write('GET', path)).status).toBeLessThan(500)
    }

    expect((await write('DELETE', `devices/${id}`)).status).toBe(200)
    expect((await write('DELETE', `credentials/${credential.json.id}`)).status).toBe(200)
    expect(await auditLines()).toEqual([
      'admin: change password admin (1)',
      'admin: add credential core (1)',
      'admin: add device edge-1 (1)',
      'admin: change device edge-1 (1)',
      'admin: back up edge-1 (1)',
      'admin: remove device edge-1 (1)',
      'admin: remove credential core (1)',
    ])
    const audit = await call('GET', 'audit?limit=2', { headers })
    expect(audit.json.entries).toMatchObject([
      { who: 'admin', action: 'remove credential', subject: 'core', term: 1 },
      { who: 'admin', action: 'remove device', subject: 'edge-1', term: 1 },
    ])
    const rest = await call('GET', `audit?cursor=${audit.json.next}`, { headers })
    expect(rest.json.entries).toHaveLength(5)

    const said = [server.log(), audit.text, rest.text]
    const { rows } = await admin.query('SELECT detail::text FROM audit')
    for (const text of [...said, ...rows.map(row => row.detail)]) {
      for (const secret of [...Object.values(secrets), own, first]) {
        expect(text).not.toContain(secret)
      }
    }
    expect(server.log()).not.toContain('"reason":"failed"')
  })

  test('no text that can be sent upsets the database', async () => {
    const headers = await administrator()
    for (const name of [
      '\0',
      'a\ud800',
      '\udc00',
      '\u202e',
      "'; DROP TABLE users; --",
      '\\',
      '🎉'.repeat(50),
    ]) {
      for (const [path, body] of [
        ['devices', { ...aDevice, name }],
        ['devices', { ...aDevice, name: `${Math.random()}`, note: name }],
        ['devices', { ...aDevice, name: `${Math.random()}`, address: name }],
        ['tokens', { name, role: 'viewer' }],
        ['credentials', { name, username: name, password: name }],
      ] as const) {
        const reply = await call('POST', path, { headers, body })
        expect(reply.status, `${path} ${JSON.stringify(body)}: ${reply.text}`).toBeLessThan(500)
      }
    }
    expect((await call('POST', 'session', { body: { user: '\0', password: 'x' } })).status).toBe(
      400,
    )
    expect(server.log()).not.toContain('"reason":"failed"')
  })
})

describe('a server whose term is over', () => {
  test('is refused every write by the database itself, and reads on', async () => {
    const headers = await administrator()
    await takeOver(admin, 2)
    const write = await call('POST', 'devices', { headers, body: aDevice })
    expect(write.status).toBe(409)
    expect(write.json.error).toMatchObject({
      code: 'not-active',
      message: 'term 1 is over, the current term is 2',
    })
    expect((await call('GET', 'devices', { headers })).json).toEqual({ devices: [] })
    expect(await auditLines()).toEqual(['admin: change password admin (1)'])
  })

  test('logs people in as a standby, and sends their writes to the active', async () => {
    await administrator()
    server.believes.role = 'standby'
    await admin.query(
      `INSERT INTO servers (name, installed, incarnation, version, console_url, link_host, link_port, started_at)
       VALUES ('two', 'secondary', gen_random_uuid(), '1', 'http://127.0.0.2:8081', 'x', 1, now())`,
    )
    const { reply, headers } = await logIn('admin', own)
    expect(reply.status).toBe(200)
    await expect
      .poll(async () => (await call('GET', 'pair', { headers })).json.activeConsole, {
        timeout: 10_000,
      })
      .toBe('http://127.0.0.2:8081')
    const write = await call('POST', 'devices', { headers, body: aDevice })
    expect(write.json.error).toMatchObject({
      code: 'not-active',
      active: 'http://127.0.0.2:8081',
    })
    const preflight = await call('OPTIONS', 'devices', {
      headers: { origin: 'http://127.0.0.2:8081' },
    })
    expect(preflight.status).toBe(204)
  })
})

describe('without its database', () => {
  async function expectAway(path: string, options: CallOptions, method = 'GET') {
    const began = performance.now()
    const { status, json } = await send(server.url, method, `/api/v1/${path}`, options)
    expect(json.error).toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/^the database does not answer/),
    })
    expect(status).toBe(503)
    return performance.now() - began
  }

  test('that refuses, it says so at once; who is logged in still sees the pair', async () => {
    const headers = await administrator()
    expect((await call('GET', 'devices', { headers })).status).toBe(200)
    proxy.cut()
    expect(await expectAway('devices', { headers })).toBeLessThan(3000)
    expect(await expectAway('devices', { headers, body: aDevice }, 'POST')).toBeLessThan(3000)
    await expectAway('session', { body: { user: 'admin', password: own } }, 'POST')
    await expectAway('devices', { headers: { cookie: 'keepwatch=unknown' } })
    await expect
      .poll(async () => (await call('GET', 'pair', { headers })).json, { timeout: 10_000 })
      .toMatchObject({ self: 'one', database: { reachable: false } })
    expect((await call('GET', '/active')).status).toBe(200)
    proxy.mend()
    expect((await call('GET', 'devices', { headers })).status).toBe(200)
    expect((await logIn('admin', own)).reply.status).toBe(200)
  })

  test('that is silent, it says so in bounded time; who is logged in still sees the pair', async () => {
    const headers = await administrator()
    await call('GET', 'pair', { headers })
    proxy.freeze()
    const began = performance.now()
    const pair = await call('GET', 'pair', { headers })
    expect(pair.status).toBe(200)
    expect(performance.now() - began).toBeLessThan(1400)
    const waits = await Promise.all([
      expectAway('devices', { headers }),
      expectAway('devices', { headers, body: aDevice }, 'POST'),
    ])
    for (const wait of waits) expect(wait).toBeLessThan(20_000)
    proxy.mend()
    await expect
      .poll(async () => (await call('GET', 'devices', { headers })).status, { timeout: 10_000 })
      .toBe(200)
  }, 60_000)

  test('that takes no writes, nobody logs in, and those who are read on', async () => {
    const headers = await administrator()
    await admin.query(
      `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET default_transaction_read_only = on`,
    )
    proxy.cut()
    proxy.mend()
    await expectAway('session', { body: { user: 'admin', password: own } }, 'POST')
    await expectAway('devices', { headers, body: aDevice }, 'POST')
    await expect
      .poll(async () => (await call('GET', 'devices', { headers })).status, { timeout: 5000 })
      .toBe(200)
  })
})
