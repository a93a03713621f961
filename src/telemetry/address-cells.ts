/** Columns of addresses. */
import type { AddressCells, Run, SteadyAddressCells, Storage } from './cells.ts'
import { asBytes, isZero, scratch } from './narrow.ts'

/** The third word of ::ffff:a.b.c.d. */
const mapped = 0xffff0000

export class AddressStorage implements Storage, AddressCells {
  readonly bytes: Uint8Array
  readonly #words: Uint32Array
  constructor(capacity: number) {
    this.bytes = new Uint8Array(16 * capacity)
    this.#words = new Uint32Array(this.bytes.buffer)
  }
  setV6(row: number, from: Uint8Array, offset: number) {
    const { bytes } = this
    const at = 16 * row
    for (let i = 0; i < 16; i++) bytes[at + i] = from[offset + i]!
  }
  setV4(row: number, from: Uint8Array, offset: number) {
    const { bytes } = this
    const at = 16 * row
    bytes[at + 10] = 0xff
    bytes[at + 11] = 0xff
    bytes[at + 12] = from[offset]!
    bytes[at + 13] = from[offset + 1]!
    bytes[at + 14] = from[offset + 2]!
    bytes[at + 15] = from[offset + 3]!
  }
  wipe(from: number, to: number) {
    this.bytes.fill(0, 16 * from, 16 * to)
  }
  size(rows: number) {
    return 16 * rows
  }
  native(rows: number): Run | undefined {
    const whole = this.bytes.subarray(0, 16 * rows)
    if (isZero(whole)) return undefined
    const words = this.#words
    const numbers = new Uint32Array(scratch.words(rows), 0, rows)
    let other = 0
    for (let row = 0, at = 0; row < rows; row++, at += 4) {
      other |= words[at]! | words[at + 1]! | (words[at + 2]! ^ mapped)
      numbers[row] = swapped(words[at + 3]!)
    }
    return other === 0 ? { form: 'IPv4', bytes: asBytes(numbers) } : { form: 'IPv6', bytes: whole }
  }
}

/** How many runs there is room for at first. */
const firstRuns = 256

/** Runs of rows with the same address. */
export class SteadyAddressStorage implements Storage, SteadyAddressCells {
  /** Where each run ends; its four words. */
  #ends = new Uint32Array(firstRuns)
  #words = new Uint32Array(4 * firstRuns)
  #runs = 0

  setV6(row: number, from: Uint8Array, offset: number) {
    this.#put(row, row + 1, from, offset, 16)
  }
  setV4(row: number, from: Uint8Array, offset: number) {
    this.#put(row, row + 1, from, offset, 4)
  }
  repeat(row: number, end: number, from: Uint8Array) {
    this.#put(row, end, from, 0, 16)
  }
  wipe(from: number) {
    const ends = this.#ends
    while (this.#runs > 0 && ends[this.#runs - 1]! > from) {
      const begin = this.#runs > 1 ? ends[this.#runs - 2]! : 0
      if (begin < from) {
        ends[this.#runs - 1] = from
        return
      }
      this.#runs--
    }
  }
  size(rows: number) {
    return 16 * rows
  }
  native(rows: number): Run | undefined {
    if (this.#filled() < rows) this.#put(rows, rows, none, 0, 16)
    let other = 0
    let any = 0
    for (let at = 0; at < 4 * this.#runs; at += 4) {
      const [a, b, c, d] = this.#wordsAt(at)
      any |= a | b | c | d
      other |= a | b | (c ^ mapped)
    }
    if (any === 0) return undefined
    return other === 0 ? this.#numbers(rows) : this.#whole(rows)
  }

  #filled(): number {
    return this.#runs === 0 ? 0 : this.#ends[this.#runs - 1]!
  }

  #wordsAt(at: number): [number, number, number, number] {
    const words = this.#words
    return [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!]
  }

  #numbers(rows: number): Run {
    const numbers = new Uint32Array(scratch.words(rows), 0, rows)
    for (let run = 0, row = 0; run < this.#runs; run++) {
      const number = swapped(this.#words[4 * run + 3]!)
      for (const end = this.#ends[run]!; row < end; row++) numbers[row] = number
    }
    return { form: 'IPv4', bytes: asBytes(numbers) }
  }

  #whole(rows: number): Run {
    const words = new Uint32Array(4 * rows)
    for (let run = 0, at = 0; run < this.#runs; run++) {
      const [a, b, c, d] = this.#wordsAt(4 * run)
      for (const end = 4 * this.#ends[run]!; at < end; at += 4) {
        words[at] = a
        words[at + 1] = b
        words[at + 2] = c
        words[at + 3] = d
      }
    }
    return { form: 'IPv6', bytes: asBytes(words) }
  }

  /** @param length 16 bytes, or 4 of an IPv4 address */
  #put(row: number, end: number, from: Uint8Array, offset: number, length: number) {
    this.wipe(row)
    // Rows that nobody wrote are zero.
    if (this.#filled() < row) this.#push(row, 0, 0, 0, 0)
    if (end === row) return
    if (length === 4) return this.#push(end, 0, 0, mapped, word(from, offset))
    const at = offset
    this.#push(end, word(from, at), word(from, at + 4), word(from, at + 8), word(from, at + 12))
  }

  #push(end: number, a: number, b: number, c: number, d: number) {
    const last = 4 * (this.#runs - 1)
    const words = this.#words
    if (
      last >= 0 &&
      words[last] === a >>> 0 &&
      words[last + 1] === b >>> 0 &&
      words[last + 2] === c >>> 0 &&
      words[last + 3] === d >>> 0
    ) {
      this.#ends[this.#runs - 1] = end
      return
    }
    if (this.#runs === this.#ends.length) this.#grow()
    this.#ends[this.#runs] = end
    this.#words.set([a, b, c, d], 4 * this.#runs)
    this.#runs++
  }

  #grow() {
    const [ends, words] = [this.#ends, this.#words]
    this.#ends = new Uint32Array(2 * ends.length)
    this.#ends.set(ends)
    this.#words = new Uint32Array(2 * words.length)
    this.#words.set(words)
  }
}

const none = new Uint8Array(16)

/** Four bytes as they lie. */
function word(from: Uint8Array, at: number): number {
  return from[at]! | (from[at + 1]! << 8) | (from[at + 2]! << 16) | (from[at + 3]! << 24)
}

/** The engine holds an IPv4 address as a number. */
function swapped(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)
}
