/** The engine's tables, derived from the column tables, and how a block gets into them. */
import { type ColumnRun, isDifference } from './runs.ts'
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
SETTINGS ${[...settingsOf(table), ...lastingOf(table)].join(', ')}`
}

/** Settings that a table keeps as it was created with them. */
function lastingOf({ granule }: Table): string[] {
  return granule === undefined ? [] : [`index_granularity = ${granule}`]
}

function settingsOf({ numbersInserts }: Table): string[] {
  return [
    'non_replicated_deduplication_window = 10000',
    'ttl_only_drop_parts = 1',
    'fsync_after_insert = 1',
    'fsync_part_directory = 1',
    // A segment in one file instead of two for each column: each of them is waited for.
    'min_bytes_for_wide_part = 67108864',
    // More parts at once, so that each row is written anew less often.
    'merge_selector_base = 12',
    ...(numbersInserts ? ['enable_block_number_column = 1'] : []),
  ]
}

/** Gives an older table the settings that it lacks: as the engine describes it. */
export function settingsSql(table: Table, present: string): string | undefined {
  const missing = settingsOf(table).filter(setting => !present.includes(setting))
  if (missing.length === 0) return undefined
  return `ALTER TABLE ${table.kind} MODIFY SETTING ${missing.join(', ')}`
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

/**
 * Gives columns of an older table the codecs of today; what is stored is written so when it is merged.
 *
 * @param present by column, in the engine's words: `CODEC(Delta(4), LZ4)`
 */
export function codecsSql(
  table: string,
  columns: readonly Pick<Column, 'name' | 'codec'>[],
  present: ReadonlyMap<string, string>,
): string | undefined {
  const changes = columns.flatMap(({ name, codec }) => {
    const before = present.get(name)?.replace(/(Delta)\(\d\)/g, '$1')
    const same = codec === undefined || before === undefined || before === `CODEC(${codec})`
    return same ? [] : [`MODIFY COLUMN ${name} CODEC(${codec})`]
  })
  return changes.length === 0 ? undefined : `ALTER TABLE ${table} ${changes.join(', ')}`
}

/**
 * `INSERT` of a Native block whose columns travel in these forms: what was left out of them, because
 * another column says it, is put together in the engine. Columns of zeros are not named.
 *
 * @param into a table with the same columns
 */
export function insertSql(
  table: Table,
  runs: readonly ColumnRun[],
  into: string = table.kind,
): string {
  const columns: readonly Column[] = table.columns
  const runOf = (column: Column) => runs.find(run => run.column === column)

  /** Milliseconds since 1970, without the difference that may have travelled. */
  function laterOf({ before }: Column): string {
    const column = columns.find(({ name }) => name === before)!
    const run = runOf(column)
    if (run !== undefined && !isDifference(run)) return `toUnixTimestamp64Milli(${column.name})`
    return run === undefined ? laterOf(column) : `(${laterOf(column)} - ${column.name})`
  }

  function cellOf(column: Column): string | undefined {
    const { name, type, before } = column
    const run = runOf(column)
    if (before === undefined) return run && name
    if (run !== undefined && !isDifference(run)) return name
    const less = run === undefined ? '' : ` - ${name}`
    return type === 'DateTime'
      ? `toDateTime(intDiv(${laterOf(column)}, 1000)${less})`
      : `fromUnixTimestamp64Milli(${laterOf(column)}${less})`
  }

  const values = columns.flatMap(column => {
    const value = cellOf(column)
    return value === undefined ? [] : [{ name: column.name, value }]
  })
  const structure = runs.map(({ column, form }) => `${column.name} ${form}`)
  return `INSERT INTO ${into} (${values.map(({ name }) => name).join(', ')})
SELECT ${values.map(({ value }) => value).join(', ')}
FROM input('${structure.join(', ')}') FORMAT Native`
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
