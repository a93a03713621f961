import { SegmentedControl } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { getRouteApi } from '@tanstack/react-router'
import { useState } from 'react'
import { useAnswer, useChange, useMay, useSession, useWriteBarrier } from '../api/hooks.ts'
import { FailoverSettings } from '../pair/failover-settings.tsx'
import { Preflight } from '../pair/preflight.tsx'
import { SecondServer } from '../pair/second-server.tsx'
import { Panel } from '../parts/panel.tsx'
import { PasswordForm } from '../parts/password-form.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { NamesSettings } from './names.tsx'
import { TokensPanel } from './tokens.tsx'

const route = getRouteApi('/settings')

const tabs = [
  { value: 'account', label: 'Your account' },
  { value: 'general', label: 'General' },
  { value: 'names', label: 'Names' },
  { value: 'tokens', label: 'API tokens' },
  { value: 'audit', label: 'Audit log' },
] as const
/** What others than administrators see. */
const forAll: readonly string[] = ['account', 'general', 'names']

export function SettingsPage() {
  const { tab: asked = 'account' } = route.useSearch()
  const navigate = route.useNavigate()
  const administrator = useMay('administrator')
  const offered = tabs.filter(({ value }) => administrator || forAll.includes(value))
  const tab = offered.find(({ value }) => value === asked)?.value ?? 'account'
  return (
    <>
      <h1 className="sr-only">Settings</h1>
      <div className="row">
        <SegmentedControl
          size="xs"
          aria-label="Settings of"
          value={tab}
          onChange={value => void navigate({ search: value === 'account' ? {} : { tab: value } })}
          data={offered.map(one => ({ ...one }))}
        />
      </div>
      {tab === 'general' && <General />}
      {tab === 'names' && <NamesSettings />}
      {tab === 'tokens' && <TokensPanel />}
      {tab === 'audit' && <AuditPanel />}
      {tab === 'account' && <Account />}
    </>
  )
}

/** What holds for the whole pair. */
function General() {
  return (
    <div className="general">
      <FailoverSettings />
      <div className="stack">
        <SecondServer />
        <Preflight />
      </div>
    </div>
  )
}

function Account() {
  const session = useSession()
  const change = useChange('changePassword')
  const [round, setRound] = useState(0)
  const barrier = useWriteBarrier('viewer')
  return (
    <div style={{ maxWidth: 420 }}>
      <Panel title="Your password" note={`${session?.user}, ${session?.role}`}>
        <PasswordForm
          key={round}
          busy={change.isPending}
          error={change.error}
          barrier={barrier}
          onSubmit={(current, next) =>
            change.mutate(
              { body: { current, next } },
              {
                onSuccess: () => {
                  setRound(round + 1)
                  notifications.show({ message: 'Your password is changed.', withBorder: true })
                },
              },
            )
          }
        />
      </Panel>
    </div>
  )
}

/** Who changed what, in which term. */
function AuditPanel() {
  const [limit, setLimit] = useState(100)
  const query = useAnswer('listAudit', { query: { limit } }, { every: 15_000 })
  const older = query.data?.next != null && limit < 1000
  return (
    <Panel title="Audit log" note="every change of state, newest first" flush>
      <Rows
        query={query}
        what="Could not load the audit log"
        label="Audit log"
        testId="audit-table"
        rows={data => data.entries}
        keyOf={entry => entry.id}
        empty={<Empty title="Nothing was changed yet" />}
        columns={[
          { head: 'When', cell: entry => <Moment at={entry.at} /> },
          { head: 'Who', cell: entry => entry.who },
          { head: 'Did', cell: entry => entry.action },
          { head: 'To', wrap: true, cell: entry => entry.subject },
          {
            head: 'Detail',
            wrap: true,
            className: 'mono dim',
            cell: entry =>
              Object.entries(entry.detail)
                .map(([key, value]) => `${key}=${textOf(value)}`)
                .join(' '),
          },
          { head: 'Term', num: true, cell: entry => entry.term },
        ]}
        more={older ? { label: 'Show older entries', show: () => setLimit(1000) } : undefined}
      />
    </Panel>
  )
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
