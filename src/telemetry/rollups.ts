/**
 * Rollups: traffic summed by the minute, by five and by the hour, without addresses. Each family
 * keeps some of the flow table's dimensions; a question is answered from the smallest table that
 * has all it asks for. The engine fills them with each insert, the coarser ones from the finer.
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

const interfaceKeys = ['exporter', 'in_if', 'out_if', 'direction', 'version', 'sampling']

const families: readonly { name: string; keys: readonly string[]; doc: string }[] = [
  { name: 'interface', keys: interfaceKeys, doc: 'Traffic by interface.' },
  {
    name: 'application',
    keys: [...interfaceKeys, 'protocol', 'service_port', 'tos'],
    doc: 'Traffic by interface, protocol, service and type of service.',
  },
  {
    name: 'routing',
    keys: [...interfaceKeys, 'src_as', 'dst_as'],
    doc: 'Traffic by interface and autonomous systems.',
  },
]

/** The smaller families first; of each, the finer before those that are filled from it. */
export const rollups: readonly Rollup[] = families.flatMap(({ name, keys, doc }) =>
  rollupSteps.map(({ step, suffix }, index) => ({
    name: `flow_${name}_${suffix}`,
    step,
    from: index === 0 ? flowTable.kind : `flow_${name}_${rollupSteps[index - 1]!.suffix}`,
    keys,
    doc,
  })),
)

export function createRollupSql(rollup: Rollup, keepDays: number): string {
  const { name, step, keys } = rollup
  const lines = [
    "time DateTime COMMENT 'Begin of the bucket.' CODEC(DoubleDelta, ZSTD(1))",
    ...keys.map(key => `${key} ${columnNamed(key).type} CODEC(ZSTD(1))`),
    ...sumColumns.map(sum => `${sum} UInt64 CODEC(T64, ZSTD(1))`),
  ]
  const [exporter, inIf, outIf, ...others] = keys
  // Coarse time first, so that a question about one interface reads little.
  const order = [`intDiv(toUInt32(time), ${24 * step})`, exporter, inIf, outIf, 'time', ...others]
  return `CREATE TABLE IF NOT EXISTS ${name}
(
  ${lines.join(',\n  ')}
)
ENGINE = SummingMergeTree((${sumColumns.join(', ')}))
PARTITION BY ${step < 3600 ? 'toYYYYMMDD(time)' : 'toYYYYMM(time)'}
ORDER BY (${order.join(', ')})
TTL time + INTERVAL ${keepDays} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1,
  fsync_after_insert = 1, fsync_part_directory = 1`
}

/** Carries each inserted block on; as the block itself, a repeated insert is dropped by its token. */
export function createFeedSql({ name, step, from, keys }: Rollup): string {
  const raw = from === flowTable.kind
  const bucket = `toDateTime(intDiv(toUInt32(time), ${step}) * ${step})`
  const selected = keys.map(key => (raw ? selectedKey(key) : key))
  const sums = raw
    ? ['sum(bytes) AS bytes', 'sum(packets) AS packets', 'count() AS flows']
    : sumColumns.map(sum => `sum(${sum}) AS ${sum}`)
  return `CREATE MATERIALIZED VIEW IF NOT EXISTS ${name}_feed TO ${name} AS
SELECT ${[`${bucket} AS time`, ...selected, ...sums].join(', ')}
FROM ${from}${raw ? '\nWHERE traffic = 1' : ''}
GROUP BY ${['time', ...keys].join(', ')}`
}

function selectedKey(key: string): string {
  const derived = flowTable.derived.find(column => column.name === key)
  return derived === undefined ? key : `${derived.expression} AS ${key}`
}

function columnNamed(name: string): Pick<Column, 'type'> {
  const column = [...flowTable.columns, ...flowTable.derived].find(each => each.name === name)
  if (column === undefined) throw new Error(`the flow table has no column ${name}`)
  return column
}
