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
/** Found by this process, and perhaps not opened yet. */
const found = new Set<number>()
const mostFound = 5000

/**
 * A port that nobody has at this moment, on no address, for TCP and for UDP, and that this process has
 * not been told before: of a dozen that are opened later, no two may be the same.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const port = randomInt(range.first, range.last + 1)
    if (found.has(port) || !(await isFree(port, 'tcp')) || !(await isFree(port, 'udp'))) continue
    if (found.size >= mostFound) found.clear()
    found.add(port)
    return port
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
