/**
 * The sockets that telemetry arrives at. They receive and count; what a datagram means is not known
 * here. A datagram's sender is given as 16 bytes, the same array for the same sender.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket as TcpSocket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import type { Component } from '../lib/component.ts'
import { type Connections, trackConnections } from '../lib/connections.ts'
import type { Log } from '../lib/log.ts'
import { parseAddress } from '../telemetry/address.ts'
import { readKernelDrops } from './kernel-drops.ts'

export type UdpListenerName = 'netflow' | 'ipfix' | 'sflow' | 'syslog_udp' | 'traps'
export type StreamListenerName = 'syslog_tcp' | 'ipfix_tcp' | 'syslog_tls' | 'ipfix_tls'

/** PEM. With `ca`, senders must show a certificate of one of these authorities. */
export interface StreamTls {
  key: string
  cert: string
  ca?: string | undefined
}
export type ListenerName = UdpListenerName | StreamListenerName

export const flowListeners = ['netflow', 'ipfix', 'sflow'] as const
export type FlowListenerName = (typeof flowListeners)[number]

/** A port that cannot be opened; the message says which, who may hold it and what to set. */
export class ListenError extends Error {
  override name = 'ListenError'
}

export interface ListenerState {
  name: ListenerName
  address: string
  port: number
  datagrams: number
  bytes: number
  kernelDrops: number | null
  buffer: number | null
}

export interface Listener extends Component {
  readonly name: ListenerName
  /** The real port, once started. */
  readonly port: number
  state(): ListenerState
}

export interface ListenerConfig {
  name: ListenerName
  /** Empty: every address, IPv6 and IPv4. */
  address: string
  /** 0: any free one. */
  port: number
  /** Where its port is set, for messages. Default `listen`. */
  section?: string
}

const maxSenders = 65_536
/** Below this, a pause of tens of milliseconds overflows the buffer of a busy port. */
const tightBufferBytes = 4_000_000

/** For what is in the socket of an address that the host has just lost. */
const drainMs = 1000
const handshakeTimeout = 10_000

/** Sixteen bytes of a sender's address, remembered by its text so that a datagram costs a look-up. */
export function createSenderCache(): (address: string) => Uint8Array {
  const known = new Map<string, Uint8Array>()
  return address => {
    const cached = known.get(address)
    if (cached !== undefined) return cached
    const bytes = parseAddress(address) ?? new Uint8Array(16)
    // Forged senders could fill it: starting afresh is cheaper than to remember who was last.
    if (known.size >= maxSenders) known.clear()
    known.set(address, bytes)
    return bytes
  }
}

export interface UdpListener extends Listener {
  /**
   * Sends from the listening port. What cannot be sent is the sender's to repeat.
   *
   * @param at the address that was asked; one without a socket of its own is answered from whichever
   *   the kernel chooses
   */
  reply(bytes: Uint8Array, address: string, port: number, at?: string): void
  /**
   * These addresses of the host have a socket each, beside the one for all: what is sent to one of
   * them is answered from it. Others lose theirs. To be said again until it is so: an address that
   * the host does not have yet has no socket. Only for a listener that answers.
   */
  setAnswering(addresses: readonly string[]): void
}

/**
 * @param config.bufferBytes receive buffer to ask the kernel for; it grants at most net.core.rmem_max
 * @param config.answers sockets can be added for single addresses
 * @param onDatagram the bytes are the receiver's to keep; `at` is the address of the socket, if it is
 *   one of those that were added
 */
