import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttps, type Server } from 'node:https'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../lib/clock.ts'
import { createLog } from '../../../lib/log.ts'
import { createMetrics } from '../../../lib/metrics.ts'
import { type Authority, openAuthority } from '../../../lib/tls.ts'
import { createTunnelEntry, createTunnelExit, type TunnelEntry, type TunnelExit } from './tunnel.ts'

const log = createLog({ level: 'silent', part: 'tunnel' })
let folder: string
let authority: Authority
let link: Server
let exit: TunnelExit
let entries: TunnelEntry[]
/** Says back what it hears: stands for PostgreSQL. */
const echo = createServer(socket => void socket.pipe(socket).on('error', () => {}))
let there: boolean

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-tunnel-'))
  authority = await openAuthority(folder)
  there = true
  entries = []
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const { port } = echo.address() as AddressInfo
  exit = createTunnelExit(
    { clock: systemClock, log, metrics: createMetrics({}) },
    { port: () => (there ? port : undefined), self: 'a' },
  )
  const identity = await authority.issue({ role: 'server', name: 'a', hosts: ['127.0.0.1'] })
  link = createHttps({ ...identity, requestCert: true, rejectUnauthorized: true })
  link.on('upgrade', (request, socket, head) => {
    if (!exit.upgrade(request, socket, head)) socket.destroy()
  })
  link.listen(0, '127.0.0.1')
  await once(link, 'listening')
})

afterEach(async () => {
  for (const entry of entries) await entry.stop()
  exit.stop()
  link.closeAllConnections()
  link.close()
  echo.close()
  rmSync(folder, { recursive: true, force: true })
})

async function entryOf(
  name: string,
  server = 'a',
  role: 'server' | 'collector' = 'server',
): Promise<TunnelEntry> {
  const identity = await authority.issue({ role, name, hosts: ['127.0.0.1'] })
  const { port } = link.address() as AddressInfo
  const entry = createTunnelEntry(
    { identity },
    { server: () => ({ name: server, host: '127.0.0.1', port }), port: 0 },
  )
  await entry.start()
  entries.push(entry)
  return entry
}

async function through(entry: TunnelEntry): Promise<Socket> {
  const socket = connect(entry.port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

test('what goes in comes out at the other server’s database, and back', async () => {
  const socket = await through(await entryOf('b'))
  const sent = Buffer.alloc(3_000_000, 'keepwatch ')
  const heard: Buffer[] = []
  let size = 0
  const all = new Promise<void>(resolve =>
    socket.on('data', chunk => {
      heard.push(chunk)
      size += chunk.length
      if (size >= sent.length) resolve()
    }),
  )
  socket.write(sent)
  await all
  expect(Buffer.concat(heard).equals(sent)).toBe(true)
  socket.destroy()
})

test.for<[string, () => Promise<TunnelEntry>, string]>([
  ['a collector', () => entryOf('c', 'a', 'collector'), 'a answers 403'],
  [
    'the follower while there is no database',
    () => {
      there = false
      return entryOf('b')
    },
    'a answers 503',
  ],
  [
    'a server of another name',
    () => entryOf('b', 'x'),
    'certificate of server a, expected server x',
  ],
])('%s is refused, and hears why', async ([, entryWith, because]) => {
  const entry = await entryWith()
  const socket = await through(entry)
  await once(socket.resume(), 'close')
  expect(entry.lastError).toBe(because)
})

test('both ends of a connection end together, and nothing is left after a stop', async () => {
  const entry = await entryOf('b')
  const socket = await through(entry)
  socket.write('there?')
  await once(socket, 'data')
  exit.stop()
  await once(socket, 'close')
  const another = await through(entry)
  another.write('there?')
  await once(another, 'data')
  const closed = once(another, 'close')
  await entry.stop()
  await closed
})
