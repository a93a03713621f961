import { useEffect, useRef, useState } from 'react'
import { errorOf, reasonOf } from '../api/errors.ts'
import { readEvents } from '../api/events.ts'
import { type AnswerOf, useBase, useClient } from '../api/hooks.ts'
import { addressOf } from '../api/routes.ts'

type Batch = AnswerOf<'tailLogs'>
export interface TailRow {
  /** Counts up as messages come, the row's identity on screen. */
  serial: number
  row: Batch['rows'][number]
}

/** Messages kept, the newest; older ones fall out. */
export const tailBound = 5000
/** How often what has come is drawn, ms. */
const drawMs = 250
const connectMs = 5000
/** The server writes a comment every 15 s, so this long a silence is a dead connection. */
const silenceMs = 40_000
const slowestRetryMs = 8000

export interface TailState {
  /** Newest first. */
  rows: readonly TailRow[]
  status: 'connecting' | 'live' | 'waiting'
  /** Why it is not live. */
  problem: string | null
  /** Messages that matched but came too fast for this reader, by the server. */
  dropped: number
  /** Messages that have come since it was opened. */
  received: number
}

const start: TailState = { rows: [], status: 'connecting', problem: null, dropped: 0, received: 0 }

/** Log messages as they come, from whichever server the console talks to; reconnects by itself. */
export function useTail(
  filter: { text?: string | undefined; severity?: string | undefined; sender?: string | undefined },
  enabled: boolean,
): TailState {
  const base = useBase()
  const { connection } = useClient()
  const [state, setState] = useState(start)
  const serial = useRef(0)
  const { text, severity, sender } = filter

  // biome-ignore lint/correctness/useExhaustiveDependencies: another filter is another tail, from nothing
  useEffect(() => setState(start), [text, severity, sender, enabled])

  useEffect(() => {
    if (!enabled) return
    const ended = new AbortController()
    let waiting: TailRow[] = []
    let dropped = 0
    const draw = setInterval(() => {
      if (waiting.length === 0 && dropped === 0) return
      const come = waiting.toReversed()
      const more = dropped
      waiting = []
      dropped = 0
      setState(before => ({
        ...before,
        rows: [...come, ...before.rows].slice(0, tailBound),
        dropped: before.dropped + more,
        received: before.received + come.length,
      }))
    }, drawMs)

    function take(batch: Batch) {
      dropped += batch.dropped
      for (const row of batch.rows) waiting.push({ serial: ++serial.current, row })
      // A page in the background draws seldom; what it would throw away is not worth keeping.
      if (waiting.length > tailBound) waiting = waiting.slice(-tailBound)
    }

    async function follow(): Promise<void> {
      let retryMs = 500
      while (!ended.signal.aborted) {
        const attempt = new AbortController()
        const stop = () => attempt.abort()
        ended.signal.addEventListener('abort', stop, { once: true })
        let timer = setTimeout(() => attempt.abort(new Error('no answer in time')), connectMs)
        try {
          setState(before => ({ ...before, status: 'connecting' }))
          const response = await fetch(
            addressOf(base, 'tailLogs', { query: { text, severity, sender } }),
            { credentials: 'include', signal: attempt.signal },
          )
          if (!response.ok) throw await errorOf(response)
          setState(before => ({ ...before, status: 'live', problem: null }))
          retryMs = 500
          const heard = () => {
            clearTimeout(timer)
            timer = setTimeout(() => attempt.abort(new Error('it fell silent')), silenceMs)
          }
          heard()
          for await (const data of readEvents(response, heard)) take(JSON.parse(data) as Batch)
          throw new Error('the server ended the stream')
        } catch (error) {
          if (ended.signal.aborted) return
          setState(before => ({ ...before, status: 'waiting', problem: reasonOf(error) }))
          void connection.poll()
        } finally {
          clearTimeout(timer)
          ended.signal.removeEventListener('abort', stop)
        }
        await new Promise<void>(resolve => {
          const retry = setTimeout(resolve, retryMs)
          ended.signal.addEventListener(
            'abort',
            () => {
              clearTimeout(retry)
              resolve()
            },
            { once: true },
          )
        })
        retryMs = Math.min(2 * retryMs, slowestRetryMs)
      }
    }
    void follow()
    return () => {
      clearInterval(draw)
      ended.abort()
    }
  }, [base, connection, enabled, text, severity, sender])

  return state
}
