/**
 * Fields that become a cell by themselves, written a column at a time: what is to be done is looked
 * up once for all records of a set, and the cells of a column lie beside each other.
 */
import type { Batch } from '../telemetry/batch.ts'
import { flowTable } from '../telemetry/flow.ts'
import { type CompiledColumns, compileColumns } from './compiled-columns.ts'
import { copy32, createViews, readApplication, readNumber } from './octets.ts'
import { action, stepSize } from './plan.ts'

export interface ColumnWriter {
  /**
   * Carries out steps for records that follow each other. Where several fields mean one column, the
   * worst comes first, and a zero leaves what is there.
   *
   * @param at where the first record begins
   * @param stride bytes from one record to the next
   * @param row of the first record
   */
  write(
    steps: Int32Array,
    bytes: Uint8Array,
    at: number,
    stride: number,
    row: number,
    count: number,
  ): void
}

/** Records of a template after which it is compiled, and how many are at most. */
const worthCompiling = 10_000
const mostCompiled = 500

/** The third word of ::ffff:a.b.c.d. */
const mapped = 0xffff0000

export function createColumnWriter(batch: Batch<typeof flowTable>): ColumnWriter {
  // Per column, in the table's order, the array that its type uses; the others stay empty.
  const bytes8: Uint8Array[] = []
  const shorts: Uint16Array[] = []
  const words: Uint32Array[] = []
  const numbers: (Uint8Array | Uint16Array | Uint32Array)[] = []
  for (const { name } of flowTable.columns) {
    const cell = batch.cells[name]
    const values = 'values' in cell ? cell.values : undefined
    bytes8.push(values instanceof Uint8Array ? values : new Uint8Array(0))
    shorts.push(values instanceof Uint16Array ? values : new Uint16Array(0))
    words.push(values instanceof Uint32Array ? values : wordsOf(cell))
    numbers.push(values ?? new Uint32Array(0))
  }

  const arrays = bytes8.map((bytes, index) => ({
    ...{ bytes8: bytes, shorts: shorts[index]!, words: words[index]! },
  }))
  const viewOf = createViews()
  /** Records written by steps that are not compiled yet. */
  let written = new WeakMap<Int32Array, number>()
  const compiled = new WeakMap<Int32Array, CompiledColumns>()
  let compiledOnes = 0

  /** Of steps that are used much. */
  function compiledOf(steps: Int32Array, count: number): CompiledColumns | undefined {
    const known = compiled.get(steps)
    if (known !== undefined || compiledOnes === mostCompiled) return known
    const before = written.get(steps) ?? 0
    written.set(steps, before + count)
    if (before < worthCompiling) return undefined
    const made = compileColumns(steps, arrays)
    compiled.set(steps, made)
    if (++compiledOnes === mostCompiled) written = new WeakMap()
    return made
  }

  return {
    write(all, bytes, begin, stride, first, count) {
      let steps = all
      const end = first + count
      // One look at the memory for a number, where an array has one for each of its bytes.
      const view = viewOf(bytes)
      const base = bytes.byteOffset
      const fast = stride === 0 ? undefined : compiledOf(all, count)
      if (fast !== undefined) {
        fast.run(view, base + begin, stride, first, count)
        steps = fast.rest
      }
      for (let step = 0; step < steps.length; step += stepSize) {
        const column = steps[step + 1]!
        const length = steps[step + 3]!
        let at = begin + steps[step + 2]!
        // A loop in each: what is read and written there is of one type only, and so is fast.
        switch (steps[step]) {
          case action.byteTo8: {
            const to = bytes8[column]!
            for (let row = first; row < end; row++, at += stride) to[row] = bytes[at]!
            break
          }
          case action.byteTo16: {
            const to = shorts[column]!
            for (let row = first; row < end; row++, at += stride) to[row] = bytes[at]!
            break
          }
          case action.shortTo16: {
            const to = shorts[column]!
            for (let row = first; row < end; row++, at += stride)
              to[row] = view.getUint16(base + at)
            break
          }
          case action.shortTo32: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride)
              to[row] = view.getUint16(base + at)
            break
          }
          case action.wordTo32: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride)
              to[row] = view.getUint32(base + at)
            break
          }
          case action.wordToWide: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              to[2 * row] = view.getUint32(base + at)
            }
            break
          }
          case action.longToWide: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              to[2 * row + 1] = view.getUint32(base + at)
              to[2 * row] = view.getUint32(base + at + 4)
            }
            break
          }
          case action.wide: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              const value = readNumber(bytes, at, length)
              to[2 * row] = value >>> 0
              to[2 * row + 1] = value / 0x1_0000_0000
            }
            break
          }
          case action.number: {
            const to = numbers[column]!
            for (let row = first; row < end; row++, at += stride) {
              const value = readNumber(bytes, at, length)
              if (value !== 0) to[row] = value
            }
            break
          }
          case action.v4: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              to[4 * row + 2] = mapped
              to[4 * row + 3] = view.getUint32(base + at, true)
            }
            break
          }
          case action.v6: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) copy128(bytes, at, to, 4 * row)
            break
          }
          case action.v4IfSet: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              const address = copy32(bytes, at)
              if (address === 0) continue
              to[4 * row] = 0
              to[4 * row + 1] = 0
              to[4 * row + 2] = mapped
              to[4 * row + 3] = address
            }
            break
          }
          case action.v6IfSet: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              if (!isZero128(bytes, at)) copy128(bytes, at, to, 4 * row)
            }
            break
          }
          case action.mpls: {
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              to[row] = ((view.getUint16(base + at) << 8) | bytes[at + 2]!) >>> 4
            }
            break
          }
          case action.application: {
            if (length === 0) break
            const to = words[column]!
            for (let row = first; row < end; row++, at += stride) {
              to[row] = readApplication(bytes, at, length)
            }
            break
          }
          case action.forwarding: {
            const to = bytes8[column]!
            for (let row = first; row < end; row++, at += stride) {
              // Some exporters fill four bytes from the left.
              const value = readNumber(bytes, at, length)
              to[row] = value > 0xff ? bytes[at]! : value
            }
            break
          }
          case action.icmpType: {
            const to = shorts[column]!
            for (let row = first; row < end; row++, at += stride) {
              to[row] = (to[row]! & 0xff) | (readNumber(bytes, at, length) << 8)
            }
            break
          }
          case action.icmpCode: {
            const to = shorts[column]!
            for (let row = first; row < end; row++, at += stride) {
              to[row] = (to[row]! & 0xff00) | (readNumber(bytes, at, length) & 0xff)
            }
            break
          }
        }
      }
    },
  }
}

/** The words of a column of 8 or 16 bytes. */
function wordsOf(cell: object): Uint32Array {
  if ('words' in cell) return cell.words as Uint32Array
  if ('bytes' in cell) {
    const bytes = cell.bytes as Uint8Array
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  }
  return new Uint32Array(0)
}

function copy128(from: Uint8Array, at: number, to: Uint32Array, word: number) {
  to[word] = copy32(from, at)
  to[word + 1] = copy32(from, at + 4)
  to[word + 2] = copy32(from, at + 8)
  to[word + 3] = copy32(from, at + 12)
}

function isZero128(bytes: Uint8Array, at: number): boolean {
  return (
    (copy32(bytes, at) | copy32(bytes, at + 4) | copy32(bytes, at + 8) | copy32(bytes, at + 12)) ===
    0
  )
}
