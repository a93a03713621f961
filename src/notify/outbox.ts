/** What the notices need of the state: rows of the table `outbox`, each told once. */

/** What a person has subscribed to; `test` is what they asked for just now. */
export type NoticeClass = 'self-monitoring' | 'synchronization' | 'takeover' | 'test'
export type Channel = 'mail' | 'webhook'

/** A notice in words, for whoever reads it at night on a phone. */
export interface Message {
  subject: string
  /** One paragraph: what happened. */
  happened: string
  /** Since when, for how long, by whom: label and value. */
  facts: readonly (readonly [label: string, value: string])[]
  /** One paragraph: what that means. */
  means: string
  /** What to do now; empty: nothing. */
  act: readonly string[]
  /** The console, if its address is known. */
  link: string | null
}

/** One alarm as a digest remembers it. */
export interface DigestItem {
  /** Of the alarm. */
  key: string
  /** Of the alarm's row: each time it is raised it is another. */
  alarm: number
  event: 'raised' | 'worse' | 'cleared'
  severity: 'warning' | 'critical'
  text: string
  /** ISO 8601, UTC. */
  at: string
  /** Of one that was cleared: how long it had been open, in milliseconds. */
  lastedMs?: number
}

/** The column `body`. */
export interface NoticeBody {
  message: Message
  /** When what it tells happened; ISO 8601, UTC. */
  at: string
  /** The server that was active then, and its term. */
  server: string
  term: number
  /** Notices with the same thread belong together in a mail program. */
  thread: string
  /** Of a digest: what it is made of, so that more can be added while it waits. */
  items?: readonly DigestItem[]
  /** There was more than it may hold. */
  more?: boolean
}

export interface NewNotice {
  /** Names the event and the recipient: a second one with the same key is not added. */
  key: string
  class: NoticeClass
  channel: Channel
  /** A mail address, or the webhook's URL. */
  recipient: string
  subject: string
  body: NoticeBody
  /** Milliseconds from now before which it is not sent. */
  delayMs: number
}

/** Writes of the transaction that also writes what is told. */
export interface OutboxWrites<Tx> {
  /** Adds what is not there yet. @returns how many that were */
  add(tx: Tx, notices: readonly NewNotice[]): Promise<number>
  /** New words for one that nobody has tried to send yet. @returns false: there is none */
  reword(tx: Tx, key: string, words: { subject: string; body: NoticeBody }): Promise<boolean>
  /** The body of one that nobody has tried to send yet, locked until the transaction ends. */
  lockWaiting(tx: Tx, key: string): Promise<NoticeBody | undefined>
  /** Removes those whose key begins so and that nobody has tried to send yet. @returns how many */
  withdraw(tx: Tx, keyPrefix: string): Promise<number>
  /** How many rows to the recipient, whose key begins so, were added in the last `withinMs`. */
  countRecent(
    tx: Tx,
    of: { channel: Channel; recipient: string; keyPrefix: string; withinMs: number },
  ): Promise<number>
}

export interface ClaimedNotice {
  id: number
  key: string
  class: NoticeClass
  channel: Channel
  recipient: string
  body: NoticeBody
  /** This one included. */
  attempts: number
  created: Date
  /** Milliseconds since it was added, by the database's clock. */
  ageMs: number
}

/**
 * The active's side: every call is a fenced transaction of its own.
 *
 * @throws TermOver, DatabaseAway
 */
export interface OutboxQueue {
  /** What a former active left half sent waits again. @returns how many were in which state */
  reopen(term: number): Promise<{ sending: number; ending: number }>
  /** The oldest of the channel that is due becomes `sending`. */
  claim(term: number, channel: Channel): Promise<ClaimedNotice | undefined>
  /** From `sending` to `ending`. @returns false: it is no longer this term's to send */
  ending(term: number, id: number): Promise<boolean>
  sent(term: number, id: number): Promise<void>
  /** Waits again, for so long. */
  later(term: number, id: number, failure: string, delayMs: number): Promise<void>
  failed(term: number, id: number, failure: string): Promise<void>
  /** Removes what waits for a channel that is no longer set up. @returns how many */
  discard(term: number, channel: Channel): Promise<number>
  /** Removes what was sent or given up before then. @returns how many */
  prune(term: number, olderThanMs: number): Promise<number>
}
