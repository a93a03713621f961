/** Tells the network, again and again, which machine has an address. */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import type { KeeperProblem, KeeperReport } from './keeper-protocol.ts'
import type { Kernel } from './kernel.ts'
import type { Change } from './plan.ts'

export interface AnnouncerDeps {
  clock: Pick<Clock, 'monotonic'>
  kernel: Pick<Kernel, 'announce'>
  problem(reason: KeeperProblem, detail: Record<string, unknown>): void
  report(report: Extract<KeeperReport, { say: 'announced' }>): void
  /** Asks whether somebody else has the address too. */
  conflicts(one: Change, signal: AbortSignal): Promise<void>
}

export interface Announcer {
  /** These are held, and no others: new ones are announced at once. */
  settle(held: readonly Change[]): void
  /** Announces it each second for so long, since another answers for it. */
  insist(address: string, ms: number): void
  /** What people should know about an address; gone with the next announcement that succeeds. */
  fault(address: string, fault: string): void
  faults(): string[]
}

/** A switch or a neighbour may miss one of them: five, and one more when the network has settled. */
const firstMs = [0, 50, 50, 50, 50, 5000]
/** Switches forget, and machines that were away have learnt nothing: caches of 300 s exist. */
const everyMs = 60_000
const insistEveryMs = 1000

export function createAnnouncer(deps: AnnouncerDeps): Announcer {
  const running = new Map<string, { one: Change; end: AbortController }>()
  const faults = new Map<string, string>()
  /** Until when an address is announced each second, by the clock. */
  const insisting = new Map<string, number>()

  async function run(one: Change, signal: AbortSignal) {
    const first = [...firstMs]
    while (!signal.aborted) {
      const insists = (insisting.get(one.address) ?? 0) > deps.clock.monotonic()
      const waitMs = Math.min(first.shift() ?? everyMs, insists ? insistEveryMs : everyMs)
      await sleep(waitMs, undefined, { signal }).catch(() => {})
      // Both may have asked before either had it.
      if (waitMs >= insistEveryMs && !signal.aborted) await check(one, signal)
      if (!signal.aborted) void announce(one, signal)
    }
  }

  async function check(one: Change, signal: AbortSignal) {
    await deps.conflicts(one, signal).catch(error => {
      deps.problem('probe', { address: one.address, error: (error as Error).message })
    })
  }

  async function announce({ address, link }: Change, signal: AbortSignal) {
    try {
      await deps.kernel.announce(address, link, signal)
      if (signal.aborted) return
      faults.delete(address)
      deps.report({ say: 'announced', address })
    } catch (error) {
      const { message } = error as Error
      deps.problem('announce', { address, error: message })
      faults.set(address, `${address} is not announced: ${message}`)
    }
  }

  return {
    settle(held) {
      const now = new Map(held.map(one => [one.address, one]))
      for (const [address, { one, end }] of running) {
        if (now.get(address)?.link === one.link) continue
        end.abort()
        running.delete(address)
        faults.delete(address)
      }
      for (const [address, one] of now) {
        if (running.has(address)) continue
        const end = new AbortController()
        setMaxListeners(0, end.signal)
        running.set(address, { one, end })
        void run(one, end.signal)
      }
    },

    insist: (address, ms) => void insisting.set(address, deps.clock.monotonic() + ms),
    fault: (address, fault) => void faults.set(address, fault),
    faults: () => [...faults.values()],
  }
}
