import type { Component } from '../lib/component.ts'
import type { Tally } from '../lib/tally.ts'

/** Something that should be otherwise, as it is now. */
export interface Condition {
  /** What is wrong, for programs; there is at most one open alarm a key. */
  key: string
  severity: 'warning' | 'critical'
  subject: string
  text: string
}

export interface AlarmStore {
  /** Keys of all open alarms. */
  open(): Promise<string[]>
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
  /** Everything that is wrong now. */
  conditions(): Promise<readonly Condition[]> | readonly Condition[]
  tally: Pick<Tally<'alarms'>, 'count'>
}): Component {
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined

  async function look() {
    try {
      const open = new Set(await deps.store.open())
      const now = await deps.conditions()
      for (const condition of now) {
        if (!open.delete(condition.key)) await deps.store.raise(condition)
      }
      for (const key of open) await deps.store.clear(key)
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
