/**
 * A batch: the rows of one telemetry table as typed arrays. When it is sealed, each column travels
 * in the narrowest form that holds its cells, and one of zeros does not travel.
 *
 * A row is written in place: `claim()` gives its index, the decoder writes the cells that differ
 * from zero, `commit()` keeps it. What was claimed and not committed is wiped by the next `claim()`.
 */
import { type Column, type ColumnType, type Form, type Table, widths } from './table.ts'

/** Cells of 1, 2 or 4 bytes: `values[row] = x`. */
export interface NumberCells {
  readonly values: Uint8Array | Uint16Array | Uint32Array
}

/** Cells of 8 bytes, written without BigInt: little-endian words at `2 * row` and `2 * row + 1`. */
export interface WideCells {
  readonly words: Uint32Array
  /** Writes a number up to 2^53 − 1 (not negative). */
  set(row: number, value: number): void
}

/** Cells of 16 bytes in network order at `16 * row`. */
export interface AddressCells {
  readonly bytes: Uint8Array
  /** Copies 16 bytes. */
  setV6(row: number, from: Uint8Array, offset: number): void
  /** Copies 4 bytes into the mapped form ::ffff:a.b.c.d. */
  setV4(row: number, from: Uint8Array, offset: number): void
}

/** Strings, at most one per row; rows that write none hold the empty string. */
export interface TextCells {
  setText(row: number, text: string): void
  setBytes(row: number, from: Uint8Array, start: number, end: number): void
}

type CellsOf<T extends ColumnType> = T extends 'UInt8'
  ? { readonly values: Uint8Array }
  : T extends 'UInt16'
    ? { readonly values: Uint16Array }
    : T extends 'UInt32' | 'DateTime'
      ? { readonly values: Uint32Array }
      : T extends 'UInt64' | 'DateTime64(3)'
        ? WideCells
        : T extends 'IPv6'
          ? AddressCells
          : TextCells

export type CellsByName<T extends Table> = {
  readonly [C in T['columns'][number] as C['name']]: CellsOf<C['type']>
}

/** A column's cells as they travel. Valid until the next write, or until another column is asked for. */
export interface Run {
  form: Form
  bytes: Uint8Array
}

/** What a batch can do with a column without knowing its type. */
interface Storage {
  wipe(from: number, to: number): void
  /**
   * The first `rows` cells in the narrowest form; undefined if nothing of them has to travel.
   * @param later the times that these are not long before
   */
  native(rows: number, later?: WideStorage): Run | undefined
  /** Bytes in use, for the bound. */
  size(rows: number): number
}

export interface Batch<T extends Table = Table> {
  readonly table: T
  readonly cells: CellsByName<T>
  readonly capacity: number
  /** Committed rows. */
  readonly rows: number
  /** Index of the row to write. When the batch is full, `onFull` is called first and must empty it. */
  claim(): number
  commit(): void
  /**
   * Up to so many rows to write at once, the first of them at `rows`; `commitMany` keeps them. When
   * the batch is full, as `claim`.
   */
  claimMany(most: number): number
  commitMany(count: number): void
  /** Bytes of the committed rows. */
  size(): number
  /**
   * A column's committed cells in the narrowest form; undefined if all are zero or empty, or what
   * the column behind says.
   */
  native(column: number): Run | undefined
  /** Forgets all rows and wipes their cells. */
  clear(): void
}

/**
 * @param capacity rows
 * @param onFull called by `claim` when the batch is full; has to seal it and call `clear`
 * @param maxBytes counts as full beyond this size, because strings have no fixed width
 */
