/** IPFIX over a stream (RFC 7011 §10.4): messages follow each other, each says its own length. */
import { flowVersion } from '../telemetry/flow.ts'
import { headerLength } from './ipfix.ts'
import { read16 } from './octets.ts'

export interface IpfixFramer {
  /**
   * The next bytes of the connection, cut anywhere; not kept by reference.
   * @returns false if this is no IPFIX: nothing that follows can be understood
   */
  push(chunk: Uint8Array): boolean
  /** Whether a message has begun that has not come whole. */
  readonly begun: boolean
}

/** @param onMessage gets each message, in memory that is valid only during the call */
export function createIpfixFramer(onMessage: (bytes: Uint8Array) => void): IpfixFramer {
  /** The beginning of a message of which the rest has not come. */
  let held = new Uint8Array(0)
  let heldLength = 0
  let broken = false

  /** Takes whole messages; gives how much of it is used up. */
  function take(bytes: Uint8Array, end: number): number {
    let at = 0
    while (end - at >= 4) {
      const length = read16(bytes, at + 2)
      if (read16(bytes, at) !== flowVersion.ipfix || length < headerLength) {
        broken = true
        return end
      }
      if (end - at < length) break
      onMessage(bytes.subarray(at, at + length))
      at += length
    }
    return at
  }

  function hold(bytes: Uint8Array) {
    const length = heldLength + bytes.length
    if (length > held.length) {
      const grown = new Uint8Array(length)
      grown.set(held.subarray(0, heldLength))
      held = grown
    }
    held.set(bytes, heldLength)
    heldLength = length
  }

  return {
    get begun() {
      return heldLength > 0
    },
    push(chunk) {
      if (broken) return false
      if (heldLength === 0) hold(chunk.subarray(take(chunk, chunk.length)))
      else {
        hold(chunk)
        const used = take(held, heldLength)
        held.copyWithin(0, used, heldLength)
        heldLength -= used
      }
      // A connection that is quiet between messages keeps nothing.
      if (heldLength === 0) held = new Uint8Array(0)
      return !broken
    },
  }
}
