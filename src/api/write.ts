import type { Caller } from './handler.ts'

/** What a change leaves in the audit log; `detail` holds no secrets. */
export interface AuditLine {
  action: string
  subject: string
  detail?: Record<string, unknown>
}

/**
 * Runs a change of state as one transaction under the term of this active, with its audit line.
 * @throws ApiError `not-active` if there is no term to write under; TermOver, DatabaseAway, Conflict
 */
export type Write<Tx> = <T>(
  caller: Caller,
  line: AuditLine,
  work: (tx: Tx) => Promise<T>,
) => Promise<T>

export interface Page<Row> {
  rows: Row[]
  next: string | null
}

export interface PageRequest {
  limit: number
  cursor?: string | undefined
}
