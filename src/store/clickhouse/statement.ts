/** What the engine process has to know about a statement's text before it runs it. */

/** A string literal of ClickHouse SQL. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\0', '\\0')}'`
}

/** A quoted identifier. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
}

/** Formats whose pieces may be written one after the other; others have a frame around all rows. */
const streamable = new Set([
  'CSV',
  'JSONCompactEachRow',
  'JSONEachRow',
  'JSONStringsEachRow',
  'Native',
  'RowBinary',
  'TSV',
  'TSVRaw',
  'TabSeparated',
  'TabSeparatedRaw',
])

/**
 * The format of the answer, and whether the answer can be sent piece by piece. A statement that
 * speaks of a format elsewhere than at its end is answered in one piece, to be safe.
 */
export function outputOf(
  sql: string,
  defaultFormat: string,
): { format: string; streaming: boolean } {
  const named = /\bFORMAT\s+([A-Za-z]+)\s*;?\s*$/i.exec(sql)?.[1]
  const format = named ?? defaultFormat
  const certain = named !== undefined || !/\bFORMAT\s/i.test(sql)
  const reads = /^\s*(SELECT|WITH)\b/i.test(sql)
  return { format, streaming: certain && reads && streamable.has(format) }
}

/**
 * `INSERT INTO t FORMAT x` or `INSERT INTO t SELECT … FROM input('…') FORMAT x`, whose data come
 * apart from it, as an insert from a file. Undefined if the statement is none.
 */
export function insertFromFile(sql: string, file: string): string | undefined {
  const match = /^\s*(INSERT\s+INTO\s.+?)\s+FORMAT\s+([A-Za-z]+)\s*;?\s*$/is.exec(sql)
  if (match === null) return undefined
  const [, insert, format] = match as unknown as [string, string, string]
  const source = `file(${quote(file)}, ${quote(format)}`
  const input = /^(.+\sFROM\s+)input\(('(?:[^'\\]|\\.)*')\)$/is.exec(insert)
  if (input === null) return `${insert} SELECT * FROM ${source})`
  return `${input[1]}${source}, ${input[2]})`
}

/** True if the statement changes the session that runs it. */
export function changesSession(sql: string): boolean {
  return /^\s*(SET|USE)\b/i.test(sql)
}

/** True if the statement has the placeholder `{name:Type}`. */
export function mentions(sql: string, parameter: string): boolean {
  return new RegExp(`\\{\\s*${parameter}\\s*:`).test(sql)
}

/** True for what may stand in `SET name = …` unquoted. */
export function isSettingName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_.]{0,127}$/.test(name)
}

/** ClickHouse's error code in the text of an error; 1002 (unknown) if there is none. */
export function errorCodeOf(message: string): number {
  return Number(/^Code: (\d+)/.exec(message)?.[1] ?? 1002)
}

const statusOfCode: Record<number, number> = {
  16: 404, // NO_SUCH_COLUMN_IN_TABLE
  27: 400, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  33: 400, // CANNOT_READ_ALL_DATA
  36: 400, // BAD_ARGUMENTS
  46: 404, // UNKNOWN_FUNCTION
  47: 404, // UNKNOWN_IDENTIFIER
  50: 404, // UNKNOWN_TYPE
  53: 400, // TYPE_MISMATCH
  60: 404, // UNKNOWN_TABLE
  62: 400, // SYNTAX_ERROR
  73: 404, // UNKNOWN_FORMAT
  81: 404, // UNKNOWN_DATABASE
  115: 404, // UNKNOWN_SETTING
  117: 400, // INCORRECT_DATA
  159: 408, // TIMEOUT_EXCEEDED
  202: 503, // TOO_MANY_SIMULTANEOUS_QUERIES
  456: 400, // UNKNOWN_QUERY_PARAMETER
  457: 400, // BAD_QUERY_PARAMETER
  516: 403, // AUTHENTICATION_FAILED
}

/** The HTTP status with which ClickHouse reports an error code. */
export function statusOf(code: number): number {
  return statusOfCode[code] ?? 500
}
