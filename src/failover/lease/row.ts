/** The lease as a row of the PostgreSQL that both servers share. */
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../lib/clock.ts'
import type { DatabaseTarget } from '../../lib/database-hosts.ts'
import type { DatabaseIdentity } from '../states.ts'
import { answerMs, type Moment, type Timings } from '../timings.ts'
import type { TakeoverLimit } from './grant.ts'
import { createGuard } from './guard.ts'
import type { Lease, LeaseEvent } from './lease.ts'
import type { Command, RowThreadData } from './row-thread.ts'

export interface RowLeaseConfig {
  /** Of the server; its sessions are called `keepwatch/<name>/<incarnation>/…`. */
  name: string
  incarnation: string
  timings: Timings
  /** The hosts of the database; one of them takes writes at a time. */
  targets: readonly DatabaseTarget[]
  takeovers: TakeoverLimit
}

const stopDeadlineMs = 3000
const suffix = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

export function createRowLease(
  deps: { clock: Clock; fatal(error: Error): void },
  config: RowLeaseConfig,
): Lease {
  const { heartbeatIntervalMs, leaseMs, stepDownMs } = config.timings
  const loop = new BigInt64Array(new SharedArrayBuffer(8))
  const guard = createGuard(deps, { stepDownMs })
  let row: Worker | undefined
  let stopping = false
  /** What the threads' clock is ahead of ours. */
  let aheadMs = 0

  function start(report: (event: LeaseEvent) => void, known: DatabaseIdentity): Promise<void> {
    if (row !== undefined) throw new Error('the lease has been started already')
    stopping = false
    aheadMs = Number(process.hrtime.bigint()) / 1e6 - deps.clock.monotonic()
    const rowData: RowThreadData = {
      targets: config.targets,
      known,
      takeovers: config.takeovers,
      leaseMs,
      server: config.name,
      incarnation: config.incarnation,
      heartbeatIntervalMs,
      watchIntervalMs: Math.ceil(heartbeatIntervalMs / 2),
      deadlineMs: answerMs(config.timings),
      claimMs: Math.ceil(leaseMs / 2),
      staleMs: 2 * heartbeatIntervalMs,
      loop: loop.buffer as SharedArrayBuffer,
    }
    beat()
    row = new Worker(new URL(`./row-thread${suffix}`, import.meta.url), { workerData: rowData })
    row.on('error', error => deps.fatal(error as Error))
    row.on('exit', () => {
      if (!stopping) deps.fatal(new Error('row-thread has ended'))
    })
    row.on('message', (event: LeaseEvent) => report(localized(event)))
    guard.start(() => report({ type: 'tick' }))
    return Promise.resolve()
  }

  function localized(event: LeaseEvent): LeaseEvent {
    if (!('sentAt' in event)) return event
    const { monotonic, wall } = event.sentAt
    const sentAt: Moment = { monotonic: monotonic - aheadMs, wall }
    return { ...event, sentAt }
  }

  function beat() {
    Atomics.store(loop, 0, process.hrtime.bigint())
  }

  function tell(command: Command) {
    row?.postMessage(command)
  }

  return {
    start,
    beat,
    claim: ({ term, over, whileSilent, reason }) =>
      tell({ do: 'claim', claim: { term, over, whileSilent, reason } }),
    release: ({ term, reason, intended }) =>
      tell({ do: 'release', release: { term, reason, intended } }),
    watch: () => tell({ do: 'watch' }),

    guard: guard.watch,

    async stop() {
      stopping = true
      const ending = row
      row = undefined
      await guard.stop()
      if (ending === undefined) return
      const ended = new Promise<void>(resolve => ending.once('exit', () => resolve()))
      ending.postMessage({ do: 'stop' } satisfies Command)
      const timer = setTimeout(() => void ending.terminate(), stopDeadlineMs)
      await ended
      clearTimeout(timer)
    },
  }
}
