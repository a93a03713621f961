import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Home } from './home.ts'
import { type Act, nextAct, type Own, type Phase, type UpgradeReport } from './plan.ts'

export interface UpgradeStore {
  create(operation: {
    id: string
    kind: 'upgrade'
    by: string
    report: UpgradeReport
  }): Promise<unknown>
  /** The newest that has not finished. */
  running(kind: 'upgrade'): Promise<{ id: string; report: unknown } | null>
  addStep(id: string, step: { server: string; text: string; ok: boolean | null }): Promise<unknown>
  setReport(id: string, report: UpgradeReport): Promise<unknown>
  finish(id: string, ok: boolean, report: UpgradeReport): Promise<unknown>
}

/** What a server is, for the plan. */
export type Self = Omit<Own, 'installed' | 'rolledBack' | 'version'>

const everyMs = 1000
/** How long each phase may take. */
const patienceMs: Record<Phase, number> = {
  fetch: 1_800_000,
  first: 300_000,
  'hand-over': 120_000,
  second: 300_000,
  undo: 300_000,
  done: 0,
}

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
    fetch(version: string, progress: (text: string) => void): Promise<void>
    switchover(): { accepted: boolean; sentence: string }
    /** Ends this process in good order, to be started again by the launcher. */
    restart(): void
    /** Tells the launcher that this version does its work. */
    prove(): void
  },
  config: { version: string; orderEveryMs: number },
): Component & {
  /** @throws Error in words if it cannot begin */
  begin(request: { version: string; holder: string; by: string; id: string }): Promise<void>
} {
  const { clock, store, home } = deps
  const { version } = config
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let proven = false
  let seen: { phase: Phase; since: number } | undefined
  let orderedAt = Number.NEGATIVE_INFINITY
  let said = ''

  async function look() {
    try {
      const self = deps.self()
      if (!proven && self.ready) {
        proven = true
        deps.prove()
      }
      if (home === undefined) return
      const running = await store.running('upgrade')
      if (running === null) {
        seen = undefined
        return
      }
      await goOn(home, running.id, running.report as UpgradeReport, self)
    } catch (error) {
      deps.tally.count('upgrade', () => ({ error: (error as Error).message }))
    }
  }

  async function goOn(at: Home, id: string, report: UpgradeReport, self: Self) {
    const now = clock.monotonic()
    if (seen?.phase !== report.phase) seen = { phase: report.phase, since: now }
    const rolledBack = at.rolledBack()
    const own: Own = {
      ...self,
      version,
      installed: at.has(report.version),
      rolledBack: rolledBack?.operation === id ? rolledBack.reason : undefined,
    }
    const overdue = now - seen.since > patienceMs[report.phase]
    await carryOut(at, id, report, own, nextAct(report, own, overdue))
  }

  async function carryOut(at: Home, id: string, report: UpgradeReport, own: Own, act: Act) {
    const step = (text: string, ok: boolean | null = null) =>
      store.addStep(id, { server: own.server, text, ok })
    switch (act.do) {
      case 'wait':
        if (act.sentence !== said) deps.log.info({ upgrade: report.version }, act.sentence)
        said = act.sentence
        return
      case 'fetch':
        await step(`fetches version ${report.version} from ${report.holder}`)
        await deps.fetch(report.version, text => void step(text).catch(() => {}))
        return
      case 'restart':
        await step(`restarts into version ${act.into}`)
        at.try({ version: act.into, previous: version, operation: id })
        clearInterval(timer)
        deps.restart()
        return
      case 'advance': {
        const failure = act.failure ?? report.failure
        await step(act.text, act.failure === undefined)
        await store.setReport(id, { ...report, phase: act.phase, failure })
        return
      }
      case 'hand-over': {
        if (clock.monotonic() - orderedAt < config.orderEveryMs) return
        orderedAt = clock.monotonic()
        const { accepted, sentence } = deps.switchover()
        await step(accepted ? 'hands over' : sentence)
        await store.setReport(id, { ...report, orders: report.orders + 1 })
        return
      }
      case 'finish':
        await step(act.failure ?? `both servers run version ${report.version}`, !act.failure)
        await store.finish(id, act.failure === null, {
          ...report,
          phase: 'done',
          failure: act.failure,
        })
    }
  }

  return {
    async begin({ version: wanted, holder, by, id }) {
      if (home === undefined) {
        throw new Error(
          'this server was not started by `keepwatch launch`, so it cannot change its version',
        )
      }
      if (wanted === version) throw new Error(`this server runs version ${wanted} already`)
      const running = await store.running('upgrade')
      if (running !== null) throw new Error('an upgrade is under way already')
      const { server, other } = deps.self()
      if (holder !== server && holder !== other?.name)
        throw new Error(`there is no server ${holder}`)
      if (holder === server && !home.has(wanted)) {
        throw new Error(`version ${wanted} is not installed in ${home.path}`)
      }
      const before: Record<string, string> = { [server]: version }
      if (other?.version !== undefined) before[other.name] = other.version
      await store.create({
        id,
        kind: 'upgrade',
        by,
        report: { version: wanted, holder, phase: 'fetch', before, orders: 0, failure: null },
      })
    },

    async start() {
      timer = setInterval(() => {
        looking ??= look().finally(() => {
          looking = undefined
        })
      }, everyMs)
    },

    async stop() {
      clearInterval(timer)
      await looking
    },
  }
}
