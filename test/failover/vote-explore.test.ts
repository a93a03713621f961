import { describe, expect, test } from 'vitest'
import type { Exploration } from './breadth-first.ts'
import { exploreVotes } from './vote-explore.ts'
import * as broken from './vote-mutations.ts'
import {
  type Decisions,
  decisions,
  lease,
  type VoteFault,
  type VoteRules,
  voteFaults,
} from './vote-world.ts'

/** How many more faults on one path than in the quick form: each takes about sixty times as long. */
/** What is not about who votes. */
const usual = voteFaults.filter(each => each !== 'voters changed')
const more = Number(process.env.KEEPWATCH_EXPLORE ?? 0)
/** A machine that others use too may take a while. */
const slow = { timeout: 600_000 }
let total = 0

function rulesWith(
  voters: number,
  faults: readonly VoteFault[],
  change: Partial<Decisions> = {},
): VoteRules {
  return { ...decisions, ...change, voters, faults: new Set(faults), failedClaims: 2 }
}

function holds(what: string, exploration: Exploration) {
  const { complete, depth, healed, moves, states, violation } = exploration
  expect(violation && [violation.invariant, ...violation.trace].join('\n')).toBeUndefined()
  expect(complete, 'every state that can be reached was').toBe(true)
  total += states
  console.log(
    `${what}: ${states} states, ${moves} moves, up to ${depth} deep; recovers from all of ${healed}`,
  )
}

describe('a lease by majority is never worked under by two', slow, () => {
  test.for<[voters: number, faults: number, what: string, names: readonly VoteFault[]]>([
    [3, 2, 'anything happens', usual],
    [5, 1, 'anything happens', usual],
    [5, 2, 'servers fail', ['server killed', 'server frozen', 'link cut']],
    [4, 1, 'anything happens', usual],
    [2, 2, 'anything happens', usual],
  ])('with %i voters, when %i times %s', ([voters, faults, what, names]) => {
    const exploration = exploreVotes(rulesWith(voters, names), faults + more, {
      ...{ maxStates: 20_000_000, healEach: 32 },
    })
    holds(`${voters} voters, ${what}`, exploration)
  })

  test.for<[voters: number, enrolled: number, faults: number, names: readonly VoteFault[]]>([
    [3, 2, 2, voteFaults],
    [3, 1, 2, voteFaults],
    [4, 3, 2, voteFaults],
    [4, 3, 3, ['voters changed', 'server cut off', 'link cut']],
  ])(
    'with %i voters, of whom %i vote at first, when %i times one comes or goes',
    ([voters, enrolled, faults, names]) => {
      const rules = { ...rulesWith(voters, names), enrolled }
      const exploration = exploreVotes(rules, faults + more, {
        maxStates: 20_000_000,
        healEach: 32,
      })
      holds(`${voters} voters, ${enrolled} at first`, exploration)
    },
  )

  test('and so many states were visited', () => {
    expect(total).toBeGreaterThan(1_000_000)
    console.log(`${total} states in all`)
  })
})

describe('the exploration of votes finds', slow, () => {
  test.for<
    [
      string,
      Partial<Decisions>,
      Partial<{ faults: number; of: readonly VoteFault[]; voters: number; enrolled: number }>?,
    ]
  >([
    ['less than a majority taken for one', { verdictOf: broken.countsHalf }],
    [
      'a voter that forgets what it granted',
      { startedVoter: broken.forgetsGrants },
      { faults: 3, of: ['voter restarted', 'request lost', 'server frozen', 'server killed'] },
    ],
    [
      'a voter that does not wait after its start',
      { startedVoter: broken.doesNotWait, working: lease },
      { faults: 3, of: ['link cut', 'voter restarted', 'server frozen'] },
    ],
    ['a voter for which leases end with its start', { startedVoter: broken.takesStartForEnd }],
    ['a voter that votes twice in a term', { answer: broken.votesTwice }],
    ['a voter for which each lease has ended', { answer: broken.seesEveryLeaseEnded }],
    ['a voter that takes any reading for its own', { answer: broken.takesAnyReading }],
    ['a voter that goes back to an older lease', { answer: broken.goesBack }],
    [
      'a deadline counted from the reply',
      { rightAge: broken.countsFromTheReply, working: lease },
      { faults: 3, of: ['answer slow', 'request lost', 'server frozen'] },
    ],
    ['a standby that waits for less than a lease', { silence: lease - 2 }],
    [
      'a server that does not heed who votes by now',
      { rollIn: broken.keepsItsRoll },
      { voters: 4, enrolled: 3, faults: 3, of: ['voters changed', 'server cut off', 'voter down'] },
    ],
    [
      'a change of the voters of which nobody has heard yet',
      { objectionToRoll: broken.changesUnheard },
      { voters: 4, enrolled: 3, faults: 3, of: ['voters changed', 'server cut off', 'link cut'] },
    ],
  ])('%s', ([, change, { faults = 2, of = usual, enrolled = 3, voters = 3 } = {}]) => {
    const { states, violation } = exploreVotes(
      { ...rulesWith(voters, of, change), enrolled },
      faults,
      {
        maxStates: 3_000_000,
      },
    )
    expect(violation, `not within ${states} states`).toBeDefined()
    console.log(
      `after ${states} states: ${violation!.invariant}\n  ${violation!.trace.join('\n  ')}`,
    )
  })
})
