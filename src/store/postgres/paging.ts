/** Keyset paging: an answer's `next` is the following question's `cursor`. */
import { InvalidCursor } from '../../lib/errors.ts'

export interface PageRequest {
  /** How many rows at most. */
  limit: number
  cursor?: string | undefined
}

export interface Page<Row> {
  rows: Row[]
  /** Null: there are no more. */
  next: string | null
}

/** For lists by falling id: the id before which the page begins; null for the first page. */
export function idBefore(cursor: string | undefined): number | null {
  if (cursor === undefined) return null
  if (!/^\d{1,15}$/.test(cursor))
    throw new InvalidCursor(`"${cursor}" is not a cursor of this list`)
  return Number(cursor)
}

/** `rows`: one more than the limit was asked for, to see whether there are more. */
export function pageOf<Row>(
  rows: Row[],
  limit: number,
  cursorOf: (last: Row) => string,
): Page<Row> {
  if (rows.length <= limit) return { rows, next: null }
  const shown = rows.slice(0, limit)
  return { rows: shown, next: cursorOf(shown[limit - 1]!) }
}
