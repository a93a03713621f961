import { Modal, NumberInput, Select, Switch, Textarea, TextInput } from '@mantine/core'
import { type FormEvent, useState } from 'react'
import { reasonOf } from '../api/errors.ts'
import { useAnswer, useChange } from '../api/hooks.ts'
import { FormEnd } from '../parts/form-end.tsx'
import type { Device } from './devices.tsx'

/** Adds a device, or changes one. */
export function DeviceDialog({ device, onClose }: { device: Device | null; onClose: () => void }) {
  const drivers = useAnswer('listDrivers', {})
  const credentials = useAnswer('listCredentials', {})
  const create = useChange('createDevice', ['listDevices'])
  const update = useChange('updateDevice', ['listDevices', 'getDevice'])
  const [name, setName] = useState(device?.name ?? '')
  const [address, setAddress] = useState(device?.address ?? '')
  const [port, setPort] = useState(device?.port ?? 22)
  const [driver, setDriver] = useState<string | null>(device?.driver ?? null)
  const [credentialId, setCredentialId] = useState<string | null>(device?.credentialId ?? null)
  const [schedule, setSchedule] = useState(device?.schedule ?? '')
  const [enabled, setEnabled] = useState(device?.enabled ?? true)
  const [note, setNote] = useState(device?.note ?? '')
  const failure = create.error ?? update.error
  const ready = name.trim() !== '' && address.trim() !== '' && driver !== null

  function submit(event: FormEvent) {
    event.preventDefault()
    if (!ready) return
    const body = {
      name: name.trim(),
      address: address.trim(),
      port,
      driver,
      credentialId,
      schedule: schedule.trim() === '' ? null : schedule.trim(),
      enabled,
      note,
    }
    const done = { onSuccess: onClose }
    if (device === null) create.mutate({ body }, done)
    else update.mutate({ params: { id: device.id }, body }, done)
  }

  return (
    <Modal
      opened
      onClose={onClose}
      title={device === null ? 'Add a device' : `Edit ${device.name}`}
    >
      <form className="form" onSubmit={submit}>
        <TextInput
          label="Name"
          required
          withAsterisk={false}
          data-autofocus
          value={name}
          onChange={event => setName(event.currentTarget.value)}
          data-testid="device-name"
        />
        <div style={{ display: 'grid', gridTemplateColumns: '1fr 110px', gap: 10 }}>
          <TextInput
            label="Address"
            placeholder="Host name or IP address"
            required
            withAsterisk={false}
            value={address}
            onChange={event => setAddress(event.currentTarget.value)}
            data-testid="device-address"
          />
          <NumberInput
            label="SSH port"
            min={1}
            max={65_535}
            allowDecimal={false}
            value={port}
            onChange={value => setPort(Number(value) || 22)}
          />
        </div>
        <Select
          label="Driver"
          placeholder="What kind of device it is"
          searchable
          value={driver}
          onChange={setDriver}
          error={drivers.error === null ? undefined : reasonOf(drivers.error)}
          data={(drivers.data?.drivers ?? []).map(({ id, vendor, system }) => ({
            value: id,
            label: `${vendor} ${system}`,
          }))}
          data-testid="device-driver"
        />
        <Select
          label="Credential"
          placeholder="None"
          clearable
          value={credentialId}
          onChange={setCredentialId}
          error={credentials.error === null ? undefined : reasonOf(credentials.error)}
          description={
            credentials.data?.credentials.length === 0
              ? 'There is none yet: add one under Credentials on the page of the devices.'
              : undefined
          }
          data={(credentials.data?.credentials ?? []).map(one => ({
            value: one.id,
            label: `${one.name} (${one.username})`,
          }))}
          data-testid="device-credential"
        />
        <TextInput
          label="Schedule"
          placeholder="Daily"
          description="A cron expression, such as 0 */6 * * *; empty: once a day"
          className="mono-input"
          value={schedule}
          onChange={event => setSchedule(event.currentTarget.value)}
        />
        <Textarea
          label="Note"
          autosize
          minRows={2}
          value={note}
          onChange={event => setNote(event.currentTarget.value)}
        />
        <Switch
          label="Back it up by schedule and when it says that it changed"
          checked={enabled}
          onChange={event => setEnabled(event.currentTarget.checked)}
        />
        <FormEnd
          error={failure}
          busy={create.isPending || update.isPending}
          ready={ready}
          action={device === null ? 'Add device' : 'Save'}
          testId="device-save"
          onCancel={onClose}
        />
      </form>
    </Modal>
  )
}
