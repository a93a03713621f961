import { useEffect, useState } from 'react'
import type { PairState } from './connection.ts'
import { useBase, useConnection } from './hooks.ts'
import { addressOf } from './routes.ts'
import { openStream } from './stream.ts'

export interface LivePair {
  pair: PairState | null
  /** When that was received, by `Date.now`. */
  at: number
  /** It comes as it changes, not by the poll. */
  live: boolean
}

/** The pair as it changes and at each heartbeat; by the poll while the stream is broken. */
export function useLivePair(): LivePair {
  const base = useBase()
  const { pair: polled } = useConnection()
  const [streamed, setStreamed] = useState<LivePair | null>(null)
  const [asked, setAsked] = useState({ pair: polled, at: Date.now() })
  if (asked.pair !== polled) setAsked({ pair: polled, at: Date.now() })

  useEffect(() => {
    setStreamed(null)
    return openStream<PairState>(addressOf(base, 'watchPair', {}), {
      event: pair => setStreamed({ pair, at: Date.now(), live: true }),
      status(status) {
        if (status === 'waiting') setStreamed(null)
      },
    })
  }, [base])

  return streamed ?? { pair: polled, at: asked.at, live: false }
}
