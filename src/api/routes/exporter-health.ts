import type { z } from 'zod'
import {
  bestCounted,
  bytesIn,
  bytesOut,
  type CountedTraffic,
  countedTraffic,
  type InterfaceTraffic,
  interfaceColumns,
  interfaceNamesSaid,
  interfaceTraffic,
} from '../../query/interfaces.ts'
import { type Range, stepOf, wholeBuckets } from '../../query/question.ts'
import { piecesFor, tableFor } from '../../query/traffic-tables.ts'
import { counterSource } from '../../telemetry/counter.ts'
import { flowVersion } from '../../telemetry/flow.ts'
import type { collectorState } from '../contract/watch.ts'
import type { Handlers } from '../handler.ts'
import { readAddress } from './address.ts'
import { readRange } from './range.ts'
import type { Ask } from './traffic.ts'

interface Named {
  index: number
  name: string
  alias: string
  speed: number
}

type State = z.output<typeof collectorState>
type Health = State['exporters'][number]

const comparedMs = 3_600_000
/** Counters that were watched for less are not compared. */
const leastSeconds = 600
/** Flows are told a minute or two after they began. */
const slackSeconds = 180

/** How exporters are, and their flows beside what interfaces count themselves. */
export function exporterHealthRoutes(deps: {
  collectors(): { state: State; online: boolean }[]
  /** Names of interfaces by SNMP. */
  interfaces: { find(exporter: string): Promise<Named[]> }
  /** Name of the device with an address. */
  deviceAt(address: string): string | null
  ask: Ask
  now(): number
  keptSince(table: string): number | undefined
  sampling(): ReadonlyMap<string, number>
}): Handlers<'listHeardExporters' | 'compareExporters' | 'getExporterInterfaces'> {
  /** What is asked of the flows in a range, whole buckets of it. */
  function planned(range: Range) {
    const step = stepOf(range)
    const whole = wholeBuckets(range, step)
    const choice = tableFor(interfaceColumns, whole, step, deps.keptSince)
    const pieces = piecesFor(choice, interfaceColumns, whole, deps.keptSince)
    return { table: choice.table, range: whole, pieces, sampling: deps.sampling() }
  }

  return {
    async listHeardExporters() {
      const set = deps.sampling()
      const collectors = deps.collectors()
      return {
        exporters: collectors.flatMap(({ state, online }) =>
          state.exporters.map(health => ({
            ...health,
            ...{ collector: state.name, online, expected: expectedOf(health) },
            device: deps.deviceAt(health.exporter),
            set: set.get(health.exporter) ?? null,
          })),
        ),
        sockets: collectors.flatMap(({ state }) =>
          state.listeners
            .filter(({ kernelDrops }) => kernelDrops !== null)
            .map(({ name, datagrams, kernelDrops }) => ({
              ...{ collector: state.name, listener: name, datagrams, kernelDrops },
            })),
        ),
      }
    },

    async compareExporters({ signal }) {
      const to = deps.now()
      const { table, range, sampling } = planned({ from: to - comparedMs, to })
      const counted = await deps.ask<CountedTraffic>(countedTraffic({ range }), signal)
      const own = bestCounted(counted.rows.filter(({ seconds }) => seconds >= leastSeconds))
      const spans = spansOf(own.values())
      if (spans.size === 0) return { exporters: [] }
      const traffic = { table, pieces: [{ table, range }], range, sampling, spans }
      const flows = await deps.ask<InterfaceTraffic>(interfaceTraffic(traffic), signal)
      const first = firstOf(flows.rows)
      const sums = new Map<string, { interfaces: number; flows: number; counters: number }>()
      for (const row of flows.rows) {
        const counters = own.get(`${row.exporter} ${row.index}`)
        const { from, to } = spans.get(row.exporter)!
        // Who began to export in the middle of it has no flows of the time before.
        if (first.get(row.exporter)! > from + slackSeconds) continue
        if (counters === undefined || bytesIn(row) === 0) continue
        const sum = sums.get(row.exporter) ?? { interfaces: 0, flows: 0, counters: 0 }
        sums.set(row.exporter, sum)
        sum.interfaces++
        sum.flows += (8 * bytesIn(row)) / (to - from)
        sum.counters += (8 * counters.inOctets) / counters.seconds
      }
      return { exporters: [...sums].map(([exporter, sum]) => ({ exporter, ...sum })) }
    },

    async getExporterInterfaces({ params, query, signal }) {
      const address = readAddress(params.address)
      const range = readRange(query, deps.now())
      const question = { ...planned(range), exporter: address }
      const [flows, counted, named, said] = await Promise.all([
        deps.ask<InterfaceTraffic>(interfaceTraffic(question), signal),
        deps.ask<CountedTraffic>(countedTraffic({ range, exporter: address }), signal),
        deps.interfaces.find(address),
        saidNames(address, signal),
      ])
      // An average of the time in which there were any.
      const begin = Math.max(question.range.from / 1000, firstOf(flows.rows).get(address) ?? 0)
      const seconds = question.range.to / 1000 - begin
      const names = new Map(named.map(one => [one.index, one]))
      const byIndex = new Map(flows.rows.map(row => [row.index, row]))
      const watched = counted.rows.filter(row => row.seconds > 0)
      const own = new Map([...bestCounted(watched).values()].map(row => [row.index, row]))
      const indexes = [...new Set([...byIndex.keys(), ...own.keys(), ...names.keys()])]
      return {
        from: new Date(range.from).toISOString(),
        to: new Date(range.to).toISOString(),
        table: question.table.name,
        interfaces: indexes
          .sort((a, b) => a - b)
          .map(index => {
            const traffic = byIndex.get(index)
            const counters = own.get(index)
            const name = names.get(index) ?? said.get(index)
            const rate = (bytes: number | undefined, over: number) =>
              bytes === undefined ? null : (8 * bytes) / over
            return {
              ...{ index, name: name?.name ?? '', alias: name?.alias ?? '' },
              speed: name?.speed || Number(counters?.speed ?? 0),
              oper: counters?.oper ?? 0,
              flows: {
                in: rate(traffic && bytesIn(traffic), seconds),
                out: rate(traffic && bytesOut(traffic), seconds),
              },
              counters: {
                in: rate(counters?.inOctets, counters?.seconds ?? 1),
                out: rate(counters?.outOctets, counters?.seconds ?? 1),
              },
              by: counters === undefined ? null : sourceName(counters.source),
              ...{ discards: counters?.discards ?? 0, errors: counters?.errors ?? 0 },
            }
          }),
      }
    },
  }

  /** Names that the exporter says in its own stream. */
  async function saidNames(exporter: string, signal: AbortSignal): Promise<Map<number, Named>> {
    const { rows } = await deps.ask<{ index: number; name: string; alias: string }>(
      interfaceNamesSaid(exporter),
      signal,
    )
    return new Map(rows.map(row => [row.index, { ...row, speed: 0 }]))
  }
}

/** From the first to the last reading of any interface, by exporter. */
function spansOf(rows: Iterable<CountedTraffic>): Map<string, { from: number; to: number }> {
  const spans = new Map<string, { from: number; to: number }>()
  for (const { exporter, first, last } of rows) {
    const { from, to } = spans.get(exporter) ?? { from: first, to: last }
    spans.set(exporter, { from: Math.min(from, first), to: Math.max(to, last) })
  }
  return spans
}

/** Time of the first flow, by exporter. */
function firstOf(rows: readonly InterfaceTraffic[]): Map<string, number> {
  const times = new Map<string, number>()
  for (const { exporter, first } of rows) {
    times.set(exporter, Math.min(times.get(exporter) ?? first, first))
  }
  return times
}

/** Sequence numbers count flows in NetFlow 5 and 7, records in IPFIX, else datagrams. */
function expectedOf({ version, records, datagrams, lost }: Health): number {
  const { netflow5, netflow7, ipfix } = flowVersion
  const inRecords = version === netflow5 || version === netflow7 || version === ipfix
  return (inRecords ? records : datagrams) + lost
}

function sourceName(source: number): 'sflow' | 'snmp' {
  return source === counterSource.sflow ? 'sflow' : 'snmp'
}
