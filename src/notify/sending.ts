/**
 * The sending of one term. A notice is `sending` from its claim, and `ending` from just before its
 * last bytes: what a former active left `sending` nobody has, so it is sent again; what it left
 * `ending` somebody may have, and it is sent again under the same identity.
 */
import type { Clock } from '../lib/clock.ts'
import { TermOver } from '../lib/errors.ts'
import type { Tally } from '../lib/tally.ts'
import type { Delivery } from './channel.ts'
import { createMailer } from './mail.ts'
import type { NotifierConfig, NotifySettings } from './notifier.ts'
import type { Channel, ClaimedNotice, OutboxQueue } from './outbox.ts'
import { createPauses, type Pauses } from './pauses.ts'
import { createWebhook } from './webhook.ts'

export interface Sending {
  stop(): Promise<void>
  nudge(): void
  drain(withinMs: number): Promise<void>
}

/** `repeated`: left in doubt by a former active, so sent again. */
export type Trouble =
  | 'database'
  | 'overtaken'
  | 'repeated'
  | 'doubtful'
  | 'refused'
  | 'later'
  | 'gave-up'

/** From the fenced mark to the end may pass no more: this process may have been asleep. */
const freshMs = 2000
const databaseRetryMs = 1000
const pruneEveryMs = 3_600_000
/** A hand-over that does not come about after all holds up nothing for longer. */
const afterDrainMs = 5000

export function createSending(
  deps: {
    clock: Clock
    queue: OutboxQueue
    settings(): NotifySettings
    tally: Pick<Tally<Trouble>, 'count'>
    sent(notice: ClaimedNotice): void
  },
  config: NotifierConfig,
  term: number,
): Sending {
  const { clock, queue, tally } = deps
  const stopping = new AbortController()
  const mailer = createMailer(config.mail)
  const webhook = createWebhook(config.webhook)
  const wakers = new Set<() => void>()
  const underWay = new Set<Promise<unknown>>()
  let drainedUntil = 0

  /** Until then, a nudge, or the stop. */
  function sleep(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    wakers.add(resolve)
    if (stopping.signal.aborted) resolve()
    return promise.finally(() => {
      clearTimeout(timer)
      wakers.delete(resolve)
    })
  }

  /** Until then or the stop, whoever nudges. */
  async function rest(ms: number) {
    const until = clock.monotonic() + ms
    for (let left = ms; left > 0 && !stopping.signal.aborted; left = until - clock.monotonic()) {
      await sleep(left)
    }
  }

  function nudge() {
    for (const wake of wakers) wake()
  }

  /** Repeats until the database takes it. @returns undefined: this term has nothing to say any more */
  async function insist<T>(call: () => Promise<T>): Promise<{ value: T } | undefined> {
    for (;;) {
      try {
        return { value: await call() }
      } catch (error) {
        if (countFailure(error) === 'overtaken') return undefined
      }
      if (stopping.signal.aborted) return undefined
      await rest(databaseRetryMs)
    }
  }

  function countFailure(error: unknown): 'overtaken' | 'database' {
    const reason = error instanceof TermOver ? 'overtaken' : 'database'
    tally.count(reason, () => ({ error: (error as Error).message }))
    return reason
  }

  const mayEnd = (notice: ClaimedNotice) => async () => {
    const before = { monotonic: clock.monotonic(), wall: clock.wall() }
    const marked = await queue.ending(term, notice.id).catch(error => {
      countFailure(error)
      return false
    })
    const took = Math.max(
      clock.monotonic() - before.monotonic,
      Math.abs(clock.wall() - before.wall),
    )
    return marked && took < freshMs && !stopping.signal.aborted
  }

  async function send(notice: ClaimedNotice): Promise<Delivery> {
    const { mail, webhook: hook } = deps.settings()
    if (notice.channel === 'mail' && mail) return mailer.send(mail, notice, mayEnd(notice))
    if (notice.channel === 'webhook' && hook) return webhook.send(hook, notice, mayEnd(notice))
    return { done: 'withheld' }
  }

  /** Writes down how it ended. @returns milliseconds that the channel rests */
  async function settle(notice: ClaimedNotice, delivery: Delivery, pauses: Pauses) {
    const { id, channel, recipient, attempts, ageMs } = notice
    const later = async (failure: string, delayMs: number) => {
      await insist(() => queue.later(term, id, failure, delayMs))
    }
    const fail = async (failure: string) => {
      await insist(() => queue.failed(term, id, failure))
    }
    if (delivery.done === 'withheld') {
      await later('it was held back before its end', databaseRetryMs)
      return 0
    }
    if (delivery.done === 'sent') {
      pauses.succeeded()
      deps.sent(notice)
      await insist(() => queue.sent(term, id))
      return 0
    }
    const { failure } = delivery
    const gaveUp = delivery.done !== 'refused' && ageMs >= config.giveUpMs
    tally.count(gaveUp ? 'gave-up' : delivery.done, () => ({ id, channel, recipient, failure }))
    const ofChannel = delivery.done === 'later' && delivery.of === 'channel'
    if (!ofChannel) pauses.succeeded()
    const pause = ofChannel ? pauses.ofChannel() : pauses.ofMessage(attempts)
    if (delivery.done === 'refused') await fail(failure)
    else if (gaveUp) await fail(`given up after ${Math.round(ageMs / 3_600_000)} hours: ${failure}`)
    else if (delivery.done === 'later') await later(failure, pause)
    else await later(`${failure}: it may have been taken, and is sent again as the same`, pause)
    return ofChannel ? pause : 0
  }

  async function serve(channel: Channel) {
    const pauses = createPauses()
    let discarded = false
    while (!stopping.signal.aborted) {
      if (deps.settings()[channel] === null) {
        // Once: nothing is added for a channel that is not set up.
        if (!discarded) await insist(() => queue.discard(term, channel))
        discarded = true
        await rest(config.pollMs)
        continue
      }
      discarded = false
      if (clock.monotonic() < drainedUntil) {
        await rest(drainedUntil - clock.monotonic())
        continue
      }
      const claimed = await insist(() => queue.claim(term, channel))
      if (claimed === undefined) return
      const notice = claimed.value
      if (notice === undefined) {
        await sleep(config.pollMs)
        continue
      }
      const attempt = send(notice).then(delivery => settle(notice, delivery, pauses))
      underWay.add(attempt)
      await rest(await attempt.finally(() => underWay.delete(attempt)))
    }
  }

  async function prune() {
    while (!stopping.signal.aborted) {
      await insist(() => queue.prune(term, config.keepMs))
      await rest(pruneEveryMs)
    }
  }

  const work = (async () => {
    const left = await insist(() => queue.reopen(term))
    if (left === undefined) return
    for (let again = left.value.ending; again > 0; again--) tally.count('repeated')
    await Promise.all([serve('mail'), serve('webhook'), prune()])
  })()

  return {
    nudge,

    async drain(withinMs) {
      drainedUntil = clock.monotonic() + withinMs + afterDrainMs
      await within(withinMs, Promise.allSettled(underWay))
    },

    async stop() {
      stopping.abort()
      nudge()
      // What was sent whole has this long to be answered; nothing else is waited for.
      await within(config.stopMs, work)
      mailer.close()
      webhook.close()
      // What is not written down now is found half sent by whoever follows.
      await within(config.stopMs, work)
    },
  }
}

/** Waits for it, at most so long. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>(resolve => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, late])
  clearTimeout(timer)
}
