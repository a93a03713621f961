import { Button } from '@mantine/core'
import { IconRefresh } from '@tabler/icons-react'
import { useMemo } from 'react'
import { type AnswerOf, useAnswer } from '../api/hooks.ts'
import { severityNames } from '../format/severity.ts'
import { formatCount, formatQuantity } from '../format/units.ts'
import { TimeChart } from '../parts/chart.tsx'
import { LogDetail, type LogRow, logColumns } from '../parts/log-row.tsx'
import { Panel } from '../parts/panel.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { VirtualList } from '../parts/virtual-list.tsx'
import type { Range } from '../search/range.ts'
import { type LogFilter, mostRows, useRows } from '../search/use-rows.ts'
import { severityColors } from '../theme.ts'

const columns = logColumns<LogRow>(row => row)
const formatMessages = (value: number) => formatQuantity(value, '')

/** Messages of a range, newest first, as far down as one scrolls. */
export function StoredLogs({
  range,
  filter,
  onSender,
  onSelect,
}: {
  range: Range
  filter: LogFilter
  onSender: (sender: string) => void
  onSelect: (from: number, to: number) => void
}) {
  const { list, rows, query, full, more, refresh } = useRows('listLogs', range, filter)
  const { hasNextPage, isFetchingNextPage } = list
  const histogram = useAnswer('getLogHistogram', { query })

  return (
    <>
      {histogram.data?.series.length !== 0 && (
        <Panel>
          {histogram.data === undefined ? (
            histogram.isError ? (
              <Failure
                error={histogram.error}
                what="Could not load the histogram"
                retry={histogram.refetch}
              />
            ) : (
              <Loading height={110} />
            )
          ) : (
            <Histogram answer={histogram.data} onSelect={onSelect} />
          )}
        </Panel>
      )}
      <Panel
        title="Messages"
        note={
          rows.length === 0
            ? undefined
            : `${formatCount(rows.length)}${hasNextPage ? ' loaded, more below' : ''}, newest first`
        }
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
            <Failure error={list.error} what="Could not load the messages" retry={list.refetch} />
          ) : (
            <Loading rows={14} />
          )
        ) : rows.length === 0 ? (
          <Empty title="No messages">
            {filter.text || filter.severity || filter.sender
              ? 'No message in this range meets the filter.'
              : 'No syslog was received in this range. Point the devices’ logging at a collector (usually UDP or TCP 514).'}
          </Empty>
        ) : (
          <VirtualList
            key={JSON.stringify(query)}
            rows={rows}
            columns={columns}
            keyOf={(_, index) => String(index)}
            detail={row => <LogDetail row={row} onSender={onSender} />}
            height="max(320px, calc(100vh - 372px))"
            testId="logs-table"
            label="Syslog messages"
            onNearEnd={more}
            foot={
              full
                ? `The newest ${formatCount(mostRows)} are shown; narrow the range or the search for older ones.`
                : isFetchingNextPage
                  ? 'Loading older messages …'
                  : hasNextPage
                    ? 'Scroll for older messages.'
                    : 'That is all in this range.'
            }
          />
        )}
      </Panel>
    </>
  )
}

function Histogram({
  answer,
  onSelect,
}: {
  answer: AnswerOf<'getLogHistogram'>
  onSelect: (from: number, to: number) => void
}) {
  const times = useMemo(() => answer.times.map(time => Date.parse(time)), [answer])
  const series = useMemo(() => {
    const rank = (key: string) => {
      const at = (severityNames as readonly string[]).indexOf(key)
      return at < 0 ? severityNames.length : at
    }
    return answer.series
      .toSorted((a, b) => rank(a.key) - rank(b.key))
      .map(({ key, values }) => ({
        name: key,
        color: severityColors[rank(key)] ?? '#b6c0c7',
        values,
      }))
  }, [answer])
  return (
    <TimeChart
      times={times}
      step={1000 * answer.step}
      series={series}
      kind="bars"
      format={formatMessages}
      height={110}
      label="Messages over time by severity"
      testId="logs-histogram"
      onSelect={onSelect}
    />
  )
}
