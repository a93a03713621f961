import { keepPreviousData, useQuery } from '@tanstack/react-query'
import type { ApiError } from '../api/errors.ts'
import { type AnswerOf, useClient } from '../api/hooks.ts'
import { boundsOf, boundsQuery, type Range, refreshOf } from './range.ts'
import type { Metric } from './series.ts'

interface TrafficQuestion {
  range: Range
  metric: Metric
  where?: readonly string[]
}

/** Traffic over time; a range that moves with the clock is asked anew at its own pace. */
export function useTrafficSeries(question: TrafficQuestion & { by?: string; groups?: number }) {
  const client = useClient()
  const { range, metric, by, groups, where } = question
  return useQuery<AnswerOf<'getTrafficSeries'>, ApiError>({
    queryKey: ['getTrafficSeries', question],
    queryFn: ({ signal }) =>
      client.call(
        'getTrafficSeries',
        {
          query: {
            ...boundsQuery(boundsOf(range, Date.now())),
            metric,
            by,
            groups,
            where: where === undefined ? undefined : [...where],
          },
        },
        { signal },
      ),
    refetchInterval: refreshOf(range),
    placeholderData: keepPreviousData,
  })
}

/** The largest groups of the range. */
export function useTrafficTop(question: TrafficQuestion & { by: string; limit: number }) {
  const client = useClient()
  const { range, metric, by, limit, where } = question
  return useQuery<AnswerOf<'getTrafficTop'>, ApiError>({
    queryKey: ['getTrafficTop', question],
    queryFn: ({ signal }) =>
      client.call(
        'getTrafficTop',
        {
          query: {
            ...boundsQuery(boundsOf(range, Date.now())),
            metric,
            by,
            limit,
            where: where === undefined ? undefined : [...where],
          },
        },
        { signal },
      ),
    refetchInterval: refreshOf(range),
    placeholderData: keepPreviousData,
  })
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
