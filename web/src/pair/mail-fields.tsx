import { Chip, Group, Select, TextInput } from '@mantine/core'
import type { PairSettings } from '../../../src/api/contract/setup.ts'
import { type FormPart, SecretInput } from './secret-input.tsx'
import { type Fields, mailClasses } from './settings-form.ts'

const securities: { value: NonNullable<PairSettings['mail']>['security']; label: string }[] = [
  { value: 'opportunistic', label: 'STARTTLS where it is offered' },
  { value: 'starttls', label: 'STARTTLS, or no mail' },
  { value: 'tls', label: 'TLS from the beginning (port 465)' },
  { value: 'none', label: 'None' },
]

/** Who is told by mail, of what, and by which mail server. */
export function MailFields(part: FormPart) {
  const { fields, errors, readOnly, set } = part
  return (
    <fieldset className="fields">
      <legend>E-mail</legend>
      <TextInput
        label="Recipients"
        description="Told of self-monitoring, data synchronization and takeovers; several are separated by commas"
        placeholder="ann@example.net, ops@example.net"
        readOnly={readOnly}
        value={fields.recipients}
        error={errors.recipients}
        onChange={event => set({ recipients: event.currentTarget.value })}
        data-testid="recipients"
      />
      <Chip.Group
        multiple
        value={fields.classes}
        onChange={value => set({ classes: value as Fields['classes'] })}
      >
        <Group gap={6} role="group" aria-label="Kinds of mail">
          {mailClasses.map(({ value, label }) => (
            <Chip key={value} value={value} size="xs" disabled={readOnly}>
              {label}
            </Chip>
          ))}
        </Group>
      </Chip.Group>
      <TextInput
        label="Sender"
        placeholder="keepwatch@example.net"
        readOnly={readOnly}
        value={fields.from}
        error={errors.from}
        onChange={event => set({ from: event.currentTarget.value })}
        data-testid="mail-from"
      />
      <div className="fields-row">
        <TextInput
          label="Mail server"
          placeholder="mail.example.net"
          readOnly={readOnly}
          value={fields.host}
          error={errors.host}
          onChange={event => set({ host: event.currentTarget.value })}
          data-testid="mail-host"
        />
        <TextInput
          label="Port"
          inputMode="numeric"
          className="narrow-field"
          readOnly={readOnly}
          value={fields.port}
          error={errors.port}
          onChange={event => set({ port: event.currentTarget.value })}
          data-testid="mail-port"
        />
        <Select
          label="Encryption"
          allowDeselect={false}
          readOnly={readOnly}
          value={fields.security}
          onChange={value => value !== null && set({ security: value as Fields['security'] })}
          data={securities}
        />
      </div>
      <div className="fields-row">
        <TextInput
          label="User"
          description="If the mail server wants one"
          autoComplete="off"
          readOnly={readOnly}
          value={fields.user}
          error={errors.user}
          onChange={event => set({ user: event.currentTarget.value })}
        />
        <SecretInput {...part} name="smtpPassword" label="Password" />
      </div>
    </fieldset>
  )
}

/** Which program is told. */
export function WebhookFields(part: FormPart) {
  const { fields, errors, readOnly, set } = part
  return (
    <fieldset className="fields">
      <legend>Webhook</legend>
      <TextInput
        label="URL"
        description="Is told the same as the recipients, as a POST of JSON"
        placeholder="https://chat.example.net/hooks/keepwatch"
        readOnly={readOnly}
        value={fields.webhook}
        error={errors.webhook}
        onChange={event => set({ webhook: event.currentTarget.value })}
        data-testid="webhook"
      />
      <SecretInput {...part} name="webhookSecret" label="Secret that it is signed with" />
    </fieldset>
  )
}
