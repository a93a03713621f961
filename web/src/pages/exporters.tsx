import { SegmentedControl, TextInput } from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'
import { getRouteApi, Link } from '@tanstack/react-router'
import { type AnswerOf, useAnswer } from '../api/hooks.ts'
import { formatName } from '../format/ports.ts'
import { formatCount, formatDuration, formatShare } from '../format/units.ts'
import { Panel, Tag } from '../parts/panel.tsx'
import { Problems } from '../parts/problems.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { VirtualList } from '../parts/virtual-list.tsx'
import { Ago } from '../parts/when.tsx'
import {
  type Compared,
  comparedText,
  type Heard,
  isSkewed,
  troubleOf,
} from '../search/exporters.ts'
import { ExporterSampling } from './exporter-sampling.tsx'

const route = getRouteApi('/exporters')

/** Every exporter of flows, and whether what it says can be believed. */
export function ExportersPage() {
  const { find = '', only } = route.useSearch()
  const navigate = route.useNavigate()
  const query = useAnswer('listHeardExporters', {}, { every: 5000 })
  const { data } = useAnswer('compareExporters', {}, { every: 60_000 })
  const compared = new Map(data?.exporters.map(one => [one.exporter, one]))
  return (
    <>
      <h1 className="sr-only">Exporters</h1>
      <div className="spread">
        <TextInput
          size="xs"
          w={260}
          aria-label="Find an exporter"
          placeholder="Find by address, device or collector"
          leftSection={<IconSearch size={14} />}
          value={find}
          onChange={event => {
            const text = event.currentTarget.value
            void navigate({
              search: ({ find: _, ...rest }) => (text === '' ? rest : { ...rest, find: text }),
              replace: true,
            })
          }}
        />
        <SegmentedControl
          size="xs"
          aria-label="Which exporters"
          value={only ?? 'all'}
          onChange={value =>
            void navigate({
              search: ({ only: _, ...rest }) =>
                value === 'trouble' ? { ...rest, only: 'trouble' as const } : rest,
            })
          }
          data={[
            { value: 'all', label: 'All' },
            { value: 'trouble', label: 'In trouble' },
          ]}
        />
      </div>
      <Answered
        query={query}
        what="Could not load the exporters"
        empty={answer =>
          answer.exporters.length === 0 && (
            <Panel>
              <Empty title="No exporter has been heard yet">
                Send NetFlow to port 2055, IPFIX to 4739 or sFlow to 6343 of a{' '}
                <Link to="/collectors">collector</Link> or of this server.
              </Empty>
            </Panel>
          )
        }
      >
        {answer => (
          <>
            <Drops sockets={answer.sockets} />
            <Exporters
              rows={answer.exporters.filter(one => {
                const words = `${one.exporter} ${one.device ?? ''} ${one.collector}`.toLowerCase()
                if (!words.includes(find.trim().toLowerCase())) return false
                return only === undefined || troubleOf(one, compared.get(one.exporter)).length > 0
              })}
              of={answer.exporters.length}
              compared={compared}
            />
          </>
        )}
      </Answered>
    </>
  )
}

/** What no exporter is told of: the kernel had no room for it. */
function Drops({ sockets }: { sockets: AnswerOf<'listHeardExporters'>['sockets'] }) {
  const dropping = sockets.filter(({ kernelDrops }) => (kernelDrops ?? 0) > 0)
  if (dropping.length === 0) return null
  return (
    <Panel testId="socket-drops">
      {dropping.map(({ collector, listener, datagrams, kernelDrops }) => (
        <div key={`${collector} ${listener}`} className="bad">
          The kernel of {collector} dropped {formatCount(kernelDrops!)} datagrams at {listener} (
          {formatShare(kernelDrops!, kernelDrops! + datagrams)}): its receive buffer was full.
        </div>
      ))}
    </Panel>
  )
}

