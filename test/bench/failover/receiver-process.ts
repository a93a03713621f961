/** In the host of a peer: tells of each numbered datagram that comes in, with the time. */
import { createSocket } from 'node:dgram'

const flushMs = 20
const socket = createSocket({ type: 'udp4', reuseAddr: true })
let came: [number: number, at: number][] = []
socket.on('message', bytes => {
  const number = Number(/number=(\d+);/.exec(bytes.toString('latin1'))?.[1] ?? 0)
  came.push([number, Date.now()])
})
socket.bind(514, '0.0.0.0', () => process.send!('ready'))
setInterval(() => {
  if (came.length === 0) return
  process.send!(came)
  came = []
}, flushMs)
process.on('disconnect', () => process.exit(0))
