import { ApiError } from '../../api/handler.ts'
import type { Write } from '../../api/write.ts'
import { Conflict, DatabaseAway, Overloaded, TermOver } from '../../lib/errors.ts'
import type { Audit } from '../../store/postgres/audit.ts'
import type { Database, Tx } from '../../store/postgres/database.ts'

/** Changes of state that a person or a program asked for: fenced by this active's term, and audited. */
export function createWrite(deps: {
  database: Database
  audit: Audit
  /** Undefined unless this server is active and its lease valid. */
  term(): number | undefined
}): Write<Tx> {
  return async (caller, line, work) => {
    const term = deps.term()
    if (term === undefined) throw new ApiError('not-active', 'this server is not the active one')
    try {
      return await deps.database.fenced(term, caller, async tx => {
        const result = await work(tx)
        await deps.audit.append(tx, line)
        return result
      })
    } catch (error) {
      throw answerFor(error)
    }
  }
}

/** What a caller is told about a store's error. */
function answerFor(error: unknown): unknown {
  if (error instanceof TermOver) return new ApiError('not-active', error.message)
  if (error instanceof Conflict) return new ApiError('conflict', error.message)
  if (error instanceof Overloaded) return new ApiError('unavailable', error.message)
  if (error instanceof DatabaseAway) {
    const unsure = error.outcome === 'unknown' ? '; look before you repeat it' : ''
    return new ApiError('unavailable', `${error.message}${unsure}`)
  }
  return error
}
