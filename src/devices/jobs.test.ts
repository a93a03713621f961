import { pino } from 'pino'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { TermOver } from '../lib/errors.ts'
import { createMetrics } from '../lib/metrics.ts'
import type { SyslogRow } from './change.ts'
import { createDirectory } from './directory.ts'
import { DeviceFailure, type FailureReason } from './failure.ts'
import { type BackupJobsConfig, createBackupJobs, defaultBackupJobsConfig } from './jobs.ts'
import { defaultSchedule, nextRun } from './schedule.ts'
import type { OpenSession } from './session.ts'
import type { Device, Job, JobFailure, JobOutcome, JobStore, NewJob, NewVersion } from './store.ts'

const core: Device = {
  id: 'dev-1',
  name: 'core1',
  address: '192.0.2.1',
  port: 22,
  driver: 'cisco-ios',
  schedule: '0 0 1 1 *',
  enabled: true,
}

type State = 'queued' | 'running' | 'succeeded' | 'failed' | 'unknown'
interface Stored extends NewJob {
  id: string
  state: State
  term: number
  attempts: number
  started: number
  outcome?: JobOutcome
  failures: JobFailure[]
}

/** The state in memory, as the interface describes it. */
function memoryStore(newestTerm = () => 1) {
  const jobs: Stored[] = []
  const versions: (NewVersion & { deviceId: string })[] = []
  const fence = (term: number) => {
    if (term !== newestTerm()) throw new Error(`term ${term} is over`)
  }
  const running = (id: string) => jobs.find(job => job.id === id && job.state === 'running')
  const add = (job: NewJob): Stored => {
    const id = `job-${jobs.length + 1}`
    const stored = {
      ...job,
      id,
      state: 'queued' as State,
      term: 0,
      attempts: 0,
      started: 0,
      failures: [],
    }
    jobs.push(stored)
    return stored
  }
  const store: JobStore = {
    async enqueue(term, job) {
      fence(term)
      const known = jobs.find(({ causeKey }) => causeKey === job.causeKey)
      return known ? { id: known.id, isNew: false } : { id: add(job).id, isNew: true }
    },
    async claim(term, now): Promise<Job | undefined> {
      fence(term)
      const busy = new Set(jobs.filter(job => job.state === 'running').map(job => job.deviceId))
      const job = jobs.find(
        ({ state, notBefore, deviceId }) =>
          state === 'queued' && notBefore <= now && !busy.has(deviceId),
      )
      if (!job) return undefined
      Object.assign(job, { state: 'running', term, started: now.getTime() })
      job.attempts++
      return job
    },
    async succeed(term, id, outcome) {
      fence(term)
      const job = running(id)
      if (!job) return
      Object.assign(job, { state: 'succeeded', outcome })
      for (const version of outcome.versions) versions.push({ deviceId: job.deviceId, ...version })
    },
    async fail(term, id, failure) {
      fence(term)
      const job = running(id)
      if (!job) return
      job.failures.push(failure)
      job.state = failure.retryAt ? 'queued' : 'failed'
      if (failure.retryAt) job.notBefore = failure.retryAt
    },
    async recover(term, startedBefore) {
      fence(term)
      const lost = jobs.filter(
        job =>
          job.state === 'running' && (job.term < term || job.started < startedBefore.getTime()),
      )
      for (const job of lost) {
        job.state = 'unknown'
        add({ ...job, causeKey: `${job.causeKey}~${job.attempts}` })
      }
      return lost.length
    },
    async latestVersion(deviceId, artefact) {
      return versions.findLast(of => of.deviceId === deviceId && of.artefact === artefact)
    },
  }
  return { store, jobs, versions }
}

/** What the device shows: a configuration, or the way it fails. */
type Showing = { hostname: string; by?: string } | DeviceFailure | 'nothing, ever'

