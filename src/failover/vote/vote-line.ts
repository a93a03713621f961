/** The voter's end of a line to a server: dials, offers the vote, answers; dials again. */
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Identity } from '../../lib/tls.ts'
import { dialUpgraded, NotSpoken, type ServerAddress } from '../../lib/upgraded.ts'
import { eachLine } from './lines.ts'
import type { OwnVoter } from './own-voter.ts'
import { votersPath, votersProtocol } from './voter-lines.ts'
import { questionLine } from './words.ts'

export interface VoteLine {
  start(): Promise<void>
  stop(): Promise<void>
  /** Whether the server has taken the vote; `lastError`: why not. */
  state(): { server: string | undefined; open: boolean; lastError: string | undefined }
}

export type VotedServer = Omit<ServerAddress, 'name'> & {
  name: string | undefined
  /** In words. */
  called?: string
}

const connectMs = 3000
/** A server that has no voters is asked again so seldom. */
const notSpokenMs = 60_000
const backoff = { firstMs: 100, mostMs: 2000 }

/** @param config.silentMs a line on which nothing is asked for so long is dead: servers ask all the time */
export function createVoteLine(
  deps: {
    identity: Identity
    own: OwnVoter
    /** A question that makes no sense here; the line goes on. */
    misunderstood(server: string, error: string): void
  },
  config: {
    /** Undefined: it is not known yet. Without a name it may be any server. */
    server(): VotedServer | undefined
    silentMs: number
  },
): VoteLine {
  const { own } = deps
  let stopping = new AbortController()
  let running: Promise<void> = Promise.resolve()
  let opened: Duplex | undefined
  let lastError: string | undefined

  async function run(signal: AbortSignal) {
    let waitMs = backoff.firstMs
    while (!signal.aborted) {
      const server = config.server()
      try {
        if (server === undefined) throw new Error('there is no other server yet')
        const { head, socket } = await dialUpgraded(server, {
          ...{ identity: deps.identity, path: votersPath, protocol: votersProtocol },
          ...{ signal, withinMs: connectMs },
        })
        waitMs = backoff.firstMs
        lastError = undefined
        await serve(nameOf(server), socket, head, signal)
        lastError = 'the connection has ended'
      } catch (error) {
        lastError = (error as Error).message
        if (error instanceof NotSpoken) waitMs = notSpokenMs
      }
      await sleep(waitMs, undefined, { signal }).catch(() => {})
      waitMs = Math.min(2 * waitMs, backoff.mostMs)
    }
  }

  async function serve(
    name: string | undefined,
    socket: Duplex,
    head: Buffer,
    signal: AbortSignal,
  ) {
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
        deps.misunderstood(name ?? '', asked.error.message)
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
    state: () => ({ server: nameOf(config.server()), open: opened !== undefined, lastError }),
  }
}

function nameOf(server: VotedServer | undefined): string | undefined {
  return server?.name ?? server?.called ?? server?.host
}
