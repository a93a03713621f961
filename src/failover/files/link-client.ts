/** Requests to the other server over the link: HTTPS with certificates on both sides. */
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import type { PeerCertificate } from 'node:tls'
import type { Identity } from '../../lib/tls.ts'
import type { PeerAddress } from '../peer.ts'

export interface LinkClient {
  /**
   * @param ask.withinMs until the answer has ended
   * @throws Error also for an answer with another status than 200, 206 and 304
   */
  ask(peer: PeerAddress, ask: LinkAsk): Promise<LinkAnswer>
  /** The same, with the body as it comes. It must be read or destroyed. */
  open(peer: PeerAddress, ask: LinkAsk): Promise<IncomingMessage>
  close(): void
}

export interface LinkAsk {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  body?: Buffer
  withinMs: number
  /** Also ends it. */
  stopped?: AbortSignal
}

export interface LinkAnswer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

/** What is said of an answer that is none. */
const maxComplaint = 4096
const maxAnswerBytes = 16 * 1024 * 1024

export function createLinkClient(deps: { identity: Identity }): LinkClient {
  const { key, cert, ca } = deps.identity
  /** One connection for questions, some for files. */
  const agent = new Agent({
    ...{ key, cert, ca, keepAlive: true, maxSockets: 4, maxCachedSessions: 0 },
    minVersion: 'TLSv1.3',
  })

  async function open(peer: PeerAddress, ask: LinkAsk): Promise<IncomingMessage> {
    const deadline = AbortSignal.timeout(ask.withinMs)
    const signal = ask.stopped ? AbortSignal.any([ask.stopped, deadline]) : deadline
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const asking = request({
        host: peer.host,
        port: peer.port,
        method: ask.method,
        path: ask.path,
        headers: { ...ask.headers, 'content-length': ask.body?.length ?? 0 },
        agent,
        signal,
        servername: '',
        checkServerIdentity: (_host, certificate) => strangerIn(certificate, peer.name),
      })
      asking.once('response', resolve)
      asking.on('error', error => reject(deadline.aborted ? tooLate(peer, ask) : error))
      asking.end(ask.body)
    })
    if ([200, 206, 304].includes(response.statusCode ?? 0)) return response
    const said = (await bodyOf(response, maxComplaint).catch(() => Buffer.alloc(0))).toString()
    throw new Error(`${peer.name} answered ${response.statusCode} to ${ask.path}: ${said}`)
  }

  return {
    open,
    async ask(peer, ask) {
      const response = await open(peer, ask)
      const body = await bodyOf(response, maxAnswerBytes)
      return { status: response.statusCode!, headers: response.headers, body }
    },
    close: () => agent.destroy(),
  }
}

async function bodyOf(response: IncomingMessage, most: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += (chunk as Buffer).length
    if (size > most) throw new Error(`an answer of more than ${most} bytes`)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

function tooLate(peer: PeerAddress, ask: LinkAsk): Error {
  return new Error(`${peer.name} did not answer ${ask.path} within ${ask.withinMs / 1000} s`)
}

/** Its name is in the certificate; the host under which it is reached may change. */
function strangerIn(certificate: PeerCertificate, name: string): Error | undefined {
  const { CN, OU } = certificate.subject
  if (CN === name && OU === 'server') return undefined
  return Object.assign(new Error(`certificate of ${OU} ${CN}, expected server ${name}`), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  })
}
