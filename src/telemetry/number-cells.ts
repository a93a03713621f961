/** Columns of numbers and times. */
import type { NumberCells, Run, Storage, WideCells } from './cells.ts'
import { asBytes, bytesOf, isZero, narrowed, scratch } from './narrow.ts'
import { widths } from './table.ts'

export class NumberStorage implements Storage, NumberCells {
  readonly values: Uint8Array | Uint16Array | Uint32Array
  readonly #type: 'UInt8' | 'UInt16' | 'UInt32' | 'DateTime'
  readonly #buffer: ArrayBuffer
  constructor(type: 'UInt8' | 'UInt16' | 'UInt32' | 'DateTime', capacity: number) {
    this.#type = type
    // Whole words, to look at several cells at once.
    this.#buffer = new ArrayBuffer(4 * Math.ceil((widths[type] * capacity) / 4))
    const array = { UInt8: Uint8Array, UInt16: Uint16Array, UInt32: Uint32Array }
    this.values = new array[type === 'DateTime' ? 'UInt32' : type](this.#buffer, 0, capacity)
  }
  wipe(from: number, to: number) {
    this.values.fill(0, from, to)
  }
  size(rows: number) {
    return rows * this.values.BYTES_PER_ELEMENT
  }
  native(rows: number, later?: WideCells): Run | undefined {
    const whole = new Uint8Array(this.#buffer, 0, this.size(rows))
    if (later !== undefined) {
      const near = secondsBefore(new Uint32Array(this.#buffer, 0, rows), later.words)
      return near === 'far' ? { form: this.#type, bytes: whole } : near
    }
    if (isZero(whole)) return undefined
    const wide = this.#type === 'UInt32' && narrowed(new Uint32Array(this.#buffer, 0, rows))
    const short = this.#type === 'UInt16' && bytesOf(new Uint16Array(this.#buffer, 0, rows))
    return wide || short || { form: this.#type, bytes: whole }
  }
}

export class WideStorage implements Storage, WideCells {
  readonly words: Uint32Array
  readonly #type: 'UInt64' | 'DateTime64(3)'
  constructor(type: 'UInt64' | 'DateTime64(3)', capacity: number) {
    this.#type = type
    this.words = new Uint32Array(2 * capacity)
  }
  set(row: number, value: number) {
    this.words[2 * row] = value >>> 0
    this.words[2 * row + 1] = value / 0x1_0000_0000
  }
  wipe(from: number, to: number) {
    this.words.fill(0, 2 * from, 2 * to)
  }
  size(rows: number) {
    return 8 * rows
  }
  native(rows: number, later?: WideCells): Run | undefined {
    const whole = new Uint8Array(this.words.buffer, 0, 8 * rows)
    if (later !== undefined) {
      const near = millisecondsBefore(this.words, later.words, rows)
      return near === 'far' ? { form: this.#type, bytes: whole } : near
    }
    if (isZero(whole)) return undefined
    return (this.#type === 'UInt64' && this.#low(rows)) || { form: this.#type, bytes: whole }
  }
  /** Undefined if that is not all of them. */
  #low(rows: number): Run | undefined {
    const { words } = this
    const low = new Uint32Array(scratch.words(rows), 0, rows)
    let high = 0
    for (let row = 0; row < rows; row++) {
      high |= words[2 * row + 1]!
      low[row] = words[2 * row]!
    }
    return high === 0 ? (narrowed(low) ?? { form: 'UInt32', bytes: asBytes(low) }) : undefined
  }
}

/**
 * How much the times in `words` are before those in `later`, both of 8 bytes. Undefined if they are
 * equal; 'far' if a difference needs more than 4 bytes.
 */
function millisecondsBefore(
  words: Uint32Array,
  later: Uint32Array,
  rows: number,
): Run | undefined | 'far' {
  const differences = new Int32Array(scratch.words(rows), 0, rows)
  let bits = 0
  let far = 0
  for (let row = 0, at = 0; row < rows; row++, at += 2) {
    const low = (later[at]! - words[at]!) | 0
    const borrow = later[at]! < words[at]! ? 1 : 0
    const high = (later[at + 1]! - words[at + 1]! - borrow) | 0
    far |= high ^ (low >> 31)
    bits |= low
    differences[row] = low
  }
  return far === 0 ? runOf(differences, bits) : 'far'
}

/** The same for times in seconds; the later ones are in milliseconds. */
function secondsBefore(seconds: Uint32Array, later: Uint32Array): Run | undefined | 'far' {
  const rows = seconds.length
  const laterAt = (row: number) => later[2 * row + 1]! * 0x1_0000_0000 + later[2 * row]!
  let same = 0
  while (same < rows) {
    const rest = laterAt(same) - 1000 * seconds[same]!
    if (rest < 0 || rest >= 1000) break
    same++
  }
  if (same === rows) return undefined
  const differences = new Int32Array(scratch.words(rows), 0, rows).fill(0, 0, same)
  let bits = 0
  for (let row = same; row < rows; row++) {
    const difference = Math.floor(laterAt(row) / 1000) - seconds[row]!
    if (difference !== (difference | 0)) return 'far'
    bits |= difference
    differences[row] = difference
  }
  return runOf(differences, bits)
}

/** @param bits of all of them */
function runOf(differences: Int32Array, bits: number): Run | undefined {
  const { buffer, length } = differences
  if (bits === 0) return undefined
  if (bits < 0) return { form: 'Int32', bytes: new Uint8Array(buffer, 0, 4 * length) }
  const numbers = new Uint32Array(buffer, 0, length)
  return narrowed(numbers) ?? { form: 'UInt32', bytes: asBytes(numbers) }
}
