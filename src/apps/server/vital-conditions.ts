/** When what was measured of a server is a reason to tell somebody. Pure. */
import type { Condition } from '../../alarms/watch.ts'
import { condition, gibibytes, isOver } from './condition-kinds.ts'
import type { Vitals } from './vitals.ts'

/** Shares of the whole; what begins below the first ends only above the second. */
const diskFree = { raise: 0.1, clear: 0.15, critical: 0.03 }
const memoryFree = { raise: 0.08, clear: 0.15, critical: 0.03 }
const loopLagMs = { raise: 250, clear: 100 }
const databaseMs = { raise: 250, clear: 100 }
const skewMs = { raise: 2000, clear: 1000 }
const dayMs = 86_400_000
const certificateDays = { warning: 30, critical: 7 }

export function vitalConditions(
  vitals: Vitals,
  { server, now, open }: { server: string; now: number; open: ReadonlySet<string> },
): Condition[] {
  return [
    ...vitals.disks.flatMap(({ path, freeBytes, totalBytes }) => {
      const share = freeBytes / totalBytes
      const key = `${server}${path}`
      if (!isUnder(`disk-space/${key}`, share, diskFree, open)) return []
      const text = `${server} has ${gibibytes(freeBytes)} of disk left at ${path}, ${percent(share)}.`
      return [condition('disk-space', key, gravity(share, diskFree), server, text)]
    }),
    ...ofMemory(vitals, server, open),
    ...whenOver('event-loop', vitals.loopLagMs, loopLagMs),
    ...whenOver('database-latency', vitals.databaseMs, databaseMs),
    ...vitals.certificates.flatMap(({ name, expires }) => {
      const days = (expires.getTime() - now) / dayMs
      if (days > certificateDays.warning) return []
      const severity = days > certificateDays.critical ? 'warning' : 'critical'
      const when =
        days > 0 ? `expires in ${Math.floor(days)} days` : 'has expired, nobody accepts it any more'
      const text = `The certificate ${name} of ${server} ${when}.`
      return [condition('certificate', `${server}/${name}`, severity, server, text)]
    }),
    ...vitals.skews.flatMap(({ to, ms }) => {
      const key = `${server}/${to}`
      if (!isOver(`clock-skew/${key}`, Math.abs(ms), skewMs, open)) return []
      const [by, way] = [(Math.abs(ms) / 1000).toFixed(1), ms > 0 ? 'ahead of' : 'behind']
      const text = `The clock of ${to} is ${by} s ${way} the one of ${server}.`
      return [condition('clock-skew', key, 'warning', server, text)]
    }),
  ]

  function whenOver(
    kind: 'event-loop' | 'database-latency',
    ms: number | undefined,
    bounds: { raise: number; clear: number },
  ): Condition[] {
    if (ms === undefined || !isOver(`${kind}/${server}`, ms, bounds, open)) return []
    const what = { 'event-loop': 'The main loop of', 'database-latency': 'The database, asked by' }
    const text = `${what[kind]} ${server} takes ${Math.round(ms)} ms to answer.`
    return [condition(kind, server, 'warning', server, text)]
  }
}

function ofMemory({ memory }: Vitals, server: string, open: ReadonlySet<string>): Condition[] {
  if (memory === undefined) return []
  const share = memory.availableBytes / memory.totalBytes
  if (!isUnder(`memory/${server}`, share, memoryFree, open)) return []
  const own = gibibytes(memory.processBytes)
  const text = `${server} has ${gibibytes(memory.availableBytes)} of memory left, ${percent(share)}; its main process uses ${own}.`
  return [condition('memory', server, gravity(share, memoryFree), server, text)]
}

function isUnder(
  key: string,
  value: number,
  bounds: { raise: number; clear: number },
  open: ReadonlySet<string>,
): boolean {
  return value < (open.has(key) ? bounds.clear : bounds.raise)
}

function gravity(share: number, { critical }: { critical: number }): Condition['severity'] {
  return share < critical ? 'critical' : 'warning'
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
