/** What `pg` and PostgreSQL report, told apart: see the SQLSTATE appendix of PostgreSQL's manual. */
import { Conflict, DatabaseAway, TermOver } from '../../lib/errors.ts'

/** Not our mistake and not for ever: a later attempt may succeed. */
const awayStates = [
  /^08/, // connection exception
  /^25P0[34]/, // idle in transaction, or the transaction took too long
  /^25006/, // read only: a replica, or a server being handed over
  /^40/, // serialization failure, deadlock
  /^53/, // insufficient resources: connections, disk, memory
  /^55P03/, // lock timeout
  /^57/, // cancelled by timeout, shut down, starting up
  /^58/, // the server's own I/O
]

const awayCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
])

const readOnly = '25006'

/** Where `pg` gives no code, only a sentence. */
const awaySentences =
  /^(Connection terminated|Connection ended|Query read timeout|timeout e|Client has encountered|Client was closed)/

interface Reported {
  code?: string
  severity?: string
  message?: string
  detail?: string
  constraint?: string
}

/**
 * The typed error for what a statement failed with; what is none of these comes back as it is.
 *
 * @param sent whether the statement may have reached the server with an effect of its own
 *   (a COMMIT, a write outside a transaction)
 */
export function failureOf(error: unknown, term: number | undefined, sent: boolean): unknown {
  const { code = '', message = '', detail, constraint = '' } = error as Reported
  if (code === 'KW001') {
    const current = /current term is (\d+)/.exec(message)?.[1]
    return new TermOver(term ?? 0, current === undefined ? undefined : Number(current))
  }
  if (code === '23505' || code === '23503') {
    return new Conflict(detail ?? message, constraint, error)
  }
  if (!isAway(error)) return error
  const outcome = sent && !isRefusal(error) ? 'unknown' : 'nothing-written'
  return new DatabaseAway(`the database is away: ${message || code}`, outcome, error)
}

/** Whether the connection is of no more use after this. */
export function isFatal(error: unknown): boolean {
  return isAway(error) && !isRefusal(error)
}

/** The server takes no writes: a replica, or one being handed over. */
export function isReadOnly(error: unknown): boolean {
  return (error as Reported).code === readOnly
}

function isAway(error: unknown): boolean {
  const { code = '', message = '' } = error as Reported
  if (awayCodes.has(code) || awayStates.some(state => state.test(code))) return true
  // A host with several addresses fails with one error for all of them.
  if (error instanceof AggregateError) return error.errors.some(isAway)
  return code === '' && awaySentences.test(message)
}

/** The server itself said no, and goes on: what was asked has not happened. */
function isRefusal(error: unknown): boolean {
  return (error as Reported).severity === 'ERROR'
}
