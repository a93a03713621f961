import { Button } from '@mantine/core'
import type { AnswerOf } from '../api/hooks.ts'
import { facilityName, severityName } from '../format/severity.ts'
import { formatMoment } from '../format/time.ts'
import { severityColors } from '../theme.ts'
import type { VirtualColumn } from './virtual-list.tsx'

export type LogRow = AnswerOf<'listLogs'>['rows'][number]

function Severity({ value }: { value: number | null }) {
  return (
    <span className="sev">
      <span
        className="swatch"
        style={{ background: value === null ? 'var(--kw-line-strong)' : severityColors[value] }}
      />
      {severityName(value)}
    </span>
  )
}

/** The moment of a row; in narrow windows the clock alone. */
export function RowTime({ at }: { at: string }) {
  const [date, clock] = formatMoment(at, true).split(' ')
  return (
    <span className="mono">
      <span className="hide-narrow">{date} </span>
      {clock}
    </span>
  )
}

/** The columns of a list of messages, whatever its rows carry besides. */
export function logColumns<Row>(of: (row: Row) => LogRow): VirtualColumn<Row>[] {
  return [
    {
      head: 'Time',
      width: '170px',
      narrow: '90px',
      cell: row => <RowTime at={of(row).time} />,
    },
    { head: 'Severity', width: '104px', cell: row => <Severity value={of(row).severity} /> },
    {
      head: 'From',
      width: '140px',
      wide: true,
      cell: row => {
        const { device, sender } = of(row)
        return device === null ? <span className="mono">{sender}</span> : device
      },
    },
    {
      head: 'Application',
      width: '130px',
      wide: true,
      cell: row => <span className="dim">{of(row).msgId || of(row).app}</span>,
    },
    {
      head: 'Message',
      width: 'minmax(120px, 1fr)',
      cell: row => <span className="mono">{of(row).message || of(row).raw}</span>,
    },
  ]
}

export function LogDetail({ row, onSender }: { row: LogRow; onSender: (sender: string) => void }) {
  return (
    <div className="stack" style={{ gap: 8 }}>
      <pre className="block" data-testid="log-raw">
        {row.raw}
      </pre>
      <dl className="facts">
        <dt>Time</dt>
        <dd>{formatMoment(row.time, true)}</dd>
        <dt>Received</dt>
        <dd>{formatMoment(row.received, true)}</dd>
        <dt>Sender</dt>
        <dd>
          <span className="mono">{row.sender}</span>
          {row.device !== null && ` (${row.device})`}{' '}
          <Button size="compact-xs" variant="subtle" onClick={() => onSender(row.sender)}>
            only this one
          </Button>
        </dd>
        <dt>Host</dt>
        <dd>{row.host || '–'}</dd>
        <dt>Application</dt>
        <dd>{[row.app, row.msgId].filter(text => text !== '').join(' · ') || '–'}</dd>
        <dt>Priority</dt>
        <dd>
          {facilityName(row.facility)}.{severityName(row.severity)}
        </dd>
      </dl>
    </div>
  )
}
