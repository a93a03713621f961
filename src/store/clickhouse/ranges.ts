/**
 * A set of sequence numbers as ranges, so that it takes room for its gaps and not for its members.
 */
export interface Ranges {
  has(sequence: number): boolean
  /** Adds `first` … `last`, both included. */
  add(first: number, last?: number): void
  /** The last number n so that 1 … n are all members; 0 if 1 is none. */
  contiguous(): number
  /** The lowest members beyond `contiguous`, at most `limit`. */
  beyond(limit: number): number[]
  /** How many ranges it takes. */
  readonly size: number
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
    contiguous() {
      return firsts[0] === 1 ? lasts[0]! : 0
    },
    beyond(limit) {
      const members: number[] = []
      for (let index = firsts[0] === 1 ? 1 : 0; index < firsts.length; index++) {
        for (let member = firsts[index]!; member <= lasts[index]!; member++) {
          if (members.length === limit) return members
          members.push(member)
        }
      }
      return members
    },
    get size() {
      return firsts.length
    },
  }
}
