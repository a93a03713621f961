/** Heartbeats on the axis of time, out of what the server says of the last minute. Pure. */
import type { PairState } from '../api/connection.ts'

export interface Gap {
  /** Milliseconds before now; `to` is the later end. */
  from: number
  to: number
  tone: 'warn' | 'bad'
}

export interface Beats {
  /** When each came, milliseconds before now, newest first. */
  marks: { counter: number; agoMs: number }[]
  /** Where more than one was to be expected; the last one may be open: it ends now. */
  gaps: Gap[]
  /** Longest time without one, the present one included. */
  longestMs: number
}

/** What the strip shows, ms. */
export const stripMs = 60_000
/** So many intervals without a heartbeat are a gap. */
const late = 1.8

/** @param heardMs since the state was received */
export function beatsOf(
  { heartbeat, timings }: Pick<PairState, 'heartbeat' | 'timings'>,
  heardMs: number,
): Beats {
  const { ageMs, recentMs } = heartbeat
  const beats: Beats = { marks: [], gaps: [], longestMs: 0 }
  if (ageMs === null) return beats
  let at = ageMs + heardMs
  // That nothing was heard of the server lately says nothing of the heartbeat.
  addGap(beats, ageMs + heardMs, heardMs > timings.heartbeatMs ? heardMs : 0, timings)
  let { counter } = heartbeat
  for (const before of [...recentMs.toReversed(), undefined]) {
    if (at > stripMs) break
    beats.marks.push({ counter: counter--, agoMs: at })
    if (before === undefined) break
    addGap(beats, at + before, at, timings)
    at += before
  }
  return beats
}

function addGap(beats: Beats, from: number, to: number, timings: PairState['timings']): void {
  const ms = from - to
  beats.longestMs = Math.max(beats.longestMs, ms)
  if (ms <= late * timings.heartbeatMs) return
  beats.gaps.push({
    from: Math.min(from, stripMs),
    to,
    tone: ms < timings.leaseMs ? 'warn' : 'bad',
  })
}
