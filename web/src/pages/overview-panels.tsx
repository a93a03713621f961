import { Link, useNavigate } from '@tanstack/react-router'
import { useAnswer } from '../api/hooks.ts'
import { formatBitRate, formatCount, formatShare } from '../format/units.ts'
import { Figure, Panel, ShareBar } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { DimensionValue } from '../parts/value.tsx'
import { causeText } from '../parts/versions.tsx'
import { Ago } from '../parts/when.tsx'
import { boundsOf, type Range } from '../search/range.ts'
import { useTrafficTop } from '../search/use-traffic.ts'

/** The largest groups; a row leads to its traffic. */
export function TopPanel({
  title,
  by,
  heads,
  range,
}: {
  title: string
  by: string
  heads: string[]
  range: Range
}) {
  const navigate = useNavigate()
  const query = useTrafficTop({ range, metric: 'bits', by, limit: 8 })
  const dimensions = by.split(',')
  const bars = dimensions.length === 1
  const bounds = boundsOf(range, 0)
  const seconds = (bounds.to - bounds.from) / 1000
  return (
    <Panel
      title={title}
      note="last hour"
      flush
      actions={
        <Link to="/traffic" search={{ by, range: '1h' }}>
          All
        </Link>
      }
    >
      <Answered
        query={query}
        what={`Could not load the ${title.toLowerCase()}`}
        empty={data => data.rows.length === 0 && <Empty title="No flows in the last hour" />}
      >
        {data => (
          <div className="table-scroll">
            <table className="t">
              <thead>
                <tr>
                  {heads.map(head => (
                    <th key={head}>{head}</th>
                  ))}
                  <th className="num">Average</th>
                  <th className="num">Share</th>
                  {bars && <th aria-label="Share as a bar" />}
                </tr>
              </thead>
              <tbody>
                {data.rows.map(row => (
                  <tr
                    key={row.keys.join(' ')}
                    className="link"
                    onClick={() =>
                      void navigate({
                        to: '/traffic',
                        search: {
                          range: '1h',
                          where: row.keys.map((value, index) => `${dimensions[index]}=${value}`),
                        },
                      })
                    }
                  >
                    {row.keys.map((value, index) => (
                      <td key={dimensions[index]}>
                        <DimensionValue dimension={dimensions[index]!} value={value} />
                      </td>
                    ))}
                    <td className="num">{formatBitRate((8 * row.bytes) / seconds)}</td>
                    <td className="num dim">{formatShare(row.bytes, data.total.bytes)}</td>
                    {bars && (
                      <td style={{ width: 84 }} className="hide-narrow">
                        <ShareBar part={row.bytes} whole={data.total.bytes} />
                      </td>
                    )}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Answered>
    </Panel>
  )
}

/** The newest configuration versions of all devices. */
export function ChangesPanel() {
  const query = useAnswer('listVersions', { query: { limit: 8 } }, { every: 10_000 })
  return (
    <Panel
      title="Latest configuration changes"
      flush
      actions={<Link to="/devices">Devices</Link>}
      testId="latest-changes"
    >
      <Rows
        query={query}
        what="Could not load the changes"
        label="Latest configuration changes"
        rows={data => data.versions}
        keyOf={version => version.id}
        empty={
          <Empty title="No configurations yet">
            <Link to="/devices">Add a device</Link> with a credential; its first backup is the first
            version.
          </Empty>
        }
        columns={[
          { head: 'When', cell: version => <Ago at={version.takenAt} /> },
          {
            head: 'Device',
            cell: version => (
              <Link
                to="/devices/$id"
                params={{ id: version.deviceId }}
                search={{ version: String(version.id) }}
              >
                {version.device}
              </Link>
            ),
          },
          { head: 'Who', cell: version => version.author ?? <span className="dim">unknown</span> },
          { head: 'Cause', className: 'dim', cell: version => causeText[version.cause] },
          {
            head: 'Lines',
            num: true,
            cell: version => (
              <>
                <span className="ok">+{version.added}</span>{' '}
                <span className="bad">−{version.removed}</span>
              </>
            ),
          },
        ]}
      />
    </Panel>
  )
}

/** All collectors in one figure: is anything lost, does anything wait. */
export function CollectorsFigure() {
  const { data, error } = useAnswer('listCollectors', {}, { every: 5000 })
  if (data === undefined) {
    return <Figure label="Collectors" value="–" foot={error?.message ?? 'asking …'} />
  }
  const { collectors } = data
  const online = collectors.filter(collector => collector.online).length
  let drops = 0
  let forced = 0
  let waiting = 0
  let missed = 0
  for (const { state } of collectors) {
    for (const listener of state.listeners) drops += listener.kernelDrops ?? 0
    for (const kind of state.kinds) {
      forced += kind.lost
      waiting += kind.backlog
    }
    for (const exporter of state.exporters) missed += exporter.lost
  }
  const good = online === collectors.length && forced === 0
  return (
    <Figure
      label="Collectors"
      tone={collectors.length === 0 ? undefined : good ? undefined : 'bad'}
      value={
        <Link to="/collectors" style={{ color: 'inherit' }}>
          {collectors.length === 0 ? 'none' : `${online} of ${collectors.length} online`}
        </Link>
      }
      foot={
        collectors.length === 0 ? (
          'Start one with “keepwatch collector”.'
        ) : (
          <>
            <span className={waiting > 50 ? 'warn' : ''}>{formatCount(waiting)} segments wait</span>
            {' · '}
            <span className={drops > 0 ? 'warn' : ''}>{formatCount(drops)} dropped</span>
            <br />
            <span className={missed > 0 ? 'warn' : ''}>{formatCount(missed)} lost on the way</span>
            {forced > 0 && (
              <span className="bad"> · {formatCount(forced)} segments forced out</span>
            )}
          </>
        )
      }
    />
  )
}
