import type { z } from 'zod'
import {
  type Cursor,
  cursorAfter,
  formatCursor,
  type LogFilter,
  type LogRow,
  logHistogram,
  logPage,
  parseCursor,
  type TrapRow,
  trapPage,
} from '../../query/logs.ts'
import { bucketsOf, fillSeries, type Range, stepOf } from '../../query/question.ts'
import { formatAddress, parseAddress } from '../../telemetry/address.ts'
import type { Block } from '../../telemetry/native.ts'
import { type logRow, severities, type trapRow } from '../contract/logs.ts'
import { ApiError, type Handlers } from '../handler.ts'
import { readRange } from './range.ts'
import type { Ask } from './traffic.ts'

/** Segments of syslog as they are stored, for the live tail. */
export interface SyslogFeed {
  subscribe(listener: (block: Block) => void): () => void
}

/** Names of the devices by their address. */
export interface DeviceNames {
  nameOf(address: string): string | null
}

/** Messages kept for a tail that reads slower than they come; the rest is counted as dropped. */
const tailBacklog = 1000

const noSeverity = 255

export function logRoutes(deps: {
  ask: Ask
  feed: SyslogFeed
  names: DeviceNames
  now(): number
}): Handlers<'listLogs' | 'tailLogs' | 'getLogHistogram' | 'listTraps'> {
  const toLog = (row: LogRow): z.output<typeof logRow> => ({
    time: new Date(Number(row.timeMs)).toISOString(),
    received: new Date(Number(row.receivedMs)).toISOString(),
    sender: row.senderText,
    device: deps.names.nameOf(row.senderText),
    host: row.host,
    app: row.app,
    msgId: row.msg_id,
    severity: row.severity === noSeverity ? null : row.severity,
    facility: row.facility === noSeverity ? null : row.facility,
    message: row.message,
    raw: row.raw,
  })

  return {
    async listLogs({ query, signal }) {
      const range = readRange(query, deps.now())
      const cursor = readCursor(query.cursor, range)
      const sql = logPage({
        range,
        filter: query,
        cursor,
        limit: query.limit + 1,
      })
      const { rows } = await deps.ask<LogRow>(sql, signal)
      const next = cursorAfter(
        rows.map(row => Number(row.timeMs)),
        query.limit,
        cursor,
      )
      return { rows: rows.slice(0, query.limit).map(toLog), next: formatCursor(next) }
    },

    async *tailLogs({ query, signal }) {
      let waiting: LogRow[] = []
      let dropped = 0
      let wake = () => {}
      const unsubscribe = deps.feed.subscribe(block => {
        for (const row of matching(block, query)) {
          if (waiting.length < tailBacklog) waiting.push(row)
          else dropped++
        }
        wake()
      })
      signal.addEventListener('abort', () => wake(), { once: true })
      try {
        while (!signal.aborted) {
          if (waiting.length > 0 || dropped > 0) {
            const event = { rows: waiting.map(toLog), dropped }
            waiting = []
            dropped = 0
            yield event
          } else {
            await new Promise<void>(resolve => {
              wake = resolve
            })
          }
        }
      } finally {
        unsubscribe()
      }
    },

    async getLogHistogram({ query, signal }) {
      const range = readRange(query, deps.now())
      const step = stepOf(range)
      const sql = logHistogram({ range, filter: query, step })
      const { rows } = await deps.ask<{ bucket: number; key: string; value: number }>(sql, signal)
      const buckets = bucketsOf(range, step)
      const named = rows.map(row => ({
        bucket: row.bucket,
        key: severities[Number(row.key)] ?? 'none',
        value: Number(row.value),
      }))
      return {
        step,
        times: buckets.map(bucket => new Date(bucket * 1000).toISOString()),
        series: fillSeries(named, buckets),
      }
    },

    async listTraps({ query, signal }) {
      const range = readRange(query, deps.now())
      const cursor = readCursor(query.cursor, range)
      const sql = trapPage({
        range,
        filter: query,
        cursor,
        limit: query.limit + 1,
      })
      const { rows } = await deps.ask<TrapRow>(sql, signal)
      const next = cursorAfter(
        rows.map(row => Number(row.receivedMs)),
        query.limit,
        cursor,
      )
      const toTrap = (row: TrapRow): z.output<typeof trapRow> => ({
        received: new Date(Number(row.receivedMs)).toISOString(),
        sender: row.senderText,
        agent: row.agentText,
        device: deps.names.nameOf(row.agentText) ?? deps.names.nameOf(row.senderText),
        version: row.version,
        oid: row.oid,
        name: row.name,
        varbinds: (JSON.parse(row.varbinds) as { oid: string; type: string; value: unknown }[]).map(
          ({ oid, type, value }) => ({ oid, type, value: String(value) }),
        ),
      })
      return { rows: rows.slice(0, query.limit).map(toTrap), next: formatCursor(next) }
    },
  }
}

function readCursor(text: string | undefined, range: Range): Cursor | undefined {
  if (text === undefined) return undefined
  const cursor = parseCursor(text)
  if (!cursor || cursor.time > range.to)
    throw new ApiError('bad-request', 'cursor: not one that an answer gave as `next`')
  return cursor
}

/** The rows of a stored segment that the filter lets through, by the same rules as the SQL. */
function* matching(block: Block, filter: LogFilter): Generator<LogRow> {
  const words = (filter.text ?? '').toLowerCase().split(/\s+/).filter(Boolean)
  const sender = filter.sender === undefined ? undefined : parseAddress(filter.sender)
  const wanted = sender && formatAddress(sender)
  const cell = (name: string, row: number) => block.column(name)!.get(row)
  for (let row = 0; row < block.rows; row++) {
    const severity = cell('severity', row) as number
    if (filter.severity !== undefined && severity > filter.severity) continue
    const senderText = cell('sender', row) as string
    if (filter.sender !== undefined && senderText !== wanted) continue
    const raw = cell('raw', row) as string
    const lower = words.length > 0 ? raw.toLowerCase() : raw
    if (!words.every(word => lower.includes(word))) continue
    yield {
      timeMs: cell('time', row) as number,
      receivedMs: cell('received', row) as number,
      senderText,
      host: cell('host', row) as string,
      app: cell('app', row) as string,
      msg_id: cell('msg_id', row) as string,
      severity,
      facility: cell('facility', row) as number,
      message: cell('message', row) as string,
      raw,
    }
  }
}
