import { SegmentedControl } from '@mantine/core'
import { IconCheck } from '@tabler/icons-react'
import { useState } from 'react'
import { useAnswer, useChange } from '../api/hooks.ts'
import { Panel, Tag } from './panel.tsx'
import { Rows } from './rows.tsx'
import { Empty } from './states.tsx'
import { Ago } from './when.tsx'
import { WriteIcon } from './write-button.tsx'

/** Alarms, open ones or all, with the means to say that one has seen them. */
export function AlarmsPanel() {
  const [which, setWhich] = useState<'open' | 'all'>('open')
  const query = useAnswer(
    'listAlarms',
    { query: which === 'open' ? { open: 'true' } : { limit: 50 } },
    { every: 10_000 },
  )
  const acknowledge = useChange('acknowledgeAlarm', ['listAlarms'])
  return (
    <Panel
      title="Alarms"
      flush
      testId="alarms"
      actions={
        <SegmentedControl
          size="xs"
          aria-label="Which alarms"
          value={which}
          onChange={value => setWhich(value as 'open' | 'all')}
          data={[
            { value: 'open', label: 'Open' },
            { value: 'all', label: 'All' },
          ]}
        />
      }
    >
      <span id="alarms" />
      <Rows
        query={query}
        what="Could not load the alarms"
        label="Alarms"
        rows={data => data.alarms}
        keyOf={alarm => alarm.id}
        empty={
          <Empty title={which === 'open' ? 'No open alarms' : 'No alarms yet'}>
            {which === 'open' ? 'Everything that is watched is as it should be.' : undefined}
          </Empty>
        }
        columns={[
          {
            head: '',
            tight: true,
            cell: alarm => (
              <Tag
                tone={
                  alarm.clearedAt !== null
                    ? 'plain'
                    : alarm.severity === 'critical'
                      ? 'bad'
                      : 'warn'
                }
              >
                {alarm.clearedAt === null ? alarm.severity : 'cleared'}
              </Tag>
            ),
          },
          {
            head: '',
            wrap: true,
            cell: alarm => (
              <>
                <strong style={{ fontWeight: 600 }}>{alarm.subject}</strong> {alarm.text}
                <div className="dim">
                  <Ago at={alarm.raisedAt} />
                  {alarm.acknowledgedBy !== null && ` · seen by ${alarm.acknowledgedBy}`}
                </div>
              </>
            ),
          },
          {
            head: '',
            tight: true,
            cell: alarm =>
              alarm.acknowledgedBy === null &&
              alarm.clearedAt === null && (
                <WriteIcon
                  needs="operator"
                  label={`Acknowledge: ${alarm.subject}`}
                  onClick={() => acknowledge.mutate({ params: { id: alarm.id } })}
                >
                  <IconCheck size={15} />
                </WriteIcon>
              ),
          },
        ]}
      />
    </Panel>
  )
}
