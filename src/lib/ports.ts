import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

export type Transport = 'tcp' | 'udp'

/**
 * Below the ports that Linux gives to outgoing connections and to who asks for any (32768 and up):
 * one of those can be somebody else's in the moment between finding and opening it, and again at
 * each later start.
 */
const range = { first: 10_000, last: 32_767 }
const attempts = 100

/** A port that nobody has at this moment, on no address, for TCP and for UDP. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const port = randomInt(range.first, range.last + 1)
    if ((await isFree(port, 'tcp')) && (await isFree(port, 'udp'))) return port
  }
  throw new Error(`no free port among ${attempts} between ${range.first} and ${range.last}`)
}

/** Binds the port on every address for a moment. */
export function isFree(port: number, transport: Transport): Promise<boolean> {
  return new Promise(resolve => {
    if (transport === 'udp') {
      const socket = createSocket('udp4')
      socket.once('error', () => resolve(false))
      socket.bind(port, () => socket.close(() => resolve(true)))
    } else {
      const server = createServer()
      server.once('error', () => resolve(false))
      server.listen(port, () => server.close(() => resolve(true)))
    }
  })
}
