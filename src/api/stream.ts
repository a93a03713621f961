/** Answers as server-sent events (HTML standard, "Server-sent events"). */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'

export interface StreamTimes {
  /** A comment so often shows both sides that the other still lives; the right to read is asked anew. */
  pingMs: number
  /** A reader that takes nothing for so long is cut off. */
  stallMs: number
}

export const streamTimes: StreamTimes = { pingMs: 15_000, stallMs: 60_000 }

/**
 * Sends the events until there are no more, the reader goes, or he may not read any longer.
 *
 * @param open begins the events; they have to end with its signal
 */
export async function sendEvents(
  reply: FastifyReply,
  open: (signal: AbortSignal) => AsyncIterable<unknown>,
  gone: AbortSignal,
  mayGoOn: () => Promise<boolean>,
  times: StreamTimes,
): Promise<void> {
  const { raw } = reply
  const headers = reply.getHeaders() as Record<string, string>
  reply.hijack()
  const ended = new AbortController()
  const signal = AbortSignal.any([gone, ended.signal])
  raw.writeHead(200, {
    ...headers,
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-store',
    // Proxies that gather answers would hold the events back.
    'X-Accel-Buffering': 'no',
  })
  raw.write(':\n\n')
  let stalled = false
  const ping = setInterval(async () => {
    if (!stalled) raw.write(':\n\n')
    if (!(await mayGoOn())) ended.abort()
  }, times.pingMs)
  try {
    for await (const event of open(signal)) {
      if (signal.aborted) break
      if (raw.write(`data: ${JSON.stringify(event)}\n\n`)) continue
      stalled = true
      if (!(await drained(reply, signal, times.stallMs))) raw.destroy()
      stalled = false
    }
  } catch (error) {
    // The answer has begun: an end without its last chunk tells the reader that something failed.
    raw.destroy()
    throw error
  } finally {
    clearInterval(ping)
    raw.end()
  }
}

/** False if nothing was taken for so long. */
async function drained(reply: FastifyReply, signal: AbortSignal, limitMs: number) {
  const over = new AbortController()
  const { promise, resolve } = Promise.withResolvers<true>()
  const go = () => resolve(true)
  reply.raw.once('drain', go)
  signal.addEventListener('abort', go, { once: true })
  const late = sleep(limitMs, false, { signal: over.signal }).catch(() => false)
  const result = await Promise.race([promise, late])
  over.abort()
  reply.raw.off('drain', go)
  signal.removeEventListener('abort', go)
  return result
}
