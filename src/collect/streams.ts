/**
 * What arrives over connections: syslog (RFC 6587) and IPFIX (RFC 7011 §10.4), and both over TLS
 * (RFC 5425, RFC 7011 §11). In a pair these ports
 * are open on the active only, so that senders look for the active.
 */
import type { Log } from '../lib/log.ts'
import { createIpfixFramer } from '../wire/ipfix-stream.ts'
import type { SyslogProblem } from '../wire/syslog.ts'
import { createSyslogFramer } from '../wire/syslog-stream.ts'
import {
  createTcpListener,
  type StreamListenerName,
  type StreamReader,
  type StreamTls,
  type TcpListener,
} from './listen.ts'

export type StreamProblem =
  | 'connection-refused'
  | 'connection-displaced'
  | 'not-listening'
  | 'no-ipfix'
  | 'handshake-failed'

export interface Streams {
  readonly listeners: readonly TcpListener[]
  /** Opens them, or lets the connections end; one such change after the other. */
  turn(open: boolean): void
  /** Resolves when no change is under way. */
  settled(): Promise<void>
  /** Reads nothing more from anybody until `resume`. */
  pause(): void
  resume(): void
}

const idleConnectionMs = 3_600_000
/** In which connections may end by themselves when the server stands by. */
const retireMs = 300

export function createStreams(
  deps: {
    log: Log
    /** Bytes are valid only during the call. */
    onMessage: (bytes: Uint8Array, sender: string) => void
    onFlows: (bytes: Uint8Array, sender: string, port: number) => void
    onSyslogProblem: (problem: SyslogProblem) => void
    onProblem: (problem: StreamProblem, detail: () => Record<string, unknown>) => void
  },
  config: {
    section: string
    address: string
    ports: Readonly<Record<StreamListenerName, number | false>>
    maxConnections: number
    maxMessageBytes: number
    /** For the listeners with TLS. */
    tls?: StreamTls | undefined
  },
): Streams {
  const { onProblem } = deps
  const listeners: TcpListener[] = []
  let turning: Promise<void> = Promise.resolve()
  const open = new Set<TcpListener>()
  add('syslog_tcp', readSyslog)
  add('ipfix_tcp', readIpfix)
  if (config.tls !== undefined) {
    add('syslog_tls', readSyslog, config.tls)
    add('ipfix_tls', readIpfix, config.tls)
  }

  function add(
    name: StreamListenerName,
    onConnection: (sender: string, port: number) => StreamReader,
    tls?: StreamTls,
  ) {
    const { section, address, maxConnections, ports } = config
    const port = ports[name]
    if (port === false) return
    const listener = createTcpListener(
      {
        log: deps.log,
        onRefused: () => onProblem('connection-refused', () => ({ listener: name })),
        onDisplaced: () => onProblem('connection-displaced', () => ({ listener: name })),
        onHandshakeFailed: ({ message }, sender) =>
          onProblem('handshake-failed', () => ({ listener: name, sender, error: message })),
      },
      { name, section, address, port, maxConnections, idleMs: idleConnectionMs, tls },
      onConnection,
    )
    listeners.push(listener)
  }

  function readSyslog(sender: string): StreamReader {
    let messages = 0
    const framer = createSyslogFramer(
      {
        onMessage(bytes) {
          messages++
          deps.onMessage(bytes, sender)
        },
        onProblem: deps.onSyslogProblem,
      },
      { maxBytes: config.maxMessageBytes },
    )
    return {
      push(bytes) {
        messages = 0
        framer.push(bytes)
        return messages
      },
      end: () => framer.end(),
    }
  }

  function readIpfix(sender: string, port: number): StreamReader {
    let messages = 0
    const framer = createIpfixFramer(bytes => {
      messages++
      deps.onFlows(bytes, sender, port)
    })
    return {
      push(bytes) {
        messages = 0
        if (framer.push(bytes)) return messages
        onProblem('no-ipfix', () => ({ sender }))
        return undefined
      },
      end() {},
    }
  }

  return {
    listeners,
    turn(wanted) {
      const turn = async (listener: TcpListener) => {
        if (wanted === open.has(listener)) return
        try {
          if (wanted) await listener.start()
          else await listener.retire(retireMs)
          open[wanted ? 'add' : 'delete'](listener)
        } catch (error) {
          onProblem('not-listening', () => ({ error: (error as Error).message }))
        }
      }
      turning = turning.then(async () => void (await Promise.all(listeners.map(turn))))
    },
    settled: () => turning,
    pause() {
      for (const listener of listeners) listener.pause()
    },
    resume() {
      for (const listener of listeners) listener.resume()
    },
  }
}
