import { useMemo } from 'react'
import { formatBitRate, formatQuantity } from '../format/units.ts'
import {
  bySize,
  type Metric,
  perSecond,
  restKey,
  settled,
  type TrafficSeries,
} from '../search/series.ts'
import { restColor, seriesColors } from '../theme.ts'
import { TimeChart } from './chart.tsx'
import { labelOf } from './value.tsx'

export function formatMetric(metric: Metric): (perSecondValue: number) => string {
  if (metric === 'bits') return formatBitRate
  return metric === 'packets'
    ? value => formatQuantity(value, 'packets/s')
    : value => formatQuantity(value, 'flows/s')
}

/** The colour of each group, so that a table can carry the same. */
export function colorsOf(series: TrafficSeries['series']): Map<string, string> {
  const grouped = series.length > 1 || series[0]?.key !== restKey
  return new Map(
    bySize(series).map(({ key }, index) => [
      key,
      key === restKey && grouped ? restColor : seriesColors[index % seriesColors.length]!,
    ]),
  )
}

export function TrafficChart({
  answer: whole,
  metric,
  by,
  height,
  testId,
  onSelect,
}: {
  answer: TrafficSeries
  metric: Metric
  by?: string | undefined
  height: number
  testId?: string
  onSelect?: (from: number, to: number) => void
}) {
  const answer = useMemo(() => settled(whole, Date.now()), [whole])
  const times = useMemo(() => answer.times.map(time => Date.parse(time)), [answer])
  const series = useMemo(() => {
    const colors = colorsOf(answer.series)
    return bySize(perSecond(answer, metric)).map(({ key, values }) => ({
      name: labelOf(by, key),
      color: colors.get(key)!,
      values,
    }))
  }, [answer, metric, by])
  const format = useMemo(() => formatMetric(metric), [metric])
  return (
    <>
      <TimeChart
        times={times}
        step={1000 * answer.step}
        series={series}
        kind="area"
        format={format}
        height={height}
        label={`Traffic in ${metric} from ${answer.from} to ${answer.to}`}
        {...(testId === undefined ? {} : { testId })}
        {...(onSelect === undefined ? {} : { onSelect })}
      />
      {by !== undefined && (
        <div className="legend">
          {series.map(({ name, color }) => (
            <span key={name} className="legend-item">
              <span className="swatch" style={{ background: color }} />
              {name}
            </span>
          ))}
        </div>
      )}
    </>
  )
}
