import { Tooltip } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useRef } from 'react'
import type { PairState } from '../api/connection.ts'
import { useConnection, useElsewhere, useGoTo } from '../api/hooks.ts'
import { formatDuration } from '../format/units.ts'
import { ResumeButton } from '../pair/controls.tsx'
import { addressName, isFlapping, pauseOf } from '../pair/troubles.ts'
import { Moment, useNow } from '../parts/when.tsx'

/** Who is active, in which term, with a pulse at each heartbeat. */
export function PairChip() {
  const { pair, failure } = useConnection()
  if (pair === null) return null
  const quiet = failure !== null || pair.active === null
  const pulse = pair.paused === null && pair.address.fault === null ? 'dot ok pulse' : 'dot warn'
  return (
    <Tooltip label={failure === null ? pair.sentence : 'No server answers.'} maw={340}>
      <Link to="/failover" className="pair-chip">
        <span key={pair.heartbeat.counter} className={quiet ? 'dot bad' : pulse} />
        <span data-testid="active-server">{pair.active ?? 'nobody active'}</span>
        <span className="dim hide-narrow">
          term <span data-testid="term">{pair.term}</span>
        </span>
      </Link>
    </Tooltip>
  )
}

/** Says that another server has taken over, and has everything on screen asked anew of it. */
export function TakeoverNotice() {
  const { pair, base } = useConnection()
  const queries = useQueryClient()
  const seen = useRef<{ active: string; term: number } | null>(null)
  const active = pair?.active ?? null
  const term = pair?.term ?? 0
  const sentence = pair?.sentence ?? ''

  useEffect(() => {
    if (active === null) return
    const before = seen.current
    seen.current = { active, term }
    if (before === null || (before.active === active && before.term === term)) return
    notifications.show({
      title: `${active} is active now (term ${term})`,
      message: sentence,
      autoClose: 15_000,
      withBorder: true,
    })
    void queries.invalidateQueries()
  }, [active, term, sentence, queries])

  const lastBase = useRef(base)
  useEffect(() => {
    if (lastBase.current === base) return
    lastBase.current = base
    void queries.invalidateQueries()
  }, [base, queries])
  return null
}

/** Goes where the active is when this page's session does not reach there. */
export function Leave() {
  const elsewhere = useElsewhere()
  const goTo = useGoTo()
  const go = useRef(goTo)
  go.current = goTo
  useEffect(() => {
    if (elsewhere !== null) void go.current(elsewhere)
  }, [elsewhere])
  return null
}

/** What stands in the way of working normally, and of a takeover, on every page. */
export function PairBanners() {
  const { pair, failure } = useConnection()
  if (failure !== null) return <LostBanner />
  if (pair === null) return null
  return (
    <>
      {pair.role !== 'active' && <StandbyBanner pair={pair} />}
      {pair.paused !== null && <PausedBanner pair={pair} paused={pair.paused} />}
      {pair.address.fault !== null && (
        <div className="banner bad" role="alert" data-testid="address-banner">
          <span>
            The network may not find {pair.active ?? 'the active server'} by its {addressName(pair)}
            : {pair.address.fault}.
          </span>
        </div>
      )}
    </>
  )
}

function LostBanner() {
  const { pair, failure, failingSince } = useConnection()
  const goTo = useGoTo()
  useNow(1000)
  const others = pair?.servers.filter(server => !server.self) ?? []
  return (
    <div className="banner bad" role="alert" data-testid="lost-banner">
      <span>
        No server answers
        {failingSince !== null && ` for ${formatDuration(performance.now() - failingSince)}`} (
        {failure}). What you see is the last that was known; this goes on by itself as soon as one
        answers.{' '}
        {others.map(server => (
          <button
            key={server.name}
            type="button"
            className="linklike"
            onClick={() => void goTo(server.console, { here: true })}
          >
            Open the console of {server.name}
          </button>
        ))}
      </span>
    </div>
  )
}

function StandbyBanner({ pair }: { pair: PairState }) {
  const goTo = useGoTo()
  const { activeConsole } = pair
  return (
    <div className="banner warn" role="status" data-testid="standby-banner">
      <span>
        This is the standby {pair.self}: read-only.{' '}
        {activeConsole === null ? (
          'No server is active at the moment.'
        ) : (
          <button type="button" className="linklike" onClick={() => void goTo(activeConsole)}>
            Go to the active {pair.active}
          </button>
        )}
      </span>
    </div>
  )
}

function PausedBanner({
  pair,
  paused,
}: {
  pair: PairState
  paused: NonNullable<PairState['paused']>
}) {
  const flapping = isFlapping(pair)
  return (
    <div
      className={flapping ? 'banner bad' : 'banner warn'}
      role={flapping ? 'alert' : 'status'}
      data-testid="paused-banner"
    >
      <span>
        {pauseOf(paused)}
        {!flapping && (
          <>
            {' '}
            {paused.until === null ? (
              '(until somebody resumes)'
            ) : (
              <>
                (until <Moment at={paused.until} />)
              </>
            )}
            . If {pair.active ?? 'the active'} fails meanwhile, nobody takes over.
          </>
        )}
      </span>
      <ResumeButton pair={pair} />
    </div>
  )
}
