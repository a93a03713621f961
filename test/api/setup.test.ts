/** The settings of the pair and the join of a second machine, from the socket to the rows and back. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { JoinAnswer, JoinRequest } from '../../src/api/contract/setup.ts'
import { ApiError } from '../../src/api/handler.ts'
import { type JoinToken, parseJoinToken, sealJoin, unsealJoin } from '../../src/lib/join-token.ts'
import { freePort } from '../../src/lib/ports.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import { createTokens } from '../../src/store/postgres/tokens.ts'
import {
  createTestDatabases,
  log,
  setUpMs,
  type TestDatabases,
  takeOver,
} from '../contract/databases.ts'
import { send } from '../fixtures/http-edge.ts'
import { type ApiServer, createApiServer, type SetupAnswers } from './server.ts'

let folder: string
let postgres: EmbeddedPostgres
let databases: TestDatabases
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-setup-'))
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
let server: ApiServer
let headers: Record<string, string>
let welcomed: JoinRequest[]
let setup: SetupAnswers
beforeEach(async () => {
  url = await databases.create()
  admin = new pg.Client({ connectionString: url })
  await admin.connect()
  await takeOver(admin, 1)
  welcomed = []
  setup = {
    invitation: () => ({ console: 'https://kw1.example.net', fingerprint: 'f'.repeat(43) }),
    async prepareFolder(path) {
      if (path === '/mnt/other') throw new Error(`${path} belongs to another deployment`)
    },
    async welcome(request, settings) {
      if (request.name === 'kw1') throw new ApiError('conflict', 'kw1 is the first server')
      welcomed.push(request)
      return { address: 'kw2.example.net', settings, primary: { name: 'kw1' } } as JoinAnswer
    },
    preflight: { start: async () => ({ id: '' }), last: async () => null },
  }
  server = createApiServer({ url, setup })
  await server.start()
  const secret = `kw_${randomBytes(32).toString('base64url')}`
  await server.database.fenced(1, { name: 'test' }, tx =>
    createTokens({ database: server.database }).adopt(tx, {
      name: 'ops',
      role: 'administrator',
      secret,
    }),
  )
  headers = { authorization: `Bearer ${secret}` }
}, setUpMs)
afterEach(async () => {
  await server.stop()
  await admin.end()
  await databases.drop(url)
}, setUpMs)

const call = (method: string, path: string, body?: object) =>
  send(server.url, method, `/api/v1/pair/${path}`, { headers, ...(body ? { body } : {}) })

async function auditLines(): Promise<string[]> {
  const { rows } = await admin.query('SELECT who, action, subject FROM audit ORDER BY id')
  return rows.map(row => `${row.who}: ${row.action} ${row.subject}`)
}

describe('the settings of the pair', () => {
  const mail = { recipients: ['ops@example.net'], from: 'kw@example.net', host: 'mail' }

  test('are what nobody has set, then what somebody has, without a secret', async () => {
    const before = (await call('GET', 'settings')).json
    expect(before).toMatchObject({
      version: 0,
      changedAt: null,
      settings: { connection: { type: 'none' }, sharedFolder: null, mail: null },
    })
    const changed = await call('PUT', 'settings', {
      version: 0,
      settings: { sharedFolder: '/mnt/keepwatch', mail },
      secrets: { smtpPassword: 'hunter2' },
    })
    expect(changed.json).toMatchObject({
      version: 1,
      changedBy: 'token ops',
      secrets: { smtpPassword: true, tsigSecret: false },
      settings: { sharedFolder: '/mnt/keepwatch', mail: { ...mail, port: 25 } },
    })
    expect(changed.text).not.toContain('hunter2')
    expect(await auditLines()).toEqual(['token ops: change pair settings pair'])
    const { rows } = await admin.query('SELECT detail::text FROM audit')
    expect(rows[0].detail).not.toContain('hunter2')
    expect(JSON.parse(rows[0].detail)).toEqual({
      changed: ['sharedFolder', 'mail'],
      secrets: ['smtpPassword'],
    })
  })

  test('are not changed by who has not seen the last change', async () => {
    await call('PUT', 'settings', { version: 0, settings: {} })
    const late = await call('PUT', 'settings', { version: 0, settings: { mail } })
    expect(late.json.error).toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('read them again'),
    })
    expect((await call('GET', 'settings')).json.settings.mail).toBeNull()
  })

  test.each<[what: string, settings: object, message: RegExp]>([
    [
      'a prefix that IPv4 does not have',
      { connection: { type: 'virtual-ip', addresses: [{ address: '192.0.2.1', prefix: 44 }] } },
      /addresses\.0\.prefix: of an IPv4 address is at most 32/,
    ],
    [
      'an address that is none',
      { connection: { type: 'virtual-ip', addresses: [{ address: '192.0.2.300', prefix: 24 }] } },
      /must be an IPv4 or IPv6 address/,
    ],
    [
      'a folder that is no path',
      { sharedFolder: 'mnt' },
      /sharedFolder: must be an absolute path, the same on both/,
    ],
    [
      'a folder of somebody else',
      { sharedFolder: '/mnt/other' },
      /sharedFolder: \/mnt\/other belongs to another deployment/,
    ],
    [
      'a recipient that is none',
      { mail: { ...mail, recipients: ['ops'] } },
      /mail\.recipients\.0: must be an e-mail address/,
    ],
    [
      'a key without its secret',
      { connection: { type: 'virtual-name', name: 'a.b', server: 'ns', tsig: { name: 'k' } } },
      /secrets\.tsigSecret: is missing; the key k needs it/,
    ],
    ['what there is not', { folder: '/mnt' }, /folder/],
  ])('are refused with %s, and it says what would be right', async (_what, settings, message) => {
    const reply = await call('PUT', 'settings', { version: 0, settings })
    expect(reply.json.error).toMatchObject({
      code: 'bad-request',
      message: expect.stringMatching(message),
    })
    expect((await call('GET', 'settings')).json.version).toBe(0)
  })
})

describe('a machine', () => {
  const machine: JoinRequest = {
    ...{ name: 'kw2', address: null, hosts: [], version: '1.2.3' },
    ...{ publicKey: 'a key', consolePublicKey: 'another' },
  }

  async function invite(): Promise<JoinToken> {
    const { line } = (await call('POST', 'join-tokens', {})).json
    expect(line).toMatch(/^keepwatch join https:\/\/kw1\.example\.net --token kwj_/)
    return parseJoinToken(line.split(' ').at(-1))
  }

  /** Without log-in: the token is the proof. */
  async function ask(token: JoinToken, request: object = machine, sent?: object) {
    const nonce = randomBytes(24).toString('base64url')
    const body = sent ?? { id: token.id, nonce, sealed: sealJoin(token, 'request', nonce, request) }
    const reply = await send(server.url, 'POST', '/api/v1/pair/join', { body })
    const { sealed } = reply.json
    return {
      body,
      text: reply.text,
      error: reply.json.error,
      answer: sealed && unsealJoin(token, 'answer', nonce, sealed),
    }
  }

  test('that has the token joins, and may ask again when the answer was lost', async () => {
    const token = await invite()
    const { answer, text } = await ask(token)
    expect(answer).toMatchObject({ address: 'kw2.example.net' })
    expect(text).not.toContain('kw2')
    expect((await ask(token)).answer).toEqual(answer)
    expect(welcomed).toEqual([machine, machine])
    expect(await auditLines()).toEqual([
      'token ops: create join token pair',
      'join token of token ops: join kw2',
      'join token of token ops: join kw2',
    ])
    const { rows } = await admin.query('SELECT used_by FROM join_tokens')
    expect(rows[0].used_by).toMatch(/^kw2 [0-9a-f]{64}$/)
  })

  test('with the same token but another key is refused, and told who has used it', async () => {
    const token = await invite()
    await ask(token)
    const { error } = await ask(token, { ...machine, publicKey: 'the key of a thief' })
    expect(error).toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/was used by kw2 at 20.*make another/),
    })
    expect(welcomed).toHaveLength(1)
  })

  test('that was not let in has not used the token', async () => {
    const token = await invite()
    expect((await ask(token, { ...machine, name: 'kw1' })).error.message).toBe(
      'kw1 is the first server',
    )
    expect((await ask(token)).answer).toBeDefined()
  })

  test('is refused when the token has expired, or is of another deployment', async () => {
    const token = await invite()
    await admin.query(
      "BEGIN; SELECT fence(1); UPDATE join_tokens SET expires = now() - interval '1 s'; COMMIT",
    )
    expect((await ask(token)).error.message).toMatch(/was good until 20.*make another/)
    const elsewhere = { ...token, id: '0190a000-0000-4000-8000-000000000009' }
    expect((await ask(elsewhere)).error.message).toMatch(/has made no such token/)
    expect(welcomed).toEqual([])
  })

  test('that only guesses the secret is refused, and soon not even listened to', async () => {
    const token = { ...(await invite()), secret: randomBytes(32) }
    const messages = []
    for (let count = 0; count < 7; count++) messages.push((await ask(token)).error.message)
    expect(messages[0]).toMatch(/not complete/)
    expect(messages.at(-1)).toMatch(/too many attempts/)
  })

  test('cannot be imitated by who has recorded its request', async () => {
    const token = await invite()
    const { body } = await ask(token)
    expect((await ask(token, machine, body)).error.message).toMatch(/was made before/)
    expect(welcomed).toHaveLength(1)
  })

  test('that says something wrong is told what would be right', async () => {
    const { error } = await ask(await invite(), { ...machine, name: 'KW 2' })
    expect(error.message).toMatch(/name: must be lower-case letters/)
  })

  test('takes the place of a second server that is gone', async () => {
    await admin.query(
      `INSERT INTO servers (name, installed, incarnation, version, console_url, link_host, link_port,
         started_at) SELECT name, 'secondary', gen_random_uuid(), '1', 'https://x', 'x', 1, now()
       FROM unnest(ARRAY['kw1', 'kw0']) AS name`,
    )
    await ask(await invite())
    const { rows } = await admin.query('SELECT name FROM servers')
    expect(rows).toEqual([{ name: 'kw1' }])
  })
})
