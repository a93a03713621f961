/** Series of the API in the shape of a stacked chart. */
import type { Answer, Endpoints } from '../../../src/api/contract/index.ts'

export type TrafficSeries = Answer<Endpoints['getTrafficSeries']>
export type Metric = 'bits' | 'packets' | 'flows'

export const metrics: readonly [Metric, Metric, Metric] = ['bits', 'packets', 'flows']

/** The key of everything that is not among the largest groups, and of traffic that is not grouped. */
export const restKey = ''

/** The largest series first, the rest always last: the order of a stack that does not jump about. */
export function bySize(series: TrafficSeries['series']): TrafficSeries['series'] {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  return series.toSorted(
    (a, b) =>
      Number(a.key === restKey) - Number(b.key === restKey) || sum(b.values) - sum(a.values),
  )
}

/** Values per second whatever the metric: the API counts flows by bucket. */
export function perSecond(answer: TrafficSeries, metric: Metric): TrafficSeries['series'] {
  if (metric !== 'flows') return answer.series
  return answer.series.map(({ key, values }) => ({
    key,
    values: values.map(value => value / answer.step),
  }))
}

/**
 * The value of the newest bucket that is complete: the last ones are still being filled, because
 * telemetry needs a moment from the exporter to the engine. Null if there is none.
 * @param settleMs how long after its end a bucket counts as complete
 */
export function latestComplete(
  answer: TrafficSeries,
  metric: Metric,
  now: number,
  settleMs = 5000,
): number | null {
  const series = perSecond(answer, metric)
  for (let index = answer.times.length - 1; index >= 0; index--) {
    const end = Date.parse(answer.times[index]!) + 1000 * answer.step
    if (end > now - settleMs) continue
    return series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0)
  }
  return null
}

/** The sum of all series by bucket. */
export function totals(series: TrafficSeries['series'], buckets: number): number[] {
  return Array.from({ length: buckets }, (_, index) =>
    series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0),
  )
}
