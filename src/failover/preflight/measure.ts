/** How far the other server is away: round trips, clock and bandwidth, over the link. */
import { Agent, request } from 'node:https'
import type { PeerCertificate } from 'node:tls'
import type { Identity } from '../../lib/tls.ts'
import { type LinkFacts, type ServerFacts, serverFacts } from './facts.ts'

/** Where a server answers for its peer's checks. */
export const preflightPaths = {
  /** GET `?asked=<name>&asked=<address>`: its facts. */
  facts: '/link/v1/facts',
  /** GET `?size=<bytes>`: so many zeros; the header `keepwatch-clock` has its clock. */
  bytes: '/link/v1/bytes',
} as const
export const clockHeader = 'keepwatch-clock'
export const mostBytes = 64 * 2 ** 20

const roundTrips = 20
const firstBytes = 2 * 2 ** 20
/** A transfer that was done sooner says little: a larger one follows. */
const soonMs = 150
const factsDeadlineMs = 60_000
const answerDeadlineMs = 5000
const transferDeadlineMs = 15_000
const mostFactsBytes = 1_000_000

export interface OtherServer {
  /** As it is in its certificate; undefined: whichever server of the deployment answers. */
  name: string | undefined
  host: string
  port: number
}

export interface OtherLink {
  facts(asked: readonly string[]): Promise<ServerFacts>
  measure(): Promise<LinkFacts>
  close(): void
}

export function openLink(deps: { identity: Identity }, other: OtherServer): OtherLink {
  const { key, cert, ca } = deps.identity
  const agent = new Agent({
    ...{ key, cert, ca, keepAlive: true, maxSockets: 1, maxCachedSessions: 0 },
    minVersion: 'TLSv1.3',
    checkServerIdentity: (_host, certificate) => strangerIn(certificate, other.name),
  })

  function get(path: string, deadlineMs: number, keep: number) {
    const answer = Promise.withResolvers<{ body: Buffer; size: number; clock: number }>()
    const { host, port } = other
    const asking = request({
      ...{ host, port, path, agent, servername: '' },
      signal: AbortSignal.timeout(deadlineMs),
    })
    asking.on('error', answer.reject)
    asking.on('response', response => {
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size <= keep) chunks.push(chunk)
      })
      response.on('error', answer.reject)
      response.on('end', () => {
        const body = Buffer.concat(chunks)
        if (response.statusCode !== 200) {
          return answer.reject(new Error(`it answered ${response.statusCode} ${body}`))
        }
        answer.resolve({ body, size, clock: Number(response.headers[clockHeader]) })
      })
    })
    asking.end()
    return answer.promise
  }

  const bytesAt = (size: number) => `${preflightPaths.bytes}?size=${size}`

  /** Seconds for so many bytes. */
  async function transfer(size: number): Promise<number> {
    const began = performance.now()
    await get(bytesAt(size), transferDeadlineMs, 0)
    return (performance.now() - began) / 1000
  }

  async function bandwidth(): Promise<number | null> {
    try {
      const seconds = await transfer(firstBytes)
      if (seconds * 1000 > soonMs) return (8 * firstBytes) / seconds
      return (8 * mostBytes) / (await transfer(mostBytes))
    } catch {
      return null
    }
  }

  return {
    async facts(asked) {
      const query = new URLSearchParams(asked.map((name): [string, string] => ['asked', name]))
      const path = `${preflightPaths.facts}?${query}`
      const { body } = await get(path, factsDeadlineMs, mostFactsBytes)
      return serverFacts.parse(JSON.parse(body.toString()))
    },

    async measure() {
      // The first opens the connection.
      await get(bytesAt(0), answerDeadlineMs, 0)
      const trips: { ms: number; aheadMs: number }[] = []
      for (let count = 0; count < roundTrips; count++) {
        const [wall, began] = [Date.now(), performance.now()]
        const { clock } = await get(bytesAt(0), answerDeadlineMs, 0)
        const ms = performance.now() - began
        trips.push({ ms, aheadMs: clock - (wall + ms / 2) })
      }
      const best = trips.toSorted((a, b) => a.ms - b.ms)[0]!
      return {
        roundTripsMs: trips.map(({ ms }) => ms),
        clockAheadMs: best.aheadMs,
        // Somewhere in the round trip it looked at its clock, which counts milliseconds.
        clockUncertaintyMs: best.ms / 2 + 1,
        bitsPerSecond: await bandwidth(),
      }
    },

    close: () => agent.destroy(),
  }
}

/** Its name is in the certificate; the host under which it is reached may be another. */
function strangerIn(certificate: PeerCertificate, name: string | undefined): Error | undefined {
  const { CN, OU } = certificate.subject
  if (OU === 'server' && (name === undefined || CN === name)) return undefined
  return new Error(`the certificate is of ${OU} ${CN}, not of server ${name ?? ''}`)
}
