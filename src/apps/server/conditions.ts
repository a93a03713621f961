import type { Condition } from '../../alarms/watch.ts'
import type { CollectorState } from '../../collect/receive.ts'
import type { NodeStatus } from '../../failover/node.ts'
import type { Directory } from './directory.ts'

/** A collector that has said nothing for so long is away. */
export const collectorAwayMs = 15_000

/** What an active server finds wrong with its deployment. */
export function conditionsNow(input: {
  now: number
  status: NodeStatus
  directory: Directory
  collectors: readonly { state: CollectorState; seenAt: number }[]
  failingDevices: readonly { id: string; name: string; failure: string }[]
}): Condition[] {
  const conditions: Condition[] = []
  const peer = input.directory.peer()
  const evidence = input.status.peer?.evidence
  if (peer && evidence && evidence.kind !== 'alive' && evidence.kind !== 'nobody') {
    conditions.push({
      key: `standby-away/${peer.name}`,
      severity: 'critical',
      subject: peer.name,
      text: `The standby ${peer.name} does not answer: if this server fails now, nobody takes over.`,
    })
  }
  for (const { state, seenAt } of input.collectors) {
    if (input.now - seenAt > collectorAwayMs) {
      conditions.push({
        key: `collector-away/${state.id}`,
        severity: 'critical',
        subject: state.name,
        text: `The collector ${state.name} has not been heard of for more than ${collectorAwayMs / 1000} s.`,
      })
      continue
    }
    for (const { kind, lost } of state.kinds) {
      if (lost === 0) continue
      conditions.push({
        key: `segments-lost/${state.id}/${kind}`,
        severity: 'critical',
        subject: state.name,
        text: `The collector ${state.name} had to give up ${kind} segments before they were delivered: its spool was full.`,
      })
    }
    const dropped = state.problems['seal.memory-full'] ?? 0
    if (dropped > 0) {
      conditions.push({
        key: `rows-lost/${state.id}`,
        severity: 'critical',
        subject: state.name,
        text: `The collector ${state.name} dropped ${dropped} batches: its disk was too slow, and its memory full.`,
      })
    }
    for (const { server, reachable, lastError } of state.deliveries) {
      if (reachable) continue
      conditions.push({
        key: `delivery/${state.id}/${server}`,
        severity: 'warning',
        subject: state.name,
        text: `The collector ${state.name} cannot deliver to ${server}: ${lastError ?? 'no answer'}.`,
      })
    }
  }
  for (const { id, name, failure } of input.failingDevices) {
    conditions.push({
      key: `backup-failed/${id}`,
      severity: 'warning',
      subject: name,
      text: `The last backup of ${name} failed: ${failure}`,
    })
  }
  return conditions
}
