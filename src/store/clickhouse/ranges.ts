/**
 * A set of sequence numbers as ranges, so that it takes room for its gaps and not for its members.
 */
export interface Ranges {
  has(sequence: number): boolean
  /** Adds `first` … `last`, both included. */
  add(first: number, last?: number): void
  /** The ranges in rising order, both ends included; the last ones if there are more than `limit`. */
  list(limit: number): [number, number][]
}

/** What is in the first ranges and not in the others; both in rising order, as is the answer. */
export function without(
  ranges: readonly (readonly [number, number])[],
  others: readonly (readonly [number, number])[],
): [number, number][] {
  const left: [number, number][] = []
  let at = 0
  for (const [first, last] of ranges) {
    let from = first
    while (at < others.length && others[at]![1] < from) at++
    for (let next = at; next < others.length && others[next]![0] <= last; next++) {
      const [begin, end] = others[next]!
      if (begin > from) left.push([from, begin - 1])
      from = Math.max(from, end + 1)
    }
    if (from <= last) left.push([from, last])
  }
  return left
}

export function createRanges(): Ranges {
  // Ascending, disjoint and not adjacent.
  const firsts: number[] = []
  const lasts: number[] = []

  /** Index of the first range that ends at or after `sequence`. */
  function find(sequence: number): number {
    let low = 0
    let high = lasts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (lasts[middle]! < sequence) low = middle + 1
      else high = middle
    }
    return low
  }

  return {
    has(sequence) {
      const index = find(sequence)
      return index < firsts.length && firsts[index]! <= sequence
    },
    add(first, last = first) {
      const from = find(first - 1)
      let to = from
      while (to < firsts.length && firsts[to]! <= last + 1) {
        first = Math.min(first, firsts[to]!)
        last = Math.max(last, lasts[to]!)
        to++
      }
      firsts.splice(from, to - from, first)
      lasts.splice(from, to - from, last)
    },
    list(limit) {
      const from = Math.max(firsts.length - limit, 0)
      return firsts.slice(from).map((first, index) => [first, lasts[from + index]!])
    },
  }
}
