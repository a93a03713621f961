import { getRouteApi, Link } from '@tanstack/react-router'
import { type AnswerOf, useAnswer } from '../api/hooks.ts'
import { formatName } from '../format/ports.ts'
import { formatBitRate, formatCount, formatDuration, formatShare } from '../format/units.ts'
import { Panel, Tag } from '../parts/panel.tsx'
import { Problems } from '../parts/problems.tsx'
import { RangePicker } from '../parts/range-picker.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { VirtualList } from '../parts/virtual-list.tsx'
import { Ago } from '../parts/when.tsx'
import { comparedText, type Heard, isSkewed } from '../search/exporters.ts'
import { parseRange, rangeSearch } from '../search/range.ts'
import { tableText } from '../search/source.ts'
import { useExporterInterfaces } from '../search/use-traffic.ts'
import { ExporterSampling } from './exporter-sampling.tsx'

const route = getRouteApi('/exporters/$address')

type Interface = AnswerOf<'getExporterInterfaces'>['interfaces'][number]

/** One exporter: how it is, and its interfaces by flows and by their own counters. */
export function ExporterPage() {
  const { address } = route.useParams()
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const range = parseRange(search)
  const health = useAnswer('listHeardExporters', {}, { every: 5000 })
  const compared = useAnswer('compareExporters', {}, { every: 60_000 })
  const interfaces = useExporterInterfaces(address, range)
  const here = health.data?.exporters.filter(one => one.exporter === address) ?? []
  const device = here[0]?.device
  return (
    <>
      <Panel>
        <div className="spread">
          <div className="row" style={{ gap: 12 }}>
            <Link to="/exporters" className="dim">
              Exporters
            </Link>
            <h1 className="mono" style={{ fontSize: 17, margin: 0 }}>
              {address}
            </h1>
            {device != null && <span>{device}</span>}
          </div>
          <Link to="/traffic" search={{ where: [`exporter=${address}`], range: '1h' }}>
            Its traffic
          </Link>
        </div>
      </Panel>
      <Panel title="Health" flush testId="exporter-health">
        <Answered
          query={health}
          what="Could not load its health"
          empty={() =>
            here.length === 0 && (
              <Empty title="Not heard">
                No collector has heard this exporter since it was started.
              </Empty>
            )
          }
        >
          {() => (
            <Health
              domains={here}
              compared={compared.data?.exporters.find(one => one.exporter === address)}
            />
          )}
        </Answered>
      </Panel>
      <div className="spread">
        <span />
        <RangePicker
          value={range}
          onChange={value => void navigate({ search: () => rangeSearch(value) })}
        />
      </div>
      <Panel
        title="Interfaces"
        note={
          interfaces.data === undefined
            ? undefined
            : `${formatCount(interfaces.data.interfaces.length)} · flows from ${tableText(interfaces.data.table)}`
        }
        flush
      >
        <Answered
          query={interfaces}
          what="Could not load its interfaces"
          empty={data =>
            data.interfaces.length === 0 && (
              <Empty title="No interface in this range">
                No flow named one, and neither sFlow nor SNMP told of any.
              </Empty>
            )
          }
        >
          {data => <Interfaces address={address} rows={data.interfaces} />}
        </Answered>
      </Panel>
    </>
  )
}

