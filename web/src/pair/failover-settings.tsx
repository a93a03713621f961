import { Button, Group, TextInput } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import type { PairSettings } from '../../../src/api/contract/setup.ts'
import type { ApiError } from '../api/errors.ts'
import { type AnswerOf, useAnswer, useChange, useMay } from '../api/hooks.ts'
import { FormError } from '../parts/form-end.tsx'
import { Panel } from '../parts/panel.tsx'
import { Answered } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { WriteButton } from '../parts/write-button.tsx'
import { ConnectionFields } from './connection-fields.tsx'
import { MailFields, WebhookFields } from './mail-fields.tsx'
import { SendTest } from './notices.tsx'
import type { FormPart } from './secret-input.tsx'
import { type Errors, errorsIn, type Fields, fieldsOf, settingsOf } from './settings-form.ts'

type Stored = AnswerOf<'getPairSettings'>

const queryKey = ['getPairSettings']

/** Settings → General → Failover. */
export function FailoverSettings() {
  const query = useAnswer('getPairSettings', {}, { every: 15_000 })
  return (
    <Panel
      title="Failover"
      note={query.data?.changedAt != null ? <Changed stored={query.data} /> : 'not set yet'}
      testId="failover-settings"
    >
      <Answered query={query} what="Could not load the settings">
        {stored => <SettingsForm stored={stored} />}
      </Answered>
    </Panel>
  )
}

function Changed({ stored }: { stored: Stored }) {
  return (
    <>
      changed by {stored.changedBy}
      {stored.changedAt !== null && (
        <>
          , <Moment at={stored.changedAt} />
        </>
      )}
    </>
  )
}

function SettingsForm({ stored }: { stored: Stored }) {
  /** What the form was filled from; a change by somebody else does not overwrite what is typed. */
  const [from, setFrom] = useState(stored)
  const [fields, setFields] = useState(() => fieldsOf(stored.settings))
  const [errors, setErrors] = useState<Errors>({})
  const change = useChange('changePairSettings', ['getPairSettings', 'listAudit'])
  const queries = useQueryClient()
  const readOnly = !useMay('administrator')
  const touched = JSON.stringify(fields) !== JSON.stringify(fieldsOf(from.settings))
  // While nothing is typed, it shows what holds.
  if (stored.version !== from.version && !touched) fill(stored)
  const overtaken = touched && stored.version > from.version

  function fill(next: Stored) {
    setFrom(next)
    setFields(fieldsOf(next.settings))
    setErrors({})
  }

  function set(part: Partial<Fields>) {
    setFields(before => ({ ...before, ...part }))
  }

  function save(version: number) {
    const read = settingsOf(fields, from.secrets)
    if (read.errors !== undefined) {
      setErrors(read.errors)
      return
    }
    setErrors({})
    change.mutate(
      { body: { settings: read.settings, secrets: read.secrets, version } },
      {
        onSuccess(next) {
          fill(next)
          notifications.show({ message: 'The settings of the pair are saved.', withBorder: true })
        },
        onError(error) {
          if (error.code === 'bad-request') setErrors(errorsIn(error.message).errors)
          // Somebody was faster: what he set is shown.
          if (error.code === 'conflict') void queries.invalidateQueries({ queryKey })
        },
      },
    )
  }

  function submit(event: FormEvent) {
    event.preventDefault()
    save(from.version)
  }

  const part: FormPart = { fields, errors, kept: from.secrets, readOnly, set }
  return (
    <form className="form" noValidate onSubmit={submit} aria-label="Failover">
      <TextInput
        label="Secondary server"
        description="IP address or host name of the machine of the second server"
        placeholder="kw2.example.net"
        readOnly={readOnly}
        value={fields.secondary}
        error={errors.secondary}
        onChange={event => set({ secondary: event.currentTarget.value })}
        data-testid="secondary"
      />
      <TextInput
        label="Shared folder"
        description="Where both servers have mounted the empty folder of a separate server: the same path on both, with the right to write"
        placeholder="/srv/keepwatch"
        readOnly={readOnly}
        value={fields.sharedFolder}
        error={errors.sharedFolder}
        onChange={event => set({ sharedFolder: event.currentTarget.value })}
        data-testid="shared-folder"
      />
      <ConnectionFields {...part} />
      <MailFields {...part} />
      <WebhookFields {...part} />
      <SendTest barrier={testBarrier(from.settings, touched)} />
      {overtaken && (
        <Overtaken
          stored={stored}
          onTheirs={() => fill(stored)}
          onMine={() => save(stored.version)}
        />
      )}
      <FormError error={overtaken ? null : restOf(change.error)} />
      {Object.keys(errors).length > 0 && (
        <div className="form-error" role="alert">
          {Object.keys(errors).length === 1 ? 'One field is' : 'Some fields are'} not right yet: see
          above.
        </div>
      )}
      <div className="form-actions">
        <Button
          variant="default"
          size="xs"
          disabled={!touched}
          onClick={() => {
            change.reset()
            fill(stored)
          }}
        >
          Discard
        </Button>
        <WriteButton
          needs="administrator"
          type="submit"
          loading={change.isPending}
          testId="settings-save"
        >
          Save
        </WriteButton>
      </div>
    </form>
  )
}

function testBarrier({ mail, webhook }: PairSettings, touched: boolean): string | undefined {
  if (touched) return 'Save first: the test goes by what is saved.'
  if ((mail === null || mail.recipients.length === 0) && webhook === null) {
    return 'There is nobody to tell: no recipient, no webhook.'
  }
  return undefined
}

/** What the server says and no field shows. */
function restOf(error: ApiError | null): unknown {
  if (error === null) return null
  if (error.code === 'bad-request') {
    const { rest } = errorsIn(error.message)
    return rest === '' ? null : new Error(rest)
  }
  return error
}

/** Somebody else was faster. */
function Overtaken({
  stored,
  onTheirs,
  onMine,
}: {
  stored: Stored
  onTheirs: () => void
  onMine: () => void
}) {
  return (
    <div className="form-error" role="alert" data-testid="overtaken">
      {stored.changedBy ?? 'Somebody'} has changed the settings meanwhile
      {stored.changedAt !== null && (
        <>
          {' '}
          (<Moment at={stored.changedAt} />)
        </>
      )}
      . Take theirs, or save yours over them?
      <Group gap={8} mt={6}>
        <Button size="compact-xs" variant="default" onClick={onTheirs}>
          Take theirs
        </Button>
        <Button size="compact-xs" color="red" onClick={onMine}>
          Save mine
        </Button>
      </Group>
    </div>
  )
}
