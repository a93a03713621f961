/** The voter's end of a line to a server: dials, offers the vote, answers; dials again. */
import { request } from 'node:https'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PeerCertificate } from 'node:tls'
import type { Identity } from '../../lib/tls.ts'
import { eachLine } from './lines.ts'
import type { OwnVoter } from './own-voter.ts'
import { votersPath, votersProtocol } from './voter-lines.ts'
import { questionLine } from './words.ts'

export interface VoteLine {
  start(): Promise<void>
  stop(): Promise<void>
  /** Whether the server has taken the vote; `lastError`: why not. */
  state(): { server: string; open: boolean; lastError: string | undefined }
}

export interface ServerAddress {
  name: string
  host: string
  port: number
}

const connectMs = 3000
const backoff = { firstMs: 100, mostMs: 2000 }

/** @param config.silentMs a line on which nothing is asked for so long is dead: servers ask all the time */
export function createVoteLine(
  deps: {
    identity: Identity
    own: OwnVoter
    /** A question that makes no sense here; the line goes on. */
    misunderstood(server: string, error: string): void
  },
  config: { server: ServerAddress; silentMs: number },
): VoteLine {
  const { own } = deps
  const { name, host, port } = config.server
  const { key, cert, ca } = deps.identity
  let stopping = new AbortController()
  let running: Promise<void> = Promise.resolve()
  let opened: Duplex | undefined
  let lastError: string | undefined

  async function run(signal: AbortSignal) {
    let waitMs = backoff.firstMs
    while (!signal.aborted) {
      try {
        const { head, socket } = await dial(signal)
        waitMs = backoff.firstMs
        lastError = undefined
        await serve(socket, head, signal)
        lastError = 'the connection has ended'
      } catch (error) {
        lastError = (error as Error).message
      }
      await sleep(waitMs, undefined, { signal }).catch(() => {})
      waitMs = Math.min(2 * waitMs, backoff.mostMs)
    }
  }

  function dial(signal: AbortSignal): Promise<{ socket: Duplex; head: Buffer }> {
    const answered = Promise.withResolvers<{ socket: Duplex; head: Buffer }>()
    const asking = request({
      ...{ host, port, path: votersPath, key, cert, ca, minVersion: 'TLSv1.3', servername: '' },
      ...{
        agent: false,
        checkServerIdentity: (_host: string, it: PeerCertificate) => strangerIn(it),
      },
      headers: { connection: 'Upgrade', upgrade: votersProtocol },
      signal,
    })
    const late = setTimeout(() => asking.destroy(new Error(`${name} does not answer`)), connectMs)
    asking.on('error', answered.reject)
    asking.on('upgrade', (_response, socket, head) => answered.resolve({ socket, head }))
    asking.on('response', response => {
      response.resume()
      answered.reject(new Error(`${name} answers ${response.statusCode}`))
    })
    asking.end()
    return answered.promise.finally(() => clearTimeout(late))
  }

  function strangerIn({ subject: { CN, OU } }: PeerCertificate): Error | undefined {
    if (CN === name && OU === 'server') return undefined
    return new Error(`certificate of ${OU} ${CN}, expected server ${name}`)
  }

  async function serve(socket: Duplex, head: Buffer, signal: AbortSignal) {
    const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
    const end = () => void socket.destroy()
    signal.addEventListener('abort', end, { once: true })
    let silent = setTimeout(end, config.silentMs)
    opened = socket
    socket.on('error', end)
    eachLine(socket, head, text => {
      clearTimeout(silent)
      silent = setTimeout(end, config.silentMs)
      const asked = questionLine.safeParse(text)
      // A later version of the program may ask what this one does not know.
      if (!asked.success) {
        deps.misunderstood(name, asked.error.message)
        return
      }
      const { id, request: question } = asked.data
      own
        .ask(question)
        .then(answer => void socket.write(`${JSON.stringify({ id, answer })}\n`))
        .catch(() => {})
    })
    await closed
    clearTimeout(silent)
    signal.removeEventListener('abort', end)
    opened = undefined
  }

  return {
    start() {
      stopping = new AbortController()
      running = run(stopping.signal)
      return Promise.resolve()
    },
    async stop() {
      stopping.abort()
      await running
    },
    state: () => ({ server: name, open: opened !== undefined, lastError }),
  }
}
