/**
 * The fields of a template as one function: a loop over records in which every offset is a constant,
 * so that V8 makes of it what a compiler makes of a struct. Fields of unusual forms stay steps.
 */
import { action, stepSize } from './plan.ts'

/** The arrays of a column, of which each step uses one. */
export interface ColumnArrays {
  bytes8: Uint8Array
  shorts: Uint16Array
  words: Uint32Array
}

export interface CompiledColumns {
  /**
   * @param at where the first record begins in the view
   * @param stride bytes from one record to the next
   */
  run(view: DataView<ArrayBufferLike>, at: number, stride: number, row: number, count: number): void
  /** Steps that are left. */
  readonly rest: Int32Array
}

interface Sentence {
  array: keyof ColumnArrays
  /** @param to the array's name @param at where the field begins */
  text(to: string, at: string): string
}

/** The third word of ::ffff:a.b.c.d. */
const mapped = 0xffff0000

const sentences: Readonly<Record<number, Sentence>> = {
  [action.byteTo8]: { array: 'bytes8', text: (to, at) => `${to}[row] = view.getUint8(${at})` },
  [action.byteTo16]: { array: 'shorts', text: (to, at) => `${to}[row] = view.getUint8(${at})` },
  [action.shortTo16]: { array: 'shorts', text: (to, at) => `${to}[row] = view.getUint16(${at})` },
  [action.shortTo32]: { array: 'words', text: (to, at) => `${to}[row] = view.getUint16(${at})` },
  [action.wordTo32]: { array: 'words', text: (to, at) => `${to}[row] = view.getUint32(${at})` },
  [action.wordToWide]: {
    array: 'words',
    text: (to, at) => `${to}[2 * row] = view.getUint32(${at})`,
  },
  [action.longToWide]: {
    array: 'words',
    text: (to, at) =>
      `${to}[2 * row + 1] = view.getUint32(${at}); ${to}[2 * row] = view.getUint32(${at} + 4)`,
  },
  [action.v4]: {
    array: 'words',
    text: (to, at) =>
      `${to}[4 * row + 2] = ${mapped}; ${to}[4 * row + 3] = view.getUint32(${at}, true)`,
  },
}

/** @param columns by the index that steps name */
export function compileColumns(
  steps: Int32Array,
  columns: readonly ColumnArrays[],
): CompiledColumns {
  const rest: number[] = []
  const lines: string[] = []
  const arrays: unknown[] = []
  for (let step = 0; step < steps.length; step += stepSize) {
    const sentence = sentences[steps[step]!]
    if (sentence === undefined) {
      rest.push(...steps.subarray(step, step + stepSize))
      continue
    }
    lines.push(sentence.text(`to${arrays.length}`, `at + ${steps[step + 2]!}`))
    arrays.push(columns[steps[step + 1]!]![sentence.array])
  }
  const names = arrays.map((_, index) => `to${index}`)
  const text = `return (view, at, stride, row, count) => {
    for (const end = row + count; row < end; row++, at += stride) {
      ${lines.join('\n      ')}
    }
  }`
  // Numbers of a checked plan and the texts above are all that is in it.
  const make = new Function(...names, text) as (...arrays: unknown[]) => CompiledColumns['run']
  return { run: make(...arrays), rest: Int32Array.from(rest) }
}
