import type { PairState } from '../api/connection.ts'
import { formatAgo } from '../format/time.ts'
import { formatCount, formatDuration } from '../format/units.ts'
import {
  addressBox,
  type Collector,
  folderBox,
  type Layout,
  type Place,
  type Server,
  type SharedFolder,
} from './layout.ts'

/** Of what fits into a box; the whole of it is in its title. */
function short(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`
}

export function ServerBox({ layout, server, at }: { layout: Layout; server: Server; at: Place }) {
  const { width, height } = layout.server
  const line = (index: number) => 0.255 * height + (index * (0.61 * height)) / 3
  return (
    <g transform={`translate(${at.x} ${at.y})`} className={`pic-server ${server.role}`}>
      <rect width={width} height={height} rx={7} />
      <rect width={5} height={height - 14} x={0} y={7} rx={2.5} className="pic-bar" />
      <text x={20} y={line(0)} className="pic-name">
        {server.name}
        {server.self && (
          <tspan dx={10} className="pic-here">
            this console
          </tspan>
        )}
      </text>
      <text x={width - 16} y={line(0)} textAnchor="end" className="pic-role">
        {server.role === 'unknown' ? 'does not answer' : server.role}
      </text>
      <text x={20} y={line(1)} className="pic-dim">
        installed as {server.installed}, version {server.version}
      </text>
      <text x={20} y={line(2)} className="pic-dim">
        {server.role === 'unknown'
          ? `last seen ${formatAgo(server.seenAt, Date.now())}`
          : `started ${formatAgo(server.startedAt, Date.now())}`}
      </text>
      <text x={20} y={line(3)} className={server.engine === false ? 'pic-bad' : 'pic-dim'}>
        {server.engine === null
          ? 'telemetry engine: unknown'
          : server.engine
            ? 'telemetry engine takes segments'
            : 'telemetry engine does not answer'}
      </text>
    </g>
  )
}

export function Database({ at, database }: { at: Place; database: PairState['database'] }) {
  const { x, y } = at
  const { reachable, latencyMs } = database
  return (
    <g className={reachable ? 'pic-store' : 'pic-store bad'}>
      <path d={`M${x - 46} ${y - 26} v52 a46 12 0 0 0 92 0 v-52`} />
      <ellipse cx={x} cy={y - 26} rx={46} ry={12} />
      <text x={x} y={y + 8} textAnchor="middle" className="pic-name">
        database
      </text>
      <text x={x} y={y + 25} textAnchor="middle" className={reachable ? 'pic-dim' : 'pic-bad'}>
        {!reachable ? 'unreachable' : latencyMs === null ? 'reachable' : formatDuration(latencyMs)}
      </text>
    </g>
  )
}

export function Folder({ at, folder }: { at: Place; folder: SharedFolder }) {
  const { width, height } = folderBox
  const { path, fault } = folder
  return (
    <g
      transform={`translate(${at.x - width / 2} ${at.y - height / 2})`}
      className={fault !== null ? 'pic-store bad' : path === null ? 'pic-store off' : 'pic-store'}
    >
      <title>{fault ?? path ?? 'No shared folder is set'}</title>
      <path
        d={`M0 6 q0 -6 6 -6 h34 l8 8 h${width - 54} q6 0 6 6 v${height - 20} q0 6 -6 6 h-${width - 12} q-6 0 -6 -6 z`}
      />
      <text x={width / 2} y={25} textAnchor="middle" className="pic-name">
        shared folder
      </text>
      <text
        x={width / 2}
        y={40}
        textAnchor="middle"
        className={fault !== null ? 'pic-bad pic-small' : 'pic-dim pic-small'}
      >
        {fault !== null ? 'cannot be used' : path === null ? 'none' : short(path, 22)}
      </text>
    </g>
  )
}

/** What devices and people find the active by. */
export function AddressBox({ layout, pair }: { layout: Layout; pair: PairState }) {
  const { type, what, held, fault } = pair.address
  const { addressWidth: width } = layout
  const { x, y } = layout.address
  const name =
    type === 'none'
      ? 'No address moves'
      : `${type === 'virtual-ip' ? 'Virtual IP' : 'Virtual name'} ${short(what.join(', '), 30)}`
  const state =
    fault !== null
      ? short(fault, 50)
      : type === 'none'
        ? 'the standby sends people and programs to the active'
        : pair.role !== 'active'
          ? `with ${pair.active ?? 'nobody'}`
          : held
            ? `leads to ${pair.active}`
            : 'not taken yet'
  return (
    <g
      transform={`translate(${x - width / 2} ${y - addressBox / 2})`}
      className={`pic-address${fault !== null ? ' bad' : type === 'none' ? ' off' : ''}`}
    >
      <title>{fault ?? what.join(', ')}</title>
      <rect width={width} height={addressBox} rx={addressBox / 2} />
      <text x={width / 2} y={19} textAnchor="middle" className="pic-name">
        {name}
      </text>
      <text
        x={width / 2}
        y={35}
        textAnchor="middle"
        className={fault !== null ? 'pic-bad pic-small' : 'pic-dim pic-small'}
      >
        {state}
      </text>
    </g>
  )
}

export function CollectorBox({
  layout,
  collector,
  at,
}: {
  layout: Layout
  collector: Collector
  at: Place
}) {
  const { state, online } = collector
  const { width, height } = layout.collector
  const exporters = state.exporters.length
  const backlog = state.kinds.reduce((sum, kind) => sum + kind.backlog, 0)
  const stuck = state.deliveries.filter(delivery => !delivery.reachable)
  return (
    <g
      transform={`translate(${at.x} ${at.y})`}
      className={online ? 'pic-collector' : 'pic-collector bad'}
    >
      <rect width={width} height={height} rx={7} />
      <text x={16} y={height * 0.41} className="pic-name">
        {short(state.name, layout.narrow ? 30 : 18)}
      </text>
      <text
        x={width - 16}
        y={height * 0.41}
        textAnchor="end"
        className={online ? 'pic-ok' : 'pic-bad'}
      >
        {online ? 'online' : 'offline'}
      </text>
      <text
        x={16}
        y={height * 0.76}
        className={layout.narrow && stuck.length > 0 ? 'pic-bad' : 'pic-dim'}
      >
        {layout.narrow && stuck.length > 0
          ? `does not reach ${stuck.map(({ server }) => server).join(', ')}`
          : `${exporters} ${exporters === 1 ? 'exporter' : 'exporters'}, ${formatCount(backlog)} segments wait`}
      </text>
    </g>
  )
}
