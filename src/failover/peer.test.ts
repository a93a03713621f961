import { mkdtemp, rm } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { createServer, type Server } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { createLog } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import { type Authority, type Identity, openAuthority } from '../lib/tls.ts'
import { createPeer, linkPath, type PeerAddress } from './peer.ts'
import type { Evidence, LinkState } from './states.ts'
import { defaultTimings } from './timings.ts'

let folder: string
let authority: Authority
let ours: Identity
let theirs: Identity
const cleanUp: (() => Promise<unknown>)[] = []

const timings = { ...defaultTimings, heartbeatIntervalMs: 200, peerTimeoutMs: 300 }
const answer: LinkState = {
  server: 'a',
  incarnation: 'a-1',
  role: 'active',
  state: 'active',
  term: 3,
  database: 'there',
  healthy: true,
  version: '1',
  address: true,
  macs: ['02:00:00:00:00:0a'],
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-peer-'))
  authority = await openAuthority(folder)
  ours = await authority.issue({ role: 'server', name: 'b', hosts: ['127.0.0.1'] })
  theirs = await authority.issue({ role: 'server', name: 'a', hosts: ['127.0.0.1'] })
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(async () => {
  for (const end of cleanUp.splice(0).reverse()) await end()
})

async function serve(identity: Identity, listener: RequestListener): Promise<Server> {
  const server = createServer(
    { ...identity, requestCert: true, rejectUnauthorized: true },
    listener,
  )
  server.keepAliveTimeout = 60_000
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  cleanUp.push(() => shut(server))
  return server
}

function shut(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise(resolve => server.close(() => resolve()))
}

const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port

/** Watches that address. @returns the next evidence of a kind, and since when it was awaited */
async function watch(address: PeerAddress | undefined) {
  const heard: Evidence[] = []
  let look = () => {}
  const peer = createPeer(
    {
      clock: systemClock,
      log: createLog({ level: 'silent', part: 'test' }),
      metrics: createMetrics({}),
      identity: ours,
    },
    { address: () => address, timings },
  )
  await peer.start(({ evidence }) => {
    heard.push(evidence)
    look()
  })
  cleanUp.push(() => peer.stop())
  return {
    heard,
    async next(kind: Evidence['kind']) {
      const from = heard.length
      const deadline = performance.now() + 3000
      for (;;) {
        const found = heard.slice(from).find(evidence => evidence.kind === kind)
        if (found) return found
        const left = deadline - performance.now()
        if (left <= 0) throw new Error(`no ${kind} in ${JSON.stringify(heard.slice(from))}`)
        await new Promise<void>(resolve => {
          look = resolve
          setTimeout(resolve, left)
        })
      }
    },
  }
}

describe('the peer', () => {
  test('that answers is alive', async () => {
    const server = await serve(theirs, (request, response) => {
      expect(request.url).toBe(linkPath)
      response.end(JSON.stringify(answer))
    })
    const peer = await watch({ name: 'a', host: '127.0.0.1', port: portOf(server) })
    expect(await peer.next('alive')).toEqual({ kind: 'alive', ...answer })
  })

  test('is asked on one connection', async () => {
    let connections = 0
    const server = await serve(theirs, (_request, response) => response.end(JSON.stringify(answer)))
    server.on('secureConnection', () => connections++)
    const peer = await watch({ name: 'a', host: '127.0.0.1', port: portOf(server) })
    for (let question = 0; question < 4; question++) await peer.next('alive')
    expect(connections).toBe(1)
  })

  test('whose process has gone is refused, noticed as its connection breaks', async () => {
    const server = await serve(theirs, (_request, response) => response.end(JSON.stringify(answer)))
    const slow = { ...timings, heartbeatIntervalMs: 60_000 }
    const heard: Evidence[] = []
    const alive = Promise.withResolvers<void>()
    const gone = Promise.withResolvers<void>()
    const peer = createPeer(
      {
        clock: systemClock,
        log: createLog({ level: 'silent', part: 'test' }),
        metrics: createMetrics({}),
        identity: ours,
      },
      { address: () => ({ name: 'a', host: '127.0.0.1', port: portOf(server) }), timings: slow },
    )
    const { port } = server.address() as AddressInfo
    server.address = () => ({ port, address: '127.0.0.1', family: 'IPv4' })
    await peer.start(({ evidence }) => {
      heard.push(evidence)
      if (evidence.kind === 'alive') alive.resolve()
      if (evidence.kind === 'refused') gone.resolve()
    })
    cleanUp.push(() => peer.stop())
    await alive.promise
    const before = performance.now()
    await shut(server)
    await gone.promise
    expect(performance.now() - before, 'not at the next question, in half a minute').toBeLessThan(
      1000,
    )
  })

  test('that accepts and says nothing is silent', async () => {
    const server = createTcpServer(() => {}).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const sockets: { destroy(): void }[] = []
    server.on('connection', socket => sockets.push(socket))
    cleanUp.push(() => {
      for (const socket of sockets) socket.destroy()
      return new Promise(resolve => server.close(resolve))
    })
    const peer = await watch({ name: 'a', host: '127.0.0.1', port: portOf(server) })
    expect(await peer.next('silent')).toEqual({ kind: 'silent', server: 'a' })
    expect(peer.heard.map(({ kind }) => kind)).not.toContain('refused')
  })

  test('that resets every connection is silent, not dead', async () => {
    const server = createTcpServer(socket => void socket.resetAndDestroy()).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    cleanUp.push(() => new Promise(resolve => server.close(resolve)))
    const peer = await watch({ name: 'a', host: '127.0.0.1', port: portOf(server) })
    await peer.next('silent')
    expect(peer.heard.map(({ kind }) => kind)).not.toContain('refused')
  })

  test.for<[string, () => Promise<Identity>]>([
    ['of another name', () => authority.issue({ role: 'server', name: 'c', hosts: ['127.0.0.1'] })],
    [
      'of a collector',
      () => authority.issue({ role: 'collector', name: 'a', hosts: ['127.0.0.1'] }),
    ],
    [
      'of another deployment',
      async () => {
        const elsewhere = await openAuthority(join(folder, 'elsewhere'))
        return elsewhere.issue({ role: 'server', name: 'a', hosts: ['127.0.0.1'] })
      },
    ],
  ])('with a certificate %s is not heard', async ([, issue]) => {
    const server = await serve(await issue(), (_request, response) => {
      response.end(JSON.stringify(answer))
    })
    const peer = await watch({ name: 'a', host: '127.0.0.1', port: portOf(server) })
    await peer.next('silent')
    expect(peer.heard.map(({ kind }) => kind)).not.toContain('alive')
  })

  test.for([
    ['nonsense', '<html>'],
    ['another server', JSON.stringify({ ...answer, server: 'c' })],
    ['too much', JSON.stringify({ ...answer, more: 'x'.repeat(10_000) })],
  ] as const)('that answers %s harms nothing', async ([, body]) => {
    const server = await serve(theirs, (_request, response) => response.end(body))
    const peer = await watch({ name: 'a', host: '127.0.0.1', port: portOf(server) })
    await peer.next('silent')
    await peer.next('silent')
    expect(peer.heard.map(({ kind }) => kind)).not.toContain('alive')
  })

  test('that is of another version is understood, and proves nothing by what is new', async () => {
    const { version, address, macs, ...older } = answer
    const said = { ...older, state: 'dreaming', mood: 'good' }
    const server = await serve(theirs, (_request, response) => response.end(JSON.stringify(said)))
    const peer = await watch({ name: 'a', host: '127.0.0.1', port: portOf(server) })
    expect(await peer.next('alive')).toEqual({
      ...{ ...older, kind: 'alive', state: 'claiming', version: 'unknown', address: false },
      macs: [],
    })
  })

  test('is nobody while there is no second server', async () => {
    const peer = await watch(undefined)
    expect(await peer.next('nobody')).toEqual({ kind: 'nobody' })
  })
})
