/**
 * Goes through every state that moves lead to, breadth first, each once. The first violation is
 * therefore also one of the shortest.
 */

export interface Space<World, Move extends { label: string }> {
  beginning: World
  movesOf(world: World): Move[]
  /** @throws Violation */
  apply(world: World, move: Move): World
  /** Equal for states between which nothing that matters differs. */
  keyOf(world: World): string
  /** The path in words, from the indices of its moves. */
  narrate(path: readonly number[]): string[]
  /** @returns the way on which a state does not recover when all faults end */
  tryToRecover?(world: World): string[] | undefined
}

export interface Search {
  maxStates: number
  /** Recovery is tried from each of so many states; undefined: from none. */
  healEach?: number | undefined
}

export interface Exploration {
  /** Different states that were visited. */
  states: number
  moves: number
  /** Moves from the beginning to the last new state. */
  depth: number
  /** False: it stopped at the bound, or at a violation. */
  complete: boolean
  /** From how many of them it was shown that the pair recovers when all faults end. */
  healed: number
  violation: { invariant: string; trace: string[] } | undefined
}

/** An invariant of SPEC.md that does not hold. */
export class Violation extends Error {
  override name = 'Violation'
}

export function breadthFirst<World, Move extends { label: string }>(
  space: Space<World, Move>,
  { healEach, maxStates }: Search,
): Exploration {
  const { beginning } = space
  const seen = new Set([hash(space.keyOf(beginning))])
  /** How each state was reached, in the order in which they were found. */
  const from: number[] = [-1]
  const by: number[] = [-1]
  let level: { world: World; id: number }[] = [{ world: beginning, id: 0 }]
  let moves = 0
  let depth = 0
  let healed = 0
  const end = (complete: boolean, violation: Exploration['violation']) => {
    return { states: seen.size, moves, depth, complete, healed, violation }
  }
  while (level.length > 0) {
    const next: typeof level = []
    for (const { id, world } of level) {
      for (const [index, move] of space.movesOf(world).entries()) {
        moves++
        let reached: World
        try {
          reached = space.apply(world, move)
        } catch (error) {
          if (!(error instanceof Violation)) throw error
          return end(false, {
            invariant: error.message,
            trace: [...retrace(id), `→ ${move.label}: ${error.message}`],
          })
        }
        const key = hash(space.keyOf(reached))
        if (seen.has(key)) continue
        seen.add(key)
        from.push(id)
        by.push(index)
        const found = seen.size - 1
        if (healEach !== undefined && key % healEach === 0) {
          const stuck = space.tryToRecover?.(reached)
          if (stuck !== undefined) {
            const trace = [...retrace(found), 'all faults end:', ...stuck]
            return end(false, { invariant: 'the pair does not recover', trace })
          }
          healed++
        }
        if (seen.size >= maxStates) return end(false, undefined)
        next.push({ world: reached, id: found })
      }
    }
    level = next
    depth++
  }
  return end(true, undefined)

  function retrace(id: number): string[] {
    const path: number[] = []
    for (let at = id; at > 0; at = from[at]!) path.unshift(by[at]!)
    return space.narrate(path)
  }
}

/** 53 bits of a text (cyrb53, public domain): two of a million states are taken for one once in 10,000 runs. */
export function hash(text: string): number {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    high = Math.imul(high ^ code, 2654435761)
    low = Math.imul(low ^ code, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return 4294967296 * (2097151 & low) + (high >>> 0)
}
