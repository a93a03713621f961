/** Who sends, as the servers of a pair know them both. */
import { hashSource } from './datagram-hash.ts'

export interface Sender {
  /** The listener and the address. */
  name: string
  hash: number
}

const maxNames = 65_536

/** Name and hash of each sender, made once. */
export function createSenders(listener: string): (address: string) => Sender {
  const known = new Map<string, Sender>()
  return address => {
    let sender = known.get(address)
    if (sender === undefined) {
      if (known.size >= maxNames) known.clear()
      // One spelling, however the sockets of the two servers are bound.
      const name = `${listener} ${address.replace(/^::ffff:(?=\d+\.)|%.*$/g, '')}`
      sender = { name, hash: hashSource(name) }
      known.set(address, sender)
    }
    return sender
  }
}
