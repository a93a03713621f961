/**
 * A rolling upgrade, decided: what a server has to do next. Pure. Both servers ask it again and again
 * with what the state says of the upgrade and what they know of themselves, so it does not matter
 * which of them dies or restarts in the middle.
 *
 * fetch → first (the standby restarts into the new version) → hand-over → second (the other one
 * restarts, now the standby) → done; or, when something of it fails → undo: whoever runs the new
 * version goes back, so that both run what they ran before.
 *
 * Who restarts is a standby beside an active, and says so before, so the two never restart at once. A
 * server without a second one has no choice.
 */
export type Phase = 'fetch' | 'first' | 'hand-over' | 'second' | 'undo' | 'done'

/** What the state keeps of an upgrade. */
export type UpgradeReport = {
  version: string
  /** The server on which the new version was installed; the other fetches it from there. */
  holder: string
  phase: Phase
  /** What each server ran before. */
  before: Record<string, string>
  /** How often the old active has ordered the hand-over. */
  orders: number
  /** The server that restarts, until it is back; nobody else restarts or gives up meanwhile. */
  restarting: string | null
  /** Why it failed, null unless it did. */
  failure: string | null
}

export interface Own {
  server: string
  version: string
  role: 'active' | 'standby' | 'stopped'
  /** It could do an active's work now. */
  ready: boolean
  /** It could for a while: an active whose work cannot start is one for a moment only. */
  steady: boolean
  /** The new version lies complete on its disk. */
  installed: boolean
  /** Why the version that it was to run for this upgrade was given up on this machine, if it was. */
  rolledBack: string | undefined
  /** The other server; undefined: there is none. */
  other: Other | undefined
}

export interface Other {
  name: string
  /** As it last said. */
  version: string | undefined
  /** `unknown`: it does not answer. */
  role: 'active' | 'standby' | 'stopped' | 'unknown'
  /** It was seen in that role for a while. */
  steady: boolean
}

export type Act =
  | { do: 'wait'; sentence: string }
  | { do: 'fetch' }
  /** Only if it could be written that this server restarts. */
  | { do: 'restart'; into: string }
  /** This server is back from a restart. */
  | { do: 'return'; text: string }
  | { do: 'advance'; phase: Phase; text: string; failure?: string }
  | { do: 'hand-over' }
  | { do: 'finish'; failure: string | null }

/** A hand-over that has failed so often is given up, and the first server goes back. */
export const mostOrders = 3

/** @param overdue the phase takes longer than it may */
export function nextAct(report: UpgradeReport, own: Own, overdue: boolean): Act {
  const { version, holder } = report
  const { other } = own
  const name = other?.name ?? 'nobody'
  const isNew = own.version === version
  const otherIsNew = other?.version === version && other.role !== 'unknown'
  const away = report.restarting !== null

  if (report.restarting === own.server) {
    const text = `is back with version ${own.version}`
    return own.ready ? { do: 'return', text } : wait(`runs ${own.version} and is not ready yet`)
  }
  switch (report.phase) {
    case 'fetch':
      if (own.server === holder) {
        if (other === undefined) return advance('second', 'has no standby: it restarts itself')
        return overdue ? undo(`${name} did not fetch it`) : wait(`${name} fetches it`)
      }
      if (own.installed) return advance('first', `has version ${version}`)
      return overdue ? undo(`${own.server} could not fetch version ${version}`) : { do: 'fetch' }

    case 'first':
      if (own.role === 'active') {
        return overdue
          ? undo(`${name} did not come back with ${version}`)
          : wait(`${name} restarts into ${version}`)
      }
      if (own.rolledBack !== undefined) return undo(couldNotRun())
      if (!isNew) return restartInto(version)
      return own.ready
        ? advance('hand-over', `runs ${version} and could take over`)
        : wait(`runs ${version} and is not ready yet`)

    case 'hand-over':
      if (own.role === 'active' && isNew) {
        return own.steady
          ? advance('second', `is active with ${version}`)
          : wait(`has just become active with ${version}`)
      }
      if (overdue) return undo(`${version} did not become active`)
      if (own.role !== 'active') return wait(isNew ? `${name} hands over` : `${name} takes over`)
      if (report.orders >= mostOrders) return undo(`${name} did not take over with ${version}`)
      return otherIsNew ? { do: 'hand-over' } : wait(`${name} is away`)

    case 'second':
      if (isNew) {
        const both = other === undefined || otherIsNew
        // The one that has restarted says it: it knows whether it can do its work.
        const mine = other === undefined || own.role === 'standby'
        if (both && mine && own.ready && !away) return finish(null)
        return overdue
          ? undo(`${other ? name : own.server} did not come back with ${version}`)
          : wait(mine ? `runs ${version} and is not ready yet` : `${name} restarts into ${version}`)
      }
      if (own.rolledBack !== undefined) return undo(couldNotRun())
      if (other === undefined) return { do: 'restart', into: version }
      if (own.role === 'active') return advance('hand-over', 'is active again: it hands over')
      return restartInto(version)

    case 'undo': {
      const failure = report.failure ?? 'it failed'
      const former = report.before[own.server] ?? own.version
      if (own.version === former) {
        const back = other === undefined || other.version === report.before[other.name]
        if (back && !away) return finish(failure)
        return overdue
          ? finish(`${failure}; ${name} did not go back to ${report.before[name]}: look at it`)
          : wait(`${name} goes back to ${report.before[name]}`)
      }
      if (own.rolledBack !== undefined || overdue) {
        const why = own.rolledBack === undefined ? '' : `: ${own.rolledBack}`
        return finish(`${failure}; ${own.server} could not go back to ${former}${why}`)
      }
      if (other === undefined) return { do: 'restart', into: former }
      if (own.role !== 'active') return restartInto(former)
      return other.role === 'standby' ? { do: 'hand-over' } : wait(`${name} is away`)
    }

    case 'done':
      return wait('it is done')
  }

  /** Only beside an active that stays one: two that restart at once leave nobody. */
  function restartInto(into: string): Act {
    if (away) return wait(`waits until ${report.restarting} is back`)
    const relieved = other?.role === 'active' && other.steady
    if (own.role === 'standby' && relieved) return { do: 'restart', into }
    return wait(`waits until ${name} is active`)
  }

  function couldNotRun(): string {
    return `${own.server} could not run ${version}: ${own.rolledBack}`
  }

  function undo(failure: string): Act {
    return { ...advance('undo', failure), failure }
  }
}

function wait(sentence: string): Act {
  return { do: 'wait', sentence }
}

function advance(phase: Phase, text: string): Act & { do: 'advance' } {
  return { do: 'advance', phase, text }
}

function finish(failure: string | null): Act {
  return { do: 'finish', failure }
}