function world(
  options: {
    devices?: Device[]
    config?: Partial<BackupJobsConfig>
    state?: ReturnType<typeof memoryStore>
    now?: () => number
  } = {},
) {
  const state = options.state ?? memoryStore()
  const list = options.devices ?? [core]
  const device: { shows: Showing; sessions: number } = { shows: { hostname: 'core1' }, sessions: 0 }
  const open: OpenSession = async (_target, signal) => {
    device.sessions++
    const { shows } = device
    if (shows instanceof DeviceFailure) throw shows
    const fail = (reason: FailureReason, message: string) =>
      new DeviceFailure(reason, message, 'evidence')
    return {
      async run() {
        if (shows === 'nothing, ever') {
          await new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(fail('aborted', 'ended')))
          })
          throw new Error('not reached')
        }
        const header = shows.by ? `! Last configuration change at 1 by ${shows.by}\n` : ''
        const body = Array.from({ length: 30 }, (_, i) => `interface Gi${i}\n!`).join('\n')
        return { text: `${header}hostname ${shows.hostname}\n${body}\nend\n`, status: undefined }
      },
      transcript: () => '',
      fail,
      close: async () => {},
    }
  }
  const backups = createBackupJobs(
    {
      store: state.store,
      devices: {
        list: async () => list,
        target: async id => {
          const found = list.find(one => one.id === id)
          return found && { ...found, login: { username: 'backup' } }
        },
      },
      open,
      clock: { wall: options.now ?? Date.now, monotonic: () => performance.now() },
      log: pino({ level: 'silent' }),
      metrics: createMetrics({}),
    },
    { ...defaultBackupJobsConfig, pollMs: 10, settleMs: 30, retryMs: 20, ...options.config },
  )
  running.push(backups)
  return { ...state, states: () => state.jobs.map(job => job.state), device, backups }
}

const running: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const backups of running.splice(0)) await backups.stop()
})

const until = (condition: () => void) => vi.waitFor(condition, { timeout: 4000, interval: 5 })

function said(by: string, at = 1000, changes: Partial<SyslogRow> = {}): SyslogRow {
  const message = `Configured from console by ${by} on vty0 (192.0.2.7)`
  return {
    time: at,
    sender: '::ffff:192.0.2.1',
    host: '',
    msgId: 'SYS-5-CONFIG_I',
    message,
    raw: `<189>1: May 23 15:49:32: %SYS-5-CONFIG_I: ${message}`,
    ...changes,
  }
}

describe('a backup on request', () => {
  test('stores a version if it differs, and only then', async () => {
    const { backups, states, versions, device } = world()
    await backups.start(1)
    await backups.request('dev-1', 'alice')
    await until(() => expect(versions).toHaveLength(1))
    expect(versions[0]).toMatchObject({ artefact: 'running', cause: 'request', author: undefined })
    expect(versions[0]!.added).toBeGreaterThan(60)

    await backups.request('dev-1', 'alice')
    await until(() => expect(states().filter(job => job === 'succeeded')).toHaveLength(2))
    expect(versions).toHaveLength(1)

    device.shows = { hostname: 'core2', by: 'bob' }
    await backups.request('dev-1', 'alice')
    await until(() => expect(versions).toHaveLength(2))
    expect(versions[1]).toMatchObject({ added: 1, removed: 1, author: 'bob' })
  })

  test('is refused by a server that is not active', async () => {
    const { backups } = world()
    await expect(backups.request('dev-1', 'alice')).rejects.toThrow(TermOver)
  })

  test('of one device never runs twice at the same time', async () => {
    const { backups, states, device } = world()
    device.shows = 'nothing, ever'
    await backups.start(1)
    await Promise.all([backups.request('dev-1', 'a'), backups.request('dev-1', 'b')])
    await until(() => expect(device.sessions).toBe(1))
    expect(states()).toEqual(['running', 'queued'])
  })
})

