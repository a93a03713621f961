import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../../test/fixtures/http-edge.ts'
import { DatabaseAway } from '../lib/errors.ts'
import { basePath, endpoints } from './contract/index.ts'

const path = `${basePath}/logs/tail`
let edge: Edge
beforeEach(async () => {
  edge = await startEdge({ streams: { pingMs: 50, stallMs: 400 } })
})
afterEach(() => edge.stop())

type Event = { rows: { message: string }[]; dropped: number }

/** A reader of the stream; `take` reads until there are so many events. */
async function open(query = '', role: 'viewer' | 'operator' = 'viewer') {
  const leaving = new AbortController()
  const response = await fetch(edge.url + path + query, {
    headers: { cookie: edge.cookieOf(role) },
    signal: leaving.signal,
  })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const events = (): Event[] =>
    text
      .split('\n\n')
      .slice(0, -1)
      .filter(part => part.startsWith('data: '))
      .map(part => JSON.parse(part.slice(6)))
  return {
    response,
    leave: () => leaving.abort(),
    text: () => text,
    async take(count: number): Promise<Event[]> {
      while (events().length < count) {
        const { done, value } = await reader.read()
        if (done) throw new Error(`the stream ended after ${events().length} events`)
        text += value
      }
      return events()
    },
    /** Resolves when the server ends the stream, however it does. */
    async end(): Promise<void> {
      for (;;) {
        const { done, value } = await reader.read().catch(() => ({ done: true, value: '' }))
        if (done) return
        text += value
      }
    },
  }
}

const soon = { timeout: 5000 }
const listening = (count: number) => expect.poll(() => edge.state.listeners.size, soon).toBe(count)

describe('the live tail', () => {
  test('brings messages as they come, in the form of the contract', async () => {
    const tail = await open()
    expect(tail.response.status).toBe(200)
    expect(Object.fromEntries(tail.response.headers)).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    await listening(1)
    edge.say('link down', 'link up')
    edge.say('grüße\nover two lines')
    const events = await tail.take(1)
    const all = events.flatMap(({ rows }) => rows).length < 3 ? await tail.take(2) : events
    for (const event of all) expect(endpoints.tailLogs.response.parse(event)).toEqual(event)
    expect(all.flatMap(({ rows }) => rows)).toMatchObject([
      { message: 'link down', sender: '192.0.2.7', device: 'edge-1', severity: 5 },
      { message: 'link up' },
      { message: 'grüße\nover two lines' },
    ])
    tail.leave()
  })

  test.each([
    ['?text=LINK%20down', ['link down']],
    ['?severity=5', ['link down', 'link up']],
    ['?severity=4', []],
    ['?sender=192.0.2.7', ['link down', 'link up']],
    ['?sender=::ffff:c000:207', ['link down', 'link up']],
    ['?sender=192.0.2.8', []],
    ['?sender=nobody', []],
  ] as const)('with %s brings what matches', async (query, expected) => {
    const tail = await open(query)
    const all = await open()
    await listening(2)
    edge.say('link down', 'link up')
    await all.take(1)
    const got = expected.length > 0 ? await tail.take(1) : []
    expect(got.flatMap(({ rows }) => rows.map(row => row.message))).toEqual(expected)
    tail.leave()
    all.leave()
  })

  test('gives up listening when its reader goes', async () => {
    const tail = await open()
    await listening(1)
    tail.leave()
    await listening(0)
    expect(await edge.registry.metrics()).toContain('keepwatch_http_streams 0')
  })

  test('shows that it lives while there is nothing to say', async () => {
    const tail = await open()
    await listening(1)
    setTimeout(() => edge.say('now'), 300)
    await tail.take(1)
    expect(tail.text().split(':\n\n').length).toBeGreaterThan(3)
    tail.leave()
  })

  test('ends when the session does, and not while the database is away', async () => {
    const tail = await open()
    await listening(1)
    edge.state.broken = new DatabaseAway('gone', 'nothing-written')
    setTimeout(() => edge.say('still there'), 200)
    await tail.take(1)
    edge.state.broken = undefined
    edge.state.sessions.delete('session-viewer')
    await tail.end()
    await listening(0)
  })

  test('ends within a second of the stop of the server, and holds it up no longer', async () => {
    const tails = await Promise.all([open(), open('?text=x'), open()])
    await listening(3)
    const began = performance.now()
    await Promise.all([edge.stop(), ...tails.map(tail => tail.end())])
    expect(performance.now() - began).toBeLessThan(1000)
    expect(edge.state.listeners.size).toBe(0)
  })

  test('is open a bounded number of times', async () => {
    const tails = await Promise.all(Array.from({ length: 100 }, () => open()))
    await listening(100)
    const more = await edge.call('GET', path, { headers: { cookie: edge.cookieOf('viewer') } })
    expect(more).toMatchObject({ status: 429, json: { error: { code: 'too-many-requests' } } })
    for (const tail of tails) tail.leave()
    await listening(0)
    const again = await open()
    expect(again.response.status).toBe(200)
    again.leave()
  })

  test('answers a question about its head with an end', async () => {
    const reply = await edge.call('HEAD', path, { headers: { cookie: edge.cookieOf('viewer') } })
    expect(reply.status).toBe(404)
  })
})

describe('a reader that takes nothing', () => {
  let socket: Socket

  async function startReading() {
    socket = connect(edge.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.on('error', () => {})
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nCookie: ${edge.cookieOf('viewer')}\r\n\r\n`)
    await once(socket, 'data')
    socket.pause()
    await listening(1)
  }
  afterEach(() => {
    socket.destroy()
  })

  const segment = Array.from({ length: 500 }, (_, i) => `${i} ${'x'.repeat(1000)}`)

  test('is told how much it missed', async () => {
    await edge.stop()
    edge = await startEdge()
    await startReading()
    const said = 50 * segment.length
    for (let i = 0; i < 50; i++) {
      edge.say(...segment)
      await new Promise(resolve => setImmediate(resolve))
    }
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', chunk => {
      text += chunk
    })
    socket.resume()
    const events = () =>
      [...text.matchAll(/^data: (.*)\n\n/gm)].map(match => JSON.parse(match[1]!) as Event)
    const shown = () => events().reduce((sum, { rows }) => sum + rows.length, 0)
    const dropped = () => events().reduce((sum, event) => sum + event.dropped, 0)
    await expect.poll(() => shown() + dropped(), soon).toBe(said)
    expect(dropped()).toBeGreaterThan(0)
    for (const { rows } of events()) expect(rows.length).toBeLessThanOrEqual(1000)
  })

  test('is cut off after a while', async () => {
    await startReading()
    const gone = once(socket, 'close')
    for (let i = 0; i < 100; i++) {
      edge.say(...segment)
      await new Promise(resolve => setImmediate(resolve))
    }
    await listening(0)
    socket.resume()
    await gone
  })
})

test('a reader that goes before it is known who it is leaves nothing behind', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  edge.state.slow = promise
  const socket = connect(edge.port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nCookie: ${edge.cookieOf('viewer')}\r\n\r\n`)
  await expect.poll(() => edge.state.lookUps, soon).toBe(1)
  socket.destroy()
  await once(socket, 'close')
  await edge.call('GET', '/healthz')
  resolve()
  await listening(0)
  const metrics = async () => (await edge.registry.metrics()).includes('http_streams 0')
  await expect.poll(metrics, soon).toBe(true)
})
