/** Questions about syslog messages and traps as SQL, newest first, paged by key. */
import { addressText, type Range, type Sql } from './question.ts'

export interface LogFilter {
  text?: string | undefined
  /** This severity or worse; messages without a priority match only if this is not given. */
  severity?: number | undefined
  sender?: string | undefined
}

/** Where a page ended: the moment of its last row and how many rows of that moment were given. */
export interface Cursor {
  time: number
  skip: number
}

const logColumns = `
  toUnixTimestamp64Milli(time) AS timeMs, toUnixTimestamp64Milli(received) AS receivedMs,
  ${addressText('sender')} AS senderText, host, app, msg_id, severity, facility, message, raw`

/** Rows of `LogRow`; ask for one more than a page to know whether there is a next. */
export function logPage(question: {
  range: Range
  filter: LogFilter
  cursor?: Cursor | undefined
  limit: number
}): Sql {
  const condition = conditionsOf('time', question.range, question.filter, question.cursor)
  return {
    text: `
      SELECT ${logColumns}
      FROM syslog
      WHERE ${condition.text}
      ORDER BY time DESC, received DESC, sender, cityHash64(raw)
      LIMIT {limit:UInt32} OFFSET {skip:UInt32}`,
    params: { ...condition.params, limit: question.limit, skip: question.cursor?.skip ?? 0 },
  }
}

export interface LogRow {
  timeMs: number
  receivedMs: number
  senderText: string
  host: string
  app: string
  msg_id: string
  severity: number
  facility: number
  message: string
  raw: string
}

/** Rows `{bucket (s), key (severity, 255 = none), value}`. */
export function logHistogram(question: { range: Range; filter: LogFilter; step: number }): Sql {
  const condition = conditionsOf('time', question.range, question.filter)
  return {
    text: `
      SELECT toUInt32(toStartOfInterval(toDateTime(time), toIntervalSecond({step:UInt32}))) AS bucket,
        toString(severity) AS key, count() AS value
      FROM syslog
      WHERE ${condition.text}
      GROUP BY bucket, key
      ORDER BY bucket, key`,
    params: { ...condition.params, step: question.step },
  }
}

/** Rows of `TrapRow`. */
export function trapPage(question: {
  range: Range
  filter: { text?: string | undefined; sender?: string | undefined }
  cursor?: Cursor | undefined
  limit: number
}): Sql {
  const condition = conditionsOf('received', question.range, question.filter, question.cursor, [
    'name',
    'oid',
    'varbinds',
  ])
  return {
    text: `
      SELECT toUnixTimestamp64Milli(received) AS receivedMs,
        ${addressText('sender')} AS senderText, ${addressText('agent')} AS agentText,
        version, oid, name, varbinds
      FROM trap
      WHERE ${condition.text}
      ORDER BY received DESC, sender, cityHash64(raw)
      LIMIT {limit:UInt32} OFFSET {skip:UInt32}`,
    params: { ...condition.params, limit: question.limit, skip: question.cursor?.skip ?? 0 },
  }
}

export interface TrapRow {
  receivedMs: number
  senderText: string
  agentText: string
  version: number
  oid: string
  name: string
  varbinds: string
}

/** The cursor after a page whose rows have these moments; undefined if it was the last page. */
export function cursorAfter(
  times: readonly number[],
  limit: number,
  before?: Cursor,
): Cursor | undefined {
  if (times.length <= limit) return undefined
  const time = times[limit - 1]!
  const same = times.slice(0, limit).filter(other => other === time).length
  return { time, skip: same + (before?.time === time ? before.skip : 0) }
}

export function formatCursor(cursor: Cursor | undefined): string | null {
  return cursor ? `${cursor.time}-${cursor.skip}` : null
}

/** Undefined for text that is no cursor. */
export function parseCursor(text: string): Cursor | undefined {
  const match = /^(\d{1,15})-(\d{1,9})$/.exec(text)
  return match ? { time: Number(match[1]), skip: Number(match[2]) } : undefined
}

function conditionsOf(
  time: string,
  range: Range,
  filter: LogFilter,
  cursor?: Cursor,
  searched: readonly string[] = ['raw'],
): Sql {
  const parts = [
    `${time} >= fromUnixTimestamp64Milli({from:Int64})`,
    `${time} < fromUnixTimestamp64Milli({to:Int64})`,
  ]
  const params: Record<string, unknown> = { from: range.from, to: range.to }
  if (cursor) {
    parts.push(`${time} <= fromUnixTimestamp64Milli({cursor:Int64})`)
    params.cursor = cursor.time
  }
  if (filter.severity !== undefined) {
    parts.push('severity <= {severity:UInt8}')
    params.severity = filter.severity
  }
  if (filter.sender !== undefined) {
    parts.push('sender = toIPv6OrDefault({sender:String})')
    params.sender = filter.sender
  }
  const words = filter.text?.split(/\s+/).filter(word => word !== '') ?? []
  for (const [index, word] of words.entries()) {
    const found = searched.map(
      column => `positionCaseInsensitiveUTF8(${column}, {word${index}:String}) > 0`,
    )
    parts.push(`(${found.join(' OR ')})`)
    params[`word${index}`] = word
  }
  return { text: parts.join(' AND '), params }
}
