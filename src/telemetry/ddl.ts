/** The engine's tables, derived from the column tables. */
import type { Column, Table } from './table.ts'

/**
 * `CREATE TABLE` for a telemetry table in ClickHouse.
 * The deduplication window lets a segment that is delivered twice be stored once (token per insert).
 */
export function createTableSql(table: Table, options: { keepDays?: number } = {}): string {
  const time = table.columns[0]!.name
  const lines = table.columns.map(columnSql)
  return `CREATE TABLE IF NOT EXISTS ${table.kind}
(
  ${lines.join(',\n  ')}
)
ENGINE = MergeTree
PARTITION BY ${table.partitionBy}
ORDER BY (${table.orderBy.join(', ')})
TTL toDateTime(${time}) + INTERVAL ${options.keepDays ?? table.keepDays} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1`
}

function columnSql(column: Column): string {
  const codec = column.codec === undefined ? '' : ` CODEC(${column.codec})`
  const comment = column.doc.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
  return `${column.name} ${column.stored ?? column.type}${codec} COMMENT '${comment}'`
}
