import { randomUUID } from 'node:crypto'
import type { Clock } from '../../lib/clock.ts'
import type { Tally } from '../../lib/tally.ts'

/** As the state keeps it; `steps` have the database's time. */
export interface DrillRecord {
  id: string
  started: Date
  steps: readonly { at: Date; server: string; text: string; ok: boolean | null }[]
  report: unknown
}

export interface DrillStore {
  create(operation: {
    id: string
    kind: 'drill'
    by: string
    report: DrillReport
  }): Promise<unknown>
  addStep(id: string, step: { server: string; text: string; ok: boolean | null }): Promise<unknown>
  setReport(id: string, report: DrillReport): Promise<unknown>
  finish(id: string, ok: boolean, report: DrillReport): Promise<unknown>
  find(id: string): Promise<DrillRecord | null>
  /** The newest of its kind that has not finished. */
  running(kind: 'drill'): Promise<DrillRecord | null>
}

/** What a drill found; `phase` tells the next active what is to be done. */
export type DrillReport = {
  from: string
  to: string
  phase: 'there' | 'back' | 'done'
  /** Milliseconds from the order to hand over until the other was active. */
  thereMs: number | null
  backMs: number | null
  /** Why it failed, null unless it did. */
  failure: string | null
}

export interface Drills {
  /** @throws Error in words if it cannot begin */
  begin(by: string): Promise<{ id: string }>
  /** This server has become active: goes on with a drill that is under way. Does not wait for it. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** How long the other server works before it is asked to hand back. */
const settleMs = 5000
const askEveryMs = 500
/** Until the server that handed over must be ready to take back. */
const readyMs = 120_000
const longestMs = 600_000

/**
 * A switchover there and back. Each half is ordered by the server that is active; what is known of
 * it is in the state, so that whoever becomes active goes on, or says that it was interrupted.
 */
export function createDrills(
  deps: {
    clock: Clock
    store: DrillStore
    tally: Pick<Tally<'drill'>, 'count'>
    /** Name of the standby, undefined if there is none. */
    peer(): string | undefined
    switchover(): Promise<{ accepted: boolean; sentence: string }>
  },
  config: { self: string; settleMs?: number },
): Drills {
  const { clock, store } = deps
  const { self } = config
  let stopped = new AbortController()
  let going: Promise<void> = Promise.resolve()

  async function handOver(drill: { id: string }, report: DrillReport, to: string) {
    await store.addStep(drill.id, { server: self, text: `hands over to ${to}`, ok: null })
    const { accepted, sentence } = await deps.switchover()
    if (!accepted) await fail(drill, report, sentence)
    return { accepted, sentence }
  }

  async function fail(drill: { id: string }, report: DrillReport, failure: string) {
    await store.addStep(drill.id, { server: self, text: failure, ok: false })
    await store.finish(drill.id, false, { ...report, phase: 'done', failure })
  }

  async function goOn() {
    const drill = await store.running('drill')
    if (drill === null) return
    const report = drill.report as DrillReport
    const { from, to, phase } = report
    if (clock.wall() - drill.started.getTime() > longestMs) {
      return fail(drill, report, 'it was interrupted, and is too old to be gone on with')
    }
    if (phase === 'there' && self === from) {
      return fail(drill, report, `${to} did not take over; ${from} goes on`)
    }
    if (phase === 'back' && self === to) {
      return fail(drill, report, `${from} did not take back; ${to} goes on`)
    }
    await store.addStep(drill.id, { server: self, text: 'is active', ok: true })
    const ms = tookMs(await store.find(drill.id))
    if (phase === 'back') {
      return store.finish(drill.id, true, { ...report, phase: 'done', backMs: ms })
    }
    const settled = { ...report, phase: 'back', thereMs: ms } as const
    await store.setReport(drill.id, settled)
    await pause(config.settleMs ?? settleMs)
    await handBack(drill, settled)
  }

  /** Asks until the other is ready: it has just become the standby. */
  async function handBack(drill: { id: string }, report: DrillReport) {
    const deadline = clock.monotonic() + readyMs
    await store.addStep(drill.id, { server: self, text: `hands back to ${report.from}`, ok: null })
    for (;;) {
      const { accepted, sentence } = await deps.switchover()
      if (accepted) return
      if (clock.monotonic() > deadline) return fail(drill, report, sentence)
      await pause(askEveryMs)
    }
  }

  /** @throws AbortError when stopped */
  function pause(ms: number): Promise<void> {
    const { signal } = stopped
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', give)
        resolve()
      }, ms)
      const give = () => {
        clearTimeout(timer)
        reject(signal.reason)
      }
      signal.addEventListener('abort', give, { once: true })
    })
  }

  return {
    async begin(by) {
      const to = deps.peer()
      if (to === undefined) throw new Error('there is no standby to drill with')
      if ((await store.running('drill')) !== null) throw new Error('a drill is under way already')
      const id = randomUUID()
      const report: DrillReport = {
        from: self,
        to,
        phase: 'there',
        thereMs: null,
        backMs: null,
        failure: null,
      }
      await store.create({ id, kind: 'drill', by, report })
      const { accepted, sentence } = await handOver({ id }, report, to)
      if (!accepted) throw new Error(sentence)
      return { id }
    },

    async start() {
      stopped = new AbortController()
      const { signal } = stopped
      going = goOn().then(
        () => {},
        error => {
          if (!signal.aborted) deps.tally.count('drill', () => ({ error: error.message }))
        },
      )
    },

    async stop() {
      stopped.abort()
      await going
    },
  }
}

/** From the last order to hand over until the last report of being active, by the database's clock. */
function tookMs(drill: DrillRecord | null): number | null {
  const steps = drill?.steps ?? []
  const ordered = steps.findLast(({ text }) => /^hands (over|back)/.test(text))
  const active = steps.findLast(({ text }) => text === 'is active')
  return ordered && active ? active.at.getTime() - ordered.at.getTime() : null
}
