import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { OutboxQueue } from '../../src/notify/outbox.ts'
import type { WebhookCall } from '../../src/notify/webhook.ts'
import { setUpMs, takeOver } from '../contract/databases.ts'
import { type Databases, openPost, type Post, startDatabases, until } from './lab.ts'

interface Called {
  headers: IncomingHttpHeaders
  body: string
}

describe('a webhook', { timeout: 60_000 }, () => {
  let databases: Databases
  let post: Post
  let called: Called[]
  let answer: (response: ServerResponse, times: number) => void
  let url: string
  let stop: () => Promise<unknown>
  let reconnect: () => void

  beforeAll(async () => {
    databases = await startDatabases()
  }, setUpMs)
  afterAll(() => databases?.stop(), setUpMs)

  beforeEach(async () => {
    post = await openPost(databases)
    called = []
    answer = response => response.end('thanks')
    const server = createServer((request, response) => {
      const parts: Buffer[] = []
      request.on('data', part => parts.push(part))
      request.on('error', () => {})
      request.on('end', () => {
        called.push({ headers: request.headers, body: Buffer.concat(parts).toString() })
        answer(response, called.length)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    url = `http://127.0.0.1:${port}/told?from=keepwatch`
    reconnect = () => void server.listen(port, '127.0.0.1')
    stop = async () => {
      server.closeAllConnections()
      if (server.listening) await new Promise(resolve => server.close(resolve))
    }
  }, setUpMs)
  afterEach(async () => {
    await post.stop()
    await stop()
  }, setUpMs)

  const add = (...keys: string[]) => post.add(keys, { channel: 'webhook', recipient: url })
  const start = (deadlineMs = 5000) =>
    post
      .notifier({ mail: null, webhook: { url, secret: 'a secret' } }, { webhook: { deadlineMs } })
      .start(1)
  const sent = () =>
    until(post.rows, rows => Object.values(rows).every(row => row.state === 'sent'))
  const tried = () => until(post.rows, ({ a }) => a!.attempts > 0 && a!.state === 'waiting')
  const callOf = ({ body }: Called) => JSON.parse(body) as WebhookCall

  test('is told of each notice once, as JSON, signed', async () => {
    await add('a', 'b')
    await start()
    await sent()
    expect(called.map(callOf).map(({ subject }) => subject)).toEqual([
      'Keepwatch: about a',
      'Keepwatch: about b',
    ])
    const { headers, body } = called[0]!
    expect(JSON.parse(body)).toEqual({
      id: headers['idempotency-key'],
      class: 'takeover',
      subject: 'Keepwatch: about a',
      text: expect.stringContaining('It happened: a'),
      at: '2026-11-22T01:29:04.000Z',
      server: 'one',
      term: 1,
    })
    const signature = createHmac('sha256', 'a secret').update(body).digest('hex')
    expect(headers['keepwatch-signature']).toBe(`sha256=${signature}`)
  })

  test.each([
    [
      'an error',
      (response: ServerResponse) => response.writeHead(500).end('broken'),
      '500: broken',
    ],
    [
      'a redirection, which is not followed',
      (response: ServerResponse) => response.writeHead(302, { location: '/elsewhere' }).end(),
      'it answered 302',
    ],
  ])('that answers with %s is told again later', async (_what, no, failure) => {
    answer = (response, times) => (times === 1 ? no(response) : response.end())
    await add('a')
    await start()
    expect((await tried()).a!.failure).toContain(failure)
    await post.hurry()
    await sent()
    expect(called.length).toBe(2)
    expect(callOf(called[0]!)).toEqual(callOf(called[1]!))
  })

  test('that takes the call and does not answer is told again, under the same key', async () => {
    answer = (response, times) => (times === 1 ? undefined : response.end())
    await add('a')
    await start(500)
    expect((await tried()).a!.failure).toMatch(/no answer within 0.5 s: it may have been taken/)
    await post.hurry()
    await sent()
    const keys = called.map(({ headers }) => headers['idempotency-key'])
    expect(keys).toEqual([keys[0], keys[0]])
  })

  test('that drops the connection after the call is told again, under the same key', async () => {
    answer = (response, times) => (times === 1 ? response.destroy() : response.end())
    await add('a')
    await start()
    await tried()
    await post.hurry()
    await sent()
    expect(called.length).toBe(2)
  })

  test('that is away is told when it is back', async () => {
    await stop()
    await add('a')
    await start()
    expect((await tried()).a!.failure).toContain('ECONNREFUSED')
    reconnect()
    await post.hurry()
    await sent()
    expect(called.length).toBe(1)
  })

  test('gets no whole call from one that is held up while another takes over', async () => {
    const got: string[] = []
    const sockets = new Set<Socket>()
    const tcp = createTcpServer(socket => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('data', data => got.push(data.toString()))
    })
    tcp.listen(0, '127.0.0.1')
    await once(tcp, 'listening')
    const { port } = tcp.address() as AddressInfo
    await add('a')
    const gate = Promise.withResolvers<void>()
    const held: OutboxQueue = {
      ...post.outbox,
      ending: (term, id) => gate.promise.then(() => post.outbox.ending(term, id)),
    }
    const webhook = { url: `http://127.0.0.1:${port}/` }
    const old = post.notifier({ mail: null, webhook }, {}, held)
    await old.start(1)
    await until(
      () => got.join(''),
      text => text.includes('It happened: a'),
    )
    await takeOver(post.admin, 2)
    gate.resolve()
    await until(
      () => [...sockets].every(socket => socket.destroyed),
      gone => gone,
    )
    const whole = got.join('').split('\r\n\r\n')[1]!
    await new Promise(resolve => tcp.close(resolve))
    expect((await post.rows()).a!.state).toBe('sending')
    expect(whole).not.toContain('}')
  })
})
