import { SegmentedControl } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useConnection } from '../api/hooks.ts'
import { formatDuration } from '../format/units.ts'
import { addressName, isFlapping } from '../pair/troubles.ts'
import { AlarmsPanel } from '../parts/alarms.tsx'
import { Figure, Panel } from '../parts/panel.tsx'
import { Sparkline } from '../parts/sparkline.tsx'
import { Answered, Empty, Loading } from '../parts/states.tsx'
import { formatMetric, TrafficChart } from '../parts/traffic-chart.tsx'
import { Ago, useNow } from '../parts/when.tsx'
import type { Range } from '../search/range.ts'
import { latestComplete, type Metric, perSecond, totals } from '../search/series.ts'
import { sourceText } from '../search/source.ts'
import { useTrafficSeries } from '../search/use-traffic.ts'
import { ChangesPanel, CollectorsFigure, TopPanel } from './overview-panels.tsx'

const lastHour: Range = { preset: '1h' }
const lastQuarter: Range = { preset: '15m' }

export function OverviewPage() {
  return (
    <>
      <h1 className="sr-only">Overview</h1>
      <div className="grid-4">
        <NowFigure metric="bits" label="Traffic now" />
        <NowFigure metric="flows" label="Flows now" />
        <PairFigure />
        <CollectorsFigure />
      </div>
      <TrafficPanel />
      <div className="grid-2 roomy">
        <TopPanel
          title="Top talkers"
          by="src.addr,dst.addr"
          heads={['Source', 'Destination']}
          range={lastHour}
        />
        <TopPanel title="Top applications" by="port" heads={['Service port']} range={lastHour} />
        <ChangesPanel />
        <AlarmsPanel />
      </div>
    </>
  )
}

function NowFigure({ metric, label }: { metric: Metric; label: string }) {
  const query = useTrafficSeries({ range: lastQuarter, metric })
  const now = useNow(10_000)
  const { data } = query
  if (data === undefined) {
    return <Figure label={label} value="–" foot={query.error?.message ?? 'asking …'} />
  }
  const value = latestComplete(data, metric, now)
  const curve = totals(perSecond(data, metric), data.times.length).slice(0, -1)
  const testId = metric === 'bits' ? 'traffic-now' : 'flows-now'
  return (
    <Figure
      label={label}
      value={<span data-testid={testId}>{value === null ? '–' : formatMetric(metric)(value)}</span>}
    >
      <Sparkline values={curve} label={`${label}, last 15 minutes`} />
    </Figure>
  )
}

function PairFigure() {
  const { pair } = useConnection()
  if (pair === null) return <Figure label="Active server" value="–" foot="asking …" />
  const standby = pair.servers.find(server => server.name !== pair.active)
  const standbyUp = standby !== undefined && standby.role === 'standby'
  const age = pair.heartbeat.ageMs
  const stopped = pair.paused !== null
  const fault = pair.address.fault !== null || isFlapping(pair)
  return (
    <Figure
      label="Active server"
      tone={pair.active === null || fault ? 'bad' : stopped ? 'warn' : undefined}
      value={
        <Link to="/failover" style={{ color: 'inherit' }}>
          <span className="row" style={{ gap: 10 }}>
            <span
              key={pair.heartbeat.counter}
              className={
                pair.active === null || fault ? 'dot bad' : stopped ? 'dot warn' : 'dot ok pulse'
              }
            />
            {pair.active ?? 'nobody'}
          </span>
        </Link>
      }
      foot={
        <>
          term {pair.term}, since <Ago at={pair.since} />
          <br />
          {standby === undefined ? (
            'no second server'
          ) : (
            <span className={standbyUp ? '' : 'bad'}>
              {standby.name}{' '}
              {standbyUp
                ? 'stands by'
                : standby.role === 'unknown'
                  ? 'does not answer'
                  : `is ${standby.role}`}
              {age !== null && ` · heartbeat ${formatDuration(age)}`}
            </span>
          )}
          {stopped && (
            <strong className={fault ? 'bad' : 'warn'} style={{ display: 'block' }}>
              {isFlapping(pair) ? 'takeovers stopped: too many' : 'takeovers paused'}
            </strong>
          )}
          {pair.address.fault !== null && (
            <strong className="bad" style={{ display: 'block' }}>
              {addressName(pair)}: {pair.address.fault}
            </strong>
          )}
        </>
      }
    />
  )
}

function TrafficPanel() {
  const [by, setBy] = useState('port')
  const query = useTrafficSeries({ range: lastHour, metric: 'bits', by, groups: 8 })
  return (
    <Panel
      title="Traffic"
      note="last hour"
      actions={
        <>
          <SegmentedControl
            size="xs"
            aria-label="Group by"
            value={by}
            onChange={setBy}
            data={[
              { value: 'port', label: 'Application' },
              { value: 'src.addr', label: 'Source' },
              { value: 'exporter', label: 'Exporter' },
              { value: 'protocol', label: 'Protocol' },
            ]}
          />
          <Link to="/traffic" search={{ by, range: '1h' }}>
            Explore
          </Link>
        </>
      }
    >
      <Answered
        query={query}
        what="Could not load the traffic"
        loading={<Loading height={250} />}
        empty={data =>
          data.series.length === 0 && (
            <Empty title="No flows in the last hour">
              Send NetFlow, IPFIX or sFlow to a collector; its ports are on the page{' '}
              <Link to="/collectors">Collectors</Link> (NetFlow usually 2055, IPFIX 4739, sFlow
              6343).
            </Empty>
          )
        }
      >
        {data => (
          <>
            <TrafficChart answer={data} metric="bits" by={by} height={250} testId="traffic-chart" />
            <p className="dim" style={{ margin: '6px 0 0', fontSize: 11.5 }}>
              {sourceText(data.source)}
            </p>
          </>
        )}
      </Answered>
    </Panel>
  )
}
