import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { type Edge, startEdge } from '../../test/fixtures/http-edge.ts'
import { openAuthority } from '../lib/tls.ts'
import { basePath } from './contract/index.ts'

/** Stops it and says how long that took, ms. */
async function stopping(edge: Edge): Promise<number> {
  const began = performance.now()
  await edge.stop()
  return performance.now() - began
}

async function opened(port: number, first = ''): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(first)
  return socket
}

test('stops at once, whatever its connections are doing', async () => {
  const edge = await startEdge()
  const { promise, resolve } = Promise.withResolvers<void>()
  edge.state.hold = promise
  const head = `Host: x\r\nAuthorization: ${edge.tokenOf('administrator')}\r\n`
  const sockets = await Promise.all([
    opened(edge.port),
    opened(edge.port, 'GET / HTT'),
    opened(edge.port, `POST ${basePath}/tokens HTTP/1.1\r\n${head}Content-Length: 100\r\n\r\n{`),
    opened(edge.port, `GET ${basePath}/logs HTTP/1.1\r\n${head}\r\n`),
    opened(edge.port, `GET /healthz HTTP/1.1\r\n${head}\r\n`),
  ])
  const closed = Promise.all(sockets.map(socket => once(socket, 'close')))
  for (const socket of sockets) socket.resume()
  await edge.call('GET', '/healthz')
  expect(await stopping(edge)).toBeLessThan(1000)
  await closed
  resolve()
  await expect(opened(edge.port)).rejects.toThrow('ECONNREFUSED')
})

test('stops at once while a TLS handshake is under way', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'keepwatch-tls-'))
  const authority = await openAuthority(folder)
  const { key, cert } = await authority.issue({
    role: 'server',
    name: 'one',
    hosts: ['127.0.0.1'],
  })
  rmSync(folder, { recursive: true })
  const edge = await startEdge({ tls: { key, cert } })
  const secure = connectTls({ port: edge.port, host: '127.0.0.1', ca: authority.ca })
  await once(secure, 'secureConnect')
  secure.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
  const [answer] = await once(secure, 'data')
  expect(String(answer)).toMatch(/^HTTP\/1.1 200/)
  const silent = await opened(edge.port)
  silent.resume()
  expect(await stopping(edge)).toBeLessThan(1000)
  secure.destroy()
  silent.destroy()
})

test('a port that is taken is said, and nothing stays', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  await expect(startEdge({ port })).rejects.toThrow('EADDRINUSE')
  other.close()
})

test('what is not HTTP is answered so, counted, and closed', async () => {
  const edge = await startEdge()
  for (const [said, answer] of [
    ['SSH-2.0-scanner\r\n\r\n', /^HTTP\/1\.1 400 .*"this is not correct HTTP"/s],
    ['\x16\x03\x01\x02\x00\x01\x00', /^HTTP\/1\.1 400 /],
    [
      `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      /^HTTP\/1\.1 431 .*head of the request/s,
    ],
    [
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
  ] as const) {
    const socket = await opened(edge.port, said)
    let text = ''
    socket.on('data', data => {
      text += data
    })
    await once(socket, 'close')
    expect(text).toMatch(answer)
  }
  expect(await edge.registry.metrics()).toContain('http_refused_total{reason="malformed"} 4')
  expect(edge.lines).toMatchObject([{ reason: 'malformed' }])
  await edge.stop()
})
