/**
 * Rollups: traffic summed by the minute, by five and by the hour, without addresses. Each family
 * keeps some of the flow table's dimensions; a question is answered from the smallest table that
 * has all it asks for.
 *
 * What is inserted is copied by the engine to the recent table, and summed up from there many inserts
 * at a time, the coarser from the finer: to fill nine tables with every insert costs many times what
 * the flows themselves do. Until then a question adds up what is recent by itself.
 */
import { flowTable } from './flow.ts'
import type { Column } from './table.ts'

export type RollupStep = 60 | 300 | 3600

export interface Rollup {
  /** In the engine: `flow_application_5m`. */
  name: string
  /** Seconds of a bucket. */
  step: RollupStep
  /** The table that it is filled from. */
  from: string
  /** Columns of the flow table, derived ones too, by which it tells apart. */
  keys: readonly string[]
  /** For the reference page. */
  doc: string
}

export const rollupSteps: readonly { step: RollupStep; suffix: string; keepDays: number }[] = [
  { step: 60, suffix: '1m', keepDays: 30 },
  { step: 300, suffix: '5m', keepDays: 90 },
  { step: 3600, suffix: '1h', keepDays: 730 },
]

/** Sums of the table that a rollup is filled from, in the engine's SQL; nothing is scaled yet. */
const sumColumns = ['bytes', 'packets', 'flows'] as const

const exporterKeys = ['exporter', 'direction', 'version', 'sampling']
const interfaceKeys = ['exporter', 'in_if', 'out_if', 'direction', 'version', 'sampling']
const serviceKeys = ['protocol', 'service_port', 'application', 'tos']

interface Family {
  name: string
  keys: readonly string[]
  /** The family that it is summed up from. */
  of?: string
  doc: string
}

/** What one is summed up from stands before it. */
const families: readonly Family[] = [
  { name: 'interface', keys: interfaceKeys, doc: 'Traffic by interface.' },
  {
    name: 'application',
    keys: [...interfaceKeys, ...serviceKeys],
    doc: 'Traffic by interface, protocol, service, application by the exporter and type of service.',
  },
  {
    name: 'routing',
    keys: [...exporterKeys, 'src_as', 'dst_as'],
    doc: 'Traffic by exporter and autonomous systems.',
  },
  { name: 'exporter', of: 'interface', keys: exporterKeys, doc: 'Traffic by exporter.' },
  {
    ...{ name: 'service', of: 'application', keys: [...exporterKeys, ...serviceKeys] },
    doc: 'Traffic by exporter, protocol, service, application by the exporter and type of service.',
  },
]

/** Each behind what it is filled from. */
export const rollups: readonly Rollup[] = families.flatMap(({ name, keys, of, doc }) =>
  rollupSteps.map(({ step, suffix }, index) => ({
    ...{ name: `flow_${name}_${suffix}`, step, keys, doc },
    from:
      index > 0
        ? `flow_${name}_${rollupSteps[index - 1]!.suffix}`
        : of === undefined
          ? flowTable.kind
          : `flow_${of}_${suffix}`,
  })),
)

/** What is not in the rollups yet: as it came, and what is just being summed up. */
export const recentTables = ['flow_recent', 'flow_rolling'] as const

/** Copies what is inserted to the recent table. */
export const recentFeed = `${recentTables[0]}_feed`

/** Columns that any rollup tells apart by. */
const recentKeys = [...new Set(rollups.flatMap(({ keys }) => keys))]

/** Where the next rows of a rollup are put together. */
export function nextTable(rollup: Rollup): string {
  return `${rollup.name}_next`
}

const durable = 'fsync_after_insert = 1, fsync_part_directory = 1'

export function createRecentSql(name: (typeof recentTables)[number]): string {
  const lines = [
    'time DateTime',
    ...recentKeys.map(key => `${key} ${columnNamed(key).type}`),
    'bytes UInt64',
    'packets UInt64',
    'INDEX times time TYPE minmax GRANULARITY 1',
  ]
  return `CREATE TABLE IF NOT EXISTS ${name}
(
  ${lines.join(',\n  ')}
)
ENGINE = MergeTree
ORDER BY tuple()
SETTINGS non_replicated_deduplication_window = 10000, ${durable}`
}

/** Copies each inserted block; as the block itself, a repeated insert is dropped by its token. */
export function createFeedSql(): string {
  const keys = recentKeys.map(key => {
    const derived = flowTable.derived.find(column => column.name === key)
    return derived === undefined ? key : `${derived.expression} AS ${key}`
  })
  return `CREATE MATERIALIZED VIEW IF NOT EXISTS ${recentFeed} TO ${recentTables[0]} AS
SELECT ${['time', ...keys, 'bytes', 'packets'].join(', ')}
FROM ${flowTable.kind}
WHERE traffic = 1`
}

/** @param keepDays undefined: the table of its next rows, in which none stay */
export function createRollupSql(rollup: Rollup, keepDays?: number): string {
  const { step, keys } = rollup
  const name = keepDays === undefined ? nextTable(rollup) : rollup.name
  const lines = [
    "time DateTime COMMENT 'Begin of the bucket.' CODEC(DoubleDelta, ZSTD(1))",
    ...keys.map(key => `${key} ${columnNamed(key).type} CODEC(ZSTD(1))`),
    ...sumColumns.map(sum => `${sum} UInt64 CODEC(T64, ZSTD(1))`),
  ]
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

/** Puts the next rows of a rollup together: of what is being summed up, or of those of a finer one. */
export function sumSql(rollup: Rollup): string {
  const { step, keys, from } = rollup
  const finer = rollups.find(({ name }) => name === from)
  const sums = finer
    ? sumColumns.map(sum => `sum(${sum})`)
    : ['sum(bytes)', 'sum(packets)', 'count()']
  const columns = ['time', ...keys, ...sumColumns].join(', ')
  const bucket = `toDateTime(intDiv(toUInt32(time), ${step}) * ${step})`
  return `INSERT INTO ${nextTable(rollup)} (${columns})
SELECT ${[`${bucket} AS bucket`, ...keys, ...sums].join(', ')}
FROM ${finer ? nextTable(finer) : recentTables[1]}
GROUP BY ${['bucket', ...keys].join(', ')}`
}

/** What tells where flows were seen, apart from the rest. */
function ofPlaces(keys: readonly string[]): [places: string[], others: string[]] {
  const isPlace = (key: string) => ['exporter', 'in_if', 'out_if'].includes(key)
  return [keys.filter(isPlace), keys.filter(key => !isPlace(key))]
}

function columnNamed(name: string): Pick<Column, 'type'> {
  const column = [...flowTable.columns, ...flowTable.derived].find(each => each.name === name)
  if (column === undefined) throw new Error(`the flow table has no column ${name}`)
  return column
}
