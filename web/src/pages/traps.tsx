import { Button } from '@mantine/core'
import { IconRefresh } from '@tabler/icons-react'
import type { AnswerOf } from '../api/hooks.ts'
import { formatCount } from '../format/units.ts'
import { RowTime } from '../parts/log-row.tsx'
import { Panel } from '../parts/panel.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { type VirtualColumn, VirtualList } from '../parts/virtual-list.tsx'
import type { Range } from '../search/range.ts'
import { type LogFilter, useRows } from '../search/use-rows.ts'

type TrapRow = AnswerOf<'listTraps'>['rows'][number]

const columns: VirtualColumn<TrapRow>[] = [
  {
    head: 'Received',
    width: '170px',
    narrow: '90px',
    cell: row => <RowTime at={row.received} />,
  },
  {
    head: 'From',
    width: '140px',
    cell: row => (row.device === null ? <span className="mono">{row.sender}</span> : row.device),
  },
  {
    head: 'Notification',
    width: '190px',
    wide: true,
    cell: row => (row.name === '' ? <span className="mono">{row.oid}</span> : row.name),
  },
  {
    head: 'Variables',
    width: 'minmax(100px, 1fr)',
    cell: row => (
      <span className="mono">{row.varbinds.map(varbind => varbind.value).join('  ')}</span>
    ),
  },
]

/** SNMP notifications of a range, newest first; a row opens to its variables. */
export function TrapList({ range, filter }: { range: Range; filter: LogFilter }) {
  const { list, rows, query, more, refresh } = useRows('listTraps', range, filter)
  const { hasNextPage, isFetchingNextPage } = list

  return (
    <Panel
      title="SNMP traps"
      note={rows.length === 0 ? undefined : `${formatCount(rows.length)}, newest first`}
      flush
      actions={
        <Button
          size="compact-xs"
          variant="subtle"
          leftSection={<IconRefresh size={13} />}
          loading={list.isFetching && !isFetchingNextPage}
          onClick={refresh}
        >
          Refresh
        </Button>
      }
    >
      {list.data === undefined ? (
        list.isError ? (
          <Failure error={list.error} what="Could not load the traps" retry={list.refetch} />
        ) : (
          <Loading rows={14} />
        )
      ) : rows.length === 0 ? (
        <Empty title="No traps">
          {filter.text || filter.sender
            ? 'No notification in this range meets the filter.'
            : 'No SNMP notification was received in this range. Send traps of v1 or v2c to a collector (usually UDP 162).'}
        </Empty>
      ) : (
        <VirtualList
          key={JSON.stringify(query)}
          rows={rows}
          columns={columns}
          keyOf={(_, index) => String(index)}
          detail={row => <TrapDetail row={row} />}
          height="max(320px, calc(100vh - 220px))"
          testId="traps-table"
          label="SNMP notifications"
          onNearEnd={more}
          foot={hasNextPage ? 'Scroll for older ones.' : 'That is all in this range.'}
        />
      )}
    </Panel>
  )
}

function TrapDetail({ row }: { row: TrapRow }) {
  return (
    <div className="stack" style={{ gap: 8 }}>
      <dl className="facts">
        <dt>Notification</dt>
        <dd>
          {row.name !== '' && `${row.name} · `}
          <span className="mono">{row.oid}</span>
        </dd>
        <dt>Sender</dt>
        <dd>
          <span className="mono">{row.sender}</span>
          {row.agent !== row.sender && (
            <>
              {' '}
              for the agent <span className="mono">{row.agent}</span>
            </>
          )}
          {row.device !== null && ` (${row.device})`}
        </dd>
        <dt>Version</dt>
        <dd>{row.version === 1 ? 'SNMPv1' : 'SNMPv2c'}</dd>
      </dl>
      <div className="table-scroll">
        <table className="t" data-testid="varbinds">
          <thead>
            <tr>
              <th>Variable</th>
              <th>Type</th>
              <th>Value</th>
            </tr>
          </thead>
          <tbody>
            {row.varbinds.map(varbind => (
              <tr key={varbind.oid}>
                <td className="mono">{varbind.oid}</td>
                <td className="dim">{varbind.type}</td>
                <td className="mono wrap">{varbind.value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  )
}
