/** What a collector of a pair says to the other server's before it listens. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../lib/clock.ts'
import type { Delivery } from './deliver.ts'

/** For a datagram that was on its way to both servers at the hello. */
const underWayMs = 50
/** A turn of the event loop reads so many of a socket, if they are there. */
const fullTurn = 32
const emptyMs = 1000

/**
 * The active that believed this one dead stores alone what it takes. What comes here before it knows
 * better must not be kept for a takeover too: resolves when what comes from now on is news to it.
 *
 * @param listeners.skipped datagrams that were read and thrown away so far
 */
export async function sayHello(
  to: readonly Pick<Delivery, 'hello'>[],
  listeners: { clock: Clock; skipped: () => number },
): Promise<void> {
  if (to.length === 0) return
  const { clock, skipped } = listeners
  await Promise.all(to.map(delivery => delivery.hello()))
  await sleep(underWayMs)
  // What waits in the sockets came before: a turn that brings few has emptied them.
  const until = clock.monotonic() + emptyMs
  for (let before = -1; before < 0 || skipped() - before >= fullTurn; ) {
    if (clock.monotonic() > until) return
    before = skipped()
    await nextTurn()
  }
}