export function createUdpListener(
  deps: { log: Log },
  config: ListenerConfig & { bufferBytes: number; answers?: boolean },
  onDatagram: (bytes: Buffer, from: RemoteInfo, at: string | undefined) => void,
): UdpListener {
  let socket: UdpSocket | undefined
  let datagrams = 0
  let bytes = 0
  let buffer: number | null = null
  let bound = { address: config.address, port: config.port }
  let answering: readonly string[] = []
  /** By address; undefined while it is being opened. */
  const added = new Map<string, UdpSocket | undefined>()
  const leaving = new Map<UdpSocket, NodeJS.Timeout>()

  function receive(from: UdpSocket, at: string | undefined) {
    from.on('message', (message, sender) => {
      datagrams++
      bytes += message.length
      onDatagram(message, sender, at)
    })
    from.on('error', error => deps.log.warn({ listener: config.name, error }, 'socket error'))
  }

  async function add(address: string) {
    added.set(address, undefined)
    try {
      const opened = await bindUdp(address, bound.port, true)
      if (socket === undefined || !answering.includes(address)) {
        added.delete(address)
        return void opened.close()
      }
      try {
        opened.setRecvBufferSize(config.bufferBytes)
      } catch {
        // The same was said of the first.
      }
      receive(opened, address)
      added.set(address, opened)
    } catch (error) {
      added.delete(address)
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EADDRNOTAVAIL') return
      deps.log.warn({ listener: config.name, address, error }, 'no socket for this address')
    }
  }

  /** What has arrived there is still read. */
  function remove(address: string) {
    const ending = added.get(address)
    if (ending === undefined) return
    added.delete(address)
    const timer = setTimeout(() => {
      leaving.delete(ending)
      ending.close()
    }, drainMs)
    leaving.set(ending, timer)
  }

  return {
    name: config.name,
    get port() {
      return bound.port
    },
    async start() {
      const opened = await eachFamily(config, 'UDP', async host => {
        if (!config.answers) return bindUdp(host, config.port)
        // A port that is shared must not be taken from another program: first ask for it alone.
        const first = await bindUdp(host, config.port)
        const { port } = first.address()
        await new Promise<void>(resolve => first.close(resolve))
        return bindUdp(host, port, true)
      })
      const { address, port } = opened.address()
      bound = { address, port }
      try {
        opened.setRecvBufferSize(config.bufferBytes)
      } catch (error) {
        deps.log.warn({ listener: config.name, error }, 'receive buffer not set')
      }
      // Linux counts its own bookkeeping and says twice what may be used (socket(7), SO_RCVBUF).
      buffer = opened.getRecvBufferSize() / (process.platform === 'linux' ? 2 : 1)
      warnOfTightBuffer(deps.log, config, buffer)
      receive(opened, undefined)
      socket = opened
    },
    async stop() {
      for (const timer of leaving.values()) clearTimeout(timer)
      const all = [socket, ...added.values(), ...leaving.keys()]
      const closing = all.filter(one => one !== undefined)
      socket = undefined
      answering = []
      added.clear()
      leaving.clear()
      await Promise.all(closing.map(one => new Promise<void>(resolve => one.close(resolve))))
    },
    reply(message, address, port, at) {
      const own = at === undefined ? undefined : added.get(at)
      if (own !== undefined) return own.send(message, port, address, () => {})
      // A socket for both families knows IPv4 by its mapped form only (RFC 4291 § 2.5.5.2).
      const mapped = bound.address.includes(':') && !address.includes(':')
      socket?.send(message, port, mapped ? `::ffff:${address}` : address, () => {})
    },
    setAnswering(addresses) {
      if (socket === undefined || !config.answers) return
      answering = config.address === '' ? addresses : []
      for (const address of answering) if (!added.has(address)) void add(address)
      for (const address of added.keys()) if (!answering.includes(address)) remove(address)
    },
    state: () => ({
      name: config.name,
      ...bound,
      datagrams,
      bytes,
      kernelDrops: socket === undefined ? null : readKernelDrops(bound.address, bound.port),
      buffer,
    }),
  }
}

export interface TcpListener extends Listener {
  /**
   * Takes no more connections, says to those that are open that it ends, and reads on what is under
   * way, for at most so long. Can be started again, at the same port.
   */
  retire(withinMs: number): Promise<void>
  /** Reads nothing more from anybody until `resume`: the senders' own buffers hold the rest. */
  pause(): void
  resume(): void
}

