/**
 * Rollups: traffic summed by the minute, by five and by the hour. Each family keeps some of the flow
 * table's dimensions; a question is answered from the smallest table that has all it asks for.
 *
 * Two groups of families are filled apart. The sums have all traffic, without addresses. The largest
 * have addresses too: of each pair of interfaces, and of each exporter, in each bucket only those with
 * the most bytes.
 *
 * They are filled many inserts at a time, the coarser from the finer: to fill so many tables with
 * every insert costs many times what the flows themselves do. Until then a question adds up by itself
 * what is not in them: the engine numbers the blocks that are inserted into a partition, and keeps
 * the number of each row's.
 */
import { flowTable } from './flow.ts'
import type { Column } from './table.ts'

export type RollupStep = 60 | 300 | 3600

export const rollupGroups = ['sums', 'largest'] as const
export type RollupGroup = (typeof rollupGroups)[number]

export interface Rollup {
  group: RollupGroup
  family: string
  /** In the engine: `flow_application_5m`. */
  name: string
  /** Seconds of a bucket. */
  step: RollupStep
  /** The table that it is filled from. */
  from: string
  /** Columns of the flow table, derived ones too, by which it tells apart. */
  keys: readonly string[]
  /** Addresses of it are kept, times those of a pair of interfaces, where only the largest are. */
  times: number
  /** For the reference page. */
  doc: string
}

export const rollupSteps: readonly {
  step: RollupStep
  suffix: string
  keepDays: number
  /** Of each pair of interfaces in each bucket, where only the largest are kept. */
  mostAddresses: number
}[] = [
  { step: 60, suffix: '1m', keepDays: 30, mostAddresses: 10 },
  { step: 300, suffix: '5m', keepDays: 90, mostAddresses: 20 },
  { step: 3600, suffix: '1h', keepDays: 730, mostAddresses: 50 },
]

/** Sums of the table that a rollup is filled from, in the engine's SQL; nothing is scaled yet. */
const sumColumns = ['bytes', 'packets', 'flows'] as const

const exporterKeys = ['exporter', 'direction', 'version', 'sampling']
const placeKeys = ['exporter', 'in_if', 'out_if']
const interfaceKeys = [...placeKeys, 'direction', 'version', 'sampling']
const serviceKeys = ['protocol', 'service_port', 'application', 'tos']

interface Family {
  name: string
  group: RollupGroup
  keys: readonly string[]
  /** The family that it is summed up from. */
  of?: string
  /** Addresses of it are kept, times those of a pair of interfaces. */
  times?: number
  doc: string
}

/** What one is summed up from stands before it. */
const families: readonly Family[] = [
  {
    ...{ name: 'application', group: 'sums', keys: [...interfaceKeys, ...serviceKeys] },
    doc: 'Traffic by interface, protocol, service, application by the exporter and type of service.',
  },
  {
    ...{ name: 'interface', group: 'sums', of: 'application', keys: interfaceKeys },
    doc: 'Traffic by interface.',
  },
  {
    ...{ name: 'routing', group: 'sums', keys: [...exporterKeys, 'src_as', 'dst_as'] },
    doc: 'Traffic by exporter and autonomous systems.',
  },
  {
    ...{ name: 'exporter', group: 'sums', of: 'interface', keys: exporterKeys },
    doc: 'Traffic by exporter.',
  },
  {
    ...{ name: 'service', group: 'sums', of: 'application' },
    keys: [...exporterKeys, ...serviceKeys],
    doc: 'Traffic by exporter, protocol, service, application by the exporter and type of service.',
  },
  {
    ...{ name: 'source', group: 'largest', keys: [...interfaceKeys, 'src_addr'] },
    doc: 'The source addresses with the most traffic of each pair of interfaces.',
  },
  {
    ...{ name: 'destination', group: 'largest', keys: [...interfaceKeys, 'dst_addr'] },
    doc: 'The destination addresses with the most traffic of each pair of interfaces.',
  },
  {
    ...{ name: 'exporter_source', group: 'largest', of: 'source', times: 4 },
    ...{ keys: [...exporterKeys, 'src_addr'] },
    doc: 'The source addresses with the most traffic of each exporter.',
  },
  {
    ...{ name: 'exporter_destination', group: 'largest', of: 'destination', times: 4 },
    ...{ keys: [...exporterKeys, 'dst_addr'] },
    doc: 'The destination addresses with the most traffic of each exporter.',
  },
]

/** Each behind what it is filled from. */
export const rollups: readonly Rollup[] = families.flatMap(
  ({ name, group, keys, of, times = 1, doc }) =>
    rollupSteps.map(({ step, suffix }, index) => ({
      ...{ family: name, name: `flow_${name}_${suffix}`, group, step, keys, times, doc },
      from:
        index > 0
          ? `flow_${name}_${rollupSteps[index - 1]!.suffix}`
          : of === undefined
            ? flowTable.kind
            : `flow_${of}_${suffix}`,
    })),
)

/** By partition of the flow table: the number of the last block that is in a group's rollups. */
export type Marks = ReadonlyMap<string, number>

/** Holds for the flows behind those marks, which `marksParams` says. */
export function behindMarksSql(group: RollupGroup): string {
  const mark = `transform(_partition_id, {${group}Partitions:Array(String)}, {${group}Blocks:Array(UInt64)}, toUInt64(0))`
  // The name of a part tells its last block: others are not read.
  return `toUInt64(splitByChar('_', _part)[3]) > ${mark} AND _block_number > ${mark}`
}

export function marksParams(group: RollupGroup, marks: Marks): Record<string, unknown> {
  // The engine does not take empty lists there.
  const entries = [['', 0] as const, ...marks]
  return {
    [`${group}Partitions`]: entries.map(([partition]) => partition),
    [`${group}Blocks`]: entries.map(([, block]) => block),
  }
}

