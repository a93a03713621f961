import type { Receiver } from '../../collect/receive.ts'
import {
  createInterfacePoller,
  type InterfacePoller,
  type PollProblem,
} from '../../interfaces/poller.ts'
import { openSnmp, type SnmpAccess } from '../../interfaces/session.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import type { Database } from '../../store/postgres/database.ts'
import type { Interfaces } from '../../store/postgres/interfaces.ts'
import type { SnmpAccesses } from '../../store/postgres/snmp-accesses.ts'
import type { OwnCollector } from './own-collector.ts'

/** Work of the active: names and counters of interfaces, of every exporter that a collector hears. */
export function createInterfaceNames(deps: {
  log: Log
  metrics: Metrics
  clock: Clock
  database: Database
  interfaces: Interfaces
  snmpAccesses: SnmpAccesses<SnmpAccess>
  receiver: Pick<Receiver, 'collectors'>
  /** Where counters go to be stored, if this server has a collector. */
  ownCollector: Pick<OwnCollector, 'takeCounters'> | undefined
}): InterfacePoller {
  const { log, metrics, clock, database, interfaces, snmpAccesses, receiver } = deps
  const tally = createTally<PollProblem>(deps, {
    name: 'interface_problems',
    help: 'Exporters whose interfaces could not be asked for or saved, by reason.',
  })
  return createInterfacePoller({
    ...{ log, metrics, clock, tally },
    exporters() {
      const states = receiver.collectors().map(({ state }) => state)
      return [...new Set(states.flatMap(state => state.exporters.map(({ exporter }) => exporter)))]
    },
    accesses: () => snmpAccesses.reveal(),
    count: deps.ownCollector?.takeCounters,
    open: (exporter, access) => openSnmp(exporter, access),
    save: (term, exporter, found) =>
      database.fenced(term, { name: 'interfaces' }, tx => interfaces.save(tx, exporter, found)),
  })
}
