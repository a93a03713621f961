/** Questions about flows as SQL. Counters are scaled by each record's sampling rate. */
import { formatAddress, mapped, parseAddress } from '../telemetry/address.ts'
import { flowTable } from '../telemetry/flow.ts'
import { behindMarksSql } from '../telemetry/rollups.ts'
import { type TrafficDimension, trafficDimensions } from '../telemetry/traffic-dimensions.ts'
import { addressText, type Range, type Sql } from './question.ts'
import type { Piece, TrafficTable } from './traffic-tables.ts'

export type TrafficMetric = 'bits' | 'packets' | 'flows'

/** A condition or dimension that the flow table does not have, or a value that does not fit it. */
export class QuestionError extends Error {
  override name = 'QuestionError'
}

/** What every question about traffic says. */
export interface TrafficQuestion {
  table: TrafficTable
  range: Range
  /** From which sums over all of the range are read, instead of the table. */
  pieces?: readonly Piece[]
  /** `dimension=value`; all must hold. */
  where: readonly string[]
  /** By exporter: packets of which it looks at one by a person's word, whatever the records say. */
  sampling: ReadonlyMap<string, number>
}

/** The key of all that is in no group of its own. */
export const restKey = ''

/** Columns that a question groups and filters by. @throws QuestionError */
export function columnsOf(question: { by: readonly string[]; where: readonly string[] }): string[] {
  const filtered = question.where.map(condition => splitCondition(condition).dimension)
  return [...question.by, ...filtered].flatMap(name => dimensionNamed(name).needs)
}

/**
 * The largest groups by up to four dimensions: rows `{keys: string[], bytes, packets, flows}`.
 * @throws QuestionError
 */
export function trafficTop(
  question: TrafficQuestion & { by: readonly string[]; metric: TrafficMetric; limit: number },
): Sql {
  const dimensions = question.by.map(dimensionNamed)
  const { sums, source, params } = partsOf(question, question.pieces)
  const keys = `[${dimensions.map(textOf).join(', ')}] AS keys`
  const groups = dimensions.map(({ expression }) => expression).join(', ')
  const order = (equals: string) =>
    `ORDER BY ${orderOf(question.metric)} DESC, ${equals} LIMIT {limit:UInt32}`
  const parts = { params: { ...params, limit: question.limit } }
  // Ordered by their cells, so that only the keys of the answer are made text.
  if (dimensions.every(isColumn)) {
    return {
      ...parts,
      text: `
      SELECT ${keys}, ${sums.bytes} AS bytes, ${sums.packets} AS packets, ${sums.flows} AS flows
      FROM ${source}
      GROUP BY ${groups}
      ${order(groups)}`,
    }
  }
  // A name is looked up for each different value, and not for each row.
  const { selected, names, renamed } = firstBy(dimensions)
  return {
    ...parts,
    text: `
      SELECT ${keys}, sum(allBytes) AS bytes, sum(allPackets) AS packets, sum(allFlows) AS flows
      FROM (
        SELECT ${renamed}, allBytes, allPackets, allFlows
        FROM (
          SELECT ${selected},
            ${sums.bytes} AS allBytes, ${sums.packets} AS allPackets, ${sums.flows} AS allFlows
          FROM ${source}
          GROUP BY ${names}
        )
      )
      GROUP BY ${groups}
      ${order('keys')}`,
  }
}

/** By which rows are added up before names are looked up; under names of their own, and renamed. */
function firstBy(dimensions: readonly TrafficDimension[]) {
  const columns = new Map<string, string>()
  for (const { needs, from } of dimensions) {
    for (const name of needs) {
      const expression = from?.[name] ?? name
      // Where two dimensions need it differently: the whole column.
      columns.set(name, (columns.get(name) ?? expression) === expression ? expression : name)
    }
  }
  const entries = [...columns]
  return {
    selected: entries.map(([name, expression]) => `${expression} AS of_${name}`).join(', '),
    names: entries.map(([name]) => `of_${name}`).join(', '),
    renamed: entries.map(([name]) => `of_${name} AS ${name}`).join(', '),
  }
}