/** Where the next rows of a rollup are put together. */
export function nextTable(rollup: Rollup): string {
  return `${rollup.name}_next`
}

/** Where the next rows of a family with only the largest addresses are put together with all of them. */
function allTable(rollup: Rollup): string {
  return `flow_${rollup.family}_all`
}

const durable = 'fsync_after_insert = 1, fsync_part_directory = 1'

/** The tables beside a rollup in which its next rows are put together; none stay there. */
export function workTables(rollup: Rollup): string[] {
  const finest = rollup.step === rollupSteps[0]!.step
  // One serves all steps of a family.
  return rollup.group === 'largest' && finest
    ? [nextTable(rollup), allTable(rollup)]
    : [nextTable(rollup)]
}

/** As the flow table has them, where it does. */
export function rollupColumns({ keys }: Rollup): { name: string; type: string; codec: string }[] {
  return [
    { name: 'time', type: 'DateTime', codec: 'Delta, LZ4' },
    ...keys.map(name => ({ codec: 'T64, LZ4', ...columnNamed(name) })),
    ...sumColumns.map(name => ({ name, type: 'UInt64', codec: 'T64, LZ4' })),
  ]
}

/** @param keepDays undefined: rows are not kept by their age */
export function createRollupSql(rollup: Rollup, name: string, keepDays?: number): string {
  const { step, keys } = rollup
  const comment = "COMMENT 'Begin of the bucket.' "
  const lines = rollupColumns(rollup).map(
    column =>
      `${column.name} ${column.type} ${column.name === 'time' ? comment : ''}CODEC(${column.codec})`,
  )
  // Coarse time first, so that a question about one interface reads little.
  const [places, others] = ofPlaces(keys)
  const order = [`intDiv(toUInt32(time), ${24 * step})`, ...places, 'time', ...others]
  return `CREATE TABLE IF NOT EXISTS ${name}
(
  ${lines.join(',\n  ')}
)
ENGINE = SummingMergeTree((${sumColumns.join(', ')}))
PARTITION BY ${step < 3600 ? 'toYYYYMMDD(time)' : 'toYYYYMM(time)'}
ORDER BY (${order.join(', ')})
${keepDays === undefined ? '' : `TTL time + INTERVAL ${keepDays} DAY\n`}SETTINGS ttl_only_drop_parts = 1, ${durable}`
}

/**
 * Puts the next rows of a rollup together, one statement after the other: of flows, or of the next
 * rows of a finer one.
 * @param between the flows are behind the first marks, up to the second
 * @param most addresses that are kept of each pair of interfaces and bucket, where only the largest are
 */
export function sumSql(
  rollup: Rollup,
  between: readonly [Marks, Marks],
  most: number,
): readonly string[] {
  const { group, step, keys, from, times } = rollup
  const finer = rollups.find(({ name }) => name === from)
  const bucket = `toDateTime(intDiv(toUInt32(time), ${step}) * ${step})`
  const source = finer ? nextTable(finer) : `${flowTable.kind} WHERE ${betweenSql(between)}`
  const columns = ['time', ...keys, ...sumColumns].join(', ')
  const next = nextTable(rollup)
  // Rows come in the order of places. So the engine, which sums up rows that agree when it writes
  // them, has little to sort; grouping them before takes several times as long.
  const sum = (into: string) => `INSERT INTO ${into} (${columns})
SELECT ${[bucket, ...keys, 'bytes', 'packets', finer ? 'flows' : '1'].join(', ')}
FROM ${source} ${leavesRoom}`
  if (group === 'sums') return [`TRUNCATE TABLE ${next}`, sum(next)]
  const all = allTable(rollup)
  const [places] = ofPlaces(keys)
  const place = `cityHash64(${['time', ...places].join(', ')})`
  const kept = most * times
  const size = '-toFloat64(bytes) * sampling'
  return [
    `TRUNCATE TABLE ${all}`,
    sum(all),
    `TRUNCATE TABLE ${next}`,
    // In the order in which they are, for the same reason.
    `INSERT INTO ${next} (${columns})
SELECT ${columns}
FROM ${all}
ANY LEFT JOIN (
  SELECT ${place} AS place, arrayElement(groupArraySorted(${kept})(${size}), ${kept}) AS smallest
  FROM ${all}
  WHERE ${place} IN (SELECT ${place} FROM ${all} GROUP BY 1 HAVING count() > ${kept})
  GROUP BY place
) AS crowded ON ${place} = crowded.place
WHERE ${size} <= crowded.smallest ${leavesRoom}`,
  ]
}

/** Inserts and questions have the other processors. */
const leavesRoom = 'SETTINGS max_threads = 1'

function betweenSql([after, upTo]: readonly [Marks, Marks]): string {
  const parts = [...upTo].flatMap(([partition, block]) => {
    const mark = after.get(partition) ?? 0
    return block > mark
      ? `_partition_id = '${partition}' AND _block_number > ${mark} AND _block_number <= ${block}`
      : []
  })
  return `traffic = 1 AND (${parts.join(' OR ') || 'false'})`
}

/** What tells where flows were seen, apart from the rest. */
function ofPlaces(keys: readonly string[]): [places: string[], others: string[]] {
  const isPlace = (key: string) => placeKeys.includes(key)
  return [keys.filter(isPlace), keys.filter(key => !isPlace(key))]
}

function columnNamed(name: string): Pick<Column, 'name' | 'type' | 'codec'> {
  const column = [...flowTable.columns, ...flowTable.derived].find(each => each.name === name)
  if (column === undefined) throw new Error(`the flow table has no column ${name}`)
  return column
}
