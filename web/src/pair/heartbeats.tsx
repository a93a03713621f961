import type { LivePair } from '../api/use-live-pair.ts'
import { formatDuration } from '../format/units.ts'
import { useNow } from '../parts/when.tsx'
import { beatsOf, type Gap, stripMs } from './beats.ts'

const width = 600
const height = 56
const ticks = [60, 45, 30, 15]
const paceMs = 200
/** So long a mark stands out after it came. */
const newMs = 600

/** The last minute as a strip: one mark for each heartbeat, and what was missed between them. */
export function Heartbeats({ pair, at }: LivePair) {
  const now = useNow(paceMs)
  if (pair === null) return null
  const { timings, heartbeat } = pair
  const beats = beatsOf(pair, Math.max(0, now - at))
  const age = heartbeat.ageMs === null ? null : heartbeat.ageMs + Math.max(0, now - at)
  const x = (agoMs: number) => width - (width * Math.min(agoMs, stripMs)) / stripMs
  return (
    <div className="beats" data-testid="heartbeats" data-marks={beats.marks.length}>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        preserveAspectRatio="none"
        width="100%"
        height={height}
        role="img"
        aria-label={`${beats.marks.length} heartbeats in the last minute; the longest time without one was ${formatDuration(beats.longestMs)}.`}
      >
        <line x1={0} x2={width} y1={height - 0.5} y2={height - 0.5} className="beat-axis" />
        {beats.gaps.map(gap => (
          <rect
            key={Math.round((at - gap.from) / 100)}
            x={x(gap.from)}
            width={Math.max(1, x(gap.to) - x(gap.from))}
            y={0}
            height={height}
            className={`beat-gap ${gap.tone}`}
          />
        ))}
        {beats.marks.map(({ counter, agoMs }) => (
          <line
            key={counter}
            x1={x(agoMs)}
            x2={x(agoMs)}
            y1={8}
            y2={height}
            className={agoMs < newMs ? 'beat new' : 'beat'}
          />
        ))}
      </svg>
      {beats.gaps.map(gap => (
        <GapLabel key={Math.round((at - gap.from) / 100)} gap={gap} />
      ))}
      <div className="beat-axis-labels dim" aria-hidden="true">
        {ticks.map(seconds => (
          <span key={seconds} style={{ left: `${100 - (100 * seconds) / 60}%` }}>
            −{seconds} s
          </span>
        ))}
        <span className="now">now</span>
      </div>
      <p className="beat-note">
        {age === null ? (
          'No heartbeat has been seen yet.'
        ) : (
          <>
            Last heartbeat{' '}
            <strong className={age > 3 * timings.heartbeatMs ? 'bad' : undefined}>
              {formatDuration(Math.round(age / 100) * 100)} ago
            </strong>
            , number {heartbeat.counter}, as {pair.self} sees it.
          </>
        )}
      </p>
    </div>
  )
}

function GapLabel({ gap }: { gap: Gap }) {
  const ms = gap.from - gap.to
  // Beneath that there is no room for words.
  if (ms < stripMs / 15) return null
  const middle = (gap.from + gap.to) / 2
  return (
    <span
      className={`beat-gap-label ${gap.tone}`}
      style={{ right: `${(100 * middle) / stripMs}%` }}
    >
      {formatDuration(Math.round(ms / 100) * 100)}
    </span>
  )
}
