import { setTimeout as sleep } from 'node:timers/promises'
import { Counter } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import type { Contents } from './contents.ts'
import type { Database, Tx } from './database.ts'
import type { Operations } from './operations.ts'
import type { Outbox } from './outbox.ts'
import type { Sessions } from './sessions.ts'

export interface RetentionConfig {
  /** From the start of a term to the first time; a new active has more urgent work. */
  firstMs: number
  everyMs: number
  /** Messages that were sent or given up. */
  keepMessagesMs: number
  keepOperationsMs: number
}

const minute = 60_000
const day = 24 * 60 * minute

const defaultRetentionConfig: RetentionConfig = {
  firstMs: 5 * minute,
  everyMs: day,
  keepMessagesMs: 90 * day,
  keepOperationsMs: 365 * day,
}

/** Removes from the state what nobody needs any more. What people did, and who was active, stays. */
export interface Retention {
  /** Begins to work as the active of this term. */
  start(term: number): Promise<void>
  /** Waits for what is under way, at most a second. */
  stop(): Promise<void>
}

type Work = 'contents' | 'sealing' | 'sessions' | 'messages' | 'operations'

const stopMs = 900
/** Each does a bounded part of the work; so many are done one after another, the rest the next day. */
const maxParts = 1_000
const who = { name: 'retention' }

export function createRetention(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    database: Database
    contents: Pick<Contents, 'removeUnused' | 'sealOlder'>
    outbox: Pick<Outbox<never>, 'prune'>
    operations: Pick<Operations, 'prune'>
    sessions: Pick<Sessions, 'removeExpired'>
  },
  config: RetentionConfig = defaultRetentionConfig,
): Retention {
  const { database, contents } = deps
  const failures = createTally<Work>(deps, {
    name: 'retention_failures',
    help: 'Clearing up of the state that failed, by what was to be done',
  })
  const rows = new Counter({
    name: 'keepwatch_retention_rows_total',
    help: 'Rows of the state that were removed because nobody needs them, or encrypted afterwards',
    labelNames: ['work'],
    registers: [deps.metrics],
  })
  let timer: NodeJS.Timeout | undefined
  /** Of the term that is current; aborted by `stop`. */
  let ending: AbortController | undefined
  let running: Promise<void> | undefined

  const fenced = (term: number, work: (tx: Tx) => Promise<number>) =>
    database.fenced(term, who, work)

  /** A part of each; 0: there is no more. */
  const parts: Record<Work, (term: number) => Promise<number>> = {
    sealing: term => fenced(term, contents.sealOlder),
    contents: term => fenced(term, contents.removeUnused),
    sessions: () => deps.sessions.removeExpired(),
    messages: term => deps.outbox.prune(term, config.keepMessagesMs),
    operations: () => deps.operations.prune(config.keepOperationsMs),
  }

  async function run(term: number, signal: AbortSignal) {
    const done: Partial<Record<Work, number>> = {}
    for (const [work, part] of Object.entries(parts) as [Work, (typeof parts)[Work]][]) {
      try {
        for (let count = 0; count < maxParts && !signal.aborted; count++) {
          const changed = await part(term)
          if (changed === 0) break
          rows.inc({ work }, changed)
          done[work] = (done[work] ?? 0) + changed
        }
      } catch (error) {
        failures.count(work, () => ({ error: (error as Error).message }))
      }
    }
    if (Object.keys(done).length > 0) deps.log.info({ rows: done }, 'cleared up the state')
  }

  function schedule(term: number, inMs: number, signal: AbortSignal) {
    timer = setTimeout(() => {
      running = run(term, signal).finally(() => {
        if (!signal.aborted) schedule(term, config.everyMs, signal)
      })
    }, inMs)
  }

  return {
    async start(term) {
      ending = new AbortController()
      schedule(term, config.firstMs, ending.signal)
    },

    async stop() {
      ending?.abort()
      clearTimeout(timer)
      // What goes on after that is refused by the fence, if it matters.
      const late = new AbortController()
      await Promise.race([
        running,
        sleep(stopMs, undefined, { signal: late.signal }).catch(() => {}),
      ])
      late.abort()
      running = undefined
    },
  }
}
