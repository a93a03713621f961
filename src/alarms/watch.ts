import type { Component } from '../lib/component.ts'
import type { Tally } from '../lib/tally.ts'

/** Something that should be otherwise, as it is now. */
export interface Condition {
  /** What is wrong, for programs; there is at most one open alarm a key. */
  key: string
  /** Who is told of it: those who asked for this class of notices. */
  class: 'self-monitoring' | 'synchronization'
  severity: 'warning' | 'critical'
  subject: string
  text: string
}

export interface OpenAlarm {
  key: string
  severity: Condition['severity']
}

export interface AlarmStore {
  open(): Promise<readonly OpenAlarm[]>
  /** Of one that is open: it has become more or less severe. */
  raise(condition: Condition): Promise<unknown>
  clear(key: string): Promise<unknown>
}

const everyMs = 5000

/**
 * Compares what is wrong now with the open alarms: raises what is new, clears what is over. The
 * alarms are in the state, so a takeover neither repeats nor forgets one.
 */
export function createAlarmWatch(deps: {
  store: AlarmStore
  /** Everything that is wrong now. `open`: keys of the alarms, which may end later than they begin. */
  conditions(open: ReadonlySet<string>): Promise<readonly Condition[]> | readonly Condition[]
  tally: Pick<Tally<'alarms'>, 'count'>
}): Component {
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined

  async function look() {
    try {
      const open = new Map((await deps.store.open()).map(({ key, severity }) => [key, severity]))
      const now = await deps.conditions(new Set(open.keys()))
      for (const condition of now) {
        if (open.get(condition.key) !== condition.severity) await deps.store.raise(condition)
        open.delete(condition.key)
      }
      for (const key of open.keys()) await deps.store.clear(key)
    } catch (error) {
      deps.tally.count('alarms', () => ({ error: (error as Error).message }))
    }
  }

  return {
    async start() {
      const tick = () => {
        looking ??= look().finally(() => {
          looking = undefined
        })
      }
      tick()
      timer = setInterval(tick, everyMs)
    },
    async stop() {
      clearInterval(timer)
      await looking
    },
  }
}
