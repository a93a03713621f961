/** The deadline of a lease, watched by a thread that does nothing else. */
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../lib/clock.ts'
import type { Hold } from '../states.ts'
import type { GuardData } from './guard-thread.ts'

export interface Guard {
  /** @param expired called when a deadline has passed, and the main loop still lives */
  start(expired: () => void): void
  /** Watches this deadline; undefined: none. One that has passed and is not lifted ends the process. */
  watch(hold: Hold | undefined): void
  stop(): Promise<void>
}

/** It notices, and the process ends, within this much more than it was given. */
const slackMs = 100
const suffix = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

/** @param config.stepDownMs from the deadline's passing to the end of the process */
export function createGuard(
  deps: { clock: Clock; fatal(error: Error): void },
  config: { stepDownMs: number },
): Guard {
  let thread: Worker | undefined
  /** What the thread's clock is ahead of ours. */
  let aheadMs = 0
  return {
    start(expired) {
      aheadMs = Number(process.hrtime.bigint()) / 1e6 - deps.clock.monotonic()
      const workerData: GuardData = { graceMs: config.stepDownMs - slackMs }
      const started = new Worker(new URL(`./guard-thread${suffix}`, import.meta.url), {
        workerData,
      })
      started.on('error', error => deps.fatal(error as Error))
      started.on('exit', () => {
        if (thread === started) deps.fatal(new Error('guard-thread has ended'))
      })
      started.on('message', expired)
      thread = started
    },
    watch(hold) {
      const since = hold && {
        monotonic: hold.since.monotonic + aheadMs,
        wall: hold.since.wall,
      }
      thread?.postMessage(hold && ({ since: since!, ms: hold.ms } satisfies Hold))
    },
    async stop() {
      const ending = thread
      thread = undefined
      await ending?.terminate()
    },
  }
}
