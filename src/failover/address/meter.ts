/** What is counted about addresses, whatever way of connecting is in use. */
import { Counter, Gauge } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally, type Tally } from '../../lib/tally.ts'
import type { KeeperProblem } from './keeper-protocol.ts'

export type AddressProblem =
  | KeeperProblem
  /** The keeper's process ended by itself. */
  | 'keeper-ended'
  /** The keeper's process did not answer and was ended. */
  | 'keeper-hung'
  /** The address could not be taken in time; it is tried on. */
  | 'take-late'
  /** The name server could not be asked, or refused. */
  | 'name-update'
  /** The name belongs to a later term. */
  | 'name-superseded'
  /** A name server still gave the old answer long after the update. */
  | 'name-lagging'
  | 'hook'
  /** Another way of connecting could not be put in force. */
  | 'configure'

export interface AddressMeter {
  tally: Tally<AddressProblem>
  /** Which addresses, or which name, there are and which of them lead here. */
  held(all: readonly string[], held: readonly string[]): void
  announced(): void
  conflict(who: 'peer' | 'stranger'): void
}

export function createAddressMeter(deps: {
  log: Log
  metrics: Metrics
  clock: Clock
}): AddressMeter {
  const registers = [deps.metrics]
  const tally = createTally<AddressProblem>(deps, {
    name: 'address_problems',
    help: 'What went wrong with the address of the active server, by reason',
  })
  const held = new Gauge({
    name: 'keepwatch_address_held',
    help: 'Whether this server holds the virtual address or name: 1 or 0.',
    labelNames: ['address'],
    registers,
  })
  const announcements = new Counter({
    name: 'keepwatch_address_announcements_total',
    help: 'How often a virtual address was announced to the network.',
    registers,
  })
  const conflicts = new Counter({
    name: 'keepwatch_address_conflicts_total',
    help: 'How often another machine answered for a virtual address.',
    labelNames: ['with'],
    registers,
  })
  let shown = ''
  return {
    tally,
    held(all, now) {
      const key = JSON.stringify([all, now])
      if (key === shown) return
      shown = key
      held.reset()
      for (const address of all) held.set({ address }, now.includes(address) ? 1 : 0)
    },
    announced: () => announcements.inc(),
    conflict: who => conflicts.inc({ with: who }),
  }
}
