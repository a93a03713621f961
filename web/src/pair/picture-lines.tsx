import type { CSSProperties } from 'react'
import type { PairState } from '../api/connection.ts'
import { formatCount } from '../format/units.ts'
import {
  addressBox,
  type Collector,
  folderBox,
  type Layout,
  type Place,
  type Server,
  type SharedFolder,
} from './layout.ts'

type Role = Server['role']

const isUp = (role: Role) => role === 'active' || role === 'standby'

/** The link between the servers: over it each asks the other how it is. */
export function Link({ layout, servers }: { layout: Layout; servers: readonly Server[] }) {
  const up = servers.every(({ role }) => role !== 'unknown')
  const { servers: places, server } = layout
  const [a, b] = places
  const middle = { x: (a.x + b.x + server.width) / 2, y: (a.y + b.y + server.height) / 2 }
  const ends = layout.narrow
    ? { x1: middle.x, x2: middle.x, y1: a.y + server.height, y2: b.y }
    : { x1: a.x + server.width, x2: b.x, y1: a.y + 24, y2: a.y + 24 }
  return (
    <g>
      <line {...ends} className={`pic-line ${up ? 'link' : 'bad'}`} />
      <text
        x={layout.narrow ? middle.x + 6 : middle.x}
        y={layout.narrow ? ends.y1 + 20 : ends.y1 - 7}
        textAnchor={layout.narrow ? 'start' : 'middle'}
        className={up ? 'pic-dim' : 'pic-bad'}
      >
        {up ? 'link' : 'no answer'}
      </text>
    </g>
  )
}

/** The active writes its heartbeat, the standby reads it. */
export function HeartbeatLine({
  layout,
  at,
  role,
  counter,
  reachable,
}: {
  layout: Layout
  at: Place
  role: Role
  counter: number
  reachable: boolean
}) {
  const { database, server } = layout
  const first = at === layout.servers[0]
  const from = layout.narrow
    ? { x: database.x, y: first ? at.y + server.height : at.y }
    : { x: first ? at.x + server.width : at.x, y: database.y }
  const to = layout.narrow
    ? { x: database.x, y: first ? database.y - 38 : database.y + 38 }
    : { x: first ? database.x - 46 : database.x + 46, y: database.y }
  const alive = reachable && isUp(role)
  const label = alive ? (role === 'active' ? 'beats' : 'watches') : ''
  return (
    <g>
      <line
        x1={from.x}
        x2={to.x}
        y1={from.y}
        y2={to.y}
        className={`pic-line ${alive ? role : reachable ? 'dead' : 'bad'}`}
      />
      {alive && role === 'active' && (
        <circle
          key={counter}
          cx={from.x}
          cy={from.y}
          r={5}
          className="pic-beat"
          style={{ '--x': `${to.x - from.x}px`, '--y': `${to.y - from.y}px` } as CSSProperties}
        />
      )}
      <text
        x={layout.narrow ? from.x - 8 : (from.x + to.x) / 2}
        y={layout.narrow ? (from.y + to.y) / 2 + 4 : from.y - 8}
        textAnchor={layout.narrow ? 'end' : 'middle'}
        className="pic-dim"
      >
        {label}
      </text>
    </g>
  )
}

export function FolderLine({
  layout,
  at,
  role,
  folder,
}: {
  layout: Layout
  at: Place
  role: Role
  folder: SharedFolder
}) {
  if (folder.path === null) return null
  const { folder: centre, server } = layout
  const first = at === layout.servers[0]
  const side = folderBox.width / 2
  const d = layout.narrow
    ? `M${centre.x} ${first ? at.y + server.height : at.y} V${centre.y + (first ? -1 : 1) * (folderBox.height / 2)}`
    : `M${first ? at.x + server.width - 52 : at.x + 52} ${at.y + server.height} V${centre.y} H${first ? centre.x - side : centre.x + side}`
  const state = folder.fault !== null ? 'bad' : isUp(role) ? 'plain' : 'dead'
  return <path d={d} className={`pic-line ${state}`} fill="none" />
}

/** From what the network knows to the server that it leads to. */
export function AddressLine({
  layout,
  at,
  address,
}: {
  layout: Layout
  at: Place
  address: PairState['address']
}) {
  const { address: box, addressWidth, server } = layout
  const first = at === layout.servers[0]
  const left = box.x - addressWidth / 2
  const d = layout.narrow
    ? first
      ? `M${box.x} ${box.y + addressBox / 2} V${at.y}`
      : `M${left} ${box.y} H4 V${at.y + server.height / 2} H${at.x}`
    : `M${first ? left : left + addressWidth} ${box.y} H${at.x + server.width / 2} V${at.y}`
  const state = address.fault !== null ? 'bad' : address.type === 'none' ? 'dead' : 'active'
  return <path d={d} className={`pic-line ${state}`} fill="none" />
}

export function Delivery({
  layout,
  collector,
  server,
  from: corner,
  to: serverCorner,
}: {
  layout: Layout
  collector: Collector
  server: string
  from: Place
  to: Place
}) {
  const from: [number, number] = [corner.x + layout.collector.width / 2, corner.y]
  const to: [number, number] = [
    serverCorner.x + layout.server.width / 2,
    serverCorner.y + layout.server.height,
  ]
  const delivery = collector.state.deliveries.find(one => one.server === server)
  const state =
    delivery === undefined || !collector.online
      ? 'dead'
      : !delivery.reachable
        ? 'bad'
        : delivery.waiting > 10
          ? 'warn'
          : 'ok'
  const middle = (from[1] + to[1]) / 2
  // Near the collector, where its lines have parted and those of others have not yet come near.
  const at = curvePoint(from, to, middle, 0.32)
  return (
    <g>
      <path
        d={`M${from[0]} ${from[1]} C${from[0]} ${middle} ${to[0]} ${middle} ${to[0]} ${to[1]}`}
        className={`pic-delivery ${state}`}
      />
      {delivery !== undefined && delivery.waiting > 0 && (
        <text x={at.x} y={at.y} textAnchor="middle" className={`pic-note ${state}`}>
          {formatCount(delivery.waiting)} wait
        </text>
      )}
      <title>
        {collector.state.name} → {server}:{' '}
        {delivery === undefined
          ? 'no delivery known'
          : `${formatCount(delivery.delivered)} segments delivered, ${formatCount(delivery.waiting)} waiting${
              delivery.lastError === null ? '' : `; ${delivery.lastError}`
            }`}
      </title>
    </g>
  )
}

/** A point of the curve, `t` from 0 at its beginning to 1 at its end (Bézier, controls at mid-height). */
function curvePoint(from: [number, number], to: [number, number], middle: number, t: number) {
  const u = 1 - t
  const mix = (a: number, b: number, c: number, d: number) =>
    u ** 3 * a + 3 * u * u * t * b + 3 * u * t * t * c + t ** 3 * d
  return {
    x: mix(from[0], from[0], to[0], to[0]),
    y: mix(from[1], middle, middle, to[1]),
  }
}
