import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Tally } from '../../lib/tally.ts'
import { obstacleBetween } from '../../lib/version.ts'
import type { Home } from './home.ts'
import { type Act, nextAct, type Other, type Own, type Phase, type UpgradeReport } from './plan.ts'

export interface UpgradeStore {
  create(operation: {
    id: string
    kind: 'upgrade'
    by: string
    report: UpgradeReport
  }): Promise<unknown>
  /** The newest that has not finished; of one kind or of all. */
  running(kind?: 'upgrade'): Promise<{ id: string; kind: string; report: unknown } | null>
  addStep(id: string, step: { server: string; text: string; ok: boolean | null }): Promise<unknown>
  /** @param was the report as it was read. @returns false, and nothing is changed, if it is another by now */
  setReport(id: string, report: UpgradeReport, was: UpgradeReport): Promise<boolean>
  finish(id: string, ok: boolean, report: UpgradeReport, was: UpgradeReport): Promise<boolean>
}

/** What a server is, for the plan. */
export type Self = Pick<Own, 'server' | 'role' | 'ready'> & {
  other: Omit<Other, 'steady'> | undefined
  /** Why there are no takeovers at present, if so. */
  paused: string | undefined
}

export interface Upgrader extends Component {
  /** @throws Error in words if it cannot begin */
  begin(request: { version: string; holder: string; by: string; id: string }): Promise<void>
}

const everyMs = 1000
/** How long each phase may take. */
const patienceMs: Record<Phase, number> = {
  fetch: 1_800_000,
  first: 600_000,
  'hand-over': 120_000,
  second: 600_000,
  undo: 300_000,
  done: 0,
}
/** After a fetch that failed; what had come by then is kept. */
const fetchAgainMs = 10_000
const mostFetches = 5
const steadyMs = 3000
/** Migrations that an older server keeps waiting are tried again so often. */
const settleAgainMs = 30_000
const stopDeadlineMs = 30_000

