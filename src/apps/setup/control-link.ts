/** What a program on the standby's machine asks of the active, over the link between the servers. */
import { request as httpsRequest } from 'node:https'
import { controlUser, localCaller } from '../../api/control.ts'
import { ApiError } from '../../api/handler.ts'
import type { ForwardedRequest, HttpServer } from '../../api/http.ts'
import type { LinkRoute } from '../../collect/link.ts'
import type { Identity } from '../../lib/tls.ts'

const prefix = '/link/v1/control'
const methodHeader = 'keepwatch-method'
const deadlineMs = 65_000
const mostBytes = 8 * 2 ** 20
const callerForm = /^[\w.-]{1,64}@[\w.-]{1,255}$/

/** The active's end: answers as if it had been asked on its own machine. */
export function controlRoute(answer: HttpServer['answer']): LinkRoute {
  return {
    method: 'POST',
    prefix: `${prefix}/`,
    role: 'server',
    answer(request, response, from) {
      const method = request.headers[methodHeader]
      const said = request.headers[controlUser]
      const user = typeof said === 'string' && callerForm.test(said) ? said : `unknown@${from.name}`
      const done = new Promise<void>(resolve => response.once('close', resolve))
      request.url = request.url!.slice(prefix.length)
      request.method = typeof method === 'string' ? method : 'POST'
      answer(request, response, { caller: localCaller(user), forwarded: true })
      return done
    },
  }
}

/** The standby's end. */
export function createForward(deps: {
  identity: Identity
  /** The other server; undefined if there is none. */
  peer(): { name: string; linkHost: string; linkPort: number } | undefined
}) {
  const { key, cert, ca } = deps.identity

  return (asked: ForwardedRequest): Promise<{ status: number; body: unknown }> => {
    const peer = deps.peer()
    if (peer === undefined) {
      throw new ApiError('not-active', 'this server stands by and knows of no other server')
    }
    const body = asked.body === undefined || asked.body === null ? '' : JSON.stringify(asked.body)
    const answered = Promise.withResolvers<{ status: number; body: unknown }>()
    const unreachable = (error: Error) =>
      answered.reject(
        new ApiError(
          'unavailable',
          `this server stands by, and ${peer.name} cannot be asked: ${error.message}`,
        ),
      )
    const asking = httpsRequest({
      ...{ key, cert, ca, servername: '', agent: false, minVersion: 'TLSv1.3' },
      host: peer.linkHost,
      port: peer.linkPort,
      method: 'POST',
      path: prefix + asked.url,
      headers: {
        [methodHeader]: asked.method,
        [controlUser]: asked.caller,
        'content-length': Buffer.byteLength(body),
        ...(body === '' ? {} : { 'content-type': 'application/json' }),
      },
      signal: AbortSignal.timeout(deadlineMs),
      checkServerIdentity(_host, { subject: { CN, OU } }) {
        if (CN === peer.name && OU === 'server') return undefined
        return new Error(`the certificate is of ${OU} ${CN}, not of server ${peer.name}`)
      },
    })
    asking.on('error', unreachable)
    asking.on('response', response => {
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > mostBytes) response.destroy(new Error('its answer is too long'))
        else chunks.push(chunk)
      })
      response.on('error', unreachable)
      response.on('end', () => {
        try {
          const answer = JSON.parse(Buffer.concat(chunks).toString())
          answered.resolve({ status: response.statusCode!, body: answer })
        } catch (error) {
          unreachable(error as Error)
        }
      })
    })
    asking.end(body)
    return answered.promise
  }
}