describe('a message that a device was changed', () => {
  test('makes one backup for a burst, with all who did it on the version', async () => {
    const { backups, versions, device, states } = world()
    await backups.start(1)
    backups.onSyslog([said('alice'), said('alice', 1001), said('bob', 1002), said('bob', 1003)])
    await until(() => expect(versions).toHaveLength(1))
    expect(versions[0]).toMatchObject({ cause: 'change', author: 'alice, bob' })
    expect(states()).toEqual(['succeeded'])

    device.shows = { hostname: 'core2' }
    backups.onSyslog([said('carol', 90_000)])
    await until(() => expect(versions).toHaveLength(2))
    expect(versions[1]!.author).toBe('carol')
  })

  test('makes one job, whichever server sees it and however often', async () => {
    const shared = memoryStore(() => 1)
    const first = world({ state: shared, config: { settleMs: 0 } })
    const second = world({ state: shared, config: { settleMs: 0 } })
    await first.backups.start(1)
    await second.backups.start(1)
    first.backups.onSyslog([said('alice')])
    second.backups.onSyslog([said('alice')])
    await until(() => expect(shared.versions).toHaveLength(1))
    second.backups.onSyslog([said('alice')])
    await until(() => expect(shared.jobs.map(job => job.state)).toEqual(['succeeded']))
  })

  test('is heeded after a takeover, when it comes along with older ones that were', async () => {
    let term = 1
    const state = memoryStore(() => term)
    const old = world({ state })
    await old.backups.start(1)
    old.backups.onSyslog([said('alice')])
    await until(() => expect(state.versions).toHaveLength(1))
    await old.backups.stop()

    term = 2
    const next = world({ state })
    next.device.shows = { hostname: 'core2' }
    await next.backups.start(2)
    next.backups.onSyslog([said('alice'), said('bob', 60_000)])
    await until(() => expect(state.versions).toHaveLength(2))
    expect(state.versions[1]!.author).toBe('bob')
    expect(state.jobs).toHaveLength(2)
  })

  test('of nobody we know, or of something else, makes none', async () => {
    const { backups, states } = world()
    await backups.start(1)
    backups.onSyslog([
      said('alice', 1, { sender: '192.0.2.99' }),
      said('alice', 1, { raw: '<189>1: %LINK-3-UPDOWN: Interface Gi1, changed state to up' }),
    ])
    await backups.request('dev-1', 'x')
    await until(() => expect(states()).toEqual(['succeeded']))
  })
})

describe('the schedule', () => {
  test('queues a device once when its time comes, and makes up for what a takeover missed', async () => {
    let now = Date.UTC(2026, 0, 1, 3, 7)
    const state = memoryStore()
    const { backups } = world({
      devices: [{ ...core, schedule: '5 3 * * *' }],
      config: { scheduleMs: 10 },
      now: () => now,
      state,
    })
    await backups.start(1)
    await until(() => expect(state.jobs).toHaveLength(1))
    expect(state.jobs[0]!.causeKey).toBe('schedule:dev-1:2026-01-01T03:05:00.000Z')
    await backups.stop()

    // The next active finds the same moment missed, and that it is taken care of.
    const next = world({
      devices: [{ ...core, schedule: '5 3 * * *' }],
      config: { scheduleMs: 10 },
      now: () => now,
      state,
    })
    await next.backups.start(1)
    now = Date.UTC(2026, 0, 2, 3, 5, 1)
    await until(() => expect(state.jobs).toHaveLength(2))
    expect(state.jobs[1]!.causeKey).toBe('schedule:dev-1:2026-01-02T03:05:00.000Z')
  })

  test('leaves devices alone that are not enabled, and one with nonsense for a schedule', async () => {
    const state = memoryStore()
    const { backups } = world({
      devices: [
        { ...core, enabled: false, schedule: '* * * * *' },
        { ...core, id: 'dev-2', schedule: 'whenever' },
      ],
      state,
    })
    await backups.start(1)
    expect(state.jobs).toEqual([])
  })

  test('of a device without one is daily in the night, at a time of its own', () => {
    const schedules = Array.from({ length: 50 }, (_, i) => defaultSchedule(`dev-${i}`))
    expect(new Set(schedules).size).toBeGreaterThan(30)
    for (const schedule of schedules) {
      const run = nextRun(schedule, new Date(Date.UTC(2026, 0, 1)))!
      expect(run.getUTCHours()).toBeGreaterThanOrEqual(1)
      expect(run.getUTCHours()).toBeLessThan(5)
    }
  })
})

