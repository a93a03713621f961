import { ApiError } from '../../api/handler.ts'
import type { Write } from '../../api/write.ts'
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
    return deps.database.fenced(term, caller, async tx => {
      const result = await work(tx)
      await deps.audit.append(tx, line)
      return result
    })
  }
}
