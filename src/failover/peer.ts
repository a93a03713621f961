/**
 * What can be known of the other server without the database: asked on a connection that stays open,
 * so that its process's death, which closes the connection, is noticed at once.
 */
import { Agent, request } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PeerCertificate } from 'node:tls'
import { z } from 'zod'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import type { Identity } from '../lib/tls.ts'
import type { EventOf, Evidence, LinkState } from './states.ts'
import type { Timings } from './timings.ts'

/** Where a server answers; both sides use it. */
export const linkPath = '/link/v1/state'

export interface PeerAddress {
  name: string
  host: string
  port: number
}

export interface Peer {
  /** Asks at each half heartbeat interval, and at once when the connection breaks. */
  start(report: (evidence: EventOf<'peer'>) => void): Promise<void>
  stop(): Promise<void>
}

type Problem = 'wrong-server' | 'bad-answer' | 'untrusted'

/**
 * As the other version of the program may say it: what is new there is ignored, what is new here has a
 * default, and a state that is unknown here proves nothing, as `claiming` does.
 */
const linkState: z.ZodType<LinkState> = z.object({
  server: z.string().max(255),
  incarnation: z.string().max(64),
  role: z.enum(['active', 'standby', 'stopped']).catch('standby'),
  state: z
    .enum(['starting', 'standby', 'claiming', 'active', 'held', 'steppingDown', 'stopped'])
    .catch('claiming'),
  term: z.number().int().nonnegative(),
  database: z.enum(['unknown', 'there', 'away']).catch('there'),
  healthy: z.boolean(),
  version: z.string().max(64).catch('unknown'),
  address: z.boolean().catch(false),
  macs: z.array(z.string().max(20)).max(64).catch([]),
  clockMs: z.number().optional().catch(undefined),
})

const maxAnswerBytes = 4096
/** A refusal is believed when it comes twice: the listener may just be reopening. */
const confirmAfterMs = 50

export function createPeer(
  deps: { clock: Clock; log: Log; metrics: Metrics; identity: Identity },
  config: {
    /** Whom to ask; undefined while there is no second server. Looked up before each question. */
    address(): PeerAddress | undefined
    timings: Timings
  },
): Peer {
  const { key, cert, ca } = deps.identity
  const tally = createTally<Problem>(deps, {
    name: 'failover_peer_problems',
    help: 'Answers of the other server that could not be used, by reason',
  })
  const intervalMs = Math.ceil(config.timings.heartbeatIntervalMs / 2)
  let running: { stopped: AbortController; done: Promise<void> } | undefined
  let wake = () => {}

  async function run(report: (evidence: EventOf<'peer'>) => void, stopped: AbortSignal) {
    const agent = new Agent({
      ...{ key, cert, ca, keepAlive: true, maxSockets: 1, maxCachedSessions: 0 },
      minVersion: 'TLSv1.3',
      checkServerIdentity: (_host, certificate) => strangerIn(certificate),
    })
    stopped.addEventListener('abort', () => agent.destroy())
    while (!stopped.aborted) {
      const woken = Promise.withResolvers<void>()
      wake = woken.resolve
      const askedAt = { monotonic: deps.clock.monotonic(), wall: deps.clock.wall() }
      const evidence = await inquire(agent, stopped)
      if (stopped.aborted) return
      report({ type: 'peer', evidence, askedAt })
      const rest = new AbortController()
      const signal = AbortSignal.any([stopped, rest.signal])
      await Promise.race([sleep(intervalMs, undefined, { signal }).catch(() => {}), woken.promise])
      rest.abort()
    }
  }

  async function inquire(agent: Agent, stopped: AbortSignal): Promise<Evidence> {
    const address = config.address()
    if (address === undefined) return { kind: 'nobody' }
    const { name: server } = address
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(config.timings.peerTimeoutMs)])
    let refusals = 0
    for (;;) {
      try {
        const state = await ask(agent, address, signal)
        if (state.server === server) return { kind: 'alive', ...state }
        tally.count('wrong-server', () => ({ expected: server, answered: state.server }))
        return { kind: 'silent', server }
      } catch (error) {
        if (!isRefusal(error)) refusals = 0
        else if (++refusals === 2) return { kind: 'refused', server }
        // A broken connection says nothing yet; the next attempt does.
        if (signal.aborted || !(isRefusal(error) || isReset(error))) {
          note(error)
          return { kind: 'silent', server }
        }
        await sleep(confirmAfterMs, undefined, { signal }).catch(() => {})
      }
    }
  }

  function note(error: unknown) {
    const { code, message } = error as NodeJS.ErrnoException
    if (error instanceof SyntaxError || error instanceof z.ZodError) {
      tally.count('bad-answer', () => ({ error: message }))
    } else if (code !== undefined && /CERT|TLS|SSL|SELF_SIGNED/.test(code)) {
      tally.count('untrusted', () => ({ error: message }))
    }
  }

  function ask(agent: Agent, address: PeerAddress, signal: AbortSignal): Promise<LinkState> {
    const answer = Promise.withResolvers<LinkState>()
    const { host, port } = address
    const asking = request({ host, port, path: linkPath, agent, signal, servername: '' })
    asking.on('error', answer.reject)
    asking.on('socket', socket => {
      if (socket.listeners('close').includes(onBroken)) return
      socket.on('close', onBroken)
    })
    asking.on('response', response => {
      if (response.statusCode !== 200) {
        response.resume()
        answer.reject(new Error(`answered ${response.statusCode}`))
        return
      }
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > maxAnswerBytes) response.destroy(new SyntaxError('the answer is too long'))
        else chunks.push(chunk)
      })
      response.on('error', answer.reject)
      response.on('end', () => {
        try {
          answer.resolve(linkState.parse(JSON.parse(Buffer.concat(chunks).toString())))
        } catch (error) {
          answer.reject(error)
        }
      })
    })
    asking.end()
    return answer.promise
  }

  function onBroken() {
    wake()
  }

  /** Its name is in the certificate; the host under which it is reached may change. */
  function strangerIn(certificate: PeerCertificate): Error | undefined {
    const { CN, OU } = certificate.subject
    const name = config.address()?.name
    if (CN === name && OU === 'server') return undefined
    return Object.assign(new Error(`certificate of ${OU} ${CN}, expected server ${name}`), {
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  }

  return {
    start(report) {
      if (running !== undefined) throw new Error('the peer is watched already')
      const stopped = new AbortController()
      running = { stopped, done: run(report, stopped.signal) }
      return Promise.resolve()
    },
    async stop() {
      running?.stopped.abort()
      await running?.done
      running = undefined
    },
  }
}

function isRefusal(error: unknown): boolean {
  const { code, errors } = error as { code?: string; errors?: { code?: string }[] }
  // Of several addresses every one must refuse.
  if (errors !== undefined) return errors.every(one => one.code === 'ECONNREFUSED')
  return code === 'ECONNREFUSED'
}

function isReset(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === 'ECONNRESET' || code === 'EPIPE'
}
