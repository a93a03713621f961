/**
 * Sends numbered flows (NetFlow v5, the number in the packet counter) and numbered syslog messages,
 * at a steady rate, from 127.9.0.1, until it is told to stop; then says how many it sent.
 */
import { createSocket } from 'node:dgram'

const [netflowPort, syslogPort, flowsPerSecond, messagesPerSecond] = process.argv
  .slice(2)
  .map(Number) as [number, number, number, number]

const recordsPerDatagram = 30
const tickMs = 10
const boot = Date.now() - 3_600_000
const socket = createSocket('udp4')
let flows = 0
let messages = 0
let flowDebt = 0
let messageDebt = 0
let last = performance.now()

function netflow(): Buffer {
  const now = Date.now()
  const out = Buffer.alloc(24 + 48 * recordsPerDatagram)
  out.writeUInt16BE(5, 0)
  out.writeUInt16BE(recordsPerDatagram, 2)
  out.writeUInt32BE((now - boot) >>> 0, 4)
  out.writeUInt32BE(Math.floor(now / 1000), 8)
  out.writeUInt32BE((now % 1000) * 1_000_000, 12)
  out.writeUInt32BE(flows >>> 0, 16)
  for (let at = 24; at < out.length; at += 48) {
    flows++
    out.writeUInt32BE(0x0a000000 + (flows % 100_000), at)
    out.writeUInt32BE(0xc0000201, at + 4)
    out.writeUInt16BE(1, at + 12)
    out.writeUInt16BE(2, at + 14)
    out.writeUInt32BE(flows, at + 16)
    out.writeUInt32BE(1000, at + 20)
    out.writeUInt32BE((now - boot - 1000) >>> 0, at + 24)
    out.writeUInt32BE((now - boot) >>> 0, at + 28)
    out.writeUInt16BE(1024 + (flows % 60_000), at + 32)
    out.writeUInt16BE(443, at + 34)
    out[at + 38] = 6
  }
  return out
}

function tick() {
  const now = performance.now()
  const seconds = Math.min(0.1, (now - last) / 1000)
  last = now
  flowDebt += flowsPerSecond * seconds
  messageDebt += messagesPerSecond * seconds
  for (; flowDebt >= recordsPerDatagram; flowDebt -= recordsPerDatagram) {
    socket.send(netflow(), netflowPort, '127.0.0.1')
  }
  for (; messageDebt >= 1; messageDebt--) {
    socket.send(`<134>numbered: message number=${++messages}`, syslogPort, '127.0.0.1')
  }
}

socket.bind(0, '127.9.0.1', () => {
  last = performance.now()
  const timer = setInterval(tick, tickMs)
  process.once('message', () => {
    clearInterval(timer)
    // What was handed to the socket is sent before it closes.
    setTimeout(() => {
      socket.close()
      process.send!({ flows, messages })
      process.disconnect()
    }, 200)
  })
  process.send!({ ready: true })
})
