import { useComputedColorScheme } from '@mantine/core'
import { BarChart, LineChart } from 'echarts/charts'
import { BrushComponent, GridComponent, TooltipComponent } from 'echarts/components'
import { type ECharts, type EChartsCoreOption, init, use } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'
import { useEffect, useMemo, useRef } from 'react'
import { formatMoment, formatTick } from '../format/time.ts'

use([BarChart, LineChart, BrushComponent, GridComponent, TooltipComponent, CanvasRenderer])

export interface ChartSeries {
  name: string
  color: string
  values: readonly number[]
}

export interface TimeChartProps {
  /** Begin of each bucket, ms since 1970. */
  times: readonly number[]
  /** Length of a bucket, ms. */
  step: number
  series: readonly ChartSeries[]
  kind: 'area' | 'bars'
  format: (value: number) => string
  height: number
  /** What the picture shows, for those who cannot see it. */
  label: string
  testId?: string
  /** Called with the range that was dragged over, ms. */
  onSelect?: (from: number, to: number) => void
}

const schemes = {
  light: {
    text: '#5a6975',
    line: '#dde3e7',
    panel: '#ffffff',
    strong: '#1b252d',
    brush: '#12768a',
  },
  dark: { text: '#8c9ba7', line: '#25313a', panel: '#1a242c', strong: '#d9e1e7', brush: '#57b4c6' },
}

/** Stacked values over time on a canvas; redraws without animation, so that refreshing is calm. */
export function TimeChart(props: TimeChartProps) {
  const { times, step, series, kind, format, onSelect } = props
  const box = useRef<HTMLDivElement>(null)
  const chart = useRef<ECharts | null>(null)
  const scheme = useComputedColorScheme('light')
  const selectable = onSelect !== undefined
  const select = useRef(onSelect)
  select.current = onSelect

  useEffect(() => {
    const instance = init(box.current)
    chart.current = instance
    const observer = new ResizeObserver(() => instance.resize())
    observer.observe(box.current!)
    instance.on('brushEnd', event => {
      const range = (event as { areas?: { coordRange?: [number, number] }[] }).areas?.[0]
        ?.coordRange
      instance.dispatchAction({ type: 'brush', areas: [] })
      if (range !== undefined && range[1] - range[0] >= 1000) {
        select.current?.(Math.round(range[0]), Math.round(range[1]))
      }
    })
    return () => {
      observer.disconnect()
      instance.dispose()
      chart.current = null
    }
  }, [])

  const option = useMemo(
    () => optionOf({ times, step, series, kind, format }, schemes[scheme], selectable),
    [times, step, series, kind, format, scheme, selectable],
  )
  useEffect(() => {
    const instance = chart.current
    if (instance === null) return
    instance.setOption(option, { replaceMerge: ['series'], lazyUpdate: true })
    if (selectable) {
      instance.dispatchAction({
        type: 'takeGlobalCursor',
        key: 'brush',
        brushOption: { brushType: 'lineX', brushMode: 'single' },
      })
    }
  }, [option, selectable])

  return (
    <div
      ref={box}
      role="img"
      aria-label={props.label}
      data-testid={props.testId}
      style={{ height: props.height, width: '100%' }}
    />
  )
}

function optionOf(
  props: Pick<TimeChartProps, 'times' | 'step' | 'series' | 'kind' | 'format'>,
  colors: (typeof schemes)['light'],
  selectable: boolean,
): EChartsCoreOption {
  const { times, step, series, kind, format } = props
  const first = times[0] ?? 0
  const span = (times.at(-1) ?? 0) + step - first
  return {
    animation: false,
    textStyle: { fontFamily: 'inherit', color: colors.text },
    grid: { left: 4, right: 12, top: 12, bottom: 2, outerBoundsMode: 'same' },
    ...(selectable
      ? {
          brush: {
            xAxisIndex: 0,
            brushStyle: { color: `${colors.brush}26`, borderColor: colors.brush, borderWidth: 1 },
            outOfBrush: { colorAlpha: 1 },
            toolbox: [],
            throttleType: 'debounce',
            throttleDelay: 200,
          },
        }
      : {}),
    xAxis: {
      type: 'time',
      min: first,
      max: first + span,
      axisLine: { lineStyle: { color: colors.line } },
      axisTick: { show: false },
      splitLine: { show: false },
      axisLabel: {
        color: colors.text,
        fontSize: 11,
        hideOverlap: true,
        formatter: (at: number) => formatTick(at, span),
      },
    },
    yAxis: {
      type: 'value',
      min: 0,
      splitNumber: 4,
      axisLabel: { color: colors.text, fontSize: 11, formatter: format },
      splitLine: { lineStyle: { color: colors.line } },
    },
    tooltip: {
      trigger: 'axis',
      confine: true,
      transitionDuration: 0,
      backgroundColor: colors.panel,
      borderColor: colors.line,
      padding: [6, 10],
      textStyle: { color: colors.strong, fontSize: 12 },
      axisPointer: { type: 'line', lineStyle: { color: colors.text, width: 1 } },
      formatter: (items: unknown) => tooltip(items as TooltipItem[], format),
    },
    series: series.map(({ name, color, values }) => ({
      name,
      type: kind === 'area' ? 'line' : 'bar',
      stack: 'all',
      color,
      symbol: 'none',
      silent: true,
      data: values.map((value, index) => [times[index]! + (kind === 'bars' ? step / 2 : 0), value]),
      ...(kind === 'area'
        ? { lineStyle: { width: 1 }, areaStyle: { opacity: 0.72 }, smooth: false }
        : { barWidth: '88%', barMaxWidth: 22, large: true }),
    })),
  }
}

interface TooltipItem {
  seriesName: string
  color: string
  /** Absent where a series has no bucket at the place of the others. */
  value?: [number, number]
}

/** Built of nodes, not markup: names of series come from the network. */
function tooltip(all: TooltipItem[], format: (value: number) => string): HTMLElement | string {
  const items = all.flatMap(({ seriesName, color, value }) =>
    value === undefined ? [] : [{ seriesName, color, value }],
  )
  const at = items[0]?.value[0]
  if (at === undefined) return ''
  const root = document.createElement('div')
  const head = root.appendChild(document.createElement('div'))
  head.textContent = formatMoment(new Date(at))
  head.style.opacity = '0.75'
  const total = items.reduce((sum, item) => sum + item.value[1], 0)
  const shown = items.filter(item => item.value[1] > 0).toSorted((a, b) => b.value[1] - a.value[1])
  const lines: [string, string, number][] = shown
    .slice(0, 10)
    .map(item => [item.seriesName, item.color, item.value[1]])
  if (items.length > 1) lines.push(['Total', 'transparent', total])
  for (const [name, color, value] of lines) {
    const line = root.appendChild(document.createElement('div'))
    line.style.cssText = 'display:flex;align-items:center;gap:7px'
    const swatch = line.appendChild(document.createElement('span'))
    swatch.style.cssText = `width:8px;height:8px;border-radius:2px;background:${color}`
    const label = line.appendChild(document.createElement('span'))
    label.textContent = name
    const figure = line.appendChild(document.createElement('span'))
    figure.textContent = format(value)
    figure.style.cssText = 'margin-left:auto;padding-left:18px;font-variant-numeric:tabular-nums'
  }
  return root
}
