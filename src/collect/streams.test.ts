import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createLog } from '../lib/log.ts'
import { type Identity, openAuthority } from '../lib/tls.ts'
import type { StreamTls } from './listen.ts'
import { createStreams, type Streams } from './streams.ts'

const log = createLog({ level: 'silent', part: 'test' })
const opened: { streams: Streams; sockets: Socket[] }[] = []

afterEach(async () => {
  for (const { streams, sockets } of opened.splice(0)) {
    for (const socket of sockets) socket.destroy()
    for (const listener of streams.listeners) await listener.stop()
  }
})

async function open(tls?: StreamTls) {
  const messages: string[] = []
  const flows: { length: number; sender: string; port: number }[] = []
  const problems: string[] = []
  const streams = createStreams(
    {
      log,
      onMessage: bytes => messages.push(Buffer.from(bytes).toString()),
      onFlows: ({ length }, sender, port) => flows.push({ length, sender, port }),
      onSyslogProblem: problem => problems.push(problem),
      onProblem: problem => problems.push(problem),
    },
    {
      section: 'listen',
      address: '127.0.0.1',
      ports: { syslog_tcp: 0, ipfix_tcp: 0, syslog_tls: 0, ipfix_tls: 0 },
      tls,
      maxConnections: 10,
      maxMessageBytes: 65_536,
    },
  )
  const sockets: Socket[] = []
  opened.push({ streams, sockets })
  streams.turn(true)
  await streams.settled()
  const to = (name: string) =>
    new Promise<Socket>((resolve, reject) => {
      const { port } = streams.listeners.find(listener => listener.name === name)!
      const socket = connect(port, '127.0.0.1', () => resolve(socket))
      sockets.push(socket)
      socket.once('error', reject)
    })
  /** Over TLS, with the identity of a sender or without. */
  const secure = async (name: string, sender?: Identity) => {
    const { port } = streams.listeners.find(listener => listener.name === name)!
    const socket = connectTls({
      ...{ port, host: '127.0.0.1', rejectUnauthorized: false },
      ...(sender ? { key: sender.key, cert: sender.cert } : {}),
    })
    sockets.push(socket)
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    return socket
  }
  return { streams, messages, flows, problems, to, secure }
}

async function until(holds: () => boolean, evidence: () => unknown) {
  const deadline = performance.now() + 5000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(JSON.stringify(evidence()))
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

function ipfix(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  bytes.writeUInt16BE(10, 0)
  bytes.writeUInt16BE(length, 2)
  return bytes
}

test('messages of both kinds arrive, however their connections cut them', async () => {
  const { messages, flows, problems, to } = await open()
  const syslog = await to('syslog_tcp')
  const exporter = await to('ipfix_tcp')
  const stream = Buffer.concat([ipfix(100), ipfix(16), ipfix(3000)])
  for (let at = 0; at < stream.length; at += 50) {
    exporter.write(stream.subarray(at, at + 50))
    await new Promise(resolve => setImmediate(resolve))
  }
  syslog.write('<13>one\n5 <1')
  syslog.write('3>\n')
  await until(
    () => flows.length === 3 && messages.length === 2,
    () => [flows, messages, problems],
  )
  const port = exporter.localPort
  expect(flows).toEqual([100, 16, 3000].map(length => ({ length, sender: '127.0.0.1', port })))
  expect(messages[0]).toBe('<13>one')
  expect(problems).toEqual([])
})

test('a connection that brings no IPFIX is closed and counted, and the others go on', async () => {
  const { flows, problems, to } = await open()
  const good = await to('ipfix_tcp')
  const bad = await to('ipfix_tcp')
  const closed = new Promise(resolve => bad.once('close', resolve))
  bad.write('GET / HTTP/1.1\r\n\r\n')
  await closed
  expect(problems).toEqual(['no-ipfix'])
  good.write(ipfix(20))
  await until(
    () => flows.length === 1,
    () => flows,
  )
})

test('they are closed and opened again at the same ports', async () => {
  const { streams, to } = await open()
  const ports = streams.listeners.map(({ port }) => port)
  const socket = await to('ipfix_tcp')
  const ended = new Promise(resolve => socket.once('close', resolve))
  socket.resume()
  streams.turn(false)
  await streams.settled()
  await ended
  await expect(to('ipfix_tcp')).rejects.toThrow('ECONNREFUSED')
  streams.turn(true)
  streams.turn(true)
  await streams.settled()
  expect(streams.listeners.map(({ port }) => port)).toEqual(ports)
  await to('syslog_tcp')
})

describe('over TLS', () => {
  let dir: string
  let own: Identity
  let sender: Identity
  let stranger: Identity
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'keepwatch-streams-'))
    const authority = await openAuthority(join(dir, 'ours'))
    const another = await openAuthority(join(dir, 'another'))
    own = await authority.issue({ role: 'collector', name: 'site', hosts: ['127.0.0.1'] })
    sender = await authority.issue({ role: 'collector', name: 'router', hosts: [] })
    stranger = await another.issue({ role: 'collector', name: 'router', hosts: [] })
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  test('messages of both kinds arrive', async () => {
    const { messages, flows, secure } = await open({ key: own.key, cert: own.cert })
    const device = await secure('syslog_tls')
    device.write('9 <13>hello')
    const exporter = await secure('ipfix_tls')
    exporter.write(ipfix(40))
    await until(
      () => messages.length + flows.length === 2,
      () => ({ messages, flows }),
    )
    expect(messages).toEqual(['<13>hello'])
    expect(flows).toMatchObject([{ length: 40, sender: '127.0.0.1' }])
  })

  test('where senders need a certificate, one of another authority and none are refused', async () => {
    const { flows, problems, secure } = await open({ key: own.key, cert: own.cert, ca: own.ca })
    const exporter = await secure('ipfix_tls', sender)
    exporter.write(ipfix(40))
    for (const refused of [await secure('ipfix_tls', stranger), await secure('ipfix_tls')]) {
      refused.write(ipfix(60))
    }
    await until(
      () => flows.length === 1 && problems.length === 2,
      () => ({ flows, problems }),
    )
    expect(problems).toEqual(['handshake-failed', 'handshake-failed'])
    expect(flows.map(({ length }) => length)).toEqual([40])
  })

  test('whoever speaks something else is counted, and a stop does not wait for a handshake', async () => {
    const { problems, streams, to } = await open({ key: own.key, cert: own.cert })
    const plain = await to('ipfix_tls')
    plain.on('error', () => {})
    plain.write('this is not TLS, and it is long enough to be seen as such')
    await until(
      () => problems.length === 1,
      () => problems,
    )
    expect(problems).toEqual(['handshake-failed'])
    await to('ipfix_tls')
    const began = performance.now()
    for (const listener of streams.listeners) await listener.stop()
    expect(performance.now() - began).toBeLessThan(2000)
  })
})
