import { ActionIcon, Button, Menu, TextInput } from '@mantine/core'
import {
  IconDots,
  IconDownload,
  IconKey,
  IconPencil,
  IconPlus,
  IconSearch,
  IconTrash,
} from '@tabler/icons-react'
import { Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { reasonOf } from '../api/errors.ts'
import { type AnswerOf, useAnswer, useChange, useMay, useWriteBarrier } from '../api/hooks.ts'
import { formatCount } from '../format/units.ts'
import { Confirm } from '../parts/confirm.tsx'
import { JobState } from '../parts/job-state.tsx'
import { Panel, Tag } from '../parts/panel.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { isRunning } from '../parts/versions.tsx'
import { Ago } from '../parts/when.tsx'
import { WriteButton, WriteIcon } from '../parts/write-button.tsx'
import { CredentialsDialog } from './credentials.tsx'
import { DeviceDialog } from './device-form.tsx'

export type Device = AnswerOf<'listDevices'>['devices'][number]

/** What is open above the page. */
type Dialog =
  | { kind: 'form'; device: Device | null }
  | { kind: 'delete'; device: Device }
  | { kind: 'credentials' }
  | null

export function DevicesPage() {
  const navigate = useNavigate()
  const [search, setSearch] = useState('')
  const [dialog, setDialog] = useState<Dialog>(null)
  const query = useAnswer(
    'listDevices',
    {},
    { every: last => (last?.devices.some(one => isRunning(one.lastJob)) === true ? 1000 : 5000) },
  )
  const operator = useMay('operator')
  const close = () => setDialog(null)

  return (
    <>
      <h1 className="sr-only">Devices</h1>
      <div className="spread">
        <TextInput
          size="xs"
          w={240}
          aria-label="Find a device"
          placeholder="Find a device"
          leftSection={<IconSearch size={14} />}
          value={search}
          onChange={event => setSearch(event.currentTarget.value)}
        />
        <div className="row">
          {operator && (
            <Button
              size="xs"
              variant="default"
              leftSection={<IconKey size={14} />}
              onClick={() => setDialog({ kind: 'credentials' })}
            >
              Credentials
            </Button>
          )}
          <WriteButton
            needs="operator"
            leftSection={<IconPlus size={14} />}
            onClick={() => setDialog({ kind: 'form', device: null })}
            testId="add-device"
          >
            Add device
          </WriteButton>
        </div>
      </div>
      <Panel flush>
        <Answered
          query={query}
          what="Could not load the devices"
          empty={data =>
            data.devices.length === 0 && (
              <Empty title="No devices yet">
                Add a device with its address and a credential: Keepwatch logs in over SSH, keeps
                every version of its configuration, and shows who changed what.
              </Empty>
            )
          }
        >
          {data => {
            const wanted = search.trim().toLowerCase()
            const devices = data.devices.filter(device =>
              `${device.name} ${device.address} ${device.driver} ${device.note}`
                .toLowerCase()
                .includes(wanted),
            )
            return (
              <div className="table-scroll">
                <table className="t" data-testid="devices-table">
                  <thead>
                    <tr>
                      <th>Device</th>
                      <th>Address</th>
                      <th className="hide-narrow">Driver</th>
                      <th>Last backup</th>
                      <th className="hide-narrow">Last change</th>
                      <th className="num hide-narrow">Versions</th>
                      <th aria-label="Actions" />
                    </tr>
                  </thead>
                  <tbody>
                    {devices.map(device => (
                      <tr
                        key={device.id}
                        className="link"
                        onClick={() =>
                          void navigate({ to: '/devices/$id', params: { id: device.id } })
                        }
                      >
                        <td>
                          <Link
                            to="/devices/$id"
                            params={{ id: device.id }}
                            onClick={event => event.stopPropagation()}
                            style={{ fontWeight: 600 }}
                          >
                            {device.name}
                          </Link>
                          {!device.enabled && (
                            <>
                              {' '}
                              <Tag>off</Tag>
                            </>
                          )}
                        </td>
                        <td className="mono">
                          {device.address}
                          {device.port !== 22 && <span className="dim">:{device.port}</span>}
                        </td>
                        <td className="dim hide-narrow">{device.driver}</td>
                        <td>
                          <span className="row tight" style={{ gap: 8 }}>
                            <JobState job={device.lastJob} />
                            {device.lastJob?.finished != null && (
                              <span className="dim hide-narrow">
                                <Ago at={device.lastJob.finished} />
                              </span>
                            )}
                          </span>
                        </td>
                        <td className="dim hide-narrow">
                          {device.lastVersion === null ? '–' : <Ago at={device.lastVersion} />}
                        </td>
                        <td className="num hide-narrow">{formatCount(device.versions)}</td>
                        <td style={{ width: 1 }}>
                          <RowActions
                            device={device}
                            onEdit={() => setDialog({ kind: 'form', device })}
                            onDelete={() => setDialog({ kind: 'delete', device })}
                          />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
                {devices.length === 0 && <Empty title="No device by that name or address" />}
              </div>
            )
          }}
        </Answered>
      </Panel>
      {dialog?.kind === 'form' && <DeviceDialog device={dialog.device} onClose={close} />}
      {dialog?.kind === 'delete' && <DeleteDevice device={dialog.device} onClose={close} />}
      {dialog?.kind === 'credentials' && <CredentialsDialog onClose={close} />}
    </>
  )
}

function RowActions({
  device,
  onEdit,
  onDelete,
}: {
  device: Device
  onEdit: () => void
  onDelete: () => void
}) {
  const backUp = useChange('backUpDevice', ['listDevices', 'listJobs'])
  const barrier = useWriteBarrier('operator')
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: only keeps clicks from reaching the row
    // biome-ignore lint/a11y/useKeyWithClickEvents: the buttons within have the keyboard
    <span
      className="row tight"
      style={{ flexWrap: 'nowrap' }}
      onClick={event => event.stopPropagation()}
    >
      <WriteIcon
        needs="operator"
        label={backUp.isError ? reasonOf(backUp.error) : `Back up ${device.name} now`}
        danger={backUp.isError}
        loading={backUp.isPending}
        barrier={isRunning(device.lastJob) ? 'A backup of it is running.' : undefined}
        onClick={() => backUp.mutate({ params: { id: device.id } })}
      >
        <IconDownload size={15} />
      </WriteIcon>
      <Menu position="bottom-end" shadow="md">
        <Menu.Target>
          <ActionIcon
            variant="subtle"
            size="sm"
            color="gray"
            aria-label={`More for ${device.name}`}
          >
            <IconDots size={15} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {barrier !== undefined && <Menu.Label maw={240}>{barrier}</Menu.Label>}
          <Menu.Item
            leftSection={<IconPencil size={14} />}
            disabled={barrier !== undefined}
            onClick={onEdit}
          >
            Edit
          </Menu.Item>
          <Menu.Item
            leftSection={<IconTrash size={14} />}
            color="red"
            disabled={barrier !== undefined}
            onClick={onDelete}
          >
            Delete
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </span>
  )
}

export function DeleteDevice({
  device,
  onClose,
  onDeleted,
}: {
  device: Device
  onClose: () => void
  onDeleted?: () => void
}) {
  const remove = useChange('deleteDevice', ['listDevices', 'listVersions', 'listJobs'])
  return (
    <Confirm
      opened
      title={`Delete ${device.name}?`}
      action="Delete"
      busy={remove.isPending}
      error={remove.error}
      onClose={onClose}
      onConfirm={() =>
        remove.mutate(
          { params: { id: device.id } },
          {
            onSuccess: () => {
              onClose()
              onDeleted?.()
            },
          },
        )
      }
    >
      All {formatCount(device.versions)} versions of its configuration go with it. This cannot be
      taken back.
    </Confirm>
  )
}
