import type { Database, Queries, Tx } from './database.ts'
import { idBefore, type Page, type PageRequest, pageOf } from './paging.ts'

export type Channel = 'mail' | 'webhook'
export type MessageClass = 'self-monitoring' | 'synchronization' | 'takeover' | 'test'
export type MessageState = 'waiting' | 'sending' | 'ending' | 'sent' | 'failed'

export interface NewMessage<Body> {
  /** Names the event and the recipient: a second one with the same key is not added. */
  key: string
  class: MessageClass
  channel: Channel
  recipient: string
  subject: string
  body: Body
  /** Milliseconds from now before which it is not sent. */
  delayMs: number
}

export interface ClaimedMessage<Body> {
  id: number
  key: string
  class: MessageClass
  channel: Channel
  recipient: string
  body: Body
  /** This one included. */
  attempts: number
  created: Date
  /** Milliseconds since it was added, by the database's clock. */
  ageMs: number
}

/** A row as people see it. */
export interface OutboxMessage {
  id: number
  class: MessageClass
  channel: Channel
  recipient: string
  subject: string
  state: MessageState
  attempts: number
  failure: string | null
  created: Date
  sentAt: Date | null
}

/**
 * What is to be told to people and programs, each once. What has a `tx` belongs to the transaction
 * that also writes what is told; what has a `term` is a fenced transaction of its own.
 */
export interface Outbox<Body> {
  /** Adds what is not there yet. @returns how many that were */
  add(tx: Tx, messages: readonly NewMessage<Body>[]): Promise<number>
  /** New words for one that nobody has tried to send yet. @returns false: there is none */
  reword(tx: Tx, key: string, words: { subject: string; body: Body }): Promise<boolean>
  /** The body of one that nobody has tried to send yet, locked until the transaction ends. */
  lockWaiting(tx: Tx, key: string): Promise<Body | undefined>
  /** Removes those whose key begins so and that nobody has tried to send yet. @returns how many */
  withdraw(tx: Tx, keyPrefix: string): Promise<number>
  /** How many rows to the recipient, whose key begins so, were added in the last `withinMs`. */
  countRecent(
    tx: Tx,
    of: { channel: Channel; recipient: string; keyPrefix: string; withinMs: number },
  ): Promise<number>
  /** At the start of a term: what was left half sent waits again. @returns how many were in which state */
  reopen(term: number): Promise<{ sending: number; ending: number }>
  /** The oldest of the channel that is due becomes `sending`. */
  claim(term: number, channel: Channel): Promise<ClaimedMessage<Body> | undefined>
  /** From `sending` to `ending`. @returns false: it is no longer this term's to send */
  ending(term: number, id: number): Promise<boolean>
  sent(term: number, id: number): Promise<void>
  /** Waits again, for so long. */
  later(term: number, id: number, failure: string, delayMs: number): Promise<void>
  failed(term: number, id: number, failure: string): Promise<void>
  /** Removes what waits for a channel that is no longer set up. @returns how many */
  discard(term: number, channel: Channel): Promise<number>
  /** Removes what was sent or given up before then, at most 1,000. @returns how many */
  prune(term: number, olderThanMs: number): Promise<number>
  /** Newest first. */
  list(request: PageRequest & { state?: MessageState | undefined }): Promise<Page<OutboxMessage>>
  /** Those with these keys, oldest first. */
  find(keys: readonly string[]): Promise<OutboxMessage[]>
  /** What does not get through. Messages about just that, whose keys begin so, do not count. */
  trouble(exceptPrefix: string): Promise<OutboxTrouble>
}

export interface OutboxTrouble {
  /** Given up in the last day. */
  failed: number
  /** Why the last of them was; null if none was. */
  failure: string | null
  /** Age of the oldest that was tried in vain and waits; null if none does. */
  oldestWaitingMs: number | null
}

const who = { name: 'outbox' }
/** Trouble is looked for among so many: what was given up before them is history. */
const newest = 10_000
const untried = `state = 'waiting' AND attempts = 0`
const underWay = `id = $1 AND term = $2 AND state IN ('sending', 'ending')`
const shown = `id, class, channel, recipient, subject, state, attempts, failure, created,
  sent_at AS "sentAt"`
const milliseconds = (param: string) => `make_interval(secs => ${param}::double precision / 1000)`

