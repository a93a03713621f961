/**
 * The parts of a Native block (ClickHouse documentation, "Native format"): varint columns, varint
 * rows, then for every column its name, its type and its values as one run of bytes.
 */
import { type Column, type Form, formNamed, type Table, widths } from './table.ts'

export interface ColumnRun {
  column: Column
  /** In which its cells are. */
  form: Form
  bytes: Uint8Array
}

/** The column that every block has: it tells of which table the rows are. */
export function anchorOf(table: Table): Column {
  return table.columns.find(({ before }) => before === undefined)!
}

/** Whether what travels is how much each cell is before one of another column. */
export function isDifference({ column, form }: Pick<ColumnRun, 'column' | 'form'>): boolean {
  return column.before !== undefined && form !== column.type
}

/** @throws RangeError on bytes that are not one whole block of the table */
export function readRuns(native: Uint8Array, table: Table): { rows: number; runs: ColumnRun[] } {
  const known = new Map<string, Column>(table.columns.map(column => [column.name, column]))
  const reader = new Reader(native)
  const columns = reader.varint()
  const rows = reader.varint()
  const runs: ColumnRun[] = []
  for (let index = 0; index < columns; index++) {
    const name = reader.text()
    const typeName = reader.text()
    const column = known.get(name)
    const form = column && formNamed(typeName, column)
    if (column === undefined || form === undefined) {
      throw new RangeError(`column ${name} of type ${typeName} is not one of table ${table.kind}`)
    }
    const from = reader.at
    if (form === 'String') for (let row = 0; row < rows; row++) reader.take(reader.varint())
    else reader.take(widths[form] * rows)
    runs.push({ column, form, bytes: native.subarray(from, reader.at) })
  }
  if (reader.at !== native.length) throw new RangeError('bytes follow the block')
  const anchor = anchorOf(table)
  if (!runs.some(({ column }) => column === anchor)) {
    throw new RangeError(`it has no column ${anchor.name}`)
  }
  return { rows, runs }
}

/** Where each string of a run begins, with its length, and where the last one ends. */
export function stringBegins(run: Uint8Array, rows: number): Uint32Array {
  const begins = new Uint32Array(rows + 1)
  const reader = new Reader(run)
  for (let row = 0; row < rows; row++) {
    reader.take(reader.varint())
    begins[row + 1] = reader.at
  }
  return begins
}

/** The bytes of a string that begins there. */
export function stringAt(run: Uint8Array, begin: number): Uint8Array {
  const reader = new Reader(run, begin)
  return reader.take(reader.varint())
}

class Reader {
  at: number
  readonly #bytes: Uint8Array
  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.at = at
  }

  varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) throw new RangeError('the block ends inside a number')
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new RangeError('a number of more than 35 bits')
  }

  text(): string {
    return decoder.decode(this.take(this.varint()))
  }

  take(length: number): Uint8Array {
    const end = this.at + length
    if (end > this.#bytes.length) throw new RangeError('the block is cut off')
    const part = this.#bytes.subarray(this.at, end)
    this.at = end
    return part
  }
}

const decoder = new TextDecoder()

/** The block that consists of these runs. */
export function blockOf(rows: number, runs: readonly ColumnRun[]): Uint8Array {
  let length = 10
  for (const { column, form, bytes } of runs) {
    length += 2 + column.name.length + form.length + bytes.length
  }
  const out = new Uint8Array(length)
  const writer = createBlockWriter(out, rows)
  for (const { column, form, bytes } of runs) writer.add(column.name, form, bytes)
  return writer.end()
}

export interface BlockWriter {
  add(name: string, form: Form, bytes: Uint8Array): void
  /** The whole block. */
  end(): Uint8Array
}

/** Writes a block of at most 127 columns into memory that is large enough. */
export function createBlockWriter(out: Uint8Array, rows: number): BlockWriter {
  // How many columns there are is known at the end; of fewer than 128 the varint is a byte.
  let at = putVarint(out, 1, rows)
  let columns = 0
  return {
    add(name, form, bytes) {
      columns++
      at = putAscii(out, at, name)
      at = putAscii(out, at, form)
      out.set(bytes, at)
      at += bytes.length
    },
    end() {
      out[0] = columns
      return out.subarray(0, at)
    },
  }
}

function putVarint(out: Uint8Array, at: number, value: number): number {
  while (value > 0x7f) {
    out[at++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  out[at++] = value
  return at
}

function putAscii(out: Uint8Array, at: number, text: string): number {
  at = putVarint(out, at, text.length)
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i)
  return at + text.length
}
