/** Batches as blocks of ClickHouse's Native format, and blocks as rows. */
import { formatAddress } from './address.ts'
import type { Batch } from './batch.ts'
import {
  anchorOf,
  createBlockWriter,
  isDifference,
  readRuns,
  stringAt,
  stringBegins,
} from './runs.ts'
import { type Column, type ColumnType, type Form, type Table, widths } from './table.ts'

/**
 * The committed rows of a batch as one Native block, in memory of its own.
 *
 * @param allocate gives at least so many bytes, which may hold anything
 */
export function encodeNative(
  batch: Batch,
  allocate: (length: number) => Uint8Array = length => new Uint8Array(length),
): Uint8Array {
  const { rows } = batch
  const columns: readonly Column[] = batch.table.columns
  const names = columns.reduce((sum, { name }) => sum + name.length, 0)
  const out = allocate(20 + names + 30 * columns.length + batch.size())
  const writer = createBlockWriter(out, rows)
  const anchor = anchorOf(batch.table)
  for (const [index, column] of columns.entries()) {
    const { name, type } = column
    const run = batch.native(index)
    if (run !== undefined) writer.add(name, run.form, run.bytes)
    else if (column === anchor) writer.add(name, type, new Uint8Array(widths[type] * rows))
  }
  return writer.end()
}

export type Cell = number | bigint | string | Uint8Array
export type Row = Record<string, Cell>

export interface Block {
  rows: number
  /** The cells of a column, whether the block has it or not; undefined if the table has not. */
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
  const { rows, runs } = readRuns(bytes, table)
  const columns = new Map<string, CellReader>()
  for (const column of table.columns as readonly Column[]) {
    const run = runs.find(one => one.column === column)
    const own = run && cellsOf(run.form, run.bytes, rows)
    const told = own && (run === undefined || !isDifference(run)) ? own : undefined
    const absent = column.before === undefined ? { get: () => empty[column.type] } : undefined
    columns.set(column.name, told ?? absent ?? beforeOf(column, own, columns))
  }
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

/** Times that travel as how much they are before another; nothing says that they are equal. */
function beforeOf(
  { type, before }: Column,
  differences: CellReader | undefined,
  columns: ReadonlyMap<string, CellReader>,
): CellReader {
  const unitMs = type === 'DateTime' ? 1000 : 1
  return {
    get(row) {
      const later = Math.floor(Number(columns.get(before!)!.get(row)) / unitMs)
      return later - Number(differences?.get(row) ?? 0)
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

const decoder = new TextDecoder()

function cellsOf(form: Form, bytes: Uint8Array, rows: number): CellReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (form) {
    case 'UInt8':
      return { get: row => view.getUint8(row) }
    case 'UInt16':
      return { get: row => view.getUint16(2 * row, true) }
    case 'UInt32':
    case 'DateTime':
      return { get: row => view.getUint32(4 * row, true) }
    case 'Int32':
      return { get: row => view.getInt32(4 * row, true) }
    case 'UInt64':
    case 'DateTime64(3)':
      return { get: row => narrow(view.getBigUint64(8 * row, true)) }
    case 'IPv4':
      return { get: row => formatIpv4(view.getUint32(4 * row, true)) }
    case 'IPv6':
      return { get: row => formatAddress(bytes, 16 * row) }
    case 'String': {
      const begins = stringBegins(bytes, rows)
      return { get: row => decoder.decode(stringAt(bytes, begins[row]!)) }
    }
  }
}

function formatIpv4(number: number): string {
  return [number >>> 24, (number >>> 16) & 0xff, (number >>> 8) & 0xff, number & 0xff].join('.')
}

function narrow(value: bigint): number | bigint {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
}