export function createOutbox<Body>(deps: { database: Database }): Outbox<Body> {
  const { database } = deps
  const fenced = <T>(term: number, work: (tx: Tx) => Promise<T>) => database.fenced(term, who, work)
  const count = async (from: Queries, sql: string, params: readonly unknown[]) =>
    (await from.query(`${sql} RETURNING id`, params)).length

  return {
    async add(tx, messages) {
      let added = 0
      for (const { key, class: kind, channel, recipient, subject, body, delayMs } of messages) {
        added += await count(
          tx,
          `INSERT INTO outbox (key, class, channel, recipient, subject, body, not_before, term)
           VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + ${milliseconds('$7')}, $8)
           ON CONFLICT (key) DO NOTHING`,
          [key, kind, channel, recipient, subject, JSON.stringify(body), delayMs, tx.term],
        )
      }
      return added
    },

    async reword(tx, key, { subject, body }) {
      const sql = `UPDATE outbox SET subject = $2, body = $3 WHERE key = $1 AND ${untried}`
      return (await count(tx, sql, [key, subject, JSON.stringify(body)])) > 0
    },

    async lockWaiting(tx, key) {
      const [found] = await tx.query<{ body: Body }>(
        `SELECT body FROM outbox WHERE key = $1 AND ${untried} FOR UPDATE`,
        [key],
      )
      return found?.body
    },

    withdraw: (tx, keyPrefix) =>
      count(tx, `DELETE FROM outbox WHERE starts_with(key, $1) AND ${untried}`, [keyPrefix]),

    async countRecent(tx, { channel, recipient, keyPrefix, withinMs }) {
      const [row] = await tx.query<{ count: number }>(
        `SELECT count(*) FROM outbox WHERE channel = $1 AND recipient = $2 AND starts_with(key, $3)
           AND created > clock_timestamp() - ${milliseconds('$4')}`,
        [channel, recipient, keyPrefix, withinMs],
      )
      return row!.count
    },

    reopen: term =>
      fenced(term, async tx => {
        const half = await tx.query<{ state: 'sending' | 'ending' }>(
          `SELECT id, state FROM outbox WHERE state IN ('sending', 'ending') FOR UPDATE`,
        )
        await tx.query(
          `UPDATE outbox SET state = 'waiting', not_before = clock_timestamp(), term = $1,
             failure = CASE state
               WHEN 'ending' THEN 'the server ended while the recipient may have taken it already'
               ELSE 'the server ended while it sent this' END
           WHERE state IN ('sending', 'ending')`,
          [tx.term],
        )
        const ending = half.filter(({ state }) => state === 'ending').length
        return { sending: half.length - ending, ending }
      }),

    claim: (term, channel) =>
      fenced(term, async tx => {
        const [claimed] = await tx.query<ClaimedMessage<Body>>(
          `UPDATE outbox SET state = 'sending', attempts = attempts + 1, term = $2
           WHERE id = (
             SELECT id FROM outbox
             WHERE state = 'waiting' AND channel = $1 AND not_before <= clock_timestamp()
             ORDER BY not_before, id LIMIT 1 FOR UPDATE SKIP LOCKED
           )
           RETURNING id, key, class, channel, recipient, body, attempts, created,
             (extract(epoch FROM clock_timestamp() - created) * 1000)::double precision AS "ageMs"`,
          [channel, tx.term],
        )
        return claimed
      }),

    ending: (term, id) =>
      fenced(term, async tx => {
        const sql = `UPDATE outbox SET state = 'ending'
           WHERE id = $1 AND term = $2 AND state = 'sending'`
        return (await count(tx, sql, [id, tx.term])) > 0
      }),

    sent: (term, id) =>
      fenced(term, async tx => {
        await tx.query(
          `UPDATE outbox SET state = 'sent', sent_at = clock_timestamp(), failure = NULL
           WHERE ${underWay}`,
          [id, tx.term],
        )
      }),

    later: (term, id, failure, delayMs) =>
      fenced(term, async tx => {
        await tx.query(
          `UPDATE outbox SET state = 'waiting', failure = $3,
             not_before = clock_timestamp() + ${milliseconds('$4')}
           WHERE ${underWay}`,
          [id, tx.term, failure, delayMs],
        )
      }),

    failed: (term, id, failure) =>
      fenced(term, async tx => {
        await tx.query(`UPDATE outbox SET state = 'failed', failure = $3 WHERE ${underWay}`, [
          id,
          tx.term,
          failure,
        ])
      }),

    discard: (term, channel) =>
      fenced(term, tx =>
        count(tx, `DELETE FROM outbox WHERE state = 'waiting' AND channel = $1`, [channel]),
      ),

    prune: (term, olderThanMs) =>
      fenced(term, tx =>
        count(
          tx,
          `DELETE FROM outbox WHERE id IN (
             SELECT id FROM outbox WHERE state IN ('sent', 'failed')
               AND coalesce(sent_at, created) < clock_timestamp() - ${milliseconds('$1')}
             ORDER BY id LIMIT 1000
           )`,
          [olderThanMs],
        ),
      ),

    async list({ limit, cursor, state }) {
      const rows = await database.query<OutboxMessage>(
        `SELECT ${shown} FROM outbox WHERE ($1::bigint IS NULL OR id < $1) AND ($2::text IS NULL OR state = $2)
         ORDER BY id DESC LIMIT $3`,
        [idBefore(cursor), state ?? null, limit + 1],
      )
      return pageOf(rows, limit, last => `${last.id}`)
    },

    find: keys =>
      database.query<OutboxMessage>(
        `SELECT ${shown} FROM outbox WHERE key = ANY($1::text[]) ORDER BY id`,
        [keys],
      ),

    async trouble(exceptPrefix) {
      const [row] = await database.query<OutboxTrouble>(
        `WITH recent AS (
           SELECT * FROM outbox WHERE id > (SELECT coalesce(max(id), 0) - ${newest} FROM outbox)
             AND NOT starts_with(key, $1)
         ), failed AS (
           SELECT id, failure FROM recent
           WHERE state = 'failed' AND created > clock_timestamp() - interval '1 day'
         )
         SELECT (SELECT count(*) FROM failed) AS failed,
           (SELECT failure FROM failed ORDER BY id DESC LIMIT 1) AS failure,
           (SELECT (extract(epoch FROM clock_timestamp() - min(created)) * 1000)::double precision
            FROM recent WHERE state NOT IN ('sent', 'failed') AND attempts > 0
           ) AS "oldestWaitingMs"`,
        [exceptPrefix],
      )
      return row!
    },
  }
}