export function createBatch<const T extends Table>(
  table: T,
  capacity: number,
  onFull: (batch: Batch<T>) => void,
  maxBytes = 64 * 1024 * 1024,
): Batch<T> {
  const storages: Storage[] = []
  const texts: TextStorage[] = []
  const cells: Record<string, unknown> = {}
  for (const column of table.columns as readonly Column[]) {
    const storage = createStorage(column.type, capacity)
    storages.push(storage)
    if (storage instanceof TextStorage) texts.push(storage)
    cells[column.name] = storage
  }
  const laters = (table.columns as readonly Column[]).map(({ before }) =>
    before === undefined ? undefined : (cells[before] as WideStorage),
  )
  /** Rows of each column that were found to be zero since the last `clear`. */
  const zeroUntil = new Uint32Array(storages.length)
  let rows = 0
  /** Rows from `rows` that may have been written. */
  let claimed = 0

  const batch: Batch<T> = {
    table,
    cells: cells as CellsByName<T>,
    capacity,
    get rows() {
      return rows
    },
    claim() {
      makeRoom()
      claimed = 1
      return rows
    },
    commit() {
      claimed = 0
      rows++
    },
    claimMany(most) {
      makeRoom()
      claimed = Math.min(most, capacity - rows)
      return claimed
    },
    commitMany(count) {
      claimed -= count
      rows += count
    },
    size() {
      let sum = 0
      for (const storage of storages) sum += storage.size(rows)
      return sum
    },
    native(column) {
      const run = storages[column]!.native(rows, laters[column])
      if (run === undefined && laters[column] === undefined) zeroUntil[column] = rows
      return run
    },
    clear() {
      for (const [index, storage] of storages.entries()) {
        storage.wipe(zeroUntil[index]!, rows + claimed)
      }
      zeroUntil.fill(0)
      rows = 0
      claimed = 0
    },
  }

  function makeRoom() {
    if (claimed > 0) for (const storage of storages) storage.wipe(rows, rows + claimed)
    claimed = 0
    if (rows < capacity && textBytes() <= maxBytes) return
    onFull(batch)
    if (rows !== 0) throw new Error(`the ${table.kind} batch was full and nobody emptied it`)
  }

  function textBytes(): number {
    let sum = 0
    for (const text of texts) sum += text.used
    return sum
  }
  return batch
}

function createStorage(type: ColumnType, capacity: number): Storage {
  switch (type) {
    case 'UInt8':
    case 'UInt16':
    case 'UInt32':
    case 'DateTime':
      return new NumberStorage(type, capacity)
    case 'UInt64':
    case 'DateTime64(3)':
      return new WideStorage(type, capacity)
    case 'IPv6':
      return new AddressStorage(capacity)
    case 'String':
      return new TextStorage(capacity)
  }
}

class NumberStorage implements Storage, NumberCells {
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
  native(rows: number, later?: WideStorage): Run | undefined {
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

class WideStorage implements Storage, WideCells {
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
  native(rows: number, later?: WideStorage): Run | undefined {
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

/** The third word of ::ffff:a.b.c.d. */
const mapped = 0xffff0000

class AddressStorage implements Storage, AddressCells {
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
      const word = words[at + 3]!
      other |= words[at]! | words[at + 1]! | (words[at + 2]! ^ mapped)
      // The engine holds an IPv4 address as a number.
      numbers[row] = (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)
    }
    return other === 0 ? { form: 'IPv4', bytes: asBytes(numbers) } : { form: 'IPv6', bytes: whole }
  }
}

let zeros = Buffer.alloc(0)

function isZero(bytes: Uint8Array): boolean {
  if (zeros.length < bytes.length) zeros = Buffer.alloc(bytes.length)
  return zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0
}

/** Memory for runs, used for each again: of numbers in four bytes, in two, and in one. */
const scratch = { words: grown(), shorts: grown(), bytes: grown() }

function grown(): (cells: number) => ArrayBuffer {
  let memory = new ArrayBuffer(0)
  return cells => {
    if (memory.byteLength < 4 * cells) memory = new ArrayBuffer(4 * cells)
    return memory
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

/** The numbers in two bytes or in one; undefined if they need more. */
function narrowed(values: Uint32Array): Run | undefined {
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
function bytesOf(values: Uint16Array): Run | undefined {
  const bytes = new Uint8Array(scratch.bytes(values.length), 0, values.length)
  let bits = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    bits |= value
    bytes[i] = value
  }
  return bits > 0xff ? undefined : { form: 'UInt8', bytes }
}

function asBytes({ buffer, byteOffset, byteLength }: Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

const encoder = new TextEncoder()

/** Native strings back to back: varint length, bytes. Rows skipped in between are empty strings. */
class TextStorage implements Storage, TextCells {
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
