/**
 * What a telemetry table is: the one description from which the engine's DDL, the column batch,
 * the Native segment and the API's dimensions are all derived. Add a column to the table's own
 * file (flow.ts, syslog.ts, trap.ts) and every one of them has it.
 */

/** The types that travel in a segment: names and layouts are those of ClickHouse's Native format. */
export type ColumnType =
  | 'UInt8'
  | 'UInt16'
  | 'UInt32'
  | 'UInt64'
  /** Seconds since 1970, 4 bytes. */
  | 'DateTime'
  /** Milliseconds since 1970, 8 bytes. */
  | 'DateTime64(3)'
  /** 16 bytes in network order; an IPv4 address is ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). */
  | 'IPv6'
  /** Any bytes, prefixed by their length as a varint. */
  | 'String'

/** How a column's cells travel: as they are, or narrower where that holds all of them. */
export type Form = ColumnType | 'IPv4' | 'Int32'

/** Bytes of one cell; strings have none. */
export const widths: Readonly<Record<Form, number>> = {
  UInt8: 1,
  UInt16: 2,
  UInt32: 4,
  /** A difference. */
  Int32: 4,
  UInt64: 8,
  DateTime: 4,
  'DateTime64(3)': 8,
  /** A number. */
  IPv4: 4,
  IPv6: 16,
  String: 0,
}

const narrower: Readonly<Partial<Record<ColumnType, readonly Form[]>>> = {
  UInt16: ['UInt8'],
  UInt32: ['UInt8', 'UInt16'],
  UInt64: ['UInt8', 'UInt16', 'UInt32'],
  IPv6: ['IPv4'],
}

/** Of the differences to the column behind. */
const differences: readonly Form[] = ['UInt8', 'UInt16', 'UInt32', 'Int32']

/** The form of that name, if cells of the column may travel in it. */
export function formNamed(name: string, { type, before }: Column): Form | undefined {
  if (name === type) return type
  return (before === undefined ? narrower[type] : differences)?.find(form => form === name)
}

/** How the API and the console offer a column as something to group and filter by. */
export interface Dimension {
  /** The name in API, permalink and filter: `src.addr`. */
  name: string
  /** What a person reads above a table: `Source address`. */
  label: string
}

export interface Column {
  name: string
  type: ColumnType
  /** What the engine stores where it differs from what travels: `LowCardinality(String)`. */
  stored?: string
  /** The compression codec in the engine: `T64, ZSTD(1)`. */
  codec?: string
  /**
   * Of a time: the time in another column that it is not long before. By how much is what travels,
   * in its own unit, and nothing where they are equal.
   */
  before?: string
  /** Of an address: mostly the same in row after row. */
  steady?: true
  dimension?: Dimension
  /** One line for the reference page: what it holds, in which unit. */
  doc: string
}

/** What the engine works out of other columns when it is asked for; it is in no segment. */
export interface DerivedColumn extends Pick<Column, 'name' | 'type' | 'doc'> {
  /** In the engine's SQL. */
  expression: string
  dimension: Dimension
}

/** How far the time that a device says may lie before and after its receipt to be believed. */
export interface Plausible {
  pastMs: number
  futureMs: number
}

export interface Table {
  /** The kind of telemetry, which is also the table's name in the engine. */
  kind: Kind
  columns: readonly Column[]
  derived?: readonly DerivedColumn[]
  /** Sort key, coarse time first, so that a question about one exporter reads little. */
  orderBy: readonly string[]
  /** Rows that are read at least, of each column that is read; the engine's 8,192 where not said. */
  granule?: number
  partitionBy: string
  /** When its rows were received; `near`: how far the time of a row is before and after that at most. */
  receipt: { column: string; near?: Plausible }
  /** The engine keeps the number of the insert that brought a row, by partition. */
  numbersInserts?: true
  /** Days that raw rows are kept unless the settings say otherwise. */
  keepDays: number
  doc: string
}

export const kinds = ['flow', 'syslog', 'trap', 'counter', 'name'] as const
export type Kind = (typeof kinds)[number]

/** One of each kind. */
export function ofEachKind<T>(make: (kind: Kind) => T): Record<Kind, T> {
  return Object.fromEntries(kinds.map(kind => [kind, make(kind)])) as Record<Kind, T>
}

/** Everything of a table that can be grouped and filtered by. */
export function dimensionsOf(
  table: Table,
): { dimension: Dimension; name: string; type: ColumnType }[] {
  return [...table.columns, ...(table.derived ?? [])].flatMap(({ dimension, name, type }) =>
    dimension ? [{ dimension, name, type }] : [],
  )
}

/** Ties literal column names to the table's type, so that a batch is typed by its table. */
export function defineTable<const T extends Table>(table: T): T {
  return table
}
