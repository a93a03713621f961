/**
 * The thread that watches the deadline. It never touches the database nor anything else that could
 * make it wait.
 */
import { constants, openSync, writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import type { Hold } from '../states.ts'
import { elapsed, type Moment } from '../timings.ts'

/** Milliseconds, by the clock that all threads of a process share. */
export interface GuardData {
  /** From the deadline's passing to the end of the process. */
  graceMs: number
}

const checkMs = 20
const { graceMs } = workerData as GuardData

let hold: Hold | undefined
let expiredAt: number | undefined

parentPort!.on('message', (next: Hold | undefined) => {
  hold = next
  // Another deadline that is over too is not a reprieve.
  if (next === undefined || elapsed(next.since, moment()) < next.ms) expiredAt = undefined
})

setInterval(() => {
  if (hold === undefined) return
  const now = moment()
  if (elapsed(hold.since, now) < hold.ms) return
  if (expiredAt === undefined) {
    expiredAt = now.monotonic
    parentPort!.postMessage('expired')
  } else if (now.monotonic - expiredAt >= graceMs) {
    say('{"level":"error","msg":"did not let go of an expired lease in time: ends itself"}\n')
    process.kill(process.pid, 'SIGKILL')
  }
}, checkMs)

/**
 * Past the main loop, which may be what hangs, and which a thread's own stderr goes through; and not at
 * all rather than wait for a reader.
 */
function say(line: string) {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK
  try {
    writeSync(openSync('/proc/self/fd/2', flags), line)
  } catch {
    // Whoever reads the history sees that it is gone.
  }
}

function moment(): Moment {
  return { monotonic: Number(process.hrtime.bigint()) / 1e6, wall: Date.now() }
}
