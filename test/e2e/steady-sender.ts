/** Numbered flows over UDP and numbered messages over TCP at a steady rate, with the time of each. */
import { connect, type Socket } from 'node:net'
import { bootBefore, createNetflow5 } from '../../src/apps/simulation/flow-export.ts'
import { createDevices } from './exporters.ts'
import { numberedFlow, numberedMessage, type Ports, sources } from './numbered.ts'

const tickMs = 20
const messagesPerTick = 10
const reconnectMs = 100

export interface SteadySender {
  /** When each number was sent (`performance.now()`); number 1 is at index 0. */
  readonly flowsAt: readonly number[]
  readonly messagesAt: readonly number[]
  /** When the TCP connection was established, each time. */
  readonly connectedAt: readonly number[]
  stop(): Promise<void>
}

/** The message sender waits while nobody takes its connection, and goes on with the next number. */
export function startSteadySender(ports: Ports): SteadySender {
  const devices = createDevices()
  const netflow = createNetflow5(bootBefore(Date.now()))
  const flowsAt: number[] = []
  const messagesAt: number[] = []
  const connectedAt: number[] = []
  let tcp: Socket | undefined
  let retry: NodeJS.Timeout | undefined
  let stopped = false

  function open() {
    const socket = connect({
      host: '127.0.0.1',
      port: ports.syslog_tcp,
      localAddress: sources.syslog_tcp.address,
    })
    socket.on('connect', () => {
      connectedAt.push(performance.now())
      tcp = socket
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      tcp = undefined
      if (!stopped) retry = setTimeout(open, reconnectMs)
    })
    socket.resume()
  }
  open()

  async function tick() {
    const now = Date.now()
    const flows = Array.from({ length: netflow.perDatagram }, () => {
      flowsAt.push(performance.now())
      return numberedFlow(flowsAt.length, now)
    })
    for (let i = 0; tcp?.writable && i < messagesPerTick; i++) {
      messagesAt.push(performance.now())
      const message = numberedMessage(messagesAt.length)
      tcp.write(i % 2 === 0 ? `${message}\n` : `${message.length} ${message}`)
    }
    await devices.send(sources.netflow5.address, netflow.encode(flows, now), ports.netflow)
  }
  let last: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    last = last.then(tick)
  }, tickMs)

  return {
    flowsAt,
    messagesAt,
    connectedAt,
    async stop() {
      clearInterval(timer)
      clearTimeout(retry)
      stopped = true
      await last
      const socket = tcp
      if (socket) {
        await new Promise<void>(resolve => {
          socket.once('close', () => resolve())
          socket.end()
        })
      }
      await devices.close()
    },
  }
}
