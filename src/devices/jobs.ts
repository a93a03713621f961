import { createHash, randomUUID } from 'node:crypto'
import { Counter, Gauge } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import { TermOver } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import { type Collected, collectConfiguration } from './backup.ts'
import { type Change, detectChange, type SyslogRow } from './change.ts'
import { createDirectory, type Directory } from './directory.ts'
import { drivers } from './drivers/index.ts'
import { DeviceFailure, type FailureReason } from './failure.ts'
import { defaultSchedule, nextRun } from './schedule.ts'
import type { OpenSession } from './session.ts'
import type {
  Device,
  Devices,
  Job,
  JobFailure,
  JobOutcome,
  JobStore,
  NewJob,
  NewVersion,
} from './store.ts'
import { difference } from './versions.ts'

export interface BackupJobsConfig {
  /** Sessions at the same time. */
  parallel: number
  /** How often the queue is looked at without being told, ms. */
  pollMs: number
  /** How often schedules and the list of devices are looked at, ms. */
  scheduleMs: number
  /** From a device's message to the job; messages within it are one burst and one backup, ms. */
  settleMs: number
  /** A schedule missed by less than this, by whoever was active then, is made up for, ms. */
  catchUpMs: number
  /** Claims of one job before it has failed for good. */
  attempts: number
  /** Wait before the second attempt, ms; four times as long before each further one. */
  retryMs: number
  /** A job running longer than this was lost: more than any session may take, ms. */
  lostMs: number
  /** `stop` waits so long for sessions to end, ms. */
  stopMs: number
}

export const defaultBackupJobsConfig: BackupJobsConfig = {
  parallel: 8,
  pollMs: 1_000,
  scheduleMs: 5_000,
  settleMs: 5_000,
  catchUpMs: 15 * 60_000,
  attempts: 4,
  retryMs: 30_000,
  lostMs: 15 * 60_000,
  stopMs: 900,
}

export interface BackupJobs {
  /** Begins to work as the active of this term. */
  start(term: number): Promise<void>
  /** Ends sessions and waits for them, at most a second; what was running is left to the next term. */
  stop(): Promise<void>
  /** A person wants a backup now. @throws TermOver if the role is lost, and what the store throws */
  request(deviceId: string, by: string): Promise<{ id: string }>
  /** Looks for messages that say a device was changed. Never throws. */
  onSyslog(rows: readonly SyslogRow[]): void
}

/** Failures that may pass by themselves; the others only get worse with tries (locked accounts). */
const passing: ReadonlySet<string> = new Set<FailureReason>([
  'unreachable',
  'timeout',
  'incomplete',
])

/** Storing what a session brought is tried so often, so long after another. */
const recordTries = 3
const recordWaitMs = 1_000