function Exporters(props: {
  rows: readonly Heard[]
  of: number
  compared: ReadonlyMap<string, Compared>
}) {
  const { rows, of, compared } = props
  if (rows.length === 0) {
    return (
      <Panel>
        <Empty title="None of them">
          {formatCount(of)} exporters are heard, and none is meant by what you look for.
        </Empty>
      </Panel>
    )
  }
  return (
    <Panel title="Exporters" note={formatCount(rows.length)} flush>
      <VirtualList
        label="Exporters"
        testId="exporters-table"
        height={`min(70vh, max(320px, ${60 + 26 * rows.length}px))`}
        rows={rows}
        keyOf={one => `${one.collector} ${one.exporter} ${one.version} ${one.domain}`}
        columns={[
          {
            head: 'Exporter',
            width: 'minmax(140px, 1.4fr)',
            narrow: 'minmax(110px, 1.4fr)',
            cell: one => (
              <Link
                to="/exporters/$address"
                params={{ address: one.exporter }}
                onClick={event => event.stopPropagation()}
              >
                <span className="mono">{one.exporter}</span>
                {one.device !== null && <span className="dim"> {one.device}</span>}
              </Link>
            ),
          },
          { head: 'Format', width: '80px', cell: one => formatName(one.version) },
          { head: 'Domain', width: '56px', wide: true, cell: one => one.domain },
          { head: 'Collector', width: '88px', wide: true, cell: one => one.collector },
          { head: 'Records', width: '84px', wide: true, cell: one => formatCount(one.records) },
          { head: 'Lost', width: '52px', cell: one => <Lost heard={one} /> },
          { head: 'Clock', width: '64px', wide: true, cell: one => <Skew heard={one} /> },
          {
            head: 'Sampling',
            width: 'minmax(110px, 0.8fr)',
            wide: true,
            cell: one => <Rate heard={one} />,
          },
          {
            head: 'Against counters',
            width: 'minmax(100px, 0.8fr)',
            wide: true,
            cell: one => <Against compared={compared.get(one.exporter)} heard={one} />,
          },
          {
            head: 'Trouble',
            width: 'minmax(100px, 1.2fr)',
            cell: one => <Trouble heard={one} compared={compared.get(one.exporter)} />,
          },
          { head: 'Last', width: '64px', cell: one => <Ago at={one.lastReceived} /> },
        ]}
        detail={one => <Detail heard={one} />}
      />
    </Panel>
  )
}

function Lost({ heard: { lost, expected } }: { heard: Heard }) {
  if (lost === 0) return <span className="dim">none</span>
  return <span className="bad">{formatShare(lost, expected)}</span>
}

function Skew({ heard }: { heard: Heard }) {
  if (heard.skewMs === null) return <span className="dim">–</span>
  return (
    <span className={isSkewed(heard) ? 'warn' : undefined}>{formatDuration(heard.skewMs)}</span>
  )
}

function Rate({ heard: { sampling, set } }: { heard: Heard }) {
  const rate = set ?? sampling.rate
  return (
    <>
      {rate === 1 ? 'none' : `1 in ${rate}`}
      {(set !== null || sampling.rule !== 'none') && (
        <span className="dim"> ({set === null ? sampling.rule : 'set here'})</span>
      )}
    </>
  )
}

function Against({ compared, heard }: { compared: Compared | undefined; heard: Heard }) {
  const said = comparedText(compared, heard)
  if (said === undefined) return <span className="dim">–</span>
  return (
    <span className={said.wrong ? 'bad' : undefined} title={said.hint}>
      {said.text}
    </span>
  )
}

function Trouble({ heard, compared }: { heard: Heard; compared: Compared | undefined }) {
  const troubles = troubleOf(heard, compared)
  if (troubles.length === 0) return <span className="dim">none</span>
  return (
    <span title={troubles.join('; ')}>
      <Tag tone="warn">{troubles[0]}</Tag>
      {troubles.length > 1 && <span className="dim"> +{troubles.length - 1}</span>}
    </span>
  )
}

function Detail({ heard }: { heard: Heard }) {
  return (
    <div className="stack" data-testid="exporter-detail">
      <div className="row">
        <span>
          {formatCount(heard.datagrams)} datagrams, {formatCount(heard.records)} records
        </span>
        <span>
          {formatCount(heard.lost)} lost of {formatCount(heard.expected)}
        </span>
        <span>{formatCount(heard.templates)} templates known</span>
        <span>
          {formatCount(heard.held)} sets wait for their template, {formatCount(heard.replayed)} were
          decoded when it came
        </span>
      </div>
      <div className="row">
        <ExporterSampling exporter={heard} set={heard.set ?? undefined} />
        <Problems problems={heard.problems} />
      </div>
    </div>
  )
}