/** What takes one connection's bytes. */
export interface StreamReader {
  /** How many messages these bytes completed; undefined: the connection is to be closed. */
  push(bytes: Uint8Array): number | undefined
  end(): void
}

/**
 * @param config.maxConnections beyond it, the sender with the most connections loses its longest
 *   silent one to a newcomer who has fewer; other newcomers are closed at once
 * @param config.idleMs a connection that says nothing for this long is closed
 */
export function createTcpListener(
  deps: {
    log: Log
    onRefused: () => void
    onDisplaced: () => void
    /** A connection that did not get as far as to send. */
    onHandshakeFailed: (error: Error, sender: string) => void
  },
  config: ListenerConfig & {
    maxConnections: number
    idleMs: number
    tls?: StreamTls | undefined
  },
  onConnection: (sender: string, port: number) => StreamReader,
): TcpListener {
  /** With the sender; the longest silent first. */
  const open = new Map<TcpSocket, string>()
  let server: { opened: Server; connections: Connections } | undefined
  let paused = false
  let messages = 0
  let bytes = 0
  let bound = { address: config.address, port: config.port }

  function accept(socket: TcpSocket) {
    socket.on('error', () => socket.destroy())
    const sender = socket.remoteAddress ?? '::'
    if (open.size >= config.maxConnections && !makeRoom(sender)) {
      deps.onRefused()
      socket.destroy()
      return
    }
    open.set(socket, sender)
    const reader = onConnection(sender, socket.remotePort ?? 0)
    socket.setKeepAlive(true, 60_000)
    socket.setTimeout(config.idleMs, () => socket.destroy())
    socket.on('data', chunk => {
      open.delete(socket)
      open.set(socket, sender)
      bytes += chunk.length
      const completed = reader.push(chunk)
      if (completed === undefined) socket.destroy()
      else messages += completed
    })
    socket.on('close', () => {
      open.delete(socket)
      reader.end()
    })
    if (paused) socket.pause()
  }

  /** One host must not keep all others out. */
  function makeRoom(newcomer: string): boolean {
    const held = new Map<string, number>()
    for (const sender of open.values()) held.set(sender, (held.get(sender) ?? 0) + 1)
    const [greediest = '', most = 0] = [...held].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0])
    if (most <= (held.get(newcomer) ?? 0) + 1) return false
    for (const [socket, sender] of open) {
      if (sender !== greediest) continue
      open.delete(socket)
      socket.destroy()
      deps.onDisplaced()
      return true
    }
    return false
  }

  async function retire(withinMs: number) {
    const closing = server
    server = undefined
    if (closing === undefined) return
    const closed = new Promise<void>(resolve => closing.opened.close(() => resolve()))
    const late = setTimeout(closing.connections.cut, withinMs)
    if (withinMs === 0) closing.connections.cut()
    else for (const socket of open.keys()) socket.end()
    await closed
    clearTimeout(late)
  }

  return {
    name: config.name,
    get port() {
      return bound.port
    },
    async start() {
      const { port: again } = bound
      const opened = await eachFamily(config, 'TCP', host => {
        const made = config.tls
          ? createTlsServer({ ...config.tls, ...tlsOptions(config.tls) }, accept)
          : createServer(accept)
        made.on('tlsClientError', (error, { remoteAddress = '::' }: TcpSocket) =>
          deps.onHandshakeFailed(error, remoteAddress),
        )
        return bindTcp(made, host, again)
      })
      const connections = trackConnections(opened)
      opened.on('error', error => deps.log.warn({ listener: config.name, error }, 'socket error'))
      const { address, port } = opened.address() as { address: string; port: number }
      bound = { address, port }
      server = { opened, connections }
    },
    async stop() {
      await retire(0)
    },
    retire,
    pause() {
      paused = true
      for (const socket of open.keys()) socket.pause()
    },
    resume() {
      paused = false
      for (const socket of open.keys()) socket.resume()
    },
    state: () => ({
      name: config.name,
      ...bound,
      datagrams: messages,
      bytes,
      kernelDrops: null,
      buffer: null,
    }),
  }
}

