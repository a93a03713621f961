/**
 * By what a datagram is recognised that both servers of a pair have received: its bytes, its listener
 * and its sender. Two datagrams of one sender with equal bytes are told apart by their number alone:
 * so many here, so many there.
 */
import { crc32 } from 'node:zlib'

/** Read word by word at either end, where headers, sequences and the ends of messages are. */
const edge = 64
/** A longer datagram is one of flows: of its middle every sixteenth word is enough. */
const short = 512
const stride = 64

/**
 * 53 bits as a number. Of a short datagram, CRC-32 of all bytes and 21 bits mixed from the first and
 * last 64; of a long one, both mixed from these and from words in between. For one pair of servers
 * within minutes, not against somebody who looks for collisions.
 *
 * @param source the listener and the sender, by `hashSource`
 */
export function hashDatagram(source: number, bytes: Uint8Array): number {
  const { length } = bytes
  let one = Math.imul(length + 1, 0x9e3779b1) ^ source
  let two = source
  const head = Math.min(length, edge)
  const tail = Math.max(head, length - edge)
  for (let at = 0; at < head; at += 4) {
    const word = wordAt(bytes, at)
    one = Math.imul(one ^ word, 0x85ebca6b)
    one = (one << 13) | (one >>> 19)
    two = Math.imul(two + word, 0xc2b2ae35)
    two ^= two >>> 15
  }
  if (length > short) {
    for (let at = head; at < tail; at += stride) {
      const word = wordAt(bytes, at)
      one = Math.imul(one ^ word, 0x85ebca6b)
      two = Math.imul(two + word, 0xc2b2ae35)
      two ^= two >>> 15
    }
  }
  for (let at = tail; at < length; at += 4) {
    const word = wordAt(bytes, at)
    one = Math.imul(one ^ word, 0x85ebca6b)
    one = (one << 13) | (one >>> 19)
    two = Math.imul(two + word, 0xc2b2ae35)
    two ^= two >>> 15
  }
  one = Math.imul(one ^ (one >>> 15), 0x2c1b3c6d)
  one ^= one >>> 13
  const sum = length > short ? two >>> 0 : crc32(bytes, source)
  // Zero stands for rows that came in no datagram.
  return (one & 0x1fffff) * 0x1_0000_0000 + sum || 1
}

/** 32 bits for whoever sends: the name of listener and address. */
export function hashSource(name: string): number {
  return crc32(name)
}

/** Beyond the end there are zeros: the length is in the hash already. */
function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}
