/** What the answers of several voters come to. Pure. */
import type { DatabaseIdentity, Row } from '../states.ts'
import type { Answer } from './voter.ts'

/** So many of them cannot be found twice without one that is in both. */
export function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1
}

/** Whether enough have said yes, or so many no that it cannot become enough; undefined: still open. */
export function verdictOf(answers: readonly Answer[], voters: number): boolean | undefined {
  const majority = majorityOf(voters)
  const yes = answers.filter(each => each.yes).length
  if (yes >= majority) return true
  return answers.length - yes > voters - majority ? false : undefined
}

/**
 * The lease as a majority knows it; undefined if fewer have told. What it says hastens or delays a
 * claim; whether one is granted the voters judge for themselves.
 *
 * @param pair which replicated pair it is
 */
export function readingOf(
  answers: readonly Answer[],
  voters: number,
  pair: DatabaseIdentity,
): Row | undefined {
  const counted = answers.filter(each => each.yes)
  if (counted.length < majorityOf(voters)) return undefined
  const [newest] = counted.toSorted(newestFirst)
  const { counter, grant } = newest!
  if (grant === undefined) {
    return {
      ...{ term: 0, holder: undefined, incarnation: undefined, released: true, counter: 0 },
      ...{ leaseMs: 0, intended: undefined, paused: undefined, database: pair },
    }
  }
  const { holder, incarnation, intended, leaseMs, paused, released, term } = grant
  return {
    ...{ term, holder, incarnation, released, counter, leaseMs, intended, paused },
    database: pair,
  }
}

/** The servers that have every acknowledged change, as who knows the newest lease says. */
export function completeIn(answers: readonly Answer[]): readonly string[] {
  return answers.filter(each => each.yes).toSorted(newestFirst)[0]?.grant?.complete ?? []
}

/** The highest term among grants that stand in the way. */
export function highestTermIn(answers: readonly Answer[]): number {
  return Math.max(0, ...answers.map(({ grant }) => grant?.term ?? 0))
}

function newestFirst(a: Answer, b: Answer): number {
  const term = (b.grant?.term ?? 0) - (a.grant?.term ?? 0)
  if (term !== 0) return term
  const won = Number(b.grant?.won ?? false) - Number(a.grant?.won ?? false)
  if (won !== 0) return won
  const released = Number(b.grant?.released ?? false) - Number(a.grant?.released ?? false)
  return released !== 0 ? released : b.counter - a.counter
}
