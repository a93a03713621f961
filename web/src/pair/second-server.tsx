import { IconPlus } from '@tabler/icons-react'
import { useAnswer, useChange, useConnection } from '../api/hooks.ts'
import { formatAgo } from '../format/time.ts'
import { CopyLine } from '../parts/copy-line.tsx'
import { FormError } from '../parts/form-end.tsx'
import { Panel } from '../parts/panel.tsx'
import { Moment, useNow } from '../parts/when.tsx'
import { WriteButton } from '../parts/write-button.tsx'

/** Makes the one line that is run on the second machine. */
export function SecondServer() {
  const { pair } = useConnection()
  const settings = useAnswer('getPairSettings', {})
  const create = useChange('createJoinToken', ['listAudit'])
  const second = pair?.servers.find(server => !server.self)
  const planned = settings.data?.settings.secondary ?? null
  const token = create.data
  return (
    <Panel
      title="Second server"
      testId="second-server"
      actions={
        <WriteButton
          needs="administrator"
          variant={second === undefined ? 'filled' : 'default'}
          leftSection={<IconPlus size={14} />}
          barrier={
            settings.data !== undefined && planned === null
              ? 'First say which machine it is: under Failover, secondary server; then save.'
              : undefined
          }
          onClick={() => create.mutate({})}
          testId="enable"
        >
          {token === undefined ? 'Enable' : 'Another line'}
        </WriteButton>
      }
    >
      <div className="stack" style={{ gap: 8 }}>
        <div>
          {second !== undefined ? (
            <>
              <strong>{second.name}</strong> has joined
              {second.role === 'standby'
                ? ' and stands by.'
                : second.role === 'active'
                  ? ' and is active.'
                  : `, but does not answer: last seen ${formatAgo(second.seenAt, Date.now())}.`}{' '}
              A machine that takes its place joins in the same way.
            </>
          ) : (
            <>
              Press Enable and run the line that appears on{' '}
              {planned === null ? 'the second machine' : <strong>{planned}</strong>}: it fetches
              certificates and settings, checks the prerequisites, and starts as the standby.
            </>
          )}
        </div>
        <FormError error={create.error} />
        {token !== undefined && <JoinLine line={token.line} expires={token.expires} />}
      </div>
    </Panel>
  )
}

function JoinLine({ line, expires }: { line: string; expires: string }) {
  const now = useNow(5000)
  if (Date.parse(expires) <= now) {
    return (
      <p className="bad" style={{ margin: 0 }}>
        The line was good until <Moment at={expires} />. Make another one.
      </p>
    )
  }
  return (
    <>
      <CopyLine text={line} testId="join-line" />
      <p className="dim" style={{ margin: 0 }}>
        Good once, until <Moment at={expires} /> ({formatAgo(expires, now)}). It holds a secret:
        give it to nobody who must not join.
      </p>
    </>
  )
}
