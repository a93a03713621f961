/** What flows and what the interfaces' own counters say of interfaces, as SQL. */
import { formatAddress, mapped, parseAddress } from '../telemetry/address.ts'
import { counterTable } from '../telemetry/counter.ts'
import { namedThing, nameTable } from '../telemetry/name.ts'
import { addressText, type Range, type Sql } from './question.ts'
import { trafficParts } from './traffic.ts'
import type { Piece, TrafficTable } from './traffic-tables.ts'

/** Columns that `interfaceTraffic` reads. */
export const interfaceColumns = ['exporter', 'in_if', 'out_if', 'direction'] as const

/** Bytes through an interface by the flows, scaled; see `bytesIn` and `bytesOut`. */
export interface InterfaceTraffic {
  exporter: string
  index: number
  /** Of flows that came in by it: metered there, and metered where they went out. */
  inIngress: number
  inEgress: number
  outIngress: number
  outEgress: number
  /** Of its first flow, or of the bucket that it is in; seconds since 1970. */
  first: number
}

/** What an interface has counted between its readings of a range, by who said so. */
export interface CountedTraffic {
  exporter: string
  index: number
  source: number
  /** Seconds between readings, without those across a restart. */
  seconds: number
  inOctets: number
  outOctets: number
  discards: number
  errors: number
  /** Of the first and the last reading, seconds since 1970. */
  first: number
  last: number
  /** Of the newest reading. */
  oper: number
  speed: number
}

/** Rows `InterfaceTraffic`. */
export function interfaceTraffic(question: {
  table: TrafficTable
  pieces: readonly Piece[]
  range: Range
  sampling: ReadonlyMap<string, number>
  /** All of them, if it is not said. */
  exporter?: string
  /** By exporter: nothing outside of that time counts (seconds since 1970), and no other exporter. */
  spans?: ReadonlyMap<string, { from: number; to: number }>
}): Sql {
  const { exporter, spans } = question
  const where = exporter === undefined ? [] : [`exporter=${exporter}`]
  const { bytes, source, params } = trafficParts({ ...question, where })
  const sum = (way: 'in' | 'out', metered: 'ingress' | 'egress') =>
    `toFloat64(sumIf(amount, way = '${way}' AND direction ${metered === 'egress' ? '=' : '!='} 1))`
  const inSpan =
    spans === undefined
      ? ''
      : `AND toUInt32(time) >= {spanFrom:Array(UInt32)}[indexOf({spanOf:Array(IPv6)}, sender)]
         AND toUInt32(time) < {spanTo:Array(UInt32)}[indexOf({spanOf:Array(IPv6)}, sender)]`
  if (spans !== undefined) {
    params.spanOf = [...spans.keys()].map(mapped)
    params.spanFrom = [...spans.values()].map(({ from }) => from)
    params.spanTo = [...spans.values()].map(({ to }) => to)
  }
  return {
    text: `
      SELECT ${addressText('sender')} AS exporter, index,
        ${sum('in', 'ingress')} AS inIngress, ${sum('in', 'egress')} AS inEgress,
        ${sum('out', 'ingress')} AS outIngress, ${sum('out', 'egress')} AS outEgress,
        toUInt32(min(time)) AS first
      FROM (
        SELECT exporter AS sender, time, direction, ${bytes} AS amount,
          arrayJoin([('in', in_if), ('out', out_if)]) AS place, place.1 AS way, place.2 AS index
        FROM ${source}
      )
      WHERE index != 0 ${inSpan}
      GROUP BY sender, index
      ORDER BY sender, index`,
    params,
  }
}

/** Where both ends of its way through the device are metered, a flow is there twice: once counts. */
export function bytesIn({ inIngress, inEgress }: InterfaceTraffic): number {
  return inIngress || inEgress
}

export function bytesOut({ outIngress, outEgress }: InterfaceTraffic): number {
  return outEgress || outIngress
}

/** Rows `CountedTraffic`. */
export function countedTraffic(question: { range: Range; exporter?: string }): Sql {
  const { range, exporter } = question
  const params: Record<string, unknown> = {
    from: Math.floor(range.from / 1000),
    to: Math.ceil(range.to / 1000),
  }
  const conditions = [
    'time >= toDateTime({from:UInt32})',
    'time < toDateTime({to:UInt32})',
    ...(exporter === undefined ? [] : ['exporter = toIPv6({exporter:String})']),
  ]
  if (exporter !== undefined) params.exporter = formatAddress(parseAddress(exporter)!)
  const before = (column: string) => `lagInFrame(${column}, 1, ${column}) OVER readings`
  const since = (column: string) => `toFloat64(${column} - ${before(column)})`
  return {
    text: `
      SELECT ${addressText('exporter')} AS exporter, if_index AS index, source,
        sum(elapsed) AS seconds, sum(inward) AS inOctets, sum(outward) AS outOctets,
        toUInt32(min(time)) AS first, toUInt32(max(time)) AS last,
        sum(discarded) AS discards, sum(faulty) AS errors,
        argMax(oper, time) AS oper, argMax(speed, time) AS speed
      FROM (
        SELECT exporter, if_index, source, time, oper, speed,
          in_octets >= ${before('in_octets')} AND out_octets >= ${before('out_octets')} AS steady,
          steady * (toInt64(time) - toInt64(${before('time')})) AS elapsed,
          if(steady, ${since('in_octets')}, 0) AS inward,
          if(steady, ${since('out_octets')}, 0) AS outward,
          greatest(0, toInt64(in_discards + out_discards) - toInt64(${before('in_discards + out_discards')})) AS discarded,
          greatest(0, toInt64(in_errors + out_errors) - toInt64(${before('in_errors + out_errors')})) AS faulty
        FROM ${counterTable.kind}
        WHERE ${conditions.join(' AND ')}
        WINDOW readings AS (PARTITION BY exporter, if_index, source ORDER BY time)
      )
      GROUP BY exporter, if_index, source
      ORDER BY exporter, if_index, source`,
    params,
  }
}

/** Of two who say what an interface counted, the one that watched it longer. */
export function bestCounted(rows: readonly CountedTraffic[]): Map<string, CountedTraffic> {
  const best = new Map<string, CountedTraffic>()
  for (const row of rows) {
    const key = `${row.exporter} ${row.index}`
    const other = best.get(key)
    if (other === undefined || other.seconds < row.seconds) best.set(key, row)
  }
  return best
}

/** What an exporter calls its interfaces in its own stream: rows `{index, name, alias}`. */
export function interfaceNamesSaid(exporter: string): Sql {
  return {
    text: `
      SELECT id AS index, argMax(name, time) AS name, argMax(description, time) AS alias
      FROM ${nameTable.kind}
      WHERE exporter = toIPv6({exporter:String}) AND what = ${namedThing.interface}
      GROUP BY id`,
    params: { exporter: formatAddress(parseAddress(exporter)!) },
  }
}
