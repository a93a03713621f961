import { Tooltip } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useRef } from 'react'
import { useConnection } from '../api/hooks.ts'
import { formatDuration } from '../format/units.ts'
import { useNow } from '../parts/when.tsx'

/** Who is active, in which term, with a pulse at each heartbeat. */
export function PairChip() {
  const { pair, failure } = useConnection()
  if (pair === null) return null
  const quiet = failure !== null || pair.active === null
  return (
    <Tooltip label={failure === null ? pair.sentence : 'No server answers.'} maw={340}>
      <Link to="/failover" className="pair-chip">
        <span key={pair.heartbeat.counter} className={quiet ? 'dot bad' : 'dot ok pulse'} />
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

/** What stands in the way of working normally: no server, no active one, or this is the standby. */
export function PairBanner() {
  const { pair, failure, failingSince } = useConnection()
  useNow(failure === null ? 60_000 : 1000)
  if (failure !== null) {
    const others = pair?.servers.filter(server => !server.self) ?? []
    return (
      <div className="banner bad" role="alert" data-testid="lost-banner">
        <span>
          No server answers
          {failingSince !== null && ` for ${formatDuration(performance.now() - failingSince)}`} (
          {failure}). What you see is the last that was known; this goes on by itself as soon as one
          answers.
          {others.map(server => (
            <span key={server.name}>
              {' '}
              <a href={server.console}>Open the console of {server.name}</a>
            </span>
          ))}
        </span>
      </div>
    )
  }
  if (pair === null || pair.role === 'active') return null
  return (
    <div className="banner warn" role="status" data-testid="standby-banner">
      <span>
        This is the standby {pair.self}: read-only.{' '}
        {pair.activeConsole === null ? (
          'No server is active at the moment.'
        ) : (
          <a href={here(pair.activeConsole)}>Go to the active {pair.active}</a>
        )}
      </span>
    </div>
  )
}

/** The present page on another server's console. */
function here(console: string): string {
  return `${console.replace(/\/+$/, '')}${location.pathname}${location.search}`
}
