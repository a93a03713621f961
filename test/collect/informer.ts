/** A device that sends SNMPv2c INFORMs (RFC 3416 §4.2.7), encoded by hand. */
import { createSocket } from 'node:dgram'

const sequence = (tag: number, ...parts: Uint8Array[]): Uint8Array => {
  const content = Buffer.concat(parts)
  const length =
    content.length < 0x80 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff]
  return Buffer.concat([Uint8Array.of(tag, ...length), content])
}
const integer = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return sequence(0x02, bytes)
}
const sysUpTime = Uint8Array.of(0x06, 8, 0x2b, 6, 1, 2, 1, 1, 3, 0)
const snmpTrapOid = Uint8Array.of(0x06, 10, 0x2b, 6, 1, 6, 3, 1, 1, 4, 1, 0)
const linkDown = Uint8Array.of(0x06, 9, 0x2b, 6, 1, 6, 3, 1, 1, 5, 3)

/** An InformRequest of linkDown with the request id. */
export function informRequest(id: number): Uint8Array {
  return sequence(
    0x30,
    integer(1),
    sequence(0x04, Buffer.from('public')),
    sequence(
      0xa6,
      integer(id),
      integer(0),
      integer(0),
      sequence(
        0x30,
        sequence(0x30, sysUpTime, sequence(0x43, Uint8Array.of(1))),
        sequence(0x30, snmpTrapOid, linkDown),
      ),
    ),
  )
}

/** Sends INFORMs and notes the request ids of the responses. */
export async function createInformer(port: number) {
  const socket = createSocket('udp4')
  const answered: number[] = []
  let notify = () => {}
  socket.on('message', message => {
    const response = message.indexOf(0xa2)
    const id = message.indexOf(0x02, response)
    answered.push(message.readIntBE(id + 2, message[id + 1]!))
    notify()
  })
  await new Promise<void>(resolve => socket.connect(port, '127.0.0.1', resolve))
  return {
    answered,
    /** Resolves when it was answered; it is sent once. */
    async send(id: number) {
      socket.send(informRequest(id))
      while (!answered.includes(id)) {
        await new Promise<void>(resolve => {
          notify = resolve
        })
      }
    },
    close: () => new Promise<void>(resolve => socket.close(() => resolve())),
  }
}
