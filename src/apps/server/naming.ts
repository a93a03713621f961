/** Keeps the names that the engine looks up as they are in the state. */

import type { NamedApplication, NamedNetwork } from '../../api/contract/names.ts'
import type { Component } from '../../lib/component.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Names } from '../../store/clickhouse/lookups.ts'
import type { Interfaces } from '../../store/postgres/interfaces.ts'
import type { NameLists } from '../../store/postgres/name-lists.ts'

export interface Naming extends Component {
  /** Looks now. */
  nudge(): void
}

const everyMs = 5000

export function createNaming(deps: {
  nameLists: Pick<NameLists, 'read' | 'versions'>
  interfaces: Pick<Interfaces, 'list' | 'version'>
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
      const [lists, version] = await Promise.all([
        deps.nameLists.versions(),
        deps.interfaces.version(),
      ])
      const versions = JSON.stringify([lists, version])
      if (versions === known) return
      const [networks, applications, exporters] = await Promise.all([
        deps.nameLists.read('networks'),
        deps.nameLists.read('applications'),
        deps.interfaces.list(),
      ])
      await deps.fill({
        networks: networks.entries as NamedNetwork[],
        applications: applications.entries as NamedApplication[],
        interfaces: exporters.flatMap(({ exporter, interfaces }) =>
          interfaces.map(({ index, name, alias }) => ({
            exporter,
            index,
            name: interfaceText(index, name, alias),
          })),
        ),
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

/** `ge-0/0/7 (to Berlin)` */
function interfaceText(index: number, name: string, alias: string): string {
  const called = name || `ifIndex ${index}`
  return alias === '' || alias === name ? called : `${called} (${alias})`
}
