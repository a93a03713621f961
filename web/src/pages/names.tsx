import { Textarea } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useState } from 'react'
import { useAnswer, useChange, useMay } from '../api/hooks.ts'
import { FormError } from '../parts/form-end.tsx'
import { Panel } from '../parts/panel.tsx'
import { Answered, Loading } from '../parts/states.tsx'
import { WriteButton } from '../parts/write-button.tsx'
import {
  applicationsText,
  networksText,
  type Parsed,
  parseApplications,
  parseNetworks,
} from '../search/name-lists.ts'
import { SnmpAccesses } from './snmp-accesses.tsx'

const shown = ['getTrafficSeries', 'getTrafficTop', 'listAudit'] as const

/** What networks, applications and interfaces are called; traffic is shown by these names. */
export function NamesSettings() {
  const operator = useMay('operator')
  return (
    <div className="general">
      <div className="stack">
        <Networks />
        <Applications />
      </div>
      {operator && <SnmpAccesses />}
    </div>
  )
}

function Networks() {
  const query = useAnswer('getNetworks', {})
  const change = useChange('setNetworks', ['getNetworks', ...shown])
  return (
    <Panel title="Networks and sites" note="the smallest network that has an address names it">
      <Answered
        query={query}
        what="Could not load the networks"
        loading={<Loading rows={8} />}
        empty={() => false}
      >
        {({ networks, version }) => (
          <ListEditor
            key={version}
            label="A line each: prefix, name, site"
            placeholder="10.0.0.0/8, office, Berlin"
            text={networksText(networks)}
            parse={parseNetworks}
            busy={change.isPending}
            error={change.error}
            testId="networks"
            onSave={entries => change.mutate({ body: { networks: entries, version } }, saved)}
          />
        )}
      </Answered>
    </Panel>
  )
}

function Applications() {
  const query = useAnswer('getApplications', {})
  const change = useChange('setApplications', ['getApplications', ...shown])
  return (
    <Panel title="Applications" note="over the well-known services">
      <Answered
        query={query}
        what="Could not load the applications"
        loading={<Loading rows={8} />}
        empty={() => false}
      >
        {({ applications, version }) => (
          <ListEditor
            key={version}
            label="A line each: protocol/port, name"
            placeholder="tcp/8123, our database"
            text={applicationsText(applications)}
            parse={parseApplications}
            busy={change.isPending}
            error={change.error}
            testId="applications"
            onSave={entries => change.mutate({ body: { applications: entries, version } }, saved)}
          />
        )}
      </Answered>
    </Panel>
  )
}

const saved = {
  onSuccess: () => {
    notifications.show({ message: 'The names hold from now on.', withBorder: true })
  },
}

function ListEditor<T>(props: {
  label: string
  placeholder: string
  text: string
  parse: (text: string) => Parsed<T>
  busy: boolean
  error: unknown
  testId: string
  onSave: (entries: T[]) => void
}) {
  const { label, placeholder, parse, busy, error, testId, onSave } = props
  const [text, setText] = useState(props.text)
  const parsed = parse(text)
  const wrong = 'wrong' in parsed ? `Line ${parsed.line}: ${parsed.wrong}` : undefined
  return (
    <form
      className="form"
      onSubmit={event => {
        event.preventDefault()
        if ('entries' in parsed) onSave(parsed.entries)
      }}
    >
      <Textarea
        label={label}
        placeholder={placeholder}
        classNames={{ input: 'mono' }}
        autosize
        minRows={8}
        maxRows={24}
        spellCheck={false}
        value={text}
        error={wrong}
        onChange={event => setText(event.currentTarget.value)}
        data-testid={`${testId}-text`}
      />
      <FormError error={error} />
      <div className="form-actions">
        <WriteButton
          needs="operator"
          type="submit"
          loading={busy}
          barrier={
            wrong ?? (text === props.text ? 'Nothing is different from what is saved.' : undefined)
          }
          testId={`save-${testId}`}
        >
          Save
        </WriteButton>
      </div>
    </form>
  )
}
