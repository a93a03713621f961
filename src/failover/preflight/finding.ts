/** What the checks of a pair's prerequisites say. Pure. */

export type Result = 'pass' | 'warning' | 'failure' | 'skipped'

export interface Finding {
  /** Of the check; stays the same from version to version. */
  id: string
  title: string
  result: Result
  /** What was found. */
  text: string
  /** Null where nothing is to be done. */
  whatToDo: string | null
}

/** A finding before it has the name of its check. */
export type Outcome = Omit<Finding, 'id' | 'title'>

export const pass = (text: string): Outcome => ({ result: 'pass', text, whatToDo: null })
export const warning = (text: string, whatToDo: string): Outcome => ({
  result: 'warning',
  text,
  whatToDo,
})
export const failure = (text: string, whatToDo: string): Outcome => ({
  result: 'failure',
  text,
  whatToDo,
})
/** It could not be judged: why, and where that can be helped how. */
export const skipped = (text: string, whatToDo: string | null = null): Outcome => ({
  result: 'skipped',
  text,
  whatToDo,
})

const order: readonly Result[] = ['skipped', 'pass', 'warning', 'failure']

/** One outcome out of several: the worst counts, and only what is as bad is said. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  const result = order.findLast(one => outcomes.some(outcome => outcome.result === one))
  if (result === undefined) return skipped('there is nothing to judge')
  const said = outcomes.filter(outcome => outcome.result === result)
  const whatToDo = [...new Set(said.flatMap(outcome => outcome.whatToDo ?? []))]
  return {
    result,
    text: said.map(({ text }) => text).join('; '),
    whatToDo: whatToDo.length > 0 ? whatToDo.join('; ') : null,
  }
}

/** Whether a pair may be started with these. */
export function isFit(findings: readonly Finding[]): boolean {
  return findings.every(({ result }) => result !== 'failure')
}
