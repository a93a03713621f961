import { SegmentedControl } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { getRouteApi } from '@tanstack/react-router'
import { useState } from 'react'
import { useAnswer, useChange, useMay, useSession, useWriteBarrier } from '../api/hooks.ts'
import { Panel } from '../parts/panel.tsx'
import { PasswordForm } from '../parts/password-form.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { TokensPanel } from './tokens.tsx'

const route = getRouteApi('/settings')

export function SettingsPage() {
  const { tab } = route.useSearch()
  const navigate = route.useNavigate()
  const administrator = useMay('administrator')
  return (
    <>
      <h1 className="sr-only">Settings</h1>
      {administrator && (
        <div className="row">
          <SegmentedControl
            size="xs"
            aria-label="Settings of"
            value={tab ?? 'account'}
            onChange={value =>
              void navigate({
                search: value === 'tokens' || value === 'audit' ? { tab: value } : {},
              })
            }
            data={[
              { value: 'account', label: 'Your account' },
              { value: 'tokens', label: 'API tokens' },
              { value: 'audit', label: 'Audit log' },
            ]}
          />
        </div>
      )}
      {administrator && tab === 'tokens' ? (
        <TokensPanel />
      ) : administrator && tab === 'audit' ? (
        <AuditPanel />
      ) : (
        <Account />
      )}
    </>
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
  return (
    <Panel title="Audit log" note="every change of state, newest first" flush>
      <Answered
        query={query}
        what="Could not load the audit log"
        empty={data => data.entries.length === 0 && <Empty title="Nothing was changed yet" />}
      >
        {data => (
          <div className="table-scroll">
            <table className="t" data-testid="audit-table">
              <thead>
                <tr>
                  <th>When</th>
                  <th>Who</th>
                  <th>Did</th>
                  <th>To</th>
                  <th>Detail</th>
                  <th className="num">Term</th>
                </tr>
              </thead>
              <tbody>
                {data.entries.map(entry => (
                  <tr key={entry.id}>
                    <td>
                      <Moment at={entry.at} />
                    </td>
                    <td>{entry.who}</td>
                    <td>{entry.action}</td>
                    <td className="wrap">{entry.subject}</td>
                    <td className="mono wrap dim">
                      {Object.entries(entry.detail)
                        .map(([key, value]) => `${key}=${textOf(value)}`)
                        .join(' ')}
                    </td>
                    <td className="num">{entry.term}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            {data.next !== null && limit < 1000 && (
              <button type="button" className="more" onClick={() => setLimit(1000)}>
                Show older entries
              </button>
            )}
          </div>
        )}
      </Answered>
    </Panel>
  )
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