describe('a backup that fails', () => {
  test('is tried again if that may help, each failure kept with its evidence', async () => {
    const { backups, device, jobs } = world({ config: { attempts: 3 } })
    device.shows = new DeviceFailure('unreachable', 'no route', 'dialled')
    await backups.start(1)
    await backups.request('dev-1', 'alice')
    await until(() => expect(jobs[0]!.state).toBe('failed'))
    expect(jobs[0]!.failures).toHaveLength(3)
    expect(jobs[0]!.failures[0]).toMatchObject({ reason: 'unreachable', evidence: 'dialled' })
    const [first, second] = jobs[0]!.failures.map(({ retryAt, finished }) =>
      retryAt ? retryAt.getTime() - finished.getTime() : 0,
    )
    expect([first, second]).toEqual([20, 80])
  })

  test('is not tried again if that could lock an account', async () => {
    const { backups, device, jobs } = world()
    device.shows = new DeviceFailure('authentication', 'refused', '')
    await backups.start(1)
    await backups.request('dev-1', 'alice')
    await until(() => expect(jobs[0]!.state).toBe('failed'))
    expect(device.sessions).toBe(1)
  })

  test('because its driver is unknown says so', async () => {
    const { backups, jobs } = world({ devices: [{ ...core, driver: 'abacus' }] })
    await backups.start(1)
    await backups.request('dev-1', 'alice')
    await until(() => expect(jobs[0]!.state).toBe('failed'))
    expect(jobs[0]!.failures[0]!.message).toContain('abacus')
  })
})

describe('the end of a term', () => {
  test('ends sessions within a second; the next term runs what was left', async () => {
    let term = 1
    const state = memoryStore(() => term)
    const old = world({ state })
    old.device.shows = 'nothing, ever'
    await old.backups.start(1)
    await old.backups.request('dev-1', 'alice')
    await until(() => expect(old.device.sessions).toBe(1))

    const stopped = performance.now()
    await old.backups.stop()
    expect(performance.now() - stopped).toBeLessThan(500)
    expect(state.jobs[0]).toMatchObject({ state: 'running', failures: [] })

    term = 2
    const next = world({ state })
    await next.backups.start(2)
    await until(() => expect(state.versions).toHaveLength(1))
    expect(state.jobs.map(job => job.state)).toEqual(['unknown', 'succeeded'])
  })

  test('lets an active of an old term store nothing', async () => {
    let term = 1
    const state = memoryStore(() => term)
    const { backups, device } = world({ state })
    await backups.start(1)
    const { promise, resolve } = Promise.withResolvers<void>()
    device.shows = { hostname: 'core1' }
    const latest = state.store.latestVersion
    state.store.latestVersion = async (...of) => {
      await promise
      return latest(...of)
    }
    await backups.request('dev-1', 'alice')
    await until(() => expect(state.jobs[0]!.state).toBe('running'))
    term = 2
    resolve()
    await until(() => expect(device.sessions).toBe(1))
    await backups.stop()
    expect(state.versions).toEqual([])
  })
})

describe('the device that a message came from', () => {
  const at = (id: string, address: string, name: string): Device => ({ ...core, id, address, name })

  test('is found by its address, and among several by its name', () => {
    const { candidates } = createDirectory([
      at('a', '192.0.2.1', 'a'),
      at('b', '127.0.0.1', 'b.example.net'),
      at('c', '127.0.0.1', 'c'),
      at('d', 'd.example.net', 'd'),
    ])
    const found = (sender: string, host: string) => candidates(sender, host).map(({ id }) => id)
    expect(found('::ffff:192.0.2.1', 'anything')).toEqual(['a'])
    expect(found('127.0.0.1', 'B')).toEqual(['b'])
    expect(found('127.0.0.1', '')).toEqual(['b', 'c'])
    expect(found('198.51.100.1', 'd')).toEqual(['d'])
    expect(found('198.51.100.1', '')).toEqual([])
  })
})
