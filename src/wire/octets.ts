/** Unsigned integers in network order, read without allocating. What lies behind the end reads as 0. */

export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

export function read32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  )
}

/** Four bytes as they lie, for copying into words of a little-endian machine. */
export function copy32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

/** Up to 8 bytes (RFC 7011 §6.2); above 2^53 the nearest that a number can hold. */
export function readNumber(bytes: Uint8Array, at: number, length: number): number {
  let value = 0
  const end = at + Math.min(length, 8)
  for (let i = at; i < end; i++) value = value * 256 + bytes[i]!
  return value
}

/** An applicationId (RFC 6759 §4.1): the engine's byte, then the selector in what is left. */
export function readApplication(bytes: Uint8Array, at: number, length: number): number {
  const skip = Math.max(1, length - 3)
  const width = Math.max(0, Math.min(3, length - 1))
  return bytes[at]! * 0x100_0000 + readNumber(bytes, at + skip, width)
}

/** A view of the memory that bytes lie in; made once for all that lie in the same. */
export function createViews(): (bytes: Uint8Array) => DataView<ArrayBufferLike> {
  let buffer: ArrayBufferLike | undefined
  let view: DataView<ArrayBufferLike> = new DataView(new ArrayBuffer(0))
  return bytes => {
    if (bytes.buffer !== buffer) {
      buffer = bytes.buffer
      view = new DataView(buffer)
    }
    return view
  }
}
