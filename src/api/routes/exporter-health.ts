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
import { formatAddress, parseAddress } from '../../telemetry/address.ts'
import { counterSource } from '../../telemetry/counter.ts'
import { flowVersion } from '../../telemetry/flow.ts'
import type { collectorState } from '../contract/watch.ts'
import { ApiError, type Handlers } from '../handler.ts'
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
/** Readings further apart than that part of the range say nothing of it. */
const leastWatched = 0.3

/** How exporters are, and their flows beside what interfaces count themselves. */
export function exporterHealthRoutes(deps: {
  collectors(): { state: State; online: boolean }[]
  /** Names of interfaces by SNMP. */
  interfaces: { list(): Promise<{ exporter: string; interfaces: Named[] }[]> }
  /** Name of the device with an address. */
  deviceAt(address: string): string | null
  ask: Ask
  now(): number
  keptSince(table: string): number | undefined
  sampling(): ReadonlyMap<string, number>
}): Handlers<'listHeardExporters' | 'compareExporters' | 'getExporterInterfaces'> {
  /** @param exporter undefined: all of them */
  async function compare(range: Range, signal: AbortSignal, exporter?: string) {
    const step = stepOf(range)
    const whole = wholeBuckets(range, step)
    const choice = tableFor(interfaceColumns, whole, step, deps.keptSince)
    const pieces = piecesFor(choice, interfaceColumns, whole, deps.keptSince)
    const of = exporter === undefined ? {} : { exporter }
    const traffic = { table: choice.table, pieces, range: whole, sampling: deps.sampling(), ...of }
    const [flows, counted] = await Promise.all([
      deps.ask<InterfaceTraffic>(interfaceTraffic(traffic), signal),
      deps.ask<CountedTraffic>(countedTraffic({ range, ...of }), signal),
    ])
    const seconds = (range.to - range.from) / 1000
    const usable = counted.rows.filter(row => row.seconds >= leastWatched * seconds)
    return {
      ...{ table: choice.table.name, seconds: (whole.to - whole.from) / 1000 },
      ...{ flows: flows.rows, counted: bestCounted(usable) },
    }
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
      const { flows, counted, seconds } = await compare({ from: to - comparedMs, to }, signal)
      const sums = new Map<string, { interfaces: number; flows: number; counters: number }>()
      for (const row of flows) {
        const own = counted.get(`${row.exporter} ${row.index}`)
        if (own === undefined || bytesIn(row) === 0) continue
        const sum = sums.get(row.exporter) ?? { interfaces: 0, flows: 0, counters: 0 }
        sums.set(row.exporter, sum)
        sum.interfaces++
        sum.flows += (8 * bytesIn(row)) / seconds
        sum.counters += (8 * own.inOctets) / own.seconds
      }
      return { exporters: [...sums].map(([exporter, sum]) => ({ exporter, ...sum })) }
    },

    async getExporterInterfaces({ params, query, signal }) {
      const address = readAddress(params.address)
      const range = readRange(query, deps.now())
      const [{ flows, counted, seconds, table }, named] = await Promise.all([
        compare(range, signal, address),
        deps.interfaces.list(),
      ])
      const names = new Map(
        named.find(one => one.exporter === address)?.interfaces.map(one => [one.index, one]),
      )
      const byIndex = new Map(flows.map(row => [row.index, row]))
      const own = new Map([...counted.values()].map(row => [row.index, row]))
      const indexes = [...new Set([...byIndex.keys(), ...own.keys(), ...names.keys()])]
      const said = await saidNames(address, signal)
      return {
        from: new Date(range.from).toISOString(),
        to: new Date(range.to).toISOString(),
        table,
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

function readAddress(text: string): string {
  const bytes = parseAddress(text)
  if (!bytes) throw new ApiError('bad-request', `"${text}" is not an address`)
  return formatAddress(bytes)
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
