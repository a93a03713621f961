import { Modal, Select, TextInput } from '@mantine/core'
import {
  IconArrowsExchange,
  IconPlayerPause,
  IconPlayerPlay,
  IconRepeat,
} from '@tabler/icons-react'
import { useState } from 'react'
import type { PairState } from '../api/connection.ts'
import { useAnswer, useChange } from '../api/hooks.ts'
import { fromLocalInput } from '../format/time.ts'
import { formatDuration } from '../format/units.ts'
import { Confirm } from '../parts/confirm.tsx'
import { FormEnd } from '../parts/form-end.tsx'
import { WriteButton } from '../parts/write-button.tsx'
import { isFlapping } from './troubles.ts'
import { lastDrill } from './words.ts'

/** What an administrator does with the pair. */
export function PairControls({
  pair,
  onDrill,
}: {
  pair: PairState
  onDrill: (operation: string) => void
}) {
  const [asking, setAsking] = useState<'switch' | 'pause' | 'drill' | null>(null)
  const close = () => setAsking(null)
  const standby = pair.servers.find(server => server.name !== pair.active)
  const busy = pair.operation === null ? undefined : 'Something is under way already; see below.'
  const barrier =
    busy ??
    (standby === undefined
      ? 'There is no second server.'
      : standby.role !== 'standby'
        ? `${standby.name} is ${standby.role === 'unknown' ? 'not heard of' : standby.role}: there is nobody to hand over to.`
        : undefined)
  return (
    <>
      <WriteButton
        needs="administrator"
        variant="default"
        leftSection={<IconArrowsExchange size={14} />}
        barrier={barrier}
        onClick={() => setAsking('switch')}
        testId="switchover"
      >
        Switch over
      </WriteButton>
      {pair.paused === null ? (
        <WriteButton
          needs="administrator"
          variant="default"
          leftSection={<IconPlayerPause size={14} />}
          onClick={() => setAsking('pause')}
          testId="pause"
        >
          Pause…
        </WriteButton>
      ) : (
        <ResumeButton pair={pair} />
      )}
      <WriteButton
        needs="administrator"
        variant="default"
        leftSection={<IconRepeat size={14} />}
        barrier={barrier}
        onClick={() => setAsking('drill')}
        testId="drill"
      >
        Drill
      </WriteButton>
      {asking === 'switch' && <SwitchOver pair={pair} to={standby?.name} onClose={close} />}
      {asking === 'pause' && <PauseDialog onClose={close} />}
      {asking === 'drill' && (
        <StartDrill pair={pair} to={standby?.name} onStarted={onDrill} onClose={close} />
      )}
    </>
  )
}

/** Ends a pause, whoever began it. */
export function ResumeButton({ pair }: { pair: Pick<PairState, 'paused'> }) {
  const resume = useChange('resumePair', ['listAlarms'])
  return (
    <WriteButton
      needs="administrator"
      variant={isFlapping(pair) ? 'filled' : 'default'}
      leftSection={<IconPlayerPlay size={14} />}
      onClick={() => resume.mutate({})}
      testId="resume"
    >
      Resume
    </WriteButton>
  )
}

/** How long reception through the active's address is interrupted: as measured, or as asserted. */
function useExpected(): string {
  const operations = useAnswer('listOperations', { query: { limit: 50 } })
  const measured = lastDrill(operations.data?.operations ?? [])
  return measured === undefined
    ? 'It takes less than half a second as a rule; a drill measures it.'
    : `The last drill took: ${measured}.`
}

function SwitchOver({
  pair,
  to = 'the standby',
  onClose,
}: {
  pair: PairState
  to: string | undefined
  onClose: () => void
}) {
  const change = useChange('switchOver', ['listRoleChanges'])
  const expected = useExpected()
  return (
    <Confirm
      opened
      title="Switch over?"
      action={`Hand over to ${to}`}
      danger={false}
      busy={change.isPending}
      error={change.error}
      onClose={onClose}
      onConfirm={() => change.mutate({}, { onSuccess: onClose })}
    >
      <p style={{ margin: '0 0 8px' }}>
        {pair.active} lets go of the lease and stands by; {to} becomes active in term{' '}
        {pair.term + 1}. {expected}
      </p>
      <p style={{ margin: 0 }}>
        Flows, logs and traps go on being received by both servers. Backups that are under way are
        done again by {to}.
      </p>
    </Confirm>
  )
}

