import type { CSSProperties } from 'react'
import type { PairState } from '../api/connection.ts'
import { formatBytes, formatDuration } from '../format/units.ts'
import type { Layout } from './layout.ts'

type Replication = NonNullable<PairState['replication']>

/** From the active's own database to the other's; a dot runs at each heartbeat. */
export function Changes({
  layout,
  pair,
  replication,
}: {
  layout: Layout
  pair: PairState
  replication: Replication
}) {
  const { database, server, servers } = layout
  const installed = pair.servers.toSorted((a, b) => a.installed.localeCompare(b.installed))
  const ends = layout.narrow
    ? [
        { x: database.x, y: servers[0].y + server.height },
        { x: database.x, y: servers[1].y },
      ]
    : [
        { x: servers[0].x + server.width, y: database.y },
        { x: servers[1].x, y: database.y },
      ]
  const [from, to] = installed[1]?.role === 'active' ? ends.toReversed() : ends
  const { note, tone } = flowOf(pair, replication)
  const label = layout.narrow ? { x: database.x + 10, y: database.y - 6 } : database
  return (
    <g data-testid="picture-changes">
      <line x1={from!.x} x2={to!.x} y1={from!.y} y2={to!.y} className={`pic-line ${tone}`} />
      {tone === 'active' && (
        <circle
          key={pair.heartbeat.counter}
          cx={from!.x}
          cy={from!.y}
          r={5}
          className="pic-beat"
          style={{ '--x': `${to!.x - from!.x}px`, '--y': `${to!.y - from!.y}px` } as CSSProperties}
        />
      )}
      <text
        x={label.x}
        y={label.y - 8}
        textAnchor={layout.narrow ? 'start' : 'middle'}
        className="pic-dim"
      >
        changes
      </text>
      <text
        x={label.x}
        y={label.y + (layout.narrow ? 10 : 20)}
        textAnchor={layout.narrow ? 'start' : 'middle'}
        className={tone === 'bad' ? 'pic-bad' : 'pic-dim'}
      >
        {note}
      </text>
    </g>
  )
}

function flowOf(
  pair: PairState,
  { copied, doing, follower, together }: Replication,
): { note: string; tone: 'active' | 'standby' | 'dead' | 'bad' } {
  if (pair.active === null) return { note: 'nobody leads', tone: 'bad' }
  if (doing === 'copies') {
    const part =
      copied?.totalBytes == null
        ? ''
        : ` ${Math.min(99, Math.floor((100 * copied.bytes) / copied.totalBytes))} %`
    return { note: `${pair.self} copies${part}`, tone: 'standby' }
  }
  if (doing === 'follows') return { note: `${pair.self} follows`, tone: 'active' }
  if (pair.servers.length < 2) return { note: '', tone: 'dead' }
  if (together !== true) return { note: `on ${pair.active} alone`, tone: 'bad' }
  if (follower === null || follower.behindBytes === 0) {
    return { note: 'on both disks', tone: 'active' }
  }
  const { behindBytes, behindMs } = follower
  const late = behindMs === null ? '' : `, ${formatDuration(behindMs)}`
  return { note: `${formatBytes(behindBytes)}${late} behind`, tone: 'active' }
}
