/** Columns of strings. */
import type { Run, Storage, TextCells } from './cells.ts'

const encoder = new TextEncoder()

/** Native strings back to back: varint length, bytes. Rows skipped in between are empty strings. */
export class TextStorage implements Storage, TextCells {
  #arena = new Uint8Array(64 * 1024)
  /** Where each row's cell begins, so that an uncommitted cell can be taken back. */
  readonly #begins: Uint32Array
  /** Rows whose cell is in the arena. */
  #filled = 0
  used = 0

  constructor(capacity: number) {
    this.#begins = new Uint32Array(capacity + 1)
  }

  setText(row: number, text: string) {
    // A UTF-16 unit takes at most 3 bytes of UTF-8.
    this.#advance(row, 3 * text.length)
    const lengthAt = this.used
    const width = varintWidth(3 * text.length)
    const { written } = encoder.encodeInto(text, this.#arena.subarray(lengthAt + width))
    this.#putLength(lengthAt, width, written)
    this.used = lengthAt + width + written
    this.#filled = row + 1
    this.#begins[row + 1] = this.used
  }

  setBytes(row: number, from: Uint8Array, start: number, end: number) {
    const length = end - start
    this.#advance(row, length)
    const width = varintWidth(length)
    this.#putLength(this.used, width, length)
    this.#arena.set(from.subarray(start, end), this.used + width)
    this.used += width + length
    this.#filled = row + 1
    this.#begins[row + 1] = this.used
  }

  wipe(from: number) {
    if (from >= this.#filled) return
    this.#filled = from
    this.used = this.#begins[from]!
  }

  size(rows: number) {
    return this.#filled >= rows ? this.#begins[rows]! : this.used + rows - this.#filled
  }

  native(rows: number): Run | undefined {
    if (this.used === 0) return undefined
    if (this.#filled < rows) this.#advance(rows, 0)
    return { form: 'String', bytes: this.#arena.subarray(0, this.#begins[rows]) }
  }

  /** Pads to `row` with empty strings, takes back what the row held, and makes room. */
  #advance(row: number, length: number) {
    this.wipe(row)
    this.#reserve(row - this.#filled + length + 5)
    while (this.#filled < row) {
      this.#arena[this.used++] = 0
      this.#begins[++this.#filled] = this.used
    }
  }

  #reserve(more: number) {
    if (this.used + more <= this.#arena.length) return
    let length = 2 * this.#arena.length
    while (length < this.used + more) length *= 2
    const grown = new Uint8Array(length)
    grown.set(this.#arena.subarray(0, this.used))
    this.#arena = grown
  }

  /** A varint of exactly `width` bytes; a longer form than needed is valid. */
  #putLength(at: number, width: number, length: number) {
    for (let i = 0; i < width - 1; i++) {
      this.#arena[at + i] = (length & 0x7f) | 0x80
      length >>>= 7
    }
    this.#arena[at + width - 1] = length
  }
}

function varintWidth(value: number): number {
  let width = 1
  while (value > 0x7f) {
    value >>>= 7
    width++
  }
  return width
}