function StartDrill({
  pair,
  to = 'the standby',
  onStarted,
  onClose,
}: {
  pair: PairState
  to: string | undefined
  onStarted: (operation: string) => void
  onClose: () => void
}) {
  const change = useChange('startDrill', ['listOperations'])
  const expected = useExpected()
  return (
    <Confirm
      opened
      title="Begin a drill?"
      action="Begin the drill"
      danger={false}
      busy={change.isPending}
      error={change.error}
      onClose={onClose}
      onConfirm={() =>
        change.mutate(
          {},
          {
            onSuccess: ({ id }) => {
              onStarted(id)
              onClose()
            },
          },
        )
      }
    >
      <p style={{ margin: '0 0 8px' }}>
        {pair.active} hands over to {to}, which hands back after a few seconds: two changes of role,
        and a report of how long each took. {expected}
      </p>
      <p style={{ margin: 0 }}>This page follows the active there and back.</p>
    </Confirm>
  )
}

const hour = 3_600_000
const lengths = [
  { value: String(hour / 4), label: formatDuration(hour / 4) },
  { value: String(hour), label: formatDuration(hour) },
  { value: String(4 * hour), label: formatDuration(4 * hour) },
  { value: String(24 * hour), label: formatDuration(24 * hour) },
  { value: 'until', label: 'Until a moment …' },
  { value: 'resume', label: 'Until somebody resumes' },
]

function PauseDialog({ onClose }: { onClose: () => void }) {
  const pause = useChange('pausePair', ['listAlarms'])
  const [reason, setReason] = useState('')
  const [length, setLength] = useState(String(hour))
  const [moment, setMoment] = useState('')
  const [tried, setTried] = useState(false)
  const until = untilOf(length, moment)
  const wrong = {
    reason: reason.trim() === '' ? 'Say why, for whoever sees it at night' : undefined,
    moment: until === undefined ? 'A moment that is still to come' : undefined,
  }
  const ready = wrong.reason === undefined && wrong.moment === undefined
  return (
    <Modal opened onClose={onClose} title="Pause takeovers">
      <form
        className="form"
        noValidate
        onSubmit={event => {
          event.preventDefault()
          setTried(true)
          if (!ready || until === undefined) return
          pause.mutate({ body: { reason: reason.trim(), until } }, { onSuccess: onClose })
        }}
      >
        <div>
          Nobody takes over while it lasts, whatever fails: for maintenance of the database, the
          network or both servers. A switchover is possible.
        </div>
        <TextInput
          label="Reason"
          placeholder="New switch in rack 4"
          data-autofocus
          maxLength={200}
          value={reason}
          error={tried ? wrong.reason : undefined}
          onChange={event => setReason(event.currentTarget.value)}
          data-testid="pause-reason"
        />
        <Select
          label="For how long"
          allowDeselect={false}
          value={length}
          onChange={value => value !== null && setLength(value)}
          data={lengths}
        />
        {length === 'until' && (
          <TextInput
            label="Until"
            type="datetime-local"
            value={moment}
            error={tried ? wrong.moment : undefined}
            onChange={event => setMoment(event.currentTarget.value)}
          />
        )}
        <FormEnd
          error={pause.error}
          busy={pause.isPending}
          ready
          action="Pause takeovers"
          testId="pause-save"
          onCancel={onClose}
        />
      </form>
    </Modal>
  )
}

/** ISO 8601; null: until somebody resumes; undefined: there is no such moment to come. */
function untilOf(length: string, moment: string): string | null | undefined {
  if (length === 'resume') return null
  const at = length === 'until' ? fromLocalInput(moment) : Date.now() + Number(length)
  return at === undefined || at <= Date.now() ? undefined : new Date(at).toISOString()
}
