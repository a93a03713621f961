/** What a batch's columns are written through, and what it can do with each. */
import type { ColumnType, Form, Table } from './table.ts'

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

/** Addresses that are the same in row after row; each write begins where the one before ended. */
export interface SteadyAddressCells extends Omit<AddressCells, 'bytes'> {
  /** The same 16 bytes in rows from one to before another. */
  repeat(row: number, end: number, from: Uint8Array): void
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
  readonly [C in T['columns'][number] as C['name']]: string extends C['name']
    ? CellsOf<ColumnType> | SteadyAddressCells
    : C extends { steady: true }
      ? SteadyAddressCells
      : CellsOf<C['type']>
}

/** A column's cells as they travel. Valid until the next write, or until another column is asked for. */
export interface Run {
  form: Form
  bytes: Uint8Array
}

/** What a batch can do with a column without knowing its type. */
export interface Storage {
  wipe(from: number, to: number): void
  /**
   * The first `rows` cells in the narrowest form; undefined if nothing of them has to travel.
   * @param later the times that these are not long before
   */
  native(rows: number, later?: WideCells): Run | undefined
  /** Bytes in use, for the bound. */
  size(rows: number): number
}
