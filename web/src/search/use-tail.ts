import { useEffect, useRef, useState } from 'react'
import { type AnswerOf, useBase, useClient } from '../api/hooks.ts'
import { addressOf } from '../api/routes.ts'
import { openStream } from '../api/stream.ts'

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

    const end = openStream<Batch>(
      addressOf(base, 'tailLogs', { query: { text, severity, sender } }),
      {
        event: take,
        status(status, problem) {
          setState(before => ({ ...before, status, problem: problem ?? kept(before, status) }))
          if (status === 'waiting') void connection.poll()
        },
      },
    )
    return () => {
      clearInterval(draw)
      end()
    }
  }, [base, connection, enabled, text, severity, sender])

  return state
}

/** Why it is not live stays to be read while it is tried again. */
function kept(before: TailState, status: TailState['status']): string | null {
  return status === 'live' ? null : before.problem
}
