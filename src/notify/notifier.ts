/** Tells people and programs what the outbox holds; work of the active. */
import { Counter, Histogram } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import { defaultMailConfig, type MailConfig, type MailSettings } from './mail.ts'
import type { OutboxQueue } from './outbox.ts'
import { createSending, type Sending, type Trouble } from './sending.ts'
import { defaultWebhookConfig, type WebhookConfig, type WebhookSettings } from './webhook.ts'

/** Null: the channel is not set up, nothing is sent by it. */
export interface NotifySettings {
  mail: MailSettings | null
  webhook: WebhookSettings | null
}

export interface NotifierConfig {
  mail: MailConfig
  webhook: WebhookConfig
  /** How often it looks for what is due. */
  pollMs: number
  /** After so long a notice is given up. */
  giveUpMs: number
  /** At a stop, how long it waits for the answer to what has been sent whole. */
  stopMs: number
  /** What was sent or given up is kept so long. */
  keepMs: number
}

export const defaultNotifierConfig: NotifierConfig = {
  mail: defaultMailConfig,
  webhook: defaultWebhookConfig,
  pollMs: 2000,
  giveUpMs: 24 * 3_600_000,
  stopMs: 200,
  keepMs: 90 * 24 * 3_600_000,
}

export interface Notifier {
  /** In the background; a start after a stop begins anew. */
  start(term: number): Promise<void>
  stop(): Promise<void>
  /** Something was added: it is looked for now. */
  nudge(): void
  /**
   * Before a planned hand-over: begins nothing more for a while, and waits at most so long for what
   * is under way, so that no answer is missed.
   */
  drain(withinMs: number): Promise<void>
}

export function createNotifier(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    queue: OutboxQueue
    /** As they are now. */
    settings(): NotifySettings
  },
  config: NotifierConfig = defaultNotifierConfig,
): Notifier {
  const { clock, queue, settings } = deps
  const tally = createTally<Trouble>(deps, {
    name: 'notify_problems',
    help: 'Notices that were not simply sent, by reason',
  })
  const taken = new Counter({
    name: 'keepwatch_notices_sent_total',
    help: 'Notices that a mail server or a webhook has taken',
    labelNames: ['channel', 'class'],
    registers: [deps.metrics],
  })
  const seconds = new Histogram({
    name: 'keepwatch_notice_seconds',
    help: 'From the event to the first attempt that was taken',
    labelNames: ['channel'],
    buckets: [1, 3, 10, 30, 100, 300, 1000, 3600, 86_400],
    registers: [deps.metrics],
  })
  let sending: Sending | undefined

  return {
    async start(term) {
      if (sending !== undefined) throw new Error('the notifier has been started already')
      const sent = (notice: { channel: string; class: string; ageMs: number }) => {
        taken.inc({ channel: notice.channel, class: notice.class })
        seconds.observe({ channel: notice.channel }, Math.max(0, notice.ageMs) / 1000)
      }
      sending = createSending({ clock, queue, settings, tally, sent }, config, term)
    },
    async stop() {
      const ending = sending
      sending = undefined
      await ending?.stop()
    },
    nudge: () => sending?.nudge(),
    drain: async withinMs => sending?.drain(withinMs),
  }
}
