import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { noticeEndpoints } from '../contract/notices.ts'
import { ApiError, type Handler } from '../handler.ts'
import { wire } from '../wire.ts'
import type { Page, PageRequest, Write } from '../write.ts'

type Endpoints = typeof noticeEndpoints

interface Notice {
  id: number
  class: 'self-monitoring' | 'synchronization' | 'takeover' | 'test'
  channel: 'mail' | 'webhook'
  recipient: string
  subject: string
  state: 'waiting' | 'sending' | 'ending' | 'sent' | 'failed'
  attempts: number
  failure: string | null
  created: Date
  sentAt: Date | null
}

interface Condition {
  key: string
  class: 'self-monitoring' | 'synchronization'
  severity: 'warning' | 'critical'
  subject: string
  text: string
}

/** Whoever sends a test waits for what the mail server says, at most so long. */
const patienceMs = 15_000
const lookEveryMs = 100

export function noticeRoutes<Tx>(deps: {
  outbox: {
    list(request: PageRequest & { state?: Notice['state'] | undefined }): Promise<Page<Notice>>
    find(keys: readonly string[]): Promise<Notice[]>
  }
  notices: {
    /** @returns the keys of what was added; none if nobody is set up to be told */
    test(tx: Tx, id: string, at: Date): Promise<string[]>
    nudge(): void
  }
  /** What is wrong now, known without the database. */
  conditions(): readonly Condition[]
  write: Write<Tx>
  now(): number
}): { [K in keyof Endpoints]: Handler<Endpoints[K]> } {
  return {
    async listNotices({ query }) {
      const { rows, next } = await deps.outbox.list(query)
      return { notices: rows.map(shown), next }
    },

    async sendTestNotice({ caller, signal }) {
      const line = { action: 'send test notice', subject: 'pair' }
      const keys = await deps.write(caller, line, async tx => {
        const added = await deps.notices.test(tx, randomUUID(), new Date(deps.now()))
        if (added.length > 0) return added
        throw new ApiError(
          'conflict',
          'nobody is set up to be told: set mail recipients or a webhook first',
        )
      })
      deps.notices.nudge()
      const until = deps.now() + patienceMs
      for (;;) {
        const notices = await deps.outbox.find(keys)
        if (notices.every(hasAnswer) || deps.now() > until) return { notices: notices.map(shown) }
        await sleep(lookEveryMs, undefined, { signal })
      }
    },

    async listConditions() {
      return { conditions: [...deps.conditions()] }
    },
  }
}

function hasAnswer({ state, attempts }: Notice): boolean {
  return state === 'sent' || state === 'failed' || (state === 'waiting' && attempts > 0)
}

/** The path of a webhook is often what lets one call it. */
function shown(notice: Notice) {
  const { channel, recipient } = notice
  return { ...wire(notice), recipient: channel === 'mail' ? recipient : hostOf(recipient) }
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? 'webhook'
}
