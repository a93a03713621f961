/** The engine cannot be reached, is too busy, or failed for a reason that will pass: try again later. */
export class EngineUnavailable extends Error {
  override name = 'EngineUnavailable'
}

/** The bytes of a segment are not rows of its table, and never will be: put it aside. */
export class SegmentRefused extends Error {
  override name = 'SegmentRefused'
  /** By which the receiver of segments tells it from what may pass. */
  readonly refused = true
}

/** The engine answered a question with an error: bad SQL, a limit that was reached. */
export class QueryFailed extends Error {
  override name = 'QueryFailed'
  /** ClickHouse's error code: 62. */
  readonly code: number
  /** And its name: `SYNTAX_ERROR`. */
  readonly reason: string
  constructor(message: string, code: number, reason: string) {
    super(message)
    this.code = code
    this.reason = reason
  }
}
