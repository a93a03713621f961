/** The engine's tables, derived from the column tables. */
import type { Column, DerivedColumn, Table } from './table.ts'

/**
 * `CREATE TABLE` for a telemetry table in ClickHouse.
 * The deduplication window lets a segment that is delivered twice be stored once (token per insert);
 * an insert is on disk before it is acknowledged, because the collector deletes its segment then.
 */
export function createTableSql(table: Table, options: { keepDays?: number } = {}): string {
  const time = table.columns[0]!.name
  const lines = [...table.columns.map(columnSql), ...(table.derived ?? []).map(derivedSql)]
  return `CREATE TABLE IF NOT EXISTS ${table.kind}
(
  ${lines.join(',\n  ')}
)
ENGINE = MergeTree
PARTITION BY ${table.partitionBy}
ORDER BY (${table.orderBy.join(', ')})
TTL toDateTime(${time}) + INTERVAL ${options.keepDays ?? table.keepDays} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1,
  fsync_after_insert = 1, fsync_part_directory = 1`
}

/** Gives an older table a column that the column table has gained, in its place. */
export function addColumnSql(table: Table, column: Column): string {
  const index = table.columns.findIndex(each => each.name === column.name)
  const place = index > 0 ? `AFTER ${table.columns[index - 1]!.name}` : 'FIRST'
  return `ALTER TABLE ${table.kind} ADD COLUMN IF NOT EXISTS ${columnSql(column)} ${place}`
}

/** Gives an older table a derived column. */
export function addDerivedSql(table: Table, column: DerivedColumn): string {
  return `ALTER TABLE ${table.kind} ADD COLUMN IF NOT EXISTS ${derivedSql(column)}`
}

function derivedSql({ name, type, expression, doc }: DerivedColumn): string {
  return `${name} ${type} ALIAS ${expression} COMMENT '${quoted(doc)}'`
}

function columnSql(column: Column): string {
  const codec = column.codec === undefined ? '' : ` CODEC(${column.codec})`
  return `${column.name} ${column.stored ?? column.type} COMMENT '${quoted(column.doc)}'${codec}`
}

function quoted(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
}
