import { IconArrowsExchange } from '@tabler/icons-react'
import { useState } from 'react'
import type { PairState } from '../api/connection.ts'
import { type AnswerOf, useAnswer, useChange, useConnection } from '../api/hooks.ts'
import { formatDuration } from '../format/units.ts'
import { Confirm } from '../parts/confirm.tsx'
import { Figure, Panel, Tag, type Tone } from '../parts/panel.tsx'
import { Answered, Empty, Loading } from '../parts/states.tsx'
import { Ago, Moment } from '../parts/when.tsx'
import { WriteButton } from '../parts/write-button.tsx'
import { Heartbeats } from './heartbeats.tsx'
import { PairPicture } from './pair-picture.tsx'

export function FailoverPage() {
  const { pair, failure } = useConnection()
  const collectors = useAnswer('listCollectors', {}, { every: 3000 })
  if (pair === null) return <Loading height={320} />
  return (
    <>
      <h1 className="sr-only">Failover</h1>
      <div className="grid-4">
        <Figure
          label="Active server"
          tone={pair.active === null ? 'bad' : undefined}
          value={pair.active ?? 'nobody'}
          foot={
            <>
              since <Moment at={pair.since} />
            </>
          }
        />
        <Figure
          label="Term"
          value={pair.term}
          foot={
            <>
              last change <Ago at={pair.since} pace={1000} />
            </>
          }
        />
        <Figure
          label="Heartbeat"
          tone={failure !== null || isLate(pair) ? 'bad' : undefined}
          value={
            failure !== null || pair.heartbeat.ageMs === null
              ? '–'
              : formatDuration(pair.heartbeat.ageMs)
          }
          foot={`counter ${pair.heartbeat.counter}, as ${pair.self} sees it`}
        />
        <Figure
          label="Database"
          tone={pair.database.reachable ? undefined : 'bad'}
          value={
            pair.database.reachable
              ? pair.database.latencyMs === null
                ? 'reachable'
                : formatDuration(pair.database.latencyMs)
              : 'unreachable'
          }
          foot={`of the state, as ${pair.self} sees it`}
        />
      </div>
      <Panel
        title="The pair"
        note={<span data-testid="pair-sentence">{pair.sentence}</span>}
        actions={<SwitchOver pair={pair} />}
      >
        <PairPicture pair={pair} collectors={collectors.data?.collectors ?? []} />
      </Panel>
      <Panel
        title="Heartbeats"
        note={`one each ${formatDuration(pair.timings.heartbeatMs)} · lease ${formatDuration(pair.timings.leaseMs)} · timeout ${formatDuration(pair.timings.timeoutMs)}`}
      >
        <Heartbeats heartbeat={pair.heartbeat} timings={pair.timings} />
      </Panel>
      <History term={pair.term} active={pair.active} />
    </>
  )
}

function isLate(pair: PairState): boolean {
  return (pair.heartbeat.ageMs ?? 0) > 3 * pair.timings.heartbeatMs
}

/** The planned handover, for administrators. */
function SwitchOver({ pair }: { pair: PairState }) {
  const [asking, setAsking] = useState(false)
  const change = useChange('switchOver', ['listRoleChanges'])
  const standby = pair.servers.find(server => server.name !== pair.active)
  const barrier =
    standby === undefined
      ? 'There is no second server.'
      : standby.role !== 'standby'
        ? `${standby.name} is ${standby.role}: there is nobody to hand over to.`
        : undefined
  return (
    <>
      <WriteButton
        needs="administrator"
        variant="default"
        leftSection={<IconArrowsExchange size={14} />}
        barrier={barrier}
        onClick={() => setAsking(true)}
        testId="switchover"
      >
        Switch over
      </WriteButton>
      <Confirm
        opened={asking}
        title="Switch over?"
        action={`Hand over to ${standby?.name ?? 'the standby'}`}
        danger={false}
        busy={change.isPending}
        error={change.error}
        onClose={() => setAsking(false)}
        onConfirm={() => change.mutate({}, { onSuccess: () => setAsking(false) })}
      >
        {pair.active} lets go of the lease and stands by; {standby?.name} becomes active within a
        few seconds, in term {pair.term + 1}. Flows, logs and traps go on being received by both.
      </Confirm>
    </>
  )
}

const roleTones: Record<AnswerOf<'listRoleChanges'>['changes'][number]['role'], Tone> = {
  active: 'ok',
  standby: 'accent',
  stopped: 'plain',
}

/** Every change of role, who, when and why. */
function History({ term, active }: { term: number; active: string | null }) {
  const [limit, setLimit] = useState(25)
  const query = useAnswer('listRoleChanges', { query: { limit } }, { every: 5000 })
  return (
    <Panel title="History" note={`term ${term}, ${active ?? 'nobody'} active`} flush>
      <Answered
        query={query}
        what="Could not load the history"
        empty={data => data.changes.length === 0 && <Empty title="No change of role yet" />}
      >
        {data => (
          <div className="table-scroll">
            <table className="t" data-testid="history-table">
              <thead>
                <tr>
                  <th>When</th>
                  <th>Server</th>
                  <th>Became</th>
                  <th className="num">Term</th>
                  <th className="hide-narrow">Cause</th>
                  <th>Why</th>
                </tr>
              </thead>
              <tbody>
                {data.changes.map(change => (
                  <tr key={change.id}>
                    <td>
                      <Moment at={change.at} milliseconds />
                    </td>
                    <td className="nowrap">{change.server}</td>
                    <td>
                      <Tag tone={roleTones[change.role]}>{change.role}</Tag>
                    </td>
                    <td className="num">{change.term}</td>
                    <td className="dim nowrap hide-narrow">{change.cause}</td>
                    <td className="wrap">{change.sentence}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            {data.next !== null && limit < 1000 && (
              <button
                type="button"
                className="more"
                onClick={() => setLimit(Math.min(1000, limit * 4))}
              >
                Show older changes
              </button>
            )}
          </div>
        )}
      </Answered>
    </Panel>
  )
}
