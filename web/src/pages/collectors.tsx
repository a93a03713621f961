import { Link } from '@tanstack/react-router'
import { type AnswerOf, useAnswer } from '../api/hooks.ts'
import { formatBytes, formatCount, formatDuration } from '../format/units.ts'
import { Panel, Tag } from '../parts/panel.tsx'
import { Problems } from '../parts/problems.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { Ago } from '../parts/when.tsx'

type Collector = AnswerOf<'listCollectors'>['collectors'][number]
type State = Collector['state']

const listenerNames: Record<State['listeners'][number]['name'], string> = {
  netflow: 'NetFlow',
  ipfix: 'IPFIX',
  sflow: 'sFlow',
  syslog_udp: 'Syslog UDP',
  syslog_tcp: 'Syslog TCP',
  ipfix_tcp: 'IPFIX TCP',
  ipfix_tls: 'IPFIX TLS',
  syslog_tls: 'Syslog TLS',
  traps: 'SNMP traps',
}
const kindNames: Record<State['kinds'][number]['kind'], string> = {
  flow: 'Flows',
  syslog: 'Syslog',
  trap: 'Traps',
  counter: 'Counters',
  name: 'Names',
}

export function CollectorsPage() {
  const query = useAnswer('listCollectors', {}, { every: 3000 })
  return (
    <>
      <h1 className="sr-only">Collectors</h1>
      <Answered
        query={query}
        what="Could not load the collectors"
        empty={data =>
          data.collectors.length === 0 && (
            <Panel>
              <Empty title="No collector has reported yet">
                Start one with “keepwatch collector” and its settings file: it receives NetFlow,
                IPFIX, sFlow, syslog and traps, and delivers them to both servers.
              </Empty>
            </Panel>
          )
        }
      >
        {data => data.collectors.map(one => <CollectorPanels key={one.state.id} collector={one} />)}
      </Answered>
    </>
  )
}

function CollectorPanels({ collector }: { collector: Collector }) {
  const { state, online, seenAt } = collector
  return (
    <Panel
      title={state.name}
      note={
        <>
          version {state.version} · started <Ago at={state.startedAt} /> · spool{' '}
          <span className="mono">{state.id.slice(0, 8)}</span>
        </>
      }
      actions={
        <>
          {!online && (
            <span className="dim">
              last seen <Ago at={seenAt} />
            </span>
          )}
          <Tag tone={online ? 'ok' : 'bad'}>{online ? 'online' : 'offline'}</Tag>
        </>
      }
      flush
    >
      <div className="collector-parts">
        <Listeners state={state} />
        <div className="stack" style={{ gap: 0 }}>
          <Kinds state={state} />
          <Deliveries state={state} />
        </div>
      </div>
      <Exporters state={state} />
    </Panel>
  )
}

function Amount({ value, tone }: { value: number | null; tone: 'warn' | 'bad' }) {
  if (value === null) return <span className="dim">–</span>
  return <span className={value > 0 ? tone : undefined}>{formatCount(value)}</span>
}

function Listeners({ state }: { state: State }) {
  const problems = Object.entries(state.problems).toSorted((a, b) => b[1] - a[1])
  return (
    <div className="table-scroll">
      <table className="t" data-testid="listeners-table">
        <thead>
          <tr>
            <th>Listens for</th>
            <th>On</th>
            <th className="num">Datagrams</th>
            <th className="num">Bytes</th>
            <th className="num" title="Dropped by the kernel because the socket's buffer was full">
              Dropped
            </th>
            <th className="num">Buffer</th>
          </tr>
        </thead>
        <tbody>
          {state.listeners.map(listener => (
            <tr key={listener.name}>
              <td>{listenerNames[listener.name]}</td>
              <td className="mono nowrap">
                {listener.address.includes(':') ? `[${listener.address}]` : listener.address}:
                {listener.port}
              </td>
              <td className="num">{formatCount(listener.datagrams)}</td>
              <td className="num">{formatBytes(listener.bytes)}</td>
              <td className="num">
                <Amount value={listener.kernelDrops} tone="bad" />
              </td>
              <td className="num dim">
                {listener.buffer === null ? '–' : formatBytes(listener.buffer)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {problems.length > 0 && (
        <div className="panel-body">
          <Problems problems={state.problems} />
        </div>
      )}
    </div>
  )
}

function Kinds({ state }: { state: State }) {
  return (
    <div className="table-scroll">
      <table className="t">
        <thead>
          <tr>
            <th>Kept</th>
            <th className="num">Rows</th>
            <th className="num">Segments</th>
            <th className="num">Waiting</th>
            <th className="num" title="Forced out by the quota before they were delivered">
              Forced out
            </th>
          </tr>
        </thead>
        <tbody>
          {state.kinds.map(kind => (
            <tr key={kind.kind}>
              <td>{kindNames[kind.kind]}</td>
              <td className="num">{formatCount(kind.rows)}</td>
              <td className="num">{formatCount(kind.sealed)}</td>
              <td className="num">
                {formatCount(kind.backlog)}
                {kind.backlog > 0 && (
                  <span className="dim"> ({formatBytes(kind.backlogBytes)})</span>
                )}
              </td>
              <td className="num">
                <Amount value={kind.lost} tone="bad" />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Deliveries({ state }: { state: State }) {
  return (
    <div className="table-scroll collector-deliveries">
      <table className="t">
        <thead>
          <tr>
            <th>Delivers to</th>
            <th>State</th>
            <th className="num">Delivered</th>
            <th className="num">Waiting</th>
          </tr>
        </thead>
        <tbody>
          {state.deliveries.map(delivery => (
            <tr key={delivery.server}>
              <td>{delivery.server}</td>
              <td className="wrap">
                <Tag tone={delivery.reachable ? 'ok' : 'bad'}>
                  {delivery.reachable ? 'reachable' : 'unreachable'}
                </Tag>
                {delivery.lastError !== null && !delivery.reachable && (
                  <div className="dim">{delivery.lastError}</div>
                )}
              </td>
              <td className="num">{formatCount(delivery.delivered)}</td>
              <td className="num">
                <span className={delivery.waiting > 10 ? 'warn' : undefined}>
                  {formatCount(delivery.waiting)}
                </span>
                {delivery.behindMs >= 1000 && (
                  <div className="dim">since {formatDuration(delivery.behindMs)}</div>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Exporters({ state }: { state: State }) {
  const count = new Set(state.exporters.map(({ exporter }) => exporter)).size
  if (count > 0) {
    return (
      <p className="dim panel-body">
        It hears{' '}
        <Link to="/exporters" search={{ find: state.name }}>
          {formatCount(count)} exporters
        </Link>
        .
      </p>
    )
  }
  return (
    <Empty title="No flows yet">
      Send NetFlow to port {portOf(state, 'netflow') ?? 2055}, IPFIX to{' '}
      {portOf(state, 'ipfix') ?? 4739} or sFlow to {portOf(state, 'sflow') ?? 6343} of this
      collector.
    </Empty>
  )
}

function portOf(state: State, name: 'netflow' | 'ipfix' | 'sflow'): number | undefined {
  return state.listeners.find(listener => listener.name === name)?.port
}
