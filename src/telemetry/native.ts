/**
 * ClickHouse's Native format, one block: varint columns, varint rows, then for every column its
 * name, its type and its values as one run of bytes.
 * Source: ClickHouse documentation, "Native format"; layouts of the types in table.ts.
 */
import { formatAddress } from './address.ts'
import type { Batch } from './batch.ts'
import type { Column, ColumnType, Table } from './table.ts'

/** Bytes of one cell; strings have none. */
const widths: Record<ColumnType, number> = {
  UInt8: 1,
  UInt16: 2,
  UInt32: 4,
  UInt64: 8,
  DateTime: 4,
  'DateTime64(3)': 8,
  IPv6: 16,
  String: 0,
}

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
  const runs = columns.map((_, index) => batch.native(index))
  let length = 20
  for (const [index, column] of columns.entries()) {
    length += 10 + column.name.length + column.type.length + runs[index]!.length
  }
  const out = allocate(length)
  let at = putVarint(out, 0, columns.length)
  at = putVarint(out, at, batch.rows)
  for (const [index, column] of columns.entries()) {
    at = putAscii(out, at, column.name)
    at = putAscii(out, at, column.type)
    out.set(runs[index]!, at)
    at += runs[index]!.length
  }
  return out.subarray(0, at)
}

export type Cell = number | bigint | string | Uint8Array
export type Row = Record<string, Cell>

export interface Block {
  rows: number
  /** The cells of a column, undefined if the block does not have it. */
  column(name: string): CellReader | undefined
  /** Rows as objects; numbers of 8 bytes are numbers where they fit and bigint where not. */
  toRows(): Row[]
}

export interface CellReader {
  type: ColumnType
  get(row: number): Cell
}

/**
 * Reads one block. Strings come as text (UTF-8, replacement characters for what is not), addresses as text.
 * @throws RangeError on bytes that are not one whole block of known columns
 */
export function decodeNative(bytes: Uint8Array, table: Table): Block {
  const types = new Map<string, ColumnType>(table.columns.map(c => [c.name, c.type]))
  const reader = new Reader(bytes)
  const columnCount = reader.varint()
  const rows = reader.varint()
  const columns = new Map<string, CellReader>()
  for (let index = 0; index < columnCount; index++) {
    const name = reader.text()
    const typeName = reader.text()
    const type = types.get(name)
    if (type === undefined || type !== typeName) {
      throw new RangeError(`column ${name} of type ${typeName} is not one of table ${table.kind}`)
    }
    columns.set(name, type === 'String' ? reader.strings(rows) : reader.cells(type, rows))
  }
  if (reader.at !== bytes.length) throw new RangeError('bytes follow the block')
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
    return { type: 'String', get: row => decoder.decode(values[row]) }
  }

  cells(type: ColumnType, rows: number): CellReader {
    const width = widths[type]
    const from = this.at
    this.take(width * rows)
    const { view, bytes } = this
    switch (type) {
      case 'UInt8':
        return { type, get: row => view.getUint8(from + row) }
      case 'UInt16':
        return { type, get: row => view.getUint16(from + 2 * row, true) }
      case 'UInt32':
      case 'DateTime':
        return { type, get: row => view.getUint32(from + 4 * row, true) }
      case 'UInt64':
      case 'DateTime64(3)':
        return { type, get: row => narrow(view.getBigUint64(from + 8 * row, true)) }
      case 'IPv6':
        return { type, get: row => formatAddress(bytes, from + 16 * row) }
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
