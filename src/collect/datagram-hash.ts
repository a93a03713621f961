/**
 * By what a datagram is recognised that both servers of a pair have received: its bytes and the
 * listener, not its sender, because a device with two addresses may use one towards each server.
 * Two datagrams of equal bytes are told apart by their number alone: so many here, so many there.
 */
import { crc32 } from 'node:zlib'

/** Read word by word at either end, where headers, sequences and the ends of messages are. */
const edge = 64
/** Of a longer datagram only so much of its beginning goes into the checksum: it is one of flows. */
const summed = 512

/**
 * 53 bits as a number: CRC-32 of all bytes, of a long datagram of the first 512, and 21 bits mixed
 * from length and the first and last 64. For one pair of servers within minutes, not against
 * somebody who looks for collisions.
 *
 * @param listener a small number for the listener
 */
export function hashDatagram(listener: number, bytes: Uint8Array): number {
  const { length } = bytes
  let mixed = Math.imul(length + 1, 0x9e3779b1) ^ listener
  const head = Math.min(length, edge)
  for (let at = 0; at < head; at += 4) mixed = stir(mixed, bytes, at)
  for (let at = Math.max(head, length - edge); at < length; at += 4) mixed = stir(mixed, bytes, at)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  mixed ^= mixed >>> 13
  // Zero stands for rows that came in no datagram.
  const sum = crc32(length > summed ? bytes.subarray(0, summed) : bytes, listener)
  return (mixed & 0x1fffff) * 0x1_0000_0000 + sum || 1
}

/** Beyond the end there are zeros: the length is in it already. */
function stir(mixed: number, bytes: Uint8Array, at: number): number {
  const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
  const next = Math.imul(mixed ^ word, 0x85ebca6b)
  return (next << 13) | (next >>> 19)
}