/** Runs backups for the active: on schedule, on request, and when a device says it was changed. */
export function createBackupJobs(
  deps: {
    store: JobStore
    devices: Devices
    open: OpenSession
    clock: Clock
    log: Log
    metrics: Metrics
  },
  config: BackupJobsConfig = defaultBackupJobsConfig,
): BackupJobs {
  const { store, devices, clock, log, metrics } = deps
  const failures = createTally<JobFailure['reason']>(deps, {
    name: 'backup_failures',
    help: 'Backups that failed, by reason',
  })
  const troubles = createTally<'store' | 'schedule' | 'driver' | 'ambiguous'>(deps, {
    name: 'backup_troubles',
    help: 'Backup work that could not be done or decided, by reason',
  })
  const done = new Counter({
    name: 'keepwatch_backups_total',
    help: 'Backups that succeeded, by whether there was something new',
    labelNames: ['outcome'],
    registers: [metrics],
  })
  new Gauge({
    name: 'keepwatch_backups_running',
    help: 'Sessions with devices at this moment',
    registers: [metrics],
    collect() {
      this.set(active?.running.size ?? 0)
    },
  })

  /** Everything that belongs to one term; gone after `stop`. */
  interface Active {
    term: number
    abort: AbortController
    running: Set<Promise<void>>
    timers: Set<NodeJS.Timeout>
    /** Is somebody claiming, and has somebody asked for it meanwhile? */
    claiming: boolean
    again: boolean
    schedules: Map<string, { expression: string; next: Date | undefined }>
    /** The burst of changes last said, by device; at most one a device. */
    settling: Map<string, { causeKey: string; time: number; users: Set<string> }>
    directory: Directory
  }
  let active: Active | undefined
  let lastTerm = 0

  function every(of: Active, ms: number, work: () => Promise<void>) {
    const timer = setInterval(() => void work(), ms)
    of.timers.add(timer)
  }

  /** What goes wrong with the store is counted; the next round tries again. */
  async function attempt<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      troubles.count('store', () => ({ what, error: (error as Error).message }))
      return undefined
    }
  }

  async function recover(of: Active) {
    const before = new Date(clock.wall() - config.lostMs)
    const lost = await attempt('recover', () => store.recover(of.term, before))
    if (lost) log.warn({ jobs: lost }, 'backups of an earlier term were not ended: queued again')
  }

  async function pump(of: Active): Promise<void> {
    if (of.claiming) {
      of.again = true
      return
    }
    of.claiming = true
    do {
      of.again = false
      while (of === active && of.running.size < config.parallel) {
        const job = await attempt('claim', () => store.claim(of.term, new Date(clock.wall())))
        if (!job || of !== active) break
        const work: Promise<void> = run(of, job).finally(() => {
          of.running.delete(work)
          void pump(of)
        })
        of.running.add(work)
      }
    } while (of.again && of === active)
    of.claiming = false
  }

  async function run(of: Active, job: Job): Promise<void> {
    try {
      const outcome = await backUp(of, job)
      if (of.abort.signal.aborted) return
      await record(of, 'succeed', () => store.succeed(of.term, job.id, outcome))
      done.inc({ outcome: outcome.versions.length > 0 ? 'stored' : 'unchanged' })
    } catch (error) {
      if (of.abort.signal.aborted) return
      const failure = describe(job, error)
      failures.count(failure.reason, () => ({
        device: job.deviceId,
        cause: job.cause,
        message: failure.message,
      }))
      await record(of, 'fail', () => store.fail(of.term, job.id, failure))
    }
  }

  async function backUp(of: Active, job: Job): Promise<JobOutcome> {
    const settling = of.settling.get(job.deviceId)
    // What is said from now on may be too late for this look at the device.
    of.settling.delete(job.deviceId)
    const found = await devices.target(job.deviceId)
    if (!found) throw new DeviceFailure('rejected', 'the device is gone or not enabled', '')
    const driver = drivers.get(found.driver)
    if (!driver) throw new DeviceFailure('rejected', `there is no driver "${found.driver}"`, '')

    const latest = new Map<string, { hash: string; content: string }>()
    for (const { name } of driver.artefacts) {
      const version = await store.latestVersion(job.deviceId, name)
      if (version) latest.set(name, version)
    }
    const { artefacts } = await collectConfiguration(
      deps,
      { ...found, driver },
      { signal: of.abort.signal, lastLength: name => latest.get(name)?.content.length },
    )
    const takenAt = new Date(clock.wall())
    const users = settling?.causeKey === job.causeKey ? [...settling.users] : []
    const said = users.length > 0 ? users.join(', ') : job.requestedBy
    const versions = artefacts.flatMap((artefact: Collected): NewVersion[] => {
      const changed = difference(driver, latest.get(artefact.name), artefact)
      if (!changed) return []
      const author = artefact.author ?? (job.cause === 'change' ? said : undefined)
      const { name, hash, content } = artefact
      return [{ artefact: name, hash, content, takenAt, author, cause: job.cause, ...changed }]
    })
    return { finished: takenAt, versions }
  }

  function describe(job: Job, error: unknown): JobFailure {
    const known = error instanceof DeviceFailure ? error : undefined
    const again = known && passing.has(known.reason) && job.attempts < config.attempts
    const now = clock.wall()
    return {
      finished: new Date(now),
      reason: known?.reason ?? 'internal',
      message: error instanceof Error ? error.message : String(error),
      evidence: known?.evidence ?? '',
      retryAt: again ? new Date(now + config.retryMs * 4 ** (job.attempts - 1)) : undefined,
    }
  }

  /** A short absence of the database must not cost what a session brought. */
  async function record(of: Active, what: string, write: () => Promise<void>): Promise<void> {
    for (let tries = 1; of === active; tries++) {
      const written = await attempt(what, async () => {
        await write()
        return true
      })
      if (written || tries === recordTries) return
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, recordWaitMs)
        of.abort.signal.addEventListener('abort', () => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  async function enqueueDue(of: Active): Promise<void> {
    const list = await attempt('list devices', () => devices.list())
    if (!list || of !== active) return
    of.directory = createDirectory(list)
    const now = new Date(clock.wall())
    const known = new Set(list.map(device => device.id))
    for (const id of of.schedules.keys()) if (!known.has(id)) of.schedules.delete(id)
    for (const device of list) {
      const planned = planOf(of, device, now)
      if (!device.enabled || planned.next === undefined || planned.next > now) continue
      const due = planned.next
      const queued = await attempt('enqueue', () =>
        store.enqueue(of.term, {
          deviceId: device.id,
          cause: 'schedule',
          causeKey: `schedule:${device.id}:${due.toISOString()}`,
          requestedBy: undefined,
          notBefore: now,
        }),
      )
      if (queued) planned.next = nextRun(planned.expression, now)
      if (of !== active) return
    }
    await pump(of)
  }

  function planOf(of: Active, device: Device, now: Date) {
    const wanted = device.schedule ?? defaultSchedule(device.id)
    const planned = of.schedules.get(device.id)
    if (planned?.expression === wanted) return planned
    // A device just met may have missed its time with the active before; one just edited has not.
    const from = planned ? now : new Date(now.getTime() - config.catchUpMs)
    let next: Date | undefined
    try {
      next = nextRun(wanted, from)
    } catch (error) {
      troubles.count('schedule', () => ({ device: device.name, error: (error as Error).message }))
    }
    const plan = { expression: wanted, next }
    of.schedules.set(device.id, plan)
    return plan
  }

  function onChange(of: Active, device: Device, row: SyslogRow, change: Change) {
    const settling = of.settling.get(device.id)
    // By the times of the messages, not of their arrival: after a takeover all arrive at once, and
    // a job that was done before covers those of its own burst alone.
    if (settling && Math.abs(row.time - settling.time) < config.settleMs) {
      if (change.user && settling.users.size < 8) settling.users.add(change.user)
      return
    }
    const message = createHash('sha256').update(`${row.time} ${row.raw}`).digest('hex').slice(0, 32)
    const causeKey = `change:${device.id}:${message}`
    of.settling.set(device.id, {
      causeKey,
      time: row.time,
      users: new Set(change.user ? [change.user] : []),
    })
    const job: NewJob = {
      deviceId: device.id,
      cause: 'change',
      causeKey,
      requestedBy: change.user,
      notBefore: new Date(clock.wall() + config.settleMs),
    }
    log.info({ device: device.name, ...change }, 'a device says that it was changed')
    void attempt('enqueue', () => store.enqueue(of.term, job)).then(queued => {
      // Nothing is settling that was not queued: the next message is to try again.
      if (!queued && of.settling.get(device.id)?.causeKey === causeKey) {
        of.settling.delete(device.id)
      }
    })
  }

  return {
    async start(term) {
      if (active) throw new Error(`already at work in term ${active.term}`)
      const mine: Active = {
        term,
        abort: new AbortController(),
        running: new Set(),
        timers: new Set(),
        claiming: false,
        again: false,
        schedules: new Map(),
        settling: new Map(),
        directory: createDirectory([]),
      }
      active = mine
      lastTerm = term
      every(mine, config.pollMs, () => pump(mine))
      every(mine, config.scheduleMs, () => enqueueDue(mine))
      every(mine, Math.max(60_000, config.scheduleMs), () => recover(mine))
      await recover(mine)
      await enqueueDue(mine)
    },

    async stop() {
      const mine = active
      active = undefined
      if (!mine) return
      for (const timer of mine.timers) clearInterval(timer)
      mine.abort.abort()
      let timer: NodeJS.Timeout | undefined
      const enough = new Promise<void>(resolve => {
        timer = setTimeout(resolve, config.stopMs)
      })
      await Promise.race([Promise.allSettled(mine.running), enough])
      clearTimeout(timer)
    },

    async request(deviceId, by) {
      const mine = active
      if (!mine) throw new TermOver(lastTerm, undefined)
      const { id } = await store.enqueue(mine.term, {
        deviceId,
        cause: 'request',
        causeKey: `request:${deviceId}:${randomUUID()}`,
        requestedBy: by,
        notBefore: new Date(clock.wall()),
      })
      void pump(mine)
      return { id }
    },

    onSyslog(rows) {
      const mine = active
      if (!mine) return
      for (const row of rows) {
        const candidates = mine.directory.candidates(row.sender, row.host)
        const [device] = candidates
        const driver = device && drivers.get(device.driver)
        const change = driver && detectChange(driver, row)
        if (!change) continue
        if (candidates.length === 1) onChange(mine, device, row, change)
        else {
          const names = candidates.map(({ name }) => name)
          troubles.count('ambiguous', () => ({ sender: row.sender, devices: names }))
        }
      }
    },
  }
}
