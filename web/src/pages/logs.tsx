import { SegmentedControl, Select, Switch, TextInput } from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'
import { getRouteApi } from '@tanstack/react-router'
import { type ReactNode, useEffect, useState } from 'react'
import { severityNames } from '../format/severity.ts'
import { RangePicker } from '../parts/range-picker.tsx'
import type { LogsSearch } from '../router.tsx'
import { parseRange, rangeSearch } from '../search/range.ts'
import type { LogFilter } from '../search/use-rows.ts'
import { LiveLogs } from './logs-live.tsx'
import { StoredLogs } from './logs-stored.tsx'
import { TrapList } from './traps.tsx'

const route = getRouteApi('/logs')

export function LogsPage() {
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const range = parseRange(search)
  const traps = search.tab === 'traps'
  const live = search.live === '1' && !traps
  const filter: LogFilter = {
    text: search.text,
    severity: search.severity,
    sender: search.sender,
  }

  function go(change: { [K in keyof LogsSearch]?: LogsSearch[K] | undefined }) {
    void navigate({
      search: previous =>
        Object.fromEntries(
          Object.entries({ ...previous, ...change }).filter(
            ([, value]) => value !== undefined && value !== '',
          ),
        ) as LogsSearch,
    })
  }

  return (
    <>
      <h1 className="sr-only">Logs</h1>
      <div className="spread">
        <div className="row">
          <SegmentedControl
            size="xs"
            aria-label="Kind of messages"
            value={traps ? 'traps' : 'syslog'}
            onChange={value => go({ tab: value === 'traps' ? 'traps' : undefined })}
            data={[
              { value: 'syslog', label: 'Syslog' },
              { value: 'traps', label: 'SNMP traps' },
            ]}
          />
          <Delayed
            value={search.text ?? ''}
            onChange={text => go({ text })}
            label="Search the text"
            width={170}
            icon={<IconSearch size={14} />}
            testId="logs-search"
          />
          {!traps && (
            <Select
              size="xs"
              w={146}
              aria-label="Severity"
              placeholder="Any severity"
              clearable
              value={search.severity ?? null}
              onChange={severity => go({ severity: severity ?? undefined })}
              data={severityNames.slice(0, 7).map((name, index) => ({
                value: String(index),
                label: index === 0 ? name : `${name} or worse`,
              }))}
            />
          )}
          <Delayed
            value={search.sender ?? ''}
            onChange={sender => go({ sender })}
            label="Sender address"
            width={124}
            testId="logs-sender"
          />
        </div>
        <div className="row">
          {!traps && (
            <Switch
              size="xs"
              label="Live tail"
              checked={live}
              onChange={event => go({ live: event.currentTarget.checked ? '1' : undefined })}
              data-testid="live-tail"
            />
          )}
          {!live && (
            <RangePicker
              value={range}
              onChange={value =>
                go({ range: undefined, from: undefined, to: undefined, ...rangeSearch(value) })
              }
            />
          )}
        </div>
      </div>
      {traps ? (
        <TrapList range={range} filter={filter} />
      ) : live ? (
        <LiveLogs filter={filter} onSender={sender => go({ sender })} />
      ) : (
        <StoredLogs
          range={range}
          filter={filter}
          onSender={sender => go({ sender })}
          onSelect={(from, to) => go({ range: undefined, ...rangeSearch({ from, to }) })}
        />
      )}
    </>
  )
}

/** A text field whose value counts when the typing pauses, or on Enter. */
function Delayed({
  value,
  onChange,
  label,
  width,
  icon,
  testId,
}: {
  value: string
  onChange: (value: string) => void
  label: string
  width: number
  icon?: ReactNode
  testId: string
}) {
  const [text, setText] = useState(value)
  useEffect(() => setText(value), [value])
  // biome-ignore lint/correctness/useExhaustiveDependencies: only typing starts the wait anew
  useEffect(() => {
    if (text === value) return
    const timer = setTimeout(() => onChange(text.trim()), 400)
    return () => clearTimeout(timer)
  }, [text])
  return (
    <TextInput
      size="xs"
      w={width}
      aria-label={label}
      placeholder={label}
      leftSection={icon}
      value={text}
      onChange={event => setText(event.currentTarget.value)}
      onKeyDown={event => event.key === 'Enter' && onChange(text.trim())}
      data-testid={testId}
    />
  )
}