export function warnOfTightBuffer(
  log: Log,
  { name, bufferBytes }: { name: ListenerName; bufferBytes: number },
  granted: number,
): void {
  if (granted >= Math.min(bufferBytes, tightBufferBytes)) return
  log.warn(
    { listener: name, asked: bufferBytes, granted },
    'the kernel granted a small receive buffer, bursts will be lost: raise the sysctl net.core.rmem_max',
  )
}

/** Both families through one IPv6 socket where the host has IPv6, else IPv4 alone. */
export async function eachFamily<T>(
  config: ListenerConfig,
  protocol: 'UDP' | 'TCP',
  bind: (host: string) => Promise<T>,
): Promise<T> {
  try {
    if (config.address !== '') return await bind(config.address)
    try {
      return await bind('::')
    } catch (error) {
      if (!noIpv6.has((error as NodeJS.ErrnoException).code ?? '')) throw error
      return await bind('0.0.0.0')
    }
  } catch (error) {
    throw new ListenError(explain(config, protocol, error as NodeJS.ErrnoException))
  }
}

const noIpv6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT'])

/** @param shared with other sockets of this user that say the same, each with its own address */
function bindUdp(host: string, port: number, shared = false): Promise<UdpSocket> {
  const socket = createSocket({
    type: host.includes(':') ? 'udp6' : 'udp4',
    ipv6Only: false,
    reusePort: shared,
  })
  return new Promise((resolve, reject) => {
    socket.once('error', error => {
      socket.close()
      reject(error)
    })
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.removeAllListeners('error')
      resolve(socket)
    })
  })
}

function tlsOptions({ ca }: StreamTls): TlsOptions {
  const known = ca !== undefined
  // TLS 1.2 because exporters are older than their collectors (RFC 7011 §11.1, RFC 9662).
  const versions = { minVersion: 'TLSv1.2' } as const
  return { requestCert: known, rejectUnauthorized: known, handshakeTimeout, ...versions }
}

function bindTcp(server: Server, host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => {
      server.removeAllListeners('error')
      resolve(server)
    })
  })
}

const usualHolders: Record<ListenerName, string> = {
  netflow: 'another flow collector, or a second Keepwatch',
  ipfix: 'another flow collector, or a second Keepwatch',
  sflow: 'another flow collector, or a second Keepwatch',
  syslog_udp: 'rsyslogd, syslog-ng, or a second Keepwatch',
  syslog_tcp: 'rsyslogd, syslog-ng, or a second Keepwatch',
  ipfix_tcp: 'another flow collector, or a second Keepwatch',
  syslog_tls: 'rsyslogd, syslog-ng, or a second Keepwatch',
  ipfix_tls: 'another flow collector, or a second Keepwatch',
  traps: 'snmptrapd, or a second Keepwatch',
}

function explain(
  { name, address, port, section = 'listen' }: ListenerConfig,
  protocol: 'UDP' | 'TCP',
  error: NodeJS.ErrnoException,
): string {
  const setting = `${section}.${name}`
  const what = `${protocol} port ${port} (${setting})`
  switch (error.code) {
    case 'EADDRINUSE':
      return `${what} is taken, usually by ${usualHolders[name]}; \`ss -l${protocol === 'UDP' ? 'u' : 't'}np 'sport = :${port}'\` shows by whom. Stop that program, or set ${setting} to another port, or to false to not listen.`
    case 'EACCES':
      return `${what} is not allowed to this user: ports below 1024 need root, the capability CAP_NET_BIND_SERVICE, or the sysctl net.ipv4.ip_unprivileged_port_start. Or set ${setting} to a higher port and have the devices send there.`
    case 'EADDRNOTAVAIL':
      return `${what}: this host does not have the address ${address}. Set ${section}.address to one that it has, or leave it out to listen at all.`
    default:
      return `${what} cannot be opened at ${address === '' ? 'any address' : address}: ${error.message}`
  }
}
