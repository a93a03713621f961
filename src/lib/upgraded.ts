/** Connections of the link that stay open and speak a protocol of their own (RFC 9110, section 7.8). */
import { request } from 'node:https'
import type { Duplex } from 'node:stream'
import type { PeerCertificate } from 'node:tls'
import type { Identity } from './tls.ts'

export interface ServerAddress {
  name: string
  host: string
  port: number
}

/** The server speaks no such protocol, now or ever. */
export class NotSpoken extends Error {}

export interface Upgraded {
  socket: Duplex
  /** What came with the answer. */
  head: Buffer
}

/**
 * Dials a server, which must show the certificate of its name, or of any server where none is said, and
 * changes over to a protocol.
 *
 * @throws NotSpoken, or Error that says what the server answered instead, or the reason of the signal
 */
export function dialUpgraded(
  server: Omit<ServerAddress, 'name'> & { name: string | undefined },
  {
    identity,
    path,
    protocol,
    signal,
    withinMs,
  }: {
    identity: Identity
    path: string
    protocol: string
    signal: AbortSignal
    withinMs: number
  },
): Promise<Upgraded> {
  const { host, name, port } = server
  const { ca, cert, key } = identity
  const answered = Promise.withResolvers<Upgraded>()
  const asking = request({
    ...{ host, port, path, key, cert, ca, minVersion: 'TLSv1.3', servername: '', agent: false },
    checkServerIdentity: (_host, certificate) => strangerIn(certificate, name),
    headers: { connection: 'Upgrade', upgrade: protocol },
  })
  const stop = () => asking.destroy(signal.reason as Error)
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop, { once: true })
  const late = setTimeout(
    () => asking.destroy(new Error(`${name ?? host} does not answer`)),
    withinMs,
  )
  asking.on('error', answered.reject)
  asking.on('upgrade', (_response, socket, head) => answered.resolve({ socket, head }))
  asking.on('response', response => {
    response.resume()
    const { statusCode } = response
    const said = `${name ?? host} answers ${statusCode}`
    answered.reject(statusCode === 404 ? new NotSpoken(said) : new Error(said))
  })
  asking.end()
  return answered.promise.finally(() => {
    clearTimeout(late)
    signal.removeEventListener('abort', stop)
  })
}

/** Its name is in the certificate; the host under which it is reached may change. */
function strangerIn({ subject: { CN, OU } }: PeerCertificate, name: string | undefined) {
  if (OU === 'server' && (name === undefined || CN === name)) return undefined
  return new Error(`certificate of ${OU} ${CN}, expected server ${name ?? ''}`.trimEnd())
}

/** Says yes to who has asked to change over. */
export function acceptUpgrade(socket: Duplex, protocol: string): void {
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${protocol}\r\nConnection: Upgrade\r\n\r\n`,
  )
}

/** Says no, and ends the connection. */
export function refuseUpgrade(
  socket: Duplex,
  status: '403 Forbidden' | '404 Not Found' | '503 Service Unavailable',
) {
  socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
}
