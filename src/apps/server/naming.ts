/** Keeps the names that the engine looks up as they are in the state. */

import type { NamedApplication, NamedNetwork } from '../../api/contract/names.ts'
import type { Component } from '../../lib/component.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Names } from '../../store/clickhouse/lookups.ts'
import type { NameLists } from '../../store/postgres/name-lists.ts'

export interface Naming extends Component {
  /** Looks now. */
  nudge(): void
}

const everyMs = 5000

export function createNaming(deps: {
  nameLists: Pick<NameLists, 'read' | 'versions'>
  fill(names: Names): Promise<void>
  tally: Pick<Tally<'names'>, 'count'>
}): Naming {
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let again = false
  /** Versions of what the engine has. */
  let known: string | undefined

  async function look() {
    try {
      const versions = JSON.stringify(await deps.nameLists.versions())
      if (versions === known) return
      const [networks, applications] = await Promise.all([
        deps.nameLists.read('networks'),
        deps.nameLists.read('applications'),
      ])
      await deps.fill({
        networks: networks.entries as NamedNetwork[],
        applications: applications.entries as NamedApplication[],
      })
      known = versions
    } catch (error) {
      // The names of before hold until the state and the engine can be asked.
      deps.tally.count('names', () => ({ error: (error as Error).message }))
    }
  }

  function tick() {
    if (looking !== undefined) {
      again = true
      return
    }
    looking = look().finally(() => {
      looking = undefined
      if (again && timer !== undefined) {
        again = false
        tick()
      }
    })
  }

  return {
    async start() {
      timer = setInterval(tick, everyMs)
      tick()
    },
    async stop() {
      clearInterval(timer)
      timer = undefined
      await looking
    },
    nudge: tick,
  }
}
