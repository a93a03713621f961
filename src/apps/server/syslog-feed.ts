import type { SyslogFeed } from '../../api/routes/logs.ts'
import type { SyslogRow } from '../../devices/change.ts'
import type { Tally } from '../../lib/tally.ts'
import { type LogRow, logPage } from '../../query/logs.ts'
import { type Block, decodeNative } from '../../telemetry/native.ts'
import type { Kind } from '../../telemetry/table.ts'
import { tables } from '../../telemetry/tables.ts'

/** Syslog as it is stored: for those who watch it live, and for what looks for changes in it. */
export interface ServerSyslogFeed extends SyslogFeed {
  /** Called with each segment once it is stored. */
  stored(kind: Kind, native: Uint8Array): void
  /** Passes on what was stored in the last minutes. */
  lookBack(now: number): Promise<void>
}

/** A takeover and the delivery of what collectors held back meanwhile fit in easily. */
const lookBackMs = 10 * 60_000
const lookBackRows = 10_000

export function createSyslogFeed(deps: {
  tally: Pick<Tally<'syslog-feed'>, 'count'>
  onRows(rows: readonly SyslogRow[]): void
  ask<T>(
    sql: string,
    params: Record<string, unknown>,
    options: { maxRows: number },
  ): Promise<{ rows: T[] }>
}): ServerSyslogFeed {
  const listeners = new Set<(block: Block) => void>()
  return {
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },

    stored(kind, native) {
      if (kind !== 'syslog') return
      try {
        const block = decodeNative(native, tables.syslog)
        for (const listener of listeners) listener(block)
        deps.onRows(rowsOf(block))
      } catch (error) {
        deps.tally.count('syslog-feed', () => ({ error: (error as Error).message }))
      }
    },

    async lookBack(now) {
      const sql = logPage({
        range: { from: now - lookBackMs, to: now + lookBackMs },
        filter: { text: 'config' },
        limit: lookBackRows,
      })
      const { rows } = await deps.ask<LogRow>(sql.text, sql.params, { maxRows: lookBackRows })
      deps.onRows(
        rows.map(row => ({
          time: Number(row.timeMs),
          sender: row.senderText,
          host: row.host,
          msgId: row.msg_id,
          message: row.message,
          raw: row.raw,
        })),
      )
    },
  }
}

function rowsOf(block: Block): SyslogRow[] {
  const column = (name: string) => block.column(name)!
  const [time, sender, host, msgId, message, raw] = [
    column('time'),
    column('sender'),
    column('host'),
    column('msg_id'),
    column('message'),
    column('raw'),
  ]
  return Array.from({ length: block.rows }, (_, row) => ({
    time: time!.get(row) as number,
    sender: sender!.get(row) as string,
    host: host!.get(row) as string,
    msgId: msgId!.get(row) as string,
    message: message!.get(row) as string,
    raw: raw!.get(row) as string,
  }))
}
