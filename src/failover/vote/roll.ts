/**
 * Who votes in a replicated pair, and how that changes. Pure.
 *
 * The roll is said by who holds the lease, with each heartbeat, and kept by each voter on its disk; it
 * changes by one voter at a time. A majority of one roll and a majority of the next so have a voter in
 * common, who knows the newer one. The next change comes when a majority of the roll before has heard
 * of that one in the same term: without this, two holders of different terms could each add to the same
 * old roll, and their majorities would have nobody in common (Raft's change of one server at a time, as
 * corrected by its author: https://groups.google.com/g/raft-dev/c/t4xj6dJTP6E).
 */

export interface Roll {
  /** The term whose holder said it last; 0: it was so from the beginning. */
  term: number
  /** Rises with each change in a term. */
  version: number
  /** Names, each once. */
  voters: readonly string[]
}

/** Of a server that has heard of none yet: nothing can be decided with it. */
export const noRoll: Roll = { term: -1, version: 0, voters: [] }

/** The newest of all. */
export function newestRoll(known: Roll, others: readonly (Roll | undefined)[]): Roll {
  return others.reduce<Roll>(
    (newest, roll) => (roll !== undefined && isNewer(roll, newest) ? roll : newest),
    known,
  )
}

function isNewer(a: Roll, b: Roll): boolean {
  return a.term !== b.term ? a.term > b.term : a.version > b.version
}

/**
 * Why the holder may not go on with these voters; undefined: it may.
 *
 * @param settled a majority of the roll has heard of it by a heartbeat of this term
 */
export function objectionToRoll(
  roll: Roll,
  voters: readonly string[],
  settled: boolean,
): string | undefined {
  if (new Set(voters).size !== voters.length) return 'a voter is named twice'
  const gone = roll.voters.filter(each => !voters.includes(each))
  const come = voters.filter(each => !roll.voters.includes(each))
  if (gone.length + come.length !== 1) return 'the voters change by one at a time'
  if (voters.length === 0) return 'somebody has to vote'
  return settled ? undefined : 'too few voters have heard of the last change'
}
