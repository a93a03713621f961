/** The vote of a host that is no server: a collector or a witness offers it to every server that it knows. */
import type { Component } from '../../lib/component.ts'
import type { Identity } from '../../lib/tls.ts'
import type { OwnVoter } from './own-voter.ts'
import { createVoteLine, type VoteLine } from './vote-line.ts'

export interface Voting extends Component {
  /** For each server: whether it takes the vote; `lastError`: why not. */
  state(): ReturnType<VoteLine['state']>[]
}

const lookMs = 1000
/** Servers ask each voter every other second. */
const silentMs = 10_000

export function createVoting(deps: {
  identity: Identity
  own: OwnVoter
  /** By name, with `https://host:port`; they may change. */
  servers(): readonly { name: string; url: string }[]
  misunderstood(server: string, error: string): void
}): Voting {
  const lines = new Map<string, VoteLine>()
  let timer: NodeJS.Timeout | undefined

  /** A line to each, and none to others. */
  function look() {
    const servers = new Map(deps.servers().map(({ name, url }) => [url, name]))
    for (const [url, line] of lines) {
      if (servers.has(url)) continue
      lines.delete(url)
      void line.stop()
    }
    for (const [url, called] of servers) {
      if (lines.has(url)) continue
      const { hostname, port } = new URL(url)
      const host = hostname.replace(/^\[|\]$/g, '')
      const server = { name: undefined, called, host, port: Number(port || 443) }
      const line = createVoteLine(deps, { server: () => server, silentMs })
      lines.set(url, line)
      void line.start()
    }
  }

  return {
    async start() {
      await deps.own.start()
      look()
      timer = setInterval(look, lookMs)
    },
    async stop() {
      clearInterval(timer)
      await Promise.all([...lines.values()].map(line => line.stop()))
      lines.clear()
      await deps.own.stop()
    },
    state: () => [...lines.values()].map(line => line.state()),
  }
}
