import { Loader, Popover, UnstyledButton } from '@mantine/core'
import { useState } from 'react'
import { formatDuration } from '../format/units.ts'
import { Tag } from './panel.tsx'
import { isRunning, type Job } from './versions.tsx'
import { useNow } from './when.tsx'

/** Where a backup stands; a failed one opens to what failed and the end of its transcript. */
export function JobState({ job }: { job: Job | null }) {
  const [opened, setOpened] = useState(false)
  if (job === null) return <Tag>never</Tag>
  if (isRunning(job)) return <Running job={job} />
  if (job.state === 'succeeded') return <Tag tone="ok">backed up</Tag>
  const tag = <Tag tone={job.state === 'failed' ? 'bad' : 'warn'}>{job.state}</Tag>
  if (job.failure === null && job.evidence === null) return tag
  return (
    <Popover opened={opened} onChange={setOpened} width={480} position="bottom-start" shadow="md">
      <Popover.Target>
        <UnstyledButton
          aria-label={`Why it failed: ${job.failure ?? 'see the transcript'}`}
          onClick={event => {
            event.stopPropagation()
            setOpened(!opened)
          }}
        >
          {tag}
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown onClick={event => event.stopPropagation()}>
        <Evidence job={job} />
      </Popover.Dropdown>
    </Popover>
  )
}

export function Evidence({ job }: { job: Job }) {
  return (
    <div className="stack" style={{ gap: 8 }} data-testid="job-failure">
      <div className="bad">{job.failure ?? 'It failed.'}</div>
      {job.evidence !== null && job.evidence !== '' && (
        <>
          <div className="dim">The end of the session:</div>
          <pre className="block" data-testid="job-evidence">
            {job.evidence}
          </pre>
        </>
      )}
    </div>
  )
}

function Running({ job }: { job: Job }) {
  const now = useNow()
  const since = job.started ?? job.created
  return (
    <Tag tone="accent">
      <Loader size={10} />
      {job.state === 'queued' ? 'queued' : 'backing up'}{' '}
      {formatDuration(Math.max(0, Math.floor((now - Date.parse(since)) / 1000) * 1000))}
    </Tag>
  )
}
