/** What every way of telling has in common. */
import { createHash } from 'node:crypto'
import type { ClaimedNotice } from './outbox.ts'

/** How an attempt ended. */
export type Delivery =
  | { done: 'sent' }
  /** It will never be taken in this form: nobody of that name, contents refused. */
  | { done: 'refused'; failure: string }
  /** Not now; `channel`: nothing else would have been taken either. */
  | { done: 'later'; failure: string; of: 'channel' | 'message' }
  /** The end was sent and nothing answered: it may have been taken. */
  | { done: 'doubtful'; failure: string }
  /** The end was not sent, because it may not be any more. */
  | { done: 'withheld' }

/**
 * Asked when all but the end of a notice has been sent: without its end the recipient discards it.
 * Only if this says yes is the end sent, at once.
 */
export type MayEnd = () => Promise<boolean>

/** The same at every attempt, on every server; by it a recipient knows a second copy. */
export function identityOf({ key, created }: Pick<ClaimedNotice, 'key' | 'created'>): string {
  // The time makes it differ from the same event of another deployment.
  return createHash('sha256').update(`${key} ${created.toISOString()}`).digest('hex').slice(0, 32)
}
