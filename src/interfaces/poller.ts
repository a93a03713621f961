/**
 * Asks every exporter of flows what its interfaces have counted, and what it calls them, again and
 * again: soon after it is first heard, then every few minutes, the names each hour; one that does not
 * answer later and later. Work of the active.
 */
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Tally } from '../lib/tally.ts'
import { within } from '../lib/within.ts'
import type { InterfaceCounters } from '../telemetry/counter.ts'
import { readCounters } from './counters.ts'
import { type Interface, readInterfaces } from './read.ts'
import type { SnmpAccess, SnmpSession } from './session.ts'

export interface KnownAccess {
  id: string
  name: string
  access: SnmpAccess
}

export type PollProblem = 'no-answer' | 'not-saved'

/** What came of the last look at an exporter. */
export interface Polled {
  exporter: string
  at: Date
  /** Name of the access by which it answered; null: by none. */
  by: string | null
  interfaces: number
  /** What the last access that was tried came to. */
  error: string | null
}

export interface InterfacePoller {
  /** Begins to work as the active of this term. */
  start(term: number): Promise<void>
  stop(): Promise<void>
  /** Asks all of them anew: somebody has added an access. */
  nudge(): void
  state(): Polled[]
}

export interface PollerConfig {
  /** From one look at an exporter's names to the next. */
  everyMs: number
  /** The same of its counters. */
  countersEveryMs: number
  /** After a look that failed, at first; it doubles up to `everyMs`. */
  againMs: number
  /** Between two looks for exporters that are due. */
  tickMs: number
  /** Exporters that are asked at the same time. */
  atOnce: number
}

const usual: PollerConfig = {
  everyMs: 3_600_000,
  countersEveryMs: 300_000,
  againMs: 60_000,
  tickMs: 5000,
  atOnce: 8,
}
const maxExporters = 10_000
const stopMs = 500

interface Exporter {
  dueAt: number
  namesDueAt: number
  againMs: number
  /** The access that it answered to. */
  access: string | undefined
  last: Polled | undefined
}

export function createInterfacePoller(
  deps: {
    clock: Clock
    log: Log
    tally: Pick<Tally<PollProblem>, 'count'>
    /** Exporters that are heard at present. */
    exporters(): readonly string[]
    accesses(): Promise<readonly KnownAccess[]>
    open(exporter: string, access: SnmpAccess): SnmpSession
    save(term: number, exporter: string, interfaces: readonly Interface[]): Promise<void>
    /** What was counted; undefined: there is nowhere to store it. */
    count: ((exporter: string, counters: readonly InterfaceCounters[]) => void) | undefined
  },
  config: PollerConfig = usual,
): InterfacePoller {
  const { clock, log } = deps
  const known = new Map<string, Exporter>()
  const open = new Set<SnmpSession>()
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined

  async function look(term: number) {
    const heard = new Set(deps.exporters())
    for (const exporter of known.keys()) if (!heard.has(exporter)) known.delete(exporter)
    for (const exporter of heard) {
      if (known.has(exporter) || known.size >= maxExporters) continue
      known.set(exporter, {
        ...{ dueAt: 0, namesDueAt: 0, againMs: config.againMs, access: undefined, last: undefined },
      })
    }
    const due = [...known].filter(([, { dueAt }]) => dueAt <= clock.monotonic())
    if (due.length === 0) return
    let accesses: readonly KnownAccess[]
    try {
      accesses = await deps.accesses()
    } catch {
      // The state is away; it is asked again soon.
      return
    }
    if (accesses.length === 0) return
    const lane = async () => {
      for (let next = due.shift(); next && timer !== undefined; next = due.shift()) {
        await ask(term, ...next, accesses)
      }
    }
    await Promise.all(Array.from({ length: config.atOnce }, lane))
  }

  async function ask(
    term: number,
    address: string,
    exporter: Exporter,
    accesses: readonly KnownAccess[],
  ) {
    let error = ''
    const first = accesses.find(({ id }) => id === exporter.access)
    const order = first ? [first, ...accesses.filter(one => one !== first)] : accesses
    for (const { id, name, access } of order) {
      if (timer === undefined) return
      const session = deps.open(address, access)
      open.add(session)
      let interfaces: Interface[] | undefined
      try {
        const asked = exporter.namesDueAt <= clock.monotonic()
        if (asked) interfaces = await readInterfaces(session)
        if (deps.count) deps.count(address, await readCounters(session))
      } catch (failure) {
        error = (failure as Error).message
        continue
      } finally {
        if (open.delete(session)) session.close()
      }
      exporter.access = id
      exporter.againMs = config.againMs
      exporter.dueAt = clock.monotonic() + Math.min(config.countersEveryMs, config.everyMs)
      if (interfaces !== undefined) await save(term, address, exporter, name, interfaces)
      return
    }
    deps.tally.count('no-answer', () => ({ exporter: address, error }))
    note(address, exporter, { by: null, interfaces: 0, error })
    exporter.dueAt = clock.monotonic() + exporter.againMs
    exporter.againMs = Math.min(2 * exporter.againMs, config.everyMs)
  }

  async function save(
    term: number,
    address: string,
    exporter: Exporter,
    by: string,
    interfaces: Interface[],
  ) {
    try {
      await deps.save(term, address, interfaces)
      note(address, exporter, { by, interfaces: interfaces.length, error: null })
      exporter.namesDueAt = clock.monotonic() + config.everyMs
      log.debug({ exporter: address, interfaces: interfaces.length }, 'interfaces read')
    } catch (error) {
      deps.tally.count('not-saved', () => ({ exporter: address, error: (error as Error).message }))
      exporter.dueAt = clock.monotonic() + config.againMs
    }
  }

  function note(exporter: string, one: Exporter, came: Omit<Polled, 'exporter' | 'at'>) {
    one.last = { exporter, at: new Date(clock.wall()), ...came }
  }

  return {
    async start(term) {
      timer = setInterval(() => {
        looking ??= look(term).finally(() => {
          looking = undefined
        })
      }, config.tickMs)
    },
    async stop() {
      clearInterval(timer)
      timer = undefined
      for (const session of open) session.close()
      open.clear()
      await within(stopMs, looking ?? Promise.resolve())
      known.clear()
    },
    nudge() {
      for (const exporter of known.values()) {
        exporter.dueAt = 0
        exporter.namesDueAt = 0
      }
    },
    state: () => [...known.values()].flatMap(({ last }) => last ?? []),
  }
}
