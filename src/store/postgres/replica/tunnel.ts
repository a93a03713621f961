/**
 * The way of PostgreSQL's replication between two servers: over the link, both sides certified, so that
 * one port between the machines is enough and PostgreSQL itself listens on the loopback address only.
 */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../../lib/clock.ts'
import type { Log } from '../../../lib/log.ts'
import type { Metrics } from '../../../lib/metrics.ts'
import { createTally } from '../../../lib/tally.ts'
import type { Identity } from '../../../lib/tls.ts'
import {
  acceptUpgrade,
  dialUpgraded,
  refuseUpgrade,
  type ServerAddress,
} from '../../../lib/upgraded.ts'

const tunnelPath = '/link/v1/postgres'
const tunnelProtocol = 'keepwatch-postgres'
const connectMs = 5000
/** A server's pool, what follows, and a copy. */
const maxConnections = 40

export interface TunnelExit {
  /** Takes the other server's connection. @returns false if it is not for here */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  stop(): void
}

/** The end at the primary: what comes goes to its PostgreSQL. */
export function createTunnelExit(
  deps: { clock: Clock; log: Log; metrics: Metrics },
  config: {
    /** Where PostgreSQL listens on this host; undefined while it does not run. */
    port(): number | undefined
    /** Of this server: any other one of the deployment may follow, by its certificate. */
    self: string
  },
): TunnelExit {
  const open = new Set<Duplex>()
  const tally = createTally<'stranger' | 'too-many' | 'not-there'>(deps, {
    name: 'replication_tunnel_problems',
    help: 'Connections of the other server to this PostgreSQL that were refused, by reason',
  })

  return {
    upgrade(request, socket, head) {
      if (request.url !== tunnelPath) return false
      const { CN, OU } = (request.socket as TLSSocket).getPeerCertificate().subject ?? {}
      const port = config.port()
      const known = OU === 'server' && CN !== config.self
      if (!known || port === undefined || open.size >= maxConnections) {
        const reason = !known ? 'stranger' : port === undefined ? 'not-there' : 'too-many'
        tally.count(reason, () => ({ from: CN }))
        refuseUpgrade(socket, known ? '503 Service Unavailable' : '403 Forbidden')
        return true
      }
      acceptUpgrade(socket, tunnelProtocol)
      const inner = connect(port, '127.0.0.1')
      if (head.length > 0) inner.write(head)
      open.add(socket)
      join(socket, inner, () => open.delete(socket))
      return true
    },
    stop() {
      for (const socket of open) socket.destroy()
    },
  }
}

export interface TunnelEntry {
  start(): Promise<void>
  stop(): Promise<void>
  /** On the loopback address; once started. */
  readonly port: number
  /** Why the last connection did not come about, if it did not. */
  readonly lastError: string | undefined
}

/** The end at the follower: who connects to its port reaches the primary's PostgreSQL. */
export function createTunnelEntry(
  deps: { identity: Identity },
  config: { server(): ServerAddress | undefined; port: number },
): TunnelEntry {
  const open = new Set<Socket>()
  let server: Server | undefined
  let stopping = new AbortController()
  let lastError: string | undefined

  async function serve(local: Socket) {
    open.add(local)
    local.on('close', () => open.delete(local))
    local.on('error', () => {})
    try {
      const other = config.server()
      if (other === undefined) throw new Error('there is no other server yet')
      const { head, socket } = await dialUpgraded(other, {
        ...{ identity: deps.identity, path: tunnelPath, protocol: tunnelProtocol },
        ...{ signal: stopping.signal, withinMs: connectMs },
      })
      lastError = undefined
      if (head.length > 0) local.write(head)
      join(local, socket, () => {})
    } catch (error) {
      lastError = (error as Error).message
      local.destroy()
    }
  }

  return {
    async start() {
      stopping = new AbortController()
      server = createServer(local => void serve(local))
      server.maxConnections = maxConnections
      server.listen(config.port, '127.0.0.1')
      await once(server, 'listening')
    },
    async stop() {
      stopping.abort()
      for (const local of open) local.destroy()
      const closing = server
      server = undefined
      if (closing === undefined) return
      await new Promise<void>(resolve => closing.close(() => resolve()))
    },
    get port() {
      if (server === undefined) throw new Error('the tunnel has not been started')
      return (server.address() as AddressInfo).port
    },
    get lastError() {
      return lastError
    },
  }
}

/** One connection out of two; when either ends, so does the other. */
function join(one: Duplex, other: Duplex, ended: () => void) {
  one.pipe(other)
  other.pipe(one)
  for (const [each, its] of [
    [one, other],
    [other, one],
  ] as const) {
    each.on('error', () => {})
    each.on('close', () => {
      its.destroy()
      ended()
    })
  }
}
