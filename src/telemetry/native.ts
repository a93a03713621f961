/**
 * ClickHouse's Native format, one block: varint columns, varint rows, then for every column its
 * name, its type and its values as one run of bytes.
 * Source: ClickHouse documentation, "Native format"; layouts of the types in table.ts.
 */
import { formatAddress } from './address.ts'
import type { Batch } from './batch.ts'
import { type Column, type ColumnType, type Form, formNamed, type Table, widths } from './table.ts'

/**
 * The committed rows of a batch as one Native block, in memory of its own.
 *
 * @param allocate gives at least so many bytes, which may hold anything
 */
export function encodeNative(
  batch: Batch,
  allocate: (length: number) => Uint8Array = length => new Uint8Array(length),
): Uint8Array {
  const columns: readonly Column[] = batch.table.columns
  const names = columns.reduce((sum, { name }) => sum + name.length, 0)
  const out = allocate(20 + names + 30 * columns.length + batch.size())
  // How many columns travel is known at the end; of fewer than 128 the varint is a byte.
  let at = putVarint(out, 1, batch.rows)
  let count = 0
  for (const [index, { name, type }] of columns.entries()) {
    // The first tells that these are rows of the table.
    const zeros = () => ({ form: type, bytes: new Uint8Array(widths[type] * batch.rows) })
    const run = batch.native(index) ?? (index === 0 ? zeros() : undefined)
    if (run === undefined) continue
    count++
    at = putAscii(out, at, name)
    at = putAscii(out, at, run.form)
    out.set(run.bytes, at)
    at += run.bytes.length
  }
  out[0] = count
  return out.subarray(0, at)
}

export type Cell = number | bigint | string | Uint8Array
export type Row = Record<string, Cell>

export interface Block {
  rows: number
  /** The cells of a column, zeros if the block lacks it; undefined if the table does. */
  column(name: string): CellReader | undefined
  /** Rows as objects; numbers of 8 bytes are numbers where they fit and bigint where not. */
  toRows(): Row[]
}

export interface CellReader {
  get(row: number): Cell
}

/**
 * Reads one block. Strings come as text (UTF-8, replacement characters for what is not), addresses as text.
 * @throws RangeError on bytes that are not one whole block of the table
 */
export function decodeNative(bytes: Uint8Array, table: Table): Block {
  const types = new Map<string, ColumnType>(table.columns.map(c => [c.name, c.type]))
  const reader = new Reader(bytes)
  const columnCount = reader.varint()
  const rows = reader.varint()
  const there = new Map<string, CellReader>()
  for (let index = 0; index < columnCount; index++) {
    const name = reader.text()
    const typeName = reader.text()
    const type = types.get(name)
    const form = type && formNamed(typeName, type)
    if (form === undefined) {
      throw new RangeError(`column ${name} of type ${typeName} is not one of table ${table.kind}`)
    }
    there.set(name, form === 'String' ? reader.strings(rows) : reader.cells(form, rows))
  }
  if (reader.at !== bytes.length) throw new RangeError('bytes follow the block')
  const [first] = types.keys()
  if (!there.has(first!)) throw new RangeError(`it has no column ${first}`)
  const columns = new Map<string, CellReader>()
  for (const [name, type] of types) columns.set(name, there.get(name) ?? { get: () => empty[type] })
  return {
    rows,
    column: name => columns.get(name),
    toRows() {
      return Array.from({ length: rows }, (_, row) => {
        const record: Row = {}
        for (const [name, column] of columns) record[name] = column.get(row)
        return record
      })
    },
  }
}

/** A cell of zeros. */
const empty: Readonly<Record<ColumnType, Cell>> = {
  UInt8: 0,
  UInt16: 0,
  UInt32: 0,
  UInt64: 0,
  DateTime: 0,
  'DateTime64(3)': 0,
  IPv6: '::',
  String: '',
}

class Reader {
  at = 0
  readonly bytes: Uint8Array
  readonly view: DataView
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) throw new RangeError('the block ends inside a number')
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new RangeError('a number of more than 35 bits')
  }

  text(): string {
    const length = this.varint()
    return decoder.decode(this.take(length))
  }

  strings(rows: number): CellReader {
    const values: Uint8Array[] = []
    for (let row = 0; row < rows; row++) values.push(this.take(this.varint()))
    return { get: row => decoder.decode(values[row]) }
  }

  cells(form: Form, rows: number): CellReader {
    const width = widths[form]
    const from = this.at
    this.take(width * rows)
    const { view, bytes } = this
    switch (form) {
      case 'UInt8':
        return { get: row => view.getUint8(from + row) }
      case 'UInt16':
        return { get: row => view.getUint16(from + 2 * row, true) }
      case 'UInt32':
      case 'DateTime':
        return { get: row => view.getUint32(from + 4 * row, true) }
      case 'UInt64':
      case 'DateTime64(3)':
        return { get: row => narrow(view.getBigUint64(from + 8 * row, true)) }
      case 'IPv4':
        return { get: row => formatIpv4(view.getUint32(from + 4 * row, true)) }
      case 'IPv6':
        return { get: row => formatAddress(bytes, from + 16 * row) }
      case 'String':
        throw new RangeError('strings have no fixed width')
    }
  }

  take(length: number): Uint8Array {
    const end = this.at + length
    if (end > this.bytes.length) throw new RangeError('the block is cut off')
    const part = this.bytes.subarray(this.at, end)
    this.at = end
    return part
  }
}

const decoder = new TextDecoder()

function formatIpv4(number: number): string {
  return [number >>> 24, (number >>> 16) & 0xff, (number >>> 8) & 0xff, number & 0xff].join('.')
}

function narrow(value: bigint): number | bigint {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
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
