import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import type { ApiError } from '../api/errors.ts'
import { type AnswerOf, useAnswer, useClient } from '../api/hooks.ts'
import { boundsOf, boundsQuery, type Range, refreshOf } from './range.ts'
import type { Metric } from './series.ts'

interface TrafficQuestion {
  range: Range
  metric: Metric
  where?: readonly string[]
  /** Ask it although it is too large. */
  anyway?: boolean
  /** Look at every flow, however long that takes. */
  exact?: boolean
}

/** A question about traffic, and what can be said of it while it is being answered. */
export interface Asked<A> {
  data: A | undefined
  isError: boolean
  error: ApiError | null
  refetch: () => unknown
  /** The name of the question that has been asked for longer than a moment; null: none. */
  slow: string | null
  /** It was stopped before there was any answer. */
  stopped: boolean
  stop: () => void
}

const momentMs = 1000
/** As long as the server takes at most, and then some. */
const longestMs = 620_000

/** Traffic over time; a range that moves with the clock is asked anew at its own pace. */
export function useTrafficSeries(question: TrafficQuestion & { by?: string; groups?: number }) {
  return useQuestion('getTrafficSeries', question)
}

/** The largest groups of the range. */
export function useTrafficTop(question: TrafficQuestion & { by: string; limit: number }) {
  return useQuestion('getTrafficTop', question)
}

function useQuestion<N extends 'getTrafficSeries' | 'getTrafficTop'>(
  name: N,
  question: TrafficQuestion,
): Asked<AnswerOf<N>> {
  const client = useClient()
  const queries = useQueryClient()
  const queryKey = [name, question]
  const [ask, setAsk] = useState('')
  const { range, where, anyway = false, exact = false, ...rest } = question
  const query = useQuery<AnswerOf<N>, ApiError>({
    queryKey,
    queryFn: ({ signal }) => {
      const id = newId()
      setAsk(id)
      const asked = {
        ...rest,
        ...boundsQuery(boundsOf(range, Date.now())),
        ...(anyway ? { anyway: 'true' as const } : {}),
        ...(exact ? { exact: 'true' as const } : {}),
        ask: id,
        where: where === undefined ? undefined : [...where],
      }
      return client.call(name, { query: asked } as never, {
        signal,
        ...(anyway ? { withinMs: longestMs } : {}),
      })
    },
    // What takes long is not asked again by itself.
    refetchInterval: anyway ? false : refreshOf(range),
    retry: false,
    placeholderData: keepPreviousData as never,
  })
  const slow = useSlow(query.isFetching, ask)
  return {
    ...query,
    slow,
    stopped: query.isPending && query.fetchStatus === 'idle',
    stop: () => void queries.cancelQueries({ queryKey }),
  }
}

/** The question's name once it has been asked for a moment. */
function useSlow(fetching: boolean, ask: string): string | null {
  const [since, setSince] = useState<string | null>(null)
  useEffect(() => {
    setSince(null)
    if (!fetching) return
    const timer = setTimeout(() => setSince(ask), momentMs)
    return () => clearTimeout(timer)
  }, [fetching, ask])
  return since
}

/** How far a question is. */
export function useProgress(ask: string) {
  return useAnswer('getTrafficProgress', { params: { ask } }, { every: 500 })
}

/** The interfaces of an exporter, by flows and by counters. */
export function useExporterInterfaces(address: string, range: Range) {
  const client = useClient()
  return useQuery<AnswerOf<'getExporterInterfaces'>, ApiError>({
    queryKey: ['getExporterInterfaces', address, range],
    queryFn: ({ signal }) =>
      client.call(
        'getExporterInterfaces',
        { params: { address }, query: boundsQuery(boundsOf(range, Date.now())) },
        { signal },
      ),
    refetchInterval: refreshOf(range),
    placeholderData: keepPreviousData,
  })
}

/** A UUID of version 4 (RFC 9562 §5.4), also where the page is not from a secure origin. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
