/** Goes through everything that voters and two servers can do, see `vote-world.ts`. */
import { breadthFirst, type Exploration, hash, type Search, Violation } from './breadth-first.ts'
import {
  applyVote,
  healVotes,
  isServed,
  newVoteWorld,
  type VoteMove,
  type VoteRules,
  type VoteWorld,
  voteKeyOf,
  voteMovesOf,
} from './vote-world.ts'

/** Ticks within which somebody has to work. */
const healTicks = 16

export function exploreVotes(rules: VoteRules, faults: number, search: Search): Exploration {
  const beginning = { ...atWork(rules), faultsLeft: faults }
  const recovers = new Set<number>()
  const unbounded = { ...rules, failedClaims: Number.POSITIVE_INFINITY }
  return breadthFirst<VoteWorld, VoteMove>(
    {
      beginning,
      movesOf: world => voteMovesOf(world, rules),
      apply: (world, move) => applyVote(world, move, rules),
      keyOf: world => voteKeyOf(world, rules),
      narrate: path => narrate(beginning, path, rules),
      tryToRecover: world => tryToRecover(world, unbounded, recovers),
    },
    search,
  )
}

/** After the first has become active, for some time. */
function atWork(rules: VoteRules): VoteWorld {
  let world = newVoteWorld(rules, 0)
  for (let ticks = 0; ticks < healTicks; ) {
    const move = voteMovesOf(world, rules)[0]!
    if (move.label === 'a tick') ticks++
    world = applyVote(world, move, rules)
  }
  if (!isServed(world, rules)) throw new Error('nobody works')
  return world
}

function narrate(beginning: VoteWorld, path: readonly number[], rules: VoteRules): string[] {
  const lines: string[] = []
  let world = beginning
  let ticks = 0
  for (const index of path) {
    const move = voteMovesOf(world, rules)[index]!
    world = applyVote(world, move, rules)
    if (move.label === 'a tick') ticks++
    else lines.push(`${ticks} ${move.fault ? '(fault) ' : ''}${move.label}`)
  }
  return lines
}

/** Without faults, and each time by the first move that there is, somebody must work. */
function tryToRecover(
  world: VoteWorld,
  rules: VoteRules,
  known: Set<number>,
): string[] | undefined {
  let at = healVotes(world, rules)
  const lines: string[] = []
  const passed: number[] = []
  for (let ticks = 0; ; ) {
    const key = hash(voteKeyOf(at, rules))
    if (known.has(key)) break
    const move = voteMovesOf(at, rules)[0]!
    try {
      at = applyVote(at, move, rules)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      return [...lines, `→ ${move.label}: ${error.message}`]
    }
    passed.push(key)
    lines.push(move.label)
    if (move.label !== 'a tick') continue
    if (isServed(at, rules)) break
    if (++ticks === healTicks) return lines
  }
  for (const key of passed) known.add(key)
  return undefined
}
