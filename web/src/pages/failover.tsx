import { SegmentedControl } from '@mantine/core'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useEffect, useRef } from 'react'
import type { PairState } from '../api/connection.ts'
import { useAnswer, useConnection, useGoTo, useMay } from '../api/hooks.ts'
import { type LivePair, useLivePair } from '../api/use-live-pair.ts'
import { formatDuration } from '../format/units.ts'
import { TelemetryPanel } from '../pair/completeness.tsx'
import { PairControls } from '../pair/controls.tsx'
import { Heartbeats } from '../pair/heartbeats.tsx'
import { History } from '../pair/history.tsx'
import { LeftBehind, Unseen } from '../pair/left-behind.tsx'
import { Notices } from '../pair/notices.tsx'
import { OperationPanel } from '../pair/operation.tsx'
import { Operations } from '../pair/operations.tsx'
import { PairPicture } from '../pair/picture.tsx'
import { Replication } from '../pair/replication.tsx'
import { addressName, conditionOf, troublesOf } from '../pair/troubles.ts'
import { Figure, Panel, Tag } from '../parts/panel.tsx'
import { Loading } from '../parts/states.tsx'
import { Ago, Moment } from '../parts/when.tsx'

const route = getRouteApi('/failover')

export function FailoverPage() {
  const live = useLivePair()
  const { operation: opened } = route.useSearch()
  const navigate = route.useNavigate()
  const { pair } = live
  const running = pair?.operation ?? undefined

  function open(operation: string | undefined) {
    void navigate({
      search: ({ list }) => ({
        ...(list === undefined ? {} : { list }),
        ...(operation === undefined ? {} : { operation }),
      }),
      replace: true,
      resetScroll: false,
    })
  }
  // What is under way stays to be read when it is done.
  const follow = useRef(open)
  follow.current = open
  useEffect(() => {
    if (running !== undefined) follow.current(running)
  }, [running])

  if (pair === null) return <Loading height={320} />
  return (
    <>
      <h1 className="sr-only">Failover</h1>
      <PairFigures pair={pair} />
      <PairPanel pair={pair} onDrill={open} />
      <Unseen pair={pair} />
      <Replication pair={pair} />
      <TelemetryPanel pair={pair} />
      {opened !== undefined && (
        <OperationPanel
          key={opened}
          id={opened}
          onClose={opened === running ? undefined : () => open(undefined)}
        />
      )}
      <HeartbeatsPanel {...live} pair={pair} />
      <Past pair={pair} onOpen={open} />
    </>
  )
}

function PairFigures({ pair }: { pair: PairState }) {
  const { failure } = useConnection()
  return (
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
        label="Lease"
        value={formatDuration(pair.timings.leaseMs)}
        foot={`a heartbeat each ${formatDuration(pair.timings.heartbeatMs)}; taken over after ${formatDuration(pair.timings.timeoutMs)} without one at the latest`}
      />
      <Figure
        label="Database"
        tone={pair.database.reachable && failure === null ? undefined : 'bad'}
        value={
          !pair.database.reachable
            ? 'unreachable'
            : pair.database.latencyMs === null
              ? 'reachable'
              : formatDuration(pair.database.latencyMs)
        }
        foot={
          pair.replication === null
            ? `of the state, as ${pair.self} sees it`
            : 'each server’s own, of which the active’s leads'
        }
      />
    </div>
  )
}

/** The pair in a picture, what is wrong with it in words, and what can be done. */
function PairPanel({ pair, onDrill }: { pair: PairState; onDrill: (id: string) => void }) {
  const collectors = useAnswer('listCollectors', {}, { every: 3000 })
  const answer = useAnswer('listConditions', {}, { every: 3000 })
  const settings = useAnswer('getPairSettings', {}, { every: 30_000 })
  const goTo = useGoTo()
  const conditions = answer.data?.conditions ?? []
  const troubles = troublesOf(pair, conditions)
  return (
    <Panel
      title="The pair"
      note={<span data-testid="pair-sentence">{pair.sentence}</span>}
      actions={<PairControls pair={pair} onDrill={onDrill} />}
    >
      <PairPicture
        pair={pair}
        collectors={collectors.data?.collectors ?? []}
        folder={{
          path: settings.data?.settings.sharedFolder ?? null,
          fault: conditionOf(conditions, 'shared-folder'),
        }}
      />
      {troubles.length > 0 && (
        <ul className="troubles" aria-label="What is wrong" data-testid="troubles">
          {troubles.map(({ key, tone, sentence }) => (
            <li key={key} className={tone}>
              {sentence}
            </li>
          ))}
        </ul>
      )}
      <p className="pair-links dim">
        {pair.servers
          .filter(server => !server.self)
          .map(server => (
            <button
              key={server.name}
              type="button"
              className="linklike"
              onClick={() => void goTo(server.console, { here: server.role !== 'active' })}
            >
              {server.name}’s own console
            </button>
          ))}
        <span>Found by: {addressName(pair)}</span>
        <Link to="/settings" search={{ tab: 'general' }}>
          Settings, prerequisites, second server
        </Link>
      </p>
    </Panel>
  )
}

function HeartbeatsPanel({ pair, at, live }: LivePair & { pair: PairState }) {
  return (
    <Panel
      title="Heartbeats"
      note={`one each ${formatDuration(pair.timings.heartbeatMs)}, the last minute`}
      actions={<Tag tone={live ? 'ok' : 'plain'}>{live ? 'live' : 'each second'}</Tag>}
    >
      <Heartbeats pair={pair} at={at} live={live} />
    </Panel>
  )
}

const lists = [
  { value: 'history', label: 'Changes of role' },
  { value: 'operations', label: 'Drills and checks' },
  { value: 'left-behind', label: 'Left behind' },
  { value: 'notices', label: 'Notices' },
] as const
type List = (typeof lists)[number]['value']

/** What has been. */
function Past({ pair, onOpen }: { pair: PairState; onOpen: (id: string) => void }) {
  const { list: asked = 'history' } = route.useSearch()
  const navigate = route.useNavigate()
  // Recipients are not everybody's to read.
  const operator = useMay('operator')
  const offered = lists.filter(({ value }) => {
    if (value === 'notices') return operator
    return value !== 'left-behind' || pair.replication !== null
  })
  const list: List = offered.find(({ value }) => value === asked)?.value ?? 'history'
  return (
    <Panel
      title={lists.find(({ value }) => value === list)!.label}
      flush
      actions={
        <SegmentedControl
          size="xs"
          aria-label="What has been"
          value={list}
          onChange={value =>
            void navigate({
              search: ({ operation }) => ({
                ...(value === 'history' ? {} : { list: value as Exclude<List, 'history'> }),
                ...(operation === undefined ? {} : { operation }),
              }),
              resetScroll: false,
            })
          }
          data={offered.map(one => ({ ...one }))}
        />
      }
    >
      {list === 'operations' ? (
        <Operations onOpen={onOpen} />
      ) : list === 'left-behind' ? (
        <LeftBehind />
      ) : list === 'notices' ? (
        <Notices />
      ) : (
        <History />
      )}
    </Panel>
  )
}