/** All of it together: one row `{bytes, packets, flows}`. @throws QuestionError */
export function trafficTotal(question: TrafficQuestion): Sql {
  const { sums, source, params } = partsOf(question, question.pieces)
  return {
    text: `
      SELECT ${sums.bytes} AS bytes, ${sums.packets} AS packets, ${sums.flows} AS flows
      FROM ${source}`,
    params,
  }
}

/**
 * Traffic by bucket: rows `{bucket (s), key, value}`; bits and packets per second, flows per bucket.
 * With `by` of those groups alone, which `trafficTop` has named; else of all traffic, the key empty.
 * @throws QuestionError
 */
export function trafficSeries(
  question: TrafficQuestion & {
    step: number
    metric: TrafficMetric
    by?: { dimension: string; keys: readonly string[] } | undefined
  },
): Sql {
  const { by } = question
  const dimension = by && dimensionNamed(by.dimension)
  const among = dimension && keysOf(dimension, by!.keys)
  const few = dimension?.from !== undefined
  const { sums, source, params } = partsOf(question, undefined, few ? undefined : among)
  const sum = question.metric === 'bits' ? `${sums.bytes} * 8` : sums[question.metric]
  const value = question.metric === 'flows' ? sum : `${sum} / {step:UInt32}`
  const bucket = 'toUInt32(toStartOfInterval(time, toIntervalSecond({step:UInt32}))) AS bucket'
  const key = dimension === undefined ? `'${restKey}'` : textOf(dimension)
  const group = dimension === undefined ? '' : `, ${dimension.expression}`
  if (!few) {
    return {
      text: `
      SELECT ${bucket}, ${key} AS key, ${value} AS value
      FROM ${source}
      GROUP BY bucket${group}
      ORDER BY bucket`,
      params: { ...params, step: question.step },
    }
  }
  const { selected, names, renamed } = firstBy([dimension])
  return {
    text: `
      SELECT bucket, ${key} AS key, sum(part) AS value
      FROM (
        SELECT bucket, ${renamed}, part
        FROM (
          SELECT ${bucket}, ${selected}, ${value} AS part
          FROM ${source}
          GROUP BY bucket, ${names}
        )
      )
      WHERE ${among!.text}
      GROUP BY bucket${group}
      ORDER BY bucket`,
    params: { ...params, ...among!.params, step: question.step },
  }
}

/** That a row is in one of the groups, as `trafficTop` names them. */
function keysOf({ type, expression }: TrafficDimension, keys: readonly string[]): Sql {
  const [itsType, values] =
    type === 'IPv6'
      ? (['IPv6', keys.map(mapped)] as const)
      : type === 'String'
        ? (['String', keys] as const)
        : (['UInt64', keys.map(Number)] as const)
  return { text: `${expression} IN {among:Array(${itsType})}`, params: { among: values } }
}

/** Where a question's rows come from, with what they count as. @throws QuestionError */
export function trafficParts(
  question: TrafficQuestion,
): { source: string; bytes: string } & Pick<Sql, 'params'> {
  const { source, params } = partsOf(question, question.pieces)
  return { source, params, bytes: `bytes * ${rateOf(question.sampling).text}` }
}

