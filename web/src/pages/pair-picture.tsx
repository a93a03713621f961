import type { PairState } from '../api/connection.ts'
import type { AnswerOf } from '../api/hooks.ts'
import { formatAgo } from '../format/time.ts'
import { formatCount } from '../format/units.ts'

type Collector = AnswerOf<'listCollectors'>['collectors'][number]
type Server = PairState['servers'][number]

const width = 960
const box = { width: 272, height: 116 }
const database = { x: 480, y: 74 }
const drawnCollectors = 4

/**
 * The pair as it stands: two servers, the database between them, the collectors beneath with a line
 * to each server that they deliver to. A dot runs to the database at each heartbeat.
 */
export function PairPicture({ pair, collectors }: { pair: PairState; collectors: Collector[] }) {
  const servers = pair.servers.toSorted((a, b) => a.installed.localeCompare(b.installed))
  const places = servers.map((server, index) => ({
    server,
    x: index === 0 ? 20 : width - 20 - box.width,
    y: 16,
  }))
  const drawn = collectors.slice(0, drawnCollectors)
  const slot = width / Math.max(drawn.length, 1)
  const collectorY = 262
  const height = drawn.length === 0 ? 160 : 350
  return (
    <div className="table-scroll">
      <svg
        viewBox={`0 0 ${width} ${height}`}
        className="picture"
        role="img"
        aria-label={`${pair.active ?? 'Nobody'} is active in term ${pair.term}. ${servers
          .map(server => `${server.name}: ${server.role}`)
          .join('. ')}.`}
      >
        {places.map(({ server, x, y }) => (
          <DatabaseLine
            key={server.name}
            server={server}
            fromX={x === 20 ? x + box.width : x}
            y={y + box.height / 2}
            counter={pair.heartbeat.counter}
            reachable={pair.database.reachable}
          />
        ))}
        {drawn.map((collector, index) =>
          places.map(({ server, x, y }) => (
            <DeliveryLine
              key={`${collector.state.id} ${server.name}`}
              collector={collector}
              server={server.name}
              from={[slot * (index + 0.5), collectorY]}
              to={[x + box.width / 2, y + box.height]}
            />
          )),
        )}
        {places.map(({ server, x, y }) => (
          <ServerBox key={server.name} server={server} x={x} y={y} />
        ))}
        <Database reachable={pair.database.reachable} />
        {drawn.map((collector, index) => (
          <CollectorBox
            key={collector.state.id}
            collector={collector}
            x={slot * (index + 0.5)}
            y={collectorY}
          />
        ))}
        {collectors.length > drawnCollectors && (
          <text x={width - 12} y={height - 4} textAnchor="end" className="pic-dim">
            and {collectors.length - drawnCollectors} more
          </text>
        )}
      </svg>
    </div>
  )
}

function ServerBox({ server, x, y }: { server: Server; x: number; y: number }) {
  return (
    <g transform={`translate(${x} ${y})`} className={`pic-server ${server.role}`}>
      <rect width={box.width} height={box.height} rx={7} />
      <rect width={5} height={box.height - 14} x={0} y={7} rx={2.5} className="pic-bar" />
      <text x={20} y={31} className="pic-name">
        {server.name}
        {server.self && (
          <tspan dx={10} className="pic-here">
            answers this console
          </tspan>
        )}
      </text>
      <text x={box.width - 16} y={31} textAnchor="end" className="pic-role">
        {server.role === 'unknown' ? 'does not answer' : server.role}
      </text>
      <text x={20} y={56} className="pic-dim">
        installed as {server.installed}, version {server.version}
      </text>
      <text x={20} y={76} className="pic-dim">
        {server.role === 'unknown'
          ? `last seen ${formatAgo(server.seenAt, Date.now())}`
          : `started ${formatAgo(server.startedAt, Date.now())}`}
      </text>
      <text x={20} y={96} className={server.engine === false ? 'pic-bad' : 'pic-dim'}>
        {server.engine === null
          ? 'telemetry engine: unknown'
          : server.engine
            ? 'telemetry engine takes segments'
            : 'telemetry engine does not answer'}
      </text>
    </g>
  )
}

function Database({ reachable }: { reachable: boolean }) {
  const { x, y } = database
  return (
    <g className={reachable ? 'pic-db' : 'pic-db bad'}>
      <path d={`M${x - 46} ${y - 26} v52 a46 12 0 0 0 92 0 v-52`} />
      <ellipse cx={x} cy={y - 26} rx={46} ry={12} />
      <text x={x} y={y + 10} textAnchor="middle" className="pic-name">
        database
      </text>
      <text x={x} y={y + 27} textAnchor="middle" className={reachable ? 'pic-dim' : 'pic-bad'}>
        {reachable ? 'lease' : 'unreachable'}
      </text>
    </g>
  )
}

/** The active writes its heartbeat, the standby reads it. */
function DatabaseLine({
  server,
  fromX,
  y,
  counter,
  reachable,
}: {
  server: Server
  fromX: number
  y: number
  counter: number
  reachable: boolean
}) {
  const toX = fromX < database.x ? database.x - 46 : database.x + 46
  const alive = reachable && (server.role === 'active' || server.role === 'standby')
  return (
    <g>
      <line
        x1={fromX}
        x2={toX}
        y1={y}
        y2={y}
        className={`pic-line ${alive ? server.role : 'dead'}`}
      />
      {alive && server.role === 'active' && (
        <circle
          key={counter}
          cx={fromX}
          cy={y}
          r={5}
          className="pic-beat"
          style={{ '--way': `${toX - fromX}px` } as React.CSSProperties}
        />
      )}
      <text x={(fromX + toX) / 2} y={y - 8} textAnchor="middle" className="pic-dim">
        {!alive ? '' : server.role === 'active' ? 'beats' : 'watches'}
      </text>
    </g>
  )
}

function DeliveryLine({
  collector,
  server,
  from,
  to,
}: {
  collector: Collector
  server: string
  from: [number, number]
  to: [number, number]
}) {
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

function CollectorBox({ collector, x, y }: { collector: Collector; x: number; y: number }) {
  const { state, online } = collector
  const exporters = state.exporters.length
  const backlog = state.kinds.reduce((sum, kind) => sum + kind.backlog, 0)
  return (
    <g
      transform={`translate(${x - 104} ${y})`}
      className={online ? 'pic-collector' : 'pic-collector bad'}
    >
      <rect width={208} height={66} rx={7} />
      <text x={16} y={27} className="pic-name">
        {state.name}
      </text>
      <text x={192} y={27} textAnchor="end" className={online ? 'pic-ok' : 'pic-bad'}>
        {online ? 'online' : 'offline'}
      </text>
      <text x={16} y={49} className="pic-dim">
        {exporters} {exporters === 1 ? 'exporter' : 'exporters'}, {formatCount(backlog)} segments
        wait
      </text>
    </g>
  )
}
