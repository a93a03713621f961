/**
 * A batch: the rows of one telemetry table as typed arrays. When it is sealed, each column travels
 * in the narrowest form that holds its cells, and one of zeros does not travel.
 *
 * A row is written in place: `claim()` gives its index, the decoder writes the cells that differ
 * from zero, `commit()` keeps it. What was claimed and not committed is wiped by the next `claim()`.
 */
import { AddressStorage, SteadyAddressStorage } from './address-cells.ts'
import type { CellsByName, Run, Storage, WideCells } from './cells.ts'
import { NumberStorage, WideStorage } from './number-cells.ts'
import type { Column, Table } from './table.ts'
import { TextStorage } from './text-cells.ts'

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
    const storage = createStorage(column, capacity)
    storages.push(storage)
    if (storage instanceof TextStorage) texts.push(storage)
    cells[column.name] = storage
  }
  const laters = (table.columns as readonly Column[]).map(({ before }) =>
    before === undefined ? undefined : (cells[before] as WideCells),
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

function createStorage({ type, steady }: Column, capacity: number): Storage {
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
      return steady ? new SteadyAddressStorage() : new AddressStorage(capacity)
    case 'String':
      return new TextStorage(capacity)
  }
}
