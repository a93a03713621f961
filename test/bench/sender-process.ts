/**
 * Sends datagrams at a rate: `sender-process.ts <format> <port> [exporters]`. Each message from the process that
 * started it is one run; the answer says what was really sent. What it could not send in time it
 * leaves out instead of sending it in one burst later: the offered rate is what the answer says.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { buildPool, type Format, exporters as usualExporters } from './datagrams.ts'

export interface SenderRun {
  datagramsPerSecond: number
  seconds: number
  /** Then it ends earlier. */
  most?: number
}

export interface SenderReport {
  datagrams: number
  seconds: number
  cpuSeconds: number
}

/** Lateness that is made up for; more is the sender's own stall, which is not the receiver's fault. */
const mostLateSeconds = 0.01
const burst = 32
const pauseMs = 0.25

const [format, port, said] = process.argv.slice(2) as [Format, string, string | undefined]
const exporters = Number(said ?? usualExporters)
const { datagrams, sequenceAt, sequenceStep } = buildPool(format, Date.now(), exporters)
const sockets = await Promise.all(
  Array.from({ length: exporters }, (_, index) => openSocket(`127.20.0.${index + 1}`)),
)
const sequences = new Uint32Array(exporters)
const neverWoken = new Int32Array(new SharedArrayBuffer(4))
let total = 0

process.on('message', (run: SenderRun) => process.send!(carryOut(run)))
process.on('disconnect', () => process.exit())
process.send!({ ready: true })

/** Connected: the kernel looks the way up once, and Node no name. */
async function openSocket(address: string): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.on('error', () => {})
  socket.bind(0, address)
  await once(socket, 'listening')
  socket.connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

/** Does not return before it has sent everything: the process has nothing else to do. */
function carryOut({
  datagramsPerSecond,
  seconds,
  most: atMost = Number.POSITIVE_INFINITY,
}: SenderRun): SenderReport {
  const cpu = process.cpuUsage()
  const began = performance.now()
  let leftOut = 0
  let sent = 0
  for (;;) {
    const elapsed = (performance.now() - began) / 1000
    if (elapsed >= seconds || sent >= atMost) break
    let due = Math.floor(elapsed * datagramsPerSecond) - leftOut - sent
    const most = Math.max(burst, mostLateSeconds * datagramsPerSecond)
    if (due > most) {
      leftOut += Math.floor(due - most)
      due = Math.floor(most)
    }
    for (let left = Math.min(due, burst, atMost - sent); left > 0; left--, sent++) sendNext()
    if (due <= burst) Atomics.wait(neverWoken, 0, 0, pauseMs)
  }
  const { user, system } = process.cpuUsage(cpu)
  return {
    datagrams: sent,
    seconds: (performance.now() - began) / 1000,
    cpuSeconds: (user + system) / 1e6,
  }
}

function sendNext() {
  const exporter = total % exporters
  const datagram = datagrams[total % datagrams.length]!
  total++
  datagram.writeUInt32BE(sequences[exporter]!, sequenceAt)
  sequences[exporter]! += sequenceStep
  // Node sends at once what the socket takes at once, and loopback takes everything.
  sockets[exporter]!.send(datagram)
}
