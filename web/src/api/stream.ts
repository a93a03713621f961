/** A stream of events that goes on: opened again by itself when it breaks. */
import { errorOf, reasonOf } from './errors.ts'
import { readEvents } from './events.ts'

const connectMs = 5000
/** The server writes a comment every 15 s, so this long a silence is a dead connection. */
const silenceMs = 40_000
const firstRetryMs = 500
const slowestRetryMs = 8000

export interface StreamListener<Event> {
  event(event: Event): void
  /** `problem`: why it is not live. */
  status(status: 'connecting' | 'live' | 'waiting', problem: string | null): void
}

/** @returns ends it; the listener is not called afterwards */
export function openStream<Event>(address: string, listener: StreamListener<Event>): () => void {
  const ended = new AbortController()

  async function read(): Promise<void> {
    const attempt = new AbortController()
    const stop = () => attempt.abort()
    ended.signal.addEventListener('abort', stop, { once: true })
    let timer = setTimeout(() => attempt.abort(new Error('no answer in time')), connectMs)
    try {
      const response = await fetch(address, { credentials: 'include', signal: attempt.signal })
      if (!response.ok) throw await errorOf(response)
      listener.status('live', null)
      const heard = () => {
        clearTimeout(timer)
        timer = setTimeout(() => attempt.abort(new Error('it fell silent')), silenceMs)
      }
      heard()
      for await (const data of readEvents(response, heard)) {
        if (ended.signal.aborted) return
        listener.event(JSON.parse(data) as Event)
      }
      throw new Error('the server ended the stream')
    } finally {
      clearTimeout(timer)
      ended.signal.removeEventListener('abort', stop)
    }
  }

  async function follow(): Promise<void> {
    let retryMs = firstRetryMs
    while (!ended.signal.aborted) {
      const began = performance.now()
      listener.status('connecting', null)
      try {
        await read()
      } catch (error) {
        if (ended.signal.aborted) return
        listener.status('waiting', reasonOf(error))
      }
      // One that lasted was no failure to connect.
      if (performance.now() - began > slowestRetryMs) retryMs = firstRetryMs
      await pause(retryMs, ended.signal)
      retryMs = Math.min(2 * retryMs, slowestRetryMs)
    }
  }

  void follow()
  return () => ended.abort()
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
