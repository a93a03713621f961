/**
 * A rolling upgrade, decided: what a server has to do next. Pure. Both servers ask it again and again
 * with what the state says of the upgrade and what they know of themselves, so it does not matter
 * which of them dies or restarts in the middle.
 *
 * fetch → first (the standby restarts into the new version) → hand-over → second (the other one
 * restarts, now the standby) → done; or → undo, when the new version could not do an active's work.
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
  /** Why it failed, null unless it did. */
  failure: string | null
}

export interface Own {
  server: string
  version: string
  role: 'active' | 'standby' | 'stopped'
  /** It could do an active's work now. */
  ready: boolean
  /** The new version lies complete on its disk. */
  installed: boolean
  /** Why the new version was given up on this machine, if it was. */
  rolledBack: string | undefined
  /** The other server; undefined: there is none. `version`: as it last said. */
  other: { name: string; version: string | undefined } | undefined
}

export type Act =
  | { do: 'wait'; sentence: string }
  | { do: 'fetch' }
  | { do: 'restart'; into: string }
  | { do: 'advance'; phase: Phase; text: string; failure?: string }
  | { do: 'hand-over' }
  | { do: 'finish'; failure: string | null }

/** A hand-over that has failed so often is given up, and the first server goes back. */
export const mostOrders = 3

/** @param overdue the phase takes longer than it may */
export function nextAct(report: UpgradeReport, own: Own, overdue: boolean): Act {
  const { version, holder } = report
  const isNew = own.version === version
  const other = own.other?.name
  switch (report.phase) {
    case 'fetch':
      if (own.server !== holder) {
        if (!own.installed) return overdue ? giveUp('could not fetch the new version') : fetch()
        return advance('first', `has version ${version}`)
      }
      if (own.other === undefined) return advance('second', 'has no standby: it restarts itself')
      return overdue ? giveUp(`${other} did not fetch it`) : wait(`${other} fetches it`)

    case 'first':
      if (own.role === 'active') {
        return overdue
          ? giveUp(`${other} did not come back`)
          : wait(`${other} restarts into ${version}`)
      }
      if (own.rolledBack !== undefined) return giveUp(`could not run ${version}: ${own.rolledBack}`)
      if (!isNew) return { do: 'restart', into: version }
      return own.ready
        ? advance('hand-over', `runs ${version} and could take over`)
        : wait(`runs ${version} and is not ready yet`)

    case 'hand-over':
      if (isNew) {
        return own.role === 'active'
          ? advance('second', `is active with ${version}`)
          : wait(`${other} hands over`)
      }
      if (own.role === 'standby') return wait(`${other} takes over`)
      if (report.orders >= mostOrders || overdue) {
        const failure = `${other} did not take over with ${version}`
        return { ...advance('undo', `${failure}: it goes back`), failure }
      }
      return { do: 'hand-over' }

    case 'second':
      if (isNew) {
        const alone = own.other === undefined
        if (own.role === 'active' && !alone) {
          return overdue
            ? finish(`${other} did not come back with ${version}: look at it`)
            : wait(`${other} restarts into ${version}`)
        }
        return own.ready ? finish(null) : wait(`runs ${version} and is not ready yet`)
      }
      if (own.rolledBack !== undefined) {
        return finish(
          `${own.server} could not run ${version}: ${own.rolledBack}; it runs ${own.version} again`,
        )
      }
      if (own.role === 'active' && own.other !== undefined) return wait('it hands over again')
      return { do: 'restart', into: version }

    case 'undo': {
      const former = report.before[own.server]
      if (isNew && former !== undefined) {
        if (own.role === 'active') return { do: 'hand-over' }
        return { do: 'restart', into: former }
      }
      const back = own.other !== undefined && own.other.version !== version
      if (own.role === 'standby' && own.ready && back) return finish(report.failure)
      return overdue
        ? finish(`${report.failure}; ${other} did not go back either: look at it`)
        : wait('the first server goes back')
    }

    case 'done':
      return wait('it is done')
  }

  function giveUp(reason: string): Act {
    return finish(`${own.server}: ${reason}`)
  }
}

function wait(sentence: string): Act {
  return { do: 'wait', sentence }
}

function fetch(): Act {
  return { do: 'fetch' }
}

function advance(phase: Phase, text: string): Act & { do: 'advance' } {
  return { do: 'advance', phase, text }
}

function finish(failure: string | null): Act {
  return { do: 'finish', failure }
}
