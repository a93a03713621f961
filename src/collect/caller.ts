/** Requests to one server over the link: HTTPS, both sides certified, connections kept. */
import { Agent, request as httpsRequest } from 'node:https'
import type { Identity } from '../lib/tls.ts'
import { certificateRole } from './link.ts'

export interface Answer {
  status: number
  text: string
  /** Seconds. */
  retryAfter?: string | undefined
}

export interface CallOptions {
  signal: AbortSignal
  timeoutMs?: number
  body?: Uint8Array
  headers?: Record<string, string | number>
}

export interface Caller {
  open(): void
  close(): void
  readonly isOpen: boolean
  /** @throws if there is no answer in time, or none at all */
  call(method: string, path: string, options: CallOptions): Promise<Answer>
}

const usualTimeoutMs = 10_000
const maxAnswerBytes = 4 * 1024 * 1024

export function createCaller(
  deps: { identity: Identity },
  config: { url: string; maxConnections: number },
): Caller {
  const { key, cert, ca } = deps.identity
  let agent: Agent | undefined

  return {
    open() {
      agent = new Agent({
        ...{ key, cert, ca },
        minVersion: 'TLSv1.3',
        keepAlive: true,
        maxSockets: config.maxConnections,
        // Any server of the deployment will do, at whatever name or shared address it is reached:
        // what counts is that the authority calls it a server.
        checkServerIdentity: (_, certificate) =>
          certificateRole(certificate) === 'server'
            ? undefined
            : new Error('the other side is not a server of this deployment'),
      })
    },

    close() {
      agent?.destroy()
      agent = undefined
    },

    get isOpen() {
      return agent !== undefined
    },

    call(method, path, { signal, timeoutMs = usualTimeoutMs, body, headers }) {
      return new Promise((resolve, reject) => {
        const deadline = AbortSignal.timeout(timeoutMs)
        const request = httpsRequest(
          new URL(path, config.url),
          {
            ...{ method, agent: agent! },
            signal: AbortSignal.any([signal, deadline]),
            headers: { ...headers, 'content-length': body?.length ?? 0 },
          },
          response => {
            const chunks: Buffer[] = []
            let length = 0
            response.on('data', (chunk: Buffer) => {
              chunks.push(chunk)
              length += chunk.length
              if (length > maxAnswerBytes) request.destroy(new Error('the answer is too long'))
            })
            response.on('error', fail)
            response.on('end', () =>
              resolve({
                status: response.statusCode!,
                text: Buffer.concat(chunks).toString('utf8'),
                retryAfter: response.headers['retry-after'],
              }),
            )
          },
        )
        function fail(error: Error) {
          reject(deadline.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error)
        }
        request.on('error', fail)
        request.end(body)
      })
    },
  }
}
