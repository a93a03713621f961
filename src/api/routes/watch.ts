import type { z } from 'zod'
import type { collectorState } from '../contract/watch.ts'
import { ApiError, type Handlers } from '../handler.ts'
import { wire } from '../wire.ts'
import type { Page, PageRequest, Write } from '../write.ts'

interface Alarm {
  id: number
  key: string
  severity: 'warning' | 'critical'
  subject: string
  text: string
  raisedAt: Date
  clearedAt: Date | null
  acknowledgedBy: string | null
}

interface AuditEntry {
  id: number
  at: Date
  who: string
  action: string
  subject: string
  detail: Record<string, unknown>
  term: number
}

export function watchRoutes<Tx>(deps: {
  alarms: {
    list(request: PageRequest & { open?: boolean | undefined }): Promise<Page<Alarm>>
    acknowledge(tx: Tx, id: number): Promise<Alarm | null>
  }
  audit: { list(request: PageRequest): Promise<Page<AuditEntry>> }
  collectors(): { state: z.output<typeof collectorState>; seenAt: string; online: boolean }[]
  write: Write<Tx>
}): Handlers<'listAlarms' | 'acknowledgeAlarm' | 'listAudit' | 'listCollectors'> {
  return {
    async listAlarms({ query }) {
      const open = query.open === undefined ? undefined : query.open === 'true'
      const { rows, next } = await deps.alarms.list({ ...query, open })
      return { alarms: wire(rows), next }
    },

    async acknowledgeAlarm({ params, caller }) {
      const line = { action: 'acknowledge alarm', subject: String(params.id) }
      const alarm = await deps.write(caller, line, async tx => {
        const found = await deps.alarms.acknowledge(tx, params.id)
        if (!found) throw new ApiError('not-found', 'there is no such alarm')
        return found
      })
      return wire(alarm)
    },

    async listAudit({ query }) {
      const { rows, next } = await deps.audit.list(query)
      return { entries: rows.map(row => ({ ...wire(row), detail: row.detail })), next }
    },

    async listCollectors() {
      return { collectors: deps.collectors() }
    },
  }
}