function Health(props: {
  domains: readonly Heard[]
  compared: Parameters<typeof comparedText>[0]
}) {
  return (
    <div className="table-scroll">
      <table className="t">
        <thead>
          <tr>
            <th>Collector</th>
            <th>Format</th>
            <th className="num">Domain</th>
            <th className="num">Datagrams</th>
            <th className="num">Records</th>
            <th className="num" title="By the sequence numbers">
              Lost
            </th>
            <th className="num" title="Its clock minus ours">
              Clock
            </th>
            <th>Sampling</th>
            <th title="The last hour, into interfaces that both speak of">Against counters</th>
            <th className="num" title="Data sets that wait for their template, and that waited">
              Held, replayed
            </th>
            <th>Problems</th>
            <th>Last</th>
          </tr>
        </thead>
        <tbody>
          {props.domains.map(one => {
            const said = comparedText(props.compared, one)
            return (
              <tr key={`${one.collector} ${one.version} ${one.domain}`}>
                <td>
                  {one.collector} {!one.online && <Tag tone="bad">offline</Tag>}
                </td>
                <td className="nowrap">{formatName(one.version)}</td>
                <td className="num">{one.domain}</td>
                <td className="num">{formatCount(one.datagrams)}</td>
                <td className="num">{formatCount(one.records)}</td>
                <td className="num">
                  <span className={one.lost > 0 ? 'bad' : undefined}>
                    {formatCount(one.lost)}
                    {one.lost > 0 && ` (${formatShare(one.lost, one.expected)})`}
                  </span>
                </td>
                <td className="num">
                  <span className={isSkewed(one) ? 'warn' : undefined}>
                    {one.skewMs === null ? '–' : formatDuration(one.skewMs)}
                  </span>
                </td>
                <td>
                  <ExporterSampling exporter={one} set={one.set ?? undefined} />
                </td>
                <td>
                  {said === undefined ? (
                    <span className="dim">–</span>
                  ) : (
                    <span className={said.wrong ? 'bad' : undefined} title={said.hint}>
                      {said.text}
                    </span>
                  )}
                </td>
                <td className="num">
                  {formatCount(one.held)}, {formatCount(one.replayed)}
                </td>
                <td>
                  <Problems problems={one.problems} />
                </td>
                <td className="dim">
                  <Ago at={one.lastReceived} />
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

function Interfaces({ address, rows }: { address: string; rows: readonly Interface[] }) {
  return (
    <VirtualList
      label="Interfaces"
      testId="interfaces-table"
      height={`min(70vh, max(320px, ${60 + 26 * rows.length}px))`}
      rows={rows}
      keyOf={one => String(one.index)}
      columns={[
        {
          head: 'Interface',
          width: 'minmax(150px, 1.4fr)',
          cell: one => (
            <>
              {one.name === '' ? <span className="dim">ifIndex {one.index}</span> : one.name}
              {one.alias !== '' && <span className="dim"> {one.alias}</span>}
            </>
          ),
        },
        { head: 'ifIndex', width: '70px', wide: true, cell: one => one.index },
        {
          head: 'Speed',
          width: '96px',
          wide: true,
          cell: one => (one.speed > 0 ? formatBitRate(one.speed) : <span className="dim">–</span>),
        },
        {
          head: 'State',
          width: '60px',
          wide: true,
          cell: one =>
            one.oper === 0 ? (
              <span className="dim">–</span>
            ) : (
              <span className={one.oper === 1 ? undefined : 'bad'}>
                {one.oper === 1 ? 'up' : 'down'}
              </span>
            ),
        },
        { head: 'In, flows', width: '112px', cell: one => <Bits value={one.flows.in} /> },
        { head: 'In, counters', width: '112px', cell: one => <Bits value={one.counters.in} /> },
        { head: 'Out, flows', width: '112px', cell: one => <Bits value={one.flows.out} /> },
        { head: 'Out, counters', width: '112px', cell: one => <Bits value={one.counters.out} /> },
        {
          head: 'Load',
          width: '110px',
          wide: true,
          cell: one => <Load one={one} />,
        },
      ]}
      detail={one => (
        <div className="row">
          <Link to="/traffic" search={{ where: [`exporter=${address}`, `in.if=${one.index}`] }}>
            What comes in by it
          </Link>
          <Link to="/traffic" search={{ where: [`exporter=${address}`, `out.if=${one.index}`] }}>
            What goes out by it
          </Link>
          <span className="dim">
            {one.by === null
              ? 'Nobody tells its counters.'
              : `Counters by ${one.by === 'snmp' ? 'SNMP' : 'sFlow'}: ${formatCount(one.discards)} discards, ${formatCount(one.errors)} errors in this range.`}
          </span>
        </div>
      )}
    />
  )
}

function Bits({ value }: { value: number | null }) {
  return value === null ? <span className="dim">–</span> : formatBitRate(value)
}

/** Of its speed, in and out: by its counters, or else by the flows. */
function Load({ one }: { one: Interface }) {
  if (one.speed === 0) return <span className="dim">–</span>
  const share = (way: 'in' | 'out') =>
    formatShare(one.counters[way] ?? one.flows[way] ?? 0, one.speed)
  return (
    <>
      {share('in')}, {share('out')}
    </>
  )
}