/** Does this server's part of an upgrade that is under way, whoever began it. */
export function createUpgrader(
  deps: {
    clock: Clock
    log: Log
    tally: Pick<Tally<'upgrade'>, 'count'>
    store: UpgradeStore
    /** Undefined: this server was not started by a launcher and cannot change its version. */
    home: Home | undefined
    self(): Self
    /** Gets a version from the other server. */
    fetch(version: string, progress: (text: string) => void, signal: AbortSignal): Promise<void>
    switchover(): Promise<{ accepted: boolean; sentence: string }>
    /** Applies the migrations that no older server is in the way of. @returns how many are */
    migrate(): Promise<{ later: number }>
    /** Ends this process in good order, to be started again by the launcher. */
    restart(): void
    /** It did not end in good order. */
    die(reason: string): void
    /** Tells the launcher that this version does its work. */
    prove(): void
  },
  config: { version: string; orderEveryMs: number },
): Upgrader {
  const { clock, store, home, log } = deps
  const { version } = config
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let stopped = new AbortController()
  let proven = false
  let seen: { phase: Phase; since: number } | undefined
  const ability = createSteadiness()
  const otherRole = createSteadiness()
  let orderedAt = Number.NEGATIVE_INFINITY
  let fetchedAt = Number.NEGATIVE_INFINITY
  let fetchFailure = ''
  let fetchFailures = 0
  /** When to look for migrations that waited for the end of the upgrade. */
  let settleAt = Number.NEGATIVE_INFINITY
  let said = ''

  async function look() {
    const self = deps.self()
    const now = clock.monotonic()
    ability.note(self.ready ? self.role : undefined, now)
    otherRole.note(self.other?.role, now)
    try {
      if (!proven && self.ready) {
        proven = true
        if (home !== undefined) deps.prove()
      }
      const running = await store.running('upgrade')
      if (running === null) {
        seen = undefined
        fetchFailure = ''
        fetchFailures = 0
        await settle()
      } else {
        settleAt = Number.NEGATIVE_INFINITY
        const report = running.report as UpgradeReport
        if (home === undefined) await giveUp(running.id, report, self)
        else await goOn(home, running.id, report, self)
      }
    } catch (error) {
      if (stopped.signal.aborted) return
      deps.tally.count('upgrade', () => ({ error: (error as Error).message }))
    }
  }

  /** An upgrade that could still be undone has left out what the older version cannot live with. */
  async function settle() {
    if (!proven || clock.monotonic() < settleAt) return
    settleAt = clock.monotonic() + settleAgainMs
    const { later } = await deps.migrate()
    if (later === 0) settleAt = Number.POSITIVE_INFINITY
  }

  /** This server cannot do its part. */
  async function giveUp(id: string, report: UpgradeReport, { server }: Self) {
    if (report.phase !== 'fetch') return
    const failure = cannotChange(server)
    if (await store.setReport(id, { ...report, phase: 'undo', failure }, report)) {
      await store.addStep(id, { server, text: failure, ok: false })
    }
  }

  async function goOn(at: Home, id: string, report: UpgradeReport, self: Self) {
    const now = clock.monotonic()
    if (seen?.phase !== report.phase) seen = { phase: report.phase, since: now }
    const rolledBack = at.rolledBack()
    const own: Own = {
      ...self,
      version,
      steady: ability.isSteady(now),
      other: self.other && { ...self.other, steady: otherRole.isSteady(now) },
      installed: at.has(report.version),
      rolledBack: rolledBack?.operation === id ? rolledBack.reason : undefined,
    }
    const overdue =
      now - seen.since > patienceMs[report.phase] ||
      (report.phase === 'fetch' && fetchFailures >= mostFetches)
    await carryOut(at, id, report, own, nextAct(report, own, overdue))
  }

  async function carryOut(at: Home, id: string, report: UpgradeReport, own: Own, act: Act) {
    const step = (text: string, ok: boolean | null = null) =>
      store.addStep(id, { server: own.server, text, ok })
    switch (act.do) {
      case 'wait':
        if (act.sentence !== said) log.info({ upgrade: report.version }, act.sentence)
        said = act.sentence
        return
      case 'fetch':
        return fetch(report, step)
      case 'return':
        if (await store.setReport(id, { ...report, restarting: null }, report)) {
          await step(act.text)
        }
        return
      case 'restart': {
        if (!(await store.setReport(id, { ...report, restarting: own.server }, report))) return
        await step(`restarts into version ${act.into}`)
        // Meanwhile it may have become active.
        const { role, other } = deps.self()
        if (stopped.signal.aborted) return
        if (other !== undefined && (role !== 'standby' || other.role !== 'active')) return
        at.try({ version: act.into, previous: version, operation: id })
        clearInterval(timer)
        setTimeout(() => deps.die('it did not stop in time to restart'), stopDeadlineMs).unref()
        deps.restart()
        return
      }
      case 'advance': {
        const { phase, text, failure = report.failure } = act
        const next = { ...report, phase, failure: withReason(phase, failure) }
        if (await store.setReport(id, next, report)) {
          await step(failure === report.failure ? text : next.failure!, act.failure === undefined)
        }
        return
      }
      case 'hand-over': {
        if (clock.monotonic() - orderedAt < config.orderEveryMs) return
        orderedAt = clock.monotonic()
        const ordered = { ...report, orders: report.orders + 1 }
        if (!(await store.setReport(id, ordered, report))) return
        await step('hands over')
        const { accepted, sentence } = await deps.switchover()
        if (!accepted) await step(sentence, false)
        return
      }
      case 'finish': {
        const { failure } = act
        const ended = { ...report, phase: 'done', failure } as const
        if (failure === null) await step(`runs version ${report.version}: all do now`, true)
        else if (failure !== report.failure) await step(failure, false)
        await store.finish(id, failure === null, ended, report)
      }
    }
  }

  /** What went wrong with the last fetch is the better reason. */
  function withReason(phase: Phase, failure: string | null): string | null {
    if (failure === null || phase !== 'undo' || fetchFailure === '') return failure
    return `${failure}: ${fetchFailure}`
  }

  async function fetch(report: UpgradeReport, step: (text: string) => Promise<unknown>) {
    if (clock.monotonic() - fetchedAt < fetchAgainMs) return
    fetchedAt = clock.monotonic()
    const first = fetchFailure === ''
    if (first) await step(`fetches version ${report.version} from ${report.holder}`)
    const progress = (text: string) => void step(text).catch(() => {})
    try {
      await deps.fetch(report.version, progress, stopped.signal)
      fetchFailure = ''
    } catch (error) {
      if (stopped.signal.aborted) return
      const { message } = error as Error
      if (message !== fetchFailure) await step(`could not fetch it yet: ${message}`)
      fetchFailure = message
      fetchFailures++
    }
  }

  return {
    async begin({ version: wanted, holder, by, id }) {
      const { server, other, paused } = deps.self()
      if (home === undefined) {
        throw new Error(cannotChange(server))
      }
      const running = await store.running()
      if (running !== null) throw new Error(`${article(running.kind)} is under way already`)
      if (holder !== server && holder !== other?.name) {
        throw new Error(`there is no server ${holder}`)
      }
      if (holder === server && !home.has(wanted)) {
        throw new Error(`version ${wanted} is not installed in ${home.path}`)
      }
      if (paused !== undefined) {
        throw new Error(`takeovers are paused (${paused}): resume them first`)
      }
      if (other !== undefined && (other.role !== 'standby' || other.version === undefined)) {
        throw new Error(
          `${other.name} does not stand by: an upgrade needs it, or this server could not be relieved`,
        )
      }
      const before: Record<string, string> = { [server]: version }
      if (other?.version !== undefined) before[other.name] = other.version
      for (const [name, runs] of Object.entries(before)) {
        const obstacle = obstacleBetween(runs, wanted)
        if (obstacle !== undefined) throw new Error(`${name} cannot be upgraded: ${obstacle}`)
      }
      if (Object.values(before).every(runs => runs === wanted)) {
        throw new Error(`version ${wanted} is what runs already`)
      }
      await store.create({
        id,
        kind: 'upgrade',
        by,
        report: {
          version: wanted,
          holder,
          phase: 'fetch',
          before,
          orders: 0,
          restarting: null,
          failure: null,
        },
      })
    },

    async start() {
      stopped = new AbortController()
      timer = setInterval(() => {
        looking ??= look().finally(() => {
          looking = undefined
        })
      }, everyMs)
    },

    async stop() {
      clearInterval(timer)
      stopped.abort()
      await looking
    },
  }
}

/** For how long something has been the same. */
function createSteadiness() {
  let same: { what: string; since: number } | undefined
  return {
    note(what: string | undefined, now: number) {
      if (what === undefined) same = undefined
      else if (same?.what !== what) same = { what, since: now }
    },
    isSteady: (now: number) => same !== undefined && now - same.since >= steadyMs,
  }
}

function cannotChange(server: string): string {
  return `${server} was not started by \`keepwatch launch\`, so it cannot change its version`
}

function article(kind: string): string {
  return `${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind}`
}
