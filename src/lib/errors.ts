/** What a store can answer instead of a result; the rest of the errors are defects. */

/** The term in which a write was to happen is over: another server is, or may be, active. */
export class TermOver extends Error {
  override name = 'TermOver'
  readonly term: number
  /** The term of now, where the database said it. */
  readonly current: number | undefined
  constructor(term: number, current: number | undefined) {
    super(`term ${term} is over${current === undefined ? '' : `, the current term is ${current}`}`)
    this.term = term
    this.current = current
  }
}

/** The database cannot be reached, does not answer in time, or takes no writes at present. */
export class DatabaseAway extends Error {
  override name = 'DatabaseAway'
  /** `unknown`: the write may have happened; look before repeating it. */
  readonly outcome: 'nothing-written' | 'unknown'
  constructor(message: string, outcome: DatabaseAway['outcome'], cause?: unknown) {
    super(message, { cause })
    this.outcome = outcome
  }
}

/** What is to be stored contradicts what is there: a name taken, a thing still in use. */
export class Conflict extends Error {
  override name = 'Conflict'
  /** The constraint of the schema that it would break. */
  readonly constraint: string
  constructor(message: string, constraint: string, cause?: unknown) {
    super(message, { cause })
    this.constraint = constraint
  }
}

/** A `cursor` that no earlier answer gave. */
export class InvalidCursor extends Error {
  override name = 'InvalidCursor'
}

/** More was asked at once than is taken on; asking again later is right. */
export class Overloaded extends Error {
  override name = 'Overloaded'
}
