import { ActionIcon, Button, Radio, Select, Stack, TextInput } from '@mantine/core'
import { IconPlus, IconTrash } from '@tabler/icons-react'
import { type FormPart, SecretInput } from './secret-input.tsx'
import type { Fields } from './settings-form.ts'

const types: { value: Fields['type']; label: string; help: string }[] = [
  {
    value: 'virtual-ip',
    label: 'Virtual IP',
    help: 'An address that the active server takes: syslog, traps and flows are sent to it, and people open it. Both servers are in its network.',
  },
  {
    value: 'virtual-name',
    label: 'Virtual host name',
    help: 'A name that is made to lead to the active server by dynamic DNS: for servers in different networks. Who remembers the old answer comes later.',
  },
  {
    value: 'none',
    label: 'None',
    help: 'Nothing moves. Devices send to both servers or to collectors; the standby sends people and programs to the active.',
  },
]

/** How the network finds the active server. */
export function ConnectionFields(part: FormPart) {
  const { fields, readOnly, set } = part
  return (
    <fieldset className="fields">
      <legend>Connection type</legend>
      <Radio.Group
        aria-label="Connection type"
        value={fields.type}
        onChange={value => set({ type: value as Fields['type'] })}
      >
        <Stack gap={8}>
          {types.map(({ value, label, help }) => (
            <Radio
              key={value}
              value={value}
              size="sm"
              label={label}
              description={help}
              disabled={readOnly && fields.type !== value}
            />
          ))}
        </Stack>
      </Radio.Group>
      {fields.type === 'virtual-ip' && <Addresses {...part} />}
      {fields.type === 'virtual-name' && <Name {...part} />}
    </fieldset>
  )
}

function Addresses({ fields, errors, readOnly, set }: FormPart) {
  const { addresses } = fields
  const put = (index: number, change: Partial<Fields['addresses'][number]>) =>
    set({ addresses: addresses.map((row, at) => (at === index ? { ...row, ...change } : row)) })
  return (
    <div className="stack" style={{ gap: 6 }}>
      {addresses.map((row, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows have no other name
        <div className="fields-row" key={index}>
          <TextInput
            label={index === 0 ? 'Address' : undefined}
            aria-label={`Address ${index + 1}`}
            placeholder="192.0.2.10"
            readOnly={readOnly}
            value={row.address}
            error={errors[`addresses.${index}.address`]}
            onChange={event => put(index, { address: event.currentTarget.value })}
            data-testid={`address-${index}`}
          />
          <TextInput
            label={index === 0 ? 'Prefix or netmask' : undefined}
            aria-label={`Prefix or netmask ${index + 1}`}
            placeholder="24 or 255.255.255.0"
            readOnly={readOnly}
            value={row.prefix}
            error={errors[`addresses.${index}.prefix`]}
            onChange={event => put(index, { prefix: event.currentTarget.value })}
            data-testid={`prefix-${index}`}
          />
          {addresses.length > 1 && !readOnly && (
            <ActionIcon
              variant="subtle"
              color="gray"
              className="fields-remove"
              aria-label={`Remove address ${index + 1}`}
              onClick={() => set({ addresses: addresses.filter((_, at) => at !== index) })}
            >
              <IconTrash size={15} />
            </ActionIcon>
          )}
        </div>
      ))}
      {addresses.length < 8 && !readOnly && (
        <Button
          size="compact-xs"
          variant="subtle"
          style={{ alignSelf: 'flex-start' }}
          leftSection={<IconPlus size={13} />}
          onClick={() => set({ addresses: [...addresses, { address: '', prefix: '' }] })}
        >
          Another address, as of IPv6
        </Button>
      )}
    </div>
  )
}

function Name(part: FormPart) {
  const { fields, errors, readOnly, set } = part
  return (
    <div className="stack" style={{ gap: 8 }}>
      <div className="fields-row">
        <TextInput
          label="Host name"
          placeholder="keepwatch.example.net"
          readOnly={readOnly}
          value={fields.name}
          error={errors.name}
          onChange={event => set({ name: event.currentTarget.value })}
          data-testid="virtual-name"
        />
        <TextInput
          label="Zone"
          placeholder="found by itself"
          readOnly={readOnly}
          value={fields.zone}
          error={errors.zone}
          onChange={event => set({ zone: event.currentTarget.value })}
        />
      </div>
      <div className="fields-row">
        <TextInput
          label="Primary name server"
          placeholder="ns1.example.net"
          readOnly={readOnly}
          value={fields.server}
          error={errors.server}
          onChange={event => set({ server: event.currentTarget.value })}
          data-testid="name-server"
        />
        <TextInput
          label="Time to live, s"
          inputMode="numeric"
          className="narrow-field"
          readOnly={readOnly}
          value={fields.ttl}
          error={errors.ttl}
          onChange={event => set({ ttl: event.currentTarget.value })}
        />
      </div>
      <div className="fields-row">
        <TextInput
          label="TSIG key"
          description="Its name; empty: updates are not signed"
          placeholder="keepwatch-key"
          readOnly={readOnly}
          value={fields.tsigName}
          error={errors.tsigName}
          onChange={event => set({ tsigName: event.currentTarget.value })}
        />
        <Select
          label="Algorithm"
          description="As in its key file"
          allowDeselect={false}
          readOnly={readOnly}
          value={fields.tsigAlgorithm}
          onChange={value =>
            value !== null && set({ tsigAlgorithm: value as Fields['tsigAlgorithm'] })
          }
          data={['hmac-sha256', 'hmac-sha384', 'hmac-sha512']}
        />
      </div>
      {fields.tsigName.trim() !== '' && (
        <SecretInput {...part} name="tsigSecret" label="TSIG secret" />
      )}
    </div>
  )
}