/** @param among one more condition */
function partsOf(
  question: TrafficQuestion,
  pieces: readonly Piece[] = [question],
  among?: Sql | undefined,
) {
  const condition = conditionsOf(question)
  if (among !== undefined) condition.parts.push(among.text)
  const rate = rateOf(question.sampling)
  const [only] = pieces
  const raw = pieces.length === 1 && only!.table.step === 1
  const params: Record<string, unknown> = {
    ...{ ...condition.params, ...rate.params, ...among?.params },
  }
  const sources = pieces.map(({ table, range }, index) => {
    const name = `piece${index}`
    params[`${name}from`] = Math.floor(range.from / 1000)
    params[`${name}to`] = Math.ceil(range.to / 1000)
    // As a DateTime the engine would not take a number of few digits.
    const within = `time >= toDateTime({${name}from:UInt32}) AND time < toDateTime({${name}to:UInt32})`
    return sourceOf(table, [within, ...condition.parts].join(' AND '), raw)
  })
  return {
    sums: {
      bytes: `sum(bytes * ${rate.text})`,
      packets: `sum(packets * ${rate.text})`,
      // The rows of a rollup are sums of flows.
      flows: raw ? 'count()' : 'sum(flows)',
    },
    source: raw ? sources[0]! : `(${sources.join(' UNION ALL ')})`,
    params,
  }

  function sourceOf({ name, group }: TrafficTable, where: string, alone: boolean): string {
    if (alone) return `${name} WHERE ${where} AND traffic = 1`
    const columns = ['time', ...columnsNeeded(question), 'bytes', 'packets']
    const part = (table: string, flows: string, more = '') =>
      `SELECT ${[...columns, flows].join(', ')} FROM ${table} WHERE ${where}${more}`
    const raw = (more: string) => part(flowTable.kind, 'toUInt64(1) AS flows', more)
    if (group === undefined) return raw(' AND traffic = 1')
    // With what is not in a rollup yet.
    return [part(name, 'flows'), raw(` AND traffic = 1 AND ${behindMarksSql(group)}`)].join(
      ' UNION ALL ',
    )
  }
}

/** Columns beside time and counters, of all that a question may group and filter by. */
function columnsNeeded({ table, pieces = [] }: TrafficQuestion): string[] {
  const tables = [table, ...pieces.map(piece => piece.table)].filter(({ step }) => step > 1)
  const smallest = tables.reduce((least, one) =>
    one.columns.size < least.columns.size ? one : least,
  )
  return [...smallest.columns]
}

function rateOf(sampling: ReadonlyMap<string, number>): Sql {
  if (sampling.size === 0) return { text: 'sampling', params: {} }
  const place = 'indexOf({sampled:Array(IPv6)}, exporter)'
  return {
    text: `if(${place} = 0, sampling, {rates:Array(UInt32)}[${place}])`,
    params: { sampled: [...sampling.keys()].map(mapped), rates: [...sampling.values()] },
  }
}

const byName = new Map(trafficDimensions.map(dimension => [dimension.name, dimension]))

function dimensionNamed(name: string): TrafficDimension {
  const dimension = byName.get(name)
  if (dimension) return dimension
  const known = [...byName.keys()].join(', ')
  throw new QuestionError(`"${name}" is not a dimension of traffic; there are ${known}`)
}

function splitCondition(condition: string): { dimension: string; value: string } {
  const split = condition.indexOf('=')
  if (split < 1) throw new QuestionError(`"${condition}" is not of the form dimension=value`)
  return { dimension: condition.slice(0, split), value: condition.slice(split + 1) }
}

function conditionsOf({ where }: TrafficQuestion): {
  parts: string[]
  params: Record<string, unknown>
} {
  const parts: string[] = []
  const params: Record<string, unknown> = {}
  for (const [index, condition] of where.entries()) {
    const { dimension, value } = splitCondition(condition)
    const { expression, type } = dimensionNamed(dimension)
    const name = `where${index}`
    switch (type) {
      case 'IPv6': {
        const address = parseAddress(value)
        if (!address) throw new QuestionError(`"${value}" is not an address`)
        parts.push(`${expression} = toIPv6({${name}:String})`)
        params[name] = formatAddress(address)
        break
      }
      case 'String':
        parts.push(`${expression} = {${name}:String}`)
        params[name] = value
        break
      default:
        if (!/^\d{1,10}$/.test(value)) throw new QuestionError(`"${value}" is not a number`)
        parts.push(`${expression} = {${name}:UInt64}`)
        params[name] = `${Number(value)}`
    }
  }
  return { parts, params }
}

/** And not something that is worked out of others. */
function isColumn({ needs, expression }: TrafficDimension): boolean {
  return needs.length === 1 && needs[0] === expression
}

function textOf({ type, expression }: TrafficDimension): string {
  return type === 'IPv6' ? addressText(expression) : `toString(${expression})`
}

function orderOf(metric: TrafficMetric): string {
  return metric === 'bits' ? 'bytes' : metric
}
