import { setTimeout as sleep } from 'node:timers/promises'

/** Waits for the work, but no longer than that. Rejects as the work does. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const done = new AbortController()
  const late = sleep(ms, undefined, { signal: done.signal }).catch(() => {})
  await Promise.race([work, late]).finally(() => done.abort())
}
