/**
 * Line diff: E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), §4b, the
 * linear-space variant. Smallest possible for texts that are alike; where they differ in more than
 * `editBound` lines in a row of decisions, it splits at the furthest point reached, which is still
 * right, though no longer the smallest.
 */

/** A stretch of changed lines with the unchanged ones around it. */
export interface DiffHunk {
  /** Number of the first line in the old and in the new text; the first line of a text is 1. */
  oldStart: number
  newStart: number
  lines: DiffLine[]
}

export interface DiffLine {
  kind: 'same' | 'added' | 'removed'
  text: string
}

export interface Diff {
  added: number
  removed: number
  hunks: DiffHunk[]
}

/** Edits looked ahead in one search; its cost grows with the square. */
const editBound = 1024
const unreached = -(2 ** 30)

/** How to get from `before` to `after`. A final line end does not count as a line. */
export function diffLines(before: string, after: string, context = 3): Diff {
  const old = linesOf(before)
  const now = linesOf(after)
  const removed = new Uint8Array(old.length)
  const added = new Uint8Array(now.length)
  markChanges(old, now, removed, added)
  return toHunks(old, now, removed, added, context)
}

function linesOf(text: string): string[] {
  if (text === '') return []
  return (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n')
}

/** Sets 1 for every line that only one of the two has. */
function markChanges(
  old: readonly string[],
  now: readonly string[],
  removed: Uint8Array,
  added: Uint8Array,
) {
  const numbers = new Map<string, number>()
  const number = (line: string) => {
    const known = numbers.get(line)
    if (known !== undefined) return known
    numbers.set(line, numbers.size)
    return numbers.size - 1
  }
  const a = Int32Array.from(old, number)
  const b = Int32Array.from(now, number)
  // A line that the other text has nowhere is changed whatever the rest says: no search for it.
  const [inOld, inNow] = [new Uint8Array(numbers.size), new Uint8Array(numbers.size)]
  for (const line of a) inOld[line] = 1
  for (const line of b) inNow[line] = 1
  const oldPlaces = placesOf(a, inNow, removed)
  const newPlaces = placesOf(b, inOld, added)
  const search = {
    a: Int32Array.from(oldPlaces, place => a[place]!),
    b: Int32Array.from(newPlaces, place => b[place]!),
    forward: new Int32Array(2 * editBound + 5),
    backward: new Int32Array(2 * editBound + 5),
  }

  const boxes: Box[] = [[0, search.a.length, 0, search.b.length]]
  for (let box = boxes.pop(); box; box = boxes.pop()) {
    const [a0, a1, b0, b1] = shrink(search, box)
    if (a0 === a1 || b0 === b1) {
      for (let i = a0; i < a1; i++) removed[oldPlaces[i]!] = 1
      for (let i = b0; i < b1; i++) added[newPlaces[i]!] = 1
      continue
    }
    const [x, y] = split(search, [a0, a1, b0, b1])
    boxes.push([a0, x, b0, y], [x, a1, y, b1])
  }
}

/** Where the lines stand that both texts have; the others are marked. */
function placesOf(lines: Int32Array, shared: Uint8Array, changed: Uint8Array): number[] {
  const places: number[] = []
  for (let place = 0; place < lines.length; place++) {
    if (shared[lines[place]!] === 1) places.push(place)
    else changed[place] = 1
  }
  return places
}

/** Lines `a0` up to `a1` of the old text against `b0` up to `b1` of the new. */
type Box = [a0: number, a1: number, b0: number, b1: number]

interface Search {
  a: Int32Array
  b: Int32Array
  forward: Int32Array
  backward: Int32Array
}

/** Without what both have at the beginning and at the end. */
function shrink({ a, b }: Search, [a0, a1, b0, b1]: Box): Box {
  while (a0 < a1 && b0 < b1 && a[a0] === b[b0]) {
    a0++
    b0++
  }
  while (a0 < a1 && b0 < b1 && a[a1 - 1] === b[b1 - 1]) {
    a1--
    b1--
  }
  return [a0, a1, b0, b1]
}

/**
 * A point on a shortest way through the box, found from both ends at once. Diagonal k holds the
 * points with x - y = k; `forward[k]` is the furthest x reached on it, `backward[k]` the same
 * counted from the far corner. The box is shrunk and not empty, so the point is neither corner.
 */
function split({ a, b, forward, backward }: Search, [a0, a1, b0, b1]: Box): [number, number] {
  const n = a1 - a0
  const m = b1 - b0
  const delta = n - m
  const odd = (delta & 1) !== 0
  const zero = editBound + 2
  const most = Math.min(editBound, Math.ceil((n + m) / 2))
  forward.fill(unreached, zero - most - 2, zero + most + 3)
  backward.fill(unreached, zero - most - 2, zero + most + 3)

  for (let edits = 0; edits <= most; edits++) {
    for (let k = -edits; k <= edits; k += 2) {
      let x = step(forward, k, edits)
      if (x === unreached) continue
      while (x < n && x - k < m && a[a0 + x] === b[b0 + x - k]) x++
      forward[zero + k] = x
      const other = delta - k
      if (odd && Math.abs(other) < edits && x + backward[zero + other]! >= n) {
        return [a0 + x, b0 + x - k]
      }
    }
    for (let k = -edits; k <= edits; k += 2) {
      let x = step(backward, k, edits)
      if (x === unreached) continue
      while (x < n && x - k < m && a[a1 - 1 - x] === b[b1 - 1 - x + k]) x++
      backward[zero + k] = x
      const other = delta - k
      if (!odd && Math.abs(other) <= edits && x + forward[zero + other]! >= n) {
        return [a1 - x, b1 - x + k]
      }
    }
  }
  return furthest()

  /** The furthest x on diagonal k with one more edit: down from k+1 or right from k-1. */
  function step(reached: Int32Array, k: number, edits: number): number {
    if (edits === 0) return 0
    const left = reached[zero + k - 1]!
    const above = reached[zero + k + 1]!
    const right = left >= 0 && left < n ? left + 1 : unreached
    const down = above >= 0 && above - k <= m ? above : unreached
    const x = Math.max(right, down)
    if (x === unreached) reached[zero + k] = unreached
    return x
  }

  function furthest(): [number, number] {
    let best: [number, number] = [a0, b0]
    let far = 0
    for (let k = -editBound; k <= editBound; k++) {
      const x = forward[zero + k]!
      if (x < 0 || 2 * x - k <= far) continue
      far = 2 * x - k
      best = [a0 + x, b0 + x - k]
    }
    return best
  }
}

function toHunks(
  old: readonly string[],
  now: readonly string[],
  removed: Uint8Array,
  added: Uint8Array,
  context: number,
): Diff {
  const diff: Diff = { added: 0, removed: 0, hunks: [] }
  let hunk: DiffHunk | undefined
  /** Unchanged lines at the end of the open hunk. */
  let trailing = 0
  let x = 0
  let y = 0
  while (x < old.length || y < now.length) {
    const kind = removed[x] === 1 ? 'removed' : added[y] === 1 ? 'added' : 'same'
    if (kind === 'same') {
      if (hunk) {
        hunk.lines.push({ kind, text: old[x]! })
        trailing++
        // Two stretches closer than twice the context are one hunk.
        if (trailing > 2 * context) {
          hunk.lines.length -= trailing - context
          hunk = undefined
        }
      }
      x++
      y++
      continue
    }
    if (!hunk) {
      const shown = Math.min(context, x, y)
      hunk = { oldStart: x - shown + 1, newStart: y - shown + 1, lines: [] }
      for (let i = x - shown; i < x; i++) hunk.lines.push({ kind: 'same', text: old[i]! })
      diff.hunks.push(hunk)
    }
    trailing = 0
    diff[kind]++
    hunk.lines.push({ kind, text: kind === 'removed' ? old[x++]! : now[y++]! })
  }
  if (hunk && trailing > context) hunk.lines.length -= trailing - context
  return diff
}
