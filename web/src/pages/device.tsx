import { SegmentedControl } from '@mantine/core'
import { IconDownload, IconPencil, IconTrash } from '@tabler/icons-react'
import { useQueryClient } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { useAnswer, useChange } from '../api/hooks.ts'
import { FormError } from '../parts/form-end.tsx'
import { Evidence, JobState } from '../parts/job-state.tsx'
import { Panel, Tag } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { causeText, isRunning } from '../parts/versions.tsx'
import { Ago, Moment } from '../parts/when.tsx'
import { WriteButton } from '../parts/write-button.tsx'
import { DeviceDialog } from './device-form.tsx'
import { DeleteDevice, type Device } from './devices.tsx'
import { VersionsPanel } from './versions.tsx'

const route = getRouteApi('/devices/$id')

export function DevicePage() {
  const { id } = route.useParams()
  const { tab } = route.useSearch()
  const navigate = route.useNavigate()
  const query = useAnswer(
    'getDevice',
    { params: { id } },
    { every: last => (isRunning(last?.lastJob ?? null) ? 700 : 5000) },
  )

  // A backup that has just ended may have left a version.
  const queries = useQueryClient()
  const finished = query.data?.lastJob?.finished ?? null
  const versions = query.data?.versions ?? 0
  // biome-ignore lint/correctness/useExhaustiveDependencies: these two say when to look again
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: ['listVersions'] })
    void queries.invalidateQueries({ queryKey: ['listJobs'] })
  }, [finished, versions, queries])

  return (
    <Answered query={query} what="Could not load the device">
      {device => (
        <>
          <Head device={device} />
          {device.lastJob !== null && device.lastJob.state === 'failed' && (
            <Panel title="The last backup failed" note={<Ago at={device.lastJob.created} />}>
              <Evidence job={device.lastJob} />
            </Panel>
          )}
          <div className="row">
            <SegmentedControl
              size="xs"
              aria-label="What to show"
              value={tab ?? 'versions'}
              onChange={value => void navigate({ search: value === 'jobs' ? { tab: 'jobs' } : {} })}
              data={[
                { value: 'versions', label: `Versions (${device.versions})` },
                { value: 'jobs', label: 'Backups' },
              ]}
            />
          </div>
          {tab === 'jobs' ? <JobsPanel device={device} /> : <VersionsPanel device={device} />}
        </>
      )}
    </Answered>
  )
}

function Head({ device }: { device: Device }) {
  const navigate = route.useNavigate()
  const [dialog, setDialog] = useState<'edit' | 'delete' | null>(null)
  const backUp = useChange('backUpDevice', ['getDevice', 'listDevices', 'listJobs'])
  return (
    <Panel>
      <div className="spread">
        <div className="row" style={{ gap: 12 }}>
          <Link to="/devices" className="dim">
            Devices
          </Link>
          <h1 style={{ fontSize: 17, margin: 0 }}>{device.name}</h1>
          <span className="mono">
            {device.address}
            {device.port !== 22 && `:${device.port}`}
          </span>
          <span className="dim">{device.driver}</span>
          <span className="dim">{device.schedule ?? 'daily'}</span>
          {!device.enabled && <Tag>off</Tag>}
          <JobState job={device.lastJob} />
          {device.lastJob?.finished != null && (
            <span className="dim">
              <Ago at={device.lastJob.finished} />
            </span>
          )}
        </div>
        <div className="row">
          <WriteButton
            needs="operator"
            leftSection={<IconDownload size={14} />}
            barrier={isRunning(device.lastJob) ? 'A backup of it is running.' : undefined}
            onClick={() => backUp.mutate({ params: { id: device.id } })}
            testId="back-up"
          >
            Back up now
          </WriteButton>
          <WriteButton
            needs="operator"
            variant="default"
            leftSection={<IconPencil size={14} />}
            onClick={() => setDialog('edit')}
          >
            Edit
          </WriteButton>
          <WriteButton
            needs="operator"
            variant="default"
            leftSection={<IconTrash size={14} />}
            onClick={() => setDialog('delete')}
          >
            Delete
          </WriteButton>
        </div>
      </div>
      <FormError error={backUp.error} />
      {device.note !== '' && (
        <p className="dim" style={{ margin: '8px 0 0', whiteSpace: 'pre-wrap' }}>
          {device.note}
        </p>
      )}
      {dialog === 'edit' && <DeviceDialog device={device} onClose={() => setDialog(null)} />}
      {dialog === 'delete' && (
        <DeleteDevice
          device={device}
          onClose={() => setDialog(null)}
          onDeleted={() => void navigate({ to: '/devices' })}
        />
      )}
    </Panel>
  )
}

function JobsPanel({ device }: { device: Device }) {
  const query = useAnswer(
    'listJobs',
    { query: { device: device.id, limit: 50 } },
    { every: isRunning(device.lastJob) ? 1000 : 10_000 },
  )
  return (
    <Panel title="Backups" flush>
      <Rows
        query={query}
        what="Could not load the backups"
        label="Backups"
        rows={data => data.jobs}
        keyOf={job => job.id}
        empty={
          <Empty title="No backup yet">
            Press “Back up now”, or wait for the schedule ({device.schedule ?? 'daily'}).
          </Empty>
        }
        columns={[
          { head: 'Asked for', cell: job => <Moment at={job.created} /> },
          { head: 'State', cell: job => <JobState job={job} /> },
          { head: 'Cause', className: 'dim', cell: job => causeText[job.cause] },
          { head: 'By', cell: job => job.requestedBy ?? <span className="dim">–</span> },
          { head: 'Attempts', num: true, cell: job => job.attempts },
          { head: 'What failed', wrap: true, className: 'dim', cell: job => job.failure ?? '' },
        ]}
      />
    </Panel>
  )
}
