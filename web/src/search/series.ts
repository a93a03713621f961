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

/** How long after its end a bucket is complete: what the way from exporter to engine takes. */
const settleMs = 5000

/** The value of the newest bucket that is complete; null if there is none. */
export function latestComplete(answer: TrafficSeries, metric: Metric, now: number): number | null {
  const series = perSecond(answer, metric)
  for (let index = answer.times.length - 1; index >= 0; index--) {
    const end = Date.parse(answer.times[index]!) + 1000 * answer.step
    if (end > now - settleMs) continue
    return series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0)
  }
  return null
}

/**
 * The answer without its last buckets that are not complete: half a bucket would look like a fall.
 * An answer of nothing else stays as it is.
 */
export function settled(answer: TrafficSeries, now: number): TrafficSeries {
  const latest = Math.min(Date.parse(answer.to), now - settleMs)
  const count = answer.times.filter(time => Date.parse(time) + 1000 * answer.step <= latest).length
  if (count < 2 || count === answer.times.length) return answer
  return {
    ...answer,
    times: answer.times.slice(0, count),
    series: answer.series.map(({ key, values }) => ({ key, values: values.slice(0, count) })),
  }
}

/** The sum of all series by bucket. */
export function totals(series: TrafficSeries['series'], buckets: number): number[] {
  return Array.from({ length: buckets }, (_, index) =>
    series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0),
  )
}
