/** Sends the streams of its argument; told by messages `send`, `pause` and `sent`. */
import { createSocket, type Socket } from 'node:dgram'
import {
  bootBefore,
  createIpfix,
  createNetflow5,
  createNetflow9,
} from '../../src/apps/simulation/flow-export.ts'
import { linkTrap } from '../../src/apps/simulation/notifications.ts'
import { numberedFlow } from '../e2e/numbered.ts'
import type { Form, Stream } from './devices.ts'

const streams = JSON.parse(process.argv[2]!) as Stream[]
const tickMs = 5
const boot = bootBefore(Date.now())

type Encode = (next: () => number, now: number) => Buffer

const encoders: Record<Form, () => Encode> = {
  netflow5: () => flows(createNetflow5(boot)),
  netflow9: () => flows(createNetflow9(boot, 7)),
  ipfix: () => flows(createIpfix(7)),
  // The time at which it was sent lets the stored message tell how long it took.
  syslog: () => (next, now) => Buffer.from(`<134>numbered: message number=${next()}; sent=${now};`),
  traps: () => next => linkTrap(true, 7, 'eth7', next()),
}

function flows(exporter: ReturnType<typeof createNetflow5>): Encode {
  return (next, now) =>
    exporter.encode(
      Array.from({ length: exporter.perDatagram }, () => numberedFlow(next(), now)),
      now,
    )
}

const senders = await Promise.all(
  streams.map(async stream => {
    const socket: Socket = createSocket(stream.from.includes(':') ? 'udp6' : 'udp4')
    // A closed port says so to whoever sends there; that is not the device's trouble.
    socket.on('error', () => {})
    await new Promise<void>(resolve => socket.bind(0, stream.from, resolve))
    return { stream, socket, encode: encoders[stream.form](), number: 0, debt: 0 }
  }),
)

let timer: NodeJS.Timeout | undefined
let last = 0

function tick() {
  const now = performance.now()
  // What a stalled machine did not send is not made up for in one burst.
  const seconds = Math.min(0.1, (now - last) / 1000)
  last = now
  for (const sender of senders) {
    sender.debt += sender.stream.perSecond * seconds
    for (; sender.debt >= 1; sender.debt--) {
      const datagram = sender.encode(() => ++sender.number, Date.now())
      for (const address of sender.stream.to) {
        sender.socket.send(datagram, sender.stream.port, address, () => {})
      }
    }
  }
}

process.on('message', command => {
  if (command === 'send') {
    last = performance.now()
    timer ??= setInterval(tick, tickMs)
    return
  }
  if (command === 'pause') {
    clearInterval(timer)
    timer = undefined
  }
  process.send!(Object.fromEntries(senders.map(({ stream, number }) => [stream.name, number])))
})
process.on('disconnect', () => process.exit(0))
process.send!('ready')
