/** What the answers of several voters come to. Pure. */
import type { DatabaseIdentity, Row } from '../states.ts'
import { newestRoll, type Roll } from './roll.ts'
import type { Answer } from './voter.ts'

/** Who said it. */
export interface Ballot {
  voter: string
  answer: Answer
}

/** So many of them cannot be found twice without one that is in both. */
export function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1
}

/** Whether enough have said yes, or so many no that it cannot become enough; undefined: still open. */
export function verdictOf(ballots: readonly Ballot[], { voters }: Roll): boolean | undefined {
  const counted = ballots.filter(({ voter }) => voters.includes(voter))
  const majority = majorityOf(voters.length)
  const yes = counted.filter(({ answer }) => answer.yes).length
  if (yes >= majority) return true
  const no = counted.length - yes
  return no > 0 && no > voters.length - majority ? false : undefined
}

/** Who votes, as far as they or this server know. */
export function rollIn(known: Roll, ballots: readonly Ballot[]): Roll {
  return newestRoll(
    known,
    ballots.map(({ answer }) => answer.roll),
  )
}

/**
 * The lease as a majority knows it; undefined if fewer have told. What it says hastens or delays a
 * claim; whether one is granted the voters judge for themselves.
 *
 * @param pair which replicated pair it is
 */
export function readingOf(
  ballots: readonly Ballot[],
  roll: Roll,
  pair: DatabaseIdentity,
): Row | undefined {
  if (verdictOf(ballots, roll) !== true) return undefined
  const [newest] = saidYes(ballots)
  const { counter, grant } = newest!
  if (grant === undefined) {
    return {
      ...{ term: 0, holder: undefined, incarnation: undefined, released: true, counter: 0 },
      ...{ leaseMs: 0, intended: undefined, paused: undefined, database: pair },
    }
  }
  const { holder, incarnation, intended, leaseMs, overruledBy, paused, released, term } = grant
  return {
    ...{ term, holder, incarnation, released, counter, leaseMs, intended, overruledBy, paused },
    database: pair,
  }
}

/** The servers that have every acknowledged change, as who knows the newest lease says. */
export function completeIn(ballots: readonly Ballot[]): readonly string[] {
  return saidYes(ballots)[0]?.grant?.complete ?? []
}

/** The highest term among grants that stand in the way. */
export function highestTermIn(ballots: readonly Ballot[]): number {
  return Math.max(0, ...ballots.map(({ answer }) => answer.grant?.term ?? 0))
}

/** Who knows the newest lease comes first. */
function saidYes(ballots: readonly Ballot[]): Answer[] {
  return ballots
    .map(({ answer }) => answer)
    .filter(({ yes }) => yes)
    .toSorted(newestFirst)
}

function newestFirst(a: Answer, b: Answer): number {
  const term = (b.grant?.term ?? 0) - (a.grant?.term ?? 0)
  if (term !== 0) return term
  const won = Number(b.grant?.won ?? false) - Number(a.grant?.won ?? false)
  if (won !== 0) return won
  const released = Number(b.grant?.released ?? false) - Number(a.grant?.released ?? false)
  return released !== 0 ? released : b.counter - a.counter
}
