/** Cells in fewer bytes, where that holds all of them. */
import type { Run } from './cells.ts'

let zeros = Buffer.alloc(0)

export function isZero(bytes: Uint8Array): boolean {
  if (zeros.length < bytes.length) zeros = Buffer.alloc(bytes.length)
  return zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0
}

/** Memory for runs, used for each again: of numbers in four bytes, in two, and in one. */
export const scratch = { words: grown(), shorts: grown(), bytes: grown() }

function grown(): (cells: number) => ArrayBuffer {
  let memory = new ArrayBuffer(0)
  return cells => {
    if (memory.byteLength < 4 * cells) memory = new ArrayBuffer(4 * cells)
    return memory
  }
}

/** The numbers in two bytes or in one; undefined if they need more. */
export function narrowed(values: Uint32Array): Run | undefined {
  const shorts = new Uint16Array(scratch.shorts(values.length), 0, values.length)
  let bits = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    bits |= value
    shorts[i] = value
  }
  if (bits >>> 16 !== 0) return undefined
  return (bits <= 0xff && bytesOf(shorts)) || { form: 'UInt16', bytes: asBytes(shorts) }
}

/** The numbers in a byte each; undefined if they need more. */
export function bytesOf(values: Uint16Array): Run | undefined {
  const bytes = new Uint8Array(scratch.bytes(values.length), 0, values.length)
  let bits = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    bits |= value
    bytes[i] = value
  }
  return bits > 0xff ? undefined : { form: 'UInt8', bytes }
}

export function asBytes({ buffer, byteOffset, byteLength }: Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
