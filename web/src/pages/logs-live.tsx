import { Button } from '@mantine/core'
import { IconPlayerPause, IconPlayerPlay } from '@tabler/icons-react'
import { useState } from 'react'
import { formatCount } from '../format/units.ts'
import { LogDetail, logColumns } from '../parts/log-row.tsx'
import { Panel, Tag } from '../parts/panel.tsx'
import { Empty } from '../parts/states.tsx'
import { VirtualList } from '../parts/virtual-list.tsx'
import type { LogFilter } from '../search/use-rows.ts'
import { type TailRow, tailBound, useTail } from '../search/use-tail.ts'

const columns = logColumns<TailRow>(({ row }) => row)

/** Messages as they come. The list holds still while it is paused, scrolled down, or read. */
export function LiveLogs({
  filter,
  onSender,
}: {
  filter: LogFilter
  onSender: (sender: string) => void
}) {
  const tail = useTail(filter, true)
  /** What was on screen when the list was stopped; null: it runs. */
  const [held, setHeld] = useState<readonly TailRow[] | null>(null)
  const [paused, setPaused] = useState(false)
  const rows = held ?? tail.rows
  const newer = held === null ? 0 : (tail.rows[0]?.serial ?? 0) - (held[0]?.serial ?? 0)

  function hold(pause: boolean) {
    setPaused(pause)
    setHeld(pause ? tail.rows : null)
  }

  return (
    <Panel
      title="Live tail"
      note={`${formatCount(tail.received)} received`}
      flush
      actions={
        <>
          {newer > 0 && (
            <Button size="compact-xs" variant="light" onClick={() => hold(false)}>
              {formatCount(newer)} new
            </Button>
          )}
          {tail.dropped > 0 && (
            <Tag tone="warn">{formatCount(tail.dropped)} skipped: too fast to show</Tag>
          )}
          <Tag tone={tail.status === 'live' ? 'ok' : 'warn'} testId="tail-status">
            {tail.status === 'live' ? 'connected' : `connecting … ${tail.problem ?? ''}`}
          </Tag>
          <Button
            size="compact-xs"
            variant="default"
            leftSection={paused ? <IconPlayerPlay size={13} /> : <IconPlayerPause size={13} />}
            onClick={() => hold(!paused)}
            data-testid="tail-pause"
          >
            {paused ? 'Go on' : 'Pause'}
          </Button>
        </>
      }
    >
      {rows.length === 0 ? (
        <Empty title="Waiting for messages">
          They appear here the moment a collector has sealed them, about a second after they were
          sent.
        </Empty>
      ) : (
        <VirtualList
          rows={rows}
          columns={columns}
          keyOf={row => String(row.serial)}
          detail={({ row }) => <LogDetail row={row} onSender={onSender} />}
          height="max(320px, calc(100vh - 220px))"
          testId="logs-table"
          label="Syslog messages as they come"
          onTop={atTop => {
            if (paused) return
            if (atTop) setHeld(null)
            else if (held === null) setHeld(tail.rows)
          }}
          foot={`The newest ${formatCount(tailBound)} are kept here; the list holds still while you scroll down.`}
        />
      )}
    </Panel>
  )
}
