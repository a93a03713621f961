import type { AnswerOf } from '../api/hooks.ts'
import { formatBitRate, formatBytes, formatQuantity, formatShare } from '../format/units.ts'
import { ShareBar } from '../parts/panel.tsx'
import { DimensionValue } from '../parts/value.tsx'
import type { Metric } from '../search/series.ts'
import { type Condition, dimensionLabel } from '../search/where.ts'

/** The largest groups; picking one adds its values as conditions. */
export function TopTable({
  answer,
  by,
  metric,
  colors,
  onPick,
}: {
  answer: AnswerOf<'getTrafficTop'>
  by: readonly string[]
  metric: Metric
  /** Of the series in the chart above, by key. */
  colors: ReadonlyMap<string, string>
  onPick: (conditions: Condition[]) => void
}) {
  const seconds = (Date.parse(answer.to) - Date.parse(answer.from)) / 1000
  const measure = (row: { bytes: number; packets: number; flows: number }) =>
    metric === 'bits' ? row.bytes : metric === 'packets' ? row.packets : row.flows
  const whole = measure(answer.total)
  // A new grouping comes with the old rows still on screen: show as many columns as rows have keys.
  const width = Math.min(by.length, answer.rows[0]?.keys.length ?? 0)
  return (
    <div className="table-scroll">
      <table className="t" data-testid="traffic-table">
        <thead>
          <tr>
            {by.slice(0, width).map(dimension => (
              <th key={dimension}>{dimensionLabel(dimension)}</th>
            ))}
            <th className="num">Average</th>
            <th className="num">Packets/s</th>
            <th className="num">Flows/s</th>
            <th className="num">Bytes</th>
            <th className="num">Share</th>
            <th aria-label="Share as a bar" />
          </tr>
        </thead>
        <tbody>
          {answer.rows.map(row => {
            const pick = () =>
              onPick(
                by
                  .slice(0, width)
                  .map((dimension, index) => ({ dimension, value: row.keys[index]! })),
              )
            return (
              <tr
                key={row.keys.join(' ')}
                className="link"
                tabIndex={0}
                aria-label={`Only ${row.keys.join(' ')}`}
                onClick={pick}
                onKeyDown={event => event.key === 'Enter' && pick()}
              >
                {by.slice(0, width).map((dimension, index) => (
                  <td key={dimension} className="nowrap">
                    {index === 0 && colors.size > 0 && (
                      <span
                        className="swatch"
                        style={{
                          background: colors.get(row.keys[0]!) ?? 'transparent',
                          marginRight: 8,
                        }}
                      />
                    )}
                    <DimensionValue dimension={dimension} value={row.keys[index]!} />
                  </td>
                ))}
                <td className="num">{formatBitRate((8 * row.bytes) / seconds)}</td>
                <td className="num">{formatQuantity(row.packets / seconds, '')}</td>
                <td className="num">{formatQuantity(row.flows / seconds, '')}</td>
                <td className="num">{formatBytes(row.bytes)}</td>
                <td className="num dim">{formatShare(measure(row), whole)}</td>
                <td style={{ width: 84 }}>
                  <ShareBar part={measure(row)} whole={whole} />
                </td>
              </tr>
            )
          })}
        </tbody>
        <tfoot>
          <tr className="total">
            <td colSpan={width}>All traffic</td>
            <td className="num">{formatBitRate((8 * answer.total.bytes) / seconds)}</td>
            <td className="num">{formatQuantity(answer.total.packets / seconds, '')}</td>
            <td className="num">{formatQuantity(answer.total.flows / seconds, '')}</td>
            <td className="num">{formatBytes(answer.total.bytes)}</td>
            <td colSpan={2} />
          </tr>
        </tfoot>
      </table>
    </div>
  )
}
