import type { PairState } from '../api/connection.ts'
import { formatDuration } from '../format/units.ts'

const height = 72
/** Heartbeats of a minute at one a second. */
const places = 60

/** When each heartbeat of the last minute came after the one before: a comb while all is well. */
export function Heartbeats({
  heartbeat,
  timings,
}: {
  heartbeat: PairState['heartbeat']
  timings: PairState['timings']
}) {
  const recent = heartbeat.recentMs.slice(-places)
  const age = heartbeat.ageMs ?? 0
  const top = Math.max(2 * timings.heartbeatMs, 1.15 * Math.max(age, ...recent, 0))
  const y = (ms: number) => height - (height * Math.min(ms, top)) / top
  const tone = (ms: number) =>
    ms <= 1.5 * timings.heartbeatMs ? 'ok' : ms < timings.leaseMs ? 'warn' : 'bad'
  const step = 100 / (places + 1)
  const lines = [
    { ms: timings.heartbeatMs, label: 'interval' },
    { ms: timings.leaseMs, label: 'lease' },
    { ms: timings.timeoutMs, label: 'timeout' },
  ].filter(line => line.ms <= top)
  return (
    <div className="beats" data-testid="heartbeats">
      <svg
        viewBox={`0 0 100 ${height}`}
        preserveAspectRatio="none"
        width="100%"
        height={height}
        role="img"
        aria-label={`Time between the last ${recent.length} heartbeats; the present one is ${formatDuration(age)} old`}
      >
        {lines.map(line => (
          <line
            key={line.label}
            x1={0}
            x2={100}
            y1={y(line.ms)}
            y2={y(line.ms)}
            className="beat-line"
          />
        ))}
        {recent.map((ms, index) => (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: a place in the comb
            key={index}
            x={(places - recent.length + index) * step}
            width={0.62 * step}
            y={y(ms)}
            height={height - y(ms)}
            className={`beat ${tone(ms)}`}
          />
        ))}
        <rect
          x={places * step}
          width={0.62 * step}
          y={y(age)}
          height={height - y(age)}
          className={`beat now ${tone(age)}`}
        />
      </svg>
      {lines.map(line => (
        <span key={line.label} className="beat-label dim" style={{ top: y(line.ms) }}>
          {line.label} {formatDuration(line.ms)}
        </span>
      ))}
    </div>
  )
}
