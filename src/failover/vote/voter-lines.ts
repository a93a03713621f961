/**
 * The server's end of the lines to voters: each voter dials the server and offers its vote, so that a
 * voter behind a firewall votes like any other, and a server needs one port.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import { acceptUpgrade, refuseUpgrade } from '../../lib/upgraded.ts'
import type { Electorate } from '../lease/majority.ts'
import { eachLine } from './lines.ts'
import type { OwnVoter } from './own-voter.ts'
import type { Answer, Grant, Request } from './voter.ts'
import { answerLine } from './words.ts'

/** Where a voter offers its vote; a request with `Upgrade`. */
export const votersPath = '/link/v1/voters'
export const votersProtocol = 'keepwatch-votes'

export interface VoterLines extends Electorate {
  /** Takes a voter's connection. @returns false if it is not for here */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  /** Whose line is open, in the roll or not; this server’s own voter first. */
  present(): { name: string; role: VoterRole; grant: Grant | undefined }[]
  /** Ends every line. */
  stop(): void
}

export type VoterRole = 'server' | 'collector' | 'witness'

interface Line {
  role: VoterRole
  socket: Duplex
  /** As it said last. */
  grant: Grant | undefined
  waiting: Map<number, (answer: Answer) => void>
}

/** Whoever has a certificate as one of these may be asked for its vote; who is, the roll says. */
const voterRoles: readonly VoterRole[] = ['server', 'collector', 'witness']
/** How often each is asked, also one that does not vote. */
const aliveMs = 2000
/** Lines at a time. */
const maxLines = 1000
/** Questions to one voter that are not answered: of one that is slow the oldest are given up. */
const maxWaiting = 100

export function createVoterLines(
  deps: { clock: Clock; log: Log; metrics: Metrics; own: OwnVoter },
  config: { server: string },
): VoterLines {
  const lines = new Map<string, Line>()
  const tally = createTally<'stranger' | 'too-many' | 'bad-answer' | 'not-answered'>(deps, {
    name: 'failover_votes_problems',
    help: 'Lines to voters, and answers of theirs, that could not be used, by reason',
  })
  let ids = 0

  function open(voter: string, role: VoterRole, socket: Duplex, head: Buffer) {
    lines.get(voter)?.socket.destroy()
    const line: Line = { role, socket, grant: undefined, waiting: new Map() }
    lines.set(voter, line)
    socket.on('error', () => {})
    // Whoever does not vote is asked nothing else, and would take the line for dead.
    const asking = setInterval(
      () => void ask(voter, { ask: 'look' }, aliveMs).catch(() => {}),
      aliveMs,
    )
    socket.on('close', () => {
      clearInterval(asking)
      if (lines.get(voter) === line) lines.delete(voter)
      line.waiting.clear()
    })
    eachLine(socket, head, text => {
      const said = answerLine.safeParse(text)
      if (!said.success) {
        tally.count('bad-answer', () => ({ voter, error: said.error.message }))
        socket.destroy()
        return
      }
      line.grant = said.data.answer.grant
      line.waiting.get(said.data.id)?.(said.data.answer)
      line.waiting.delete(said.data.id)
    })
  }

  function ask(voter: string, request: Request, withinMs: number): Promise<Answer> {
    if (voter === config.server) return deps.own.ask(request)
    const line = lines.get(voter)
    if (line === undefined) return Promise.reject(new Error(`${voter} is not there`))
    const answered = Promise.withResolvers<Answer>()
    const id = ++ids
    const timer = setTimeout(() => {
      line.waiting.delete(id)
      tally.count('not-answered', () => ({ voter, ms: withinMs }))
      answered.reject(new Error(`${voter} does not answer`))
    }, withinMs)
    line.waiting.set(id, answer => {
      clearTimeout(timer)
      answered.resolve(answer)
    })
    if (line.waiting.size > maxWaiting) line.waiting.delete(line.waiting.keys().next().value!)
    line.socket.write(`${JSON.stringify({ id, request })}\n`)
    return answered.promise
  }

  return {
    present: () => [
      { name: config.server, role: 'server', grant: deps.own.kept().grant },
      ...[...lines].map(([name, { grant, role }]) => ({ name, role, grant })),
    ],

    upgrade(request, socket, head) {
      if (request.url !== votersPath) return false
      const { CN, OU } = (request.socket as TLSSocket).getPeerCertificate().subject ?? {}
      const voter = String(CN ?? '')
      const role = voterRoles.find(each => each === OU)
      if (role === undefined || voter === config.server) {
        tally.count('stranger', () => ({ voter, role: OU }))
        refuseUpgrade(socket, '403 Forbidden')
        return true
      }
      if (lines.size >= maxLines && !lines.has(voter)) {
        tally.count('too-many', () => ({ voter, lines: lines.size }))
        refuseUpgrade(socket, '503 Service Unavailable')
        return true
      }
      acceptUpgrade(socket, votersProtocol)
      open(voter, role, socket, head)
      return true
    },

    ask,

    stop() {
      for (const { socket } of lines.values()) socket.destroy()
      lines.clear()
    },
  }
}
