import { Button, Progress } from '@mantine/core'
import { IconPlayerStop } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { formatDuration, formatQuantity } from '../format/units.ts'
import { type Asked, useProgress } from '../search/use-traffic.ts'
import { Answered } from './states.tsx'

/**
 * A question that may take long: says so before it is asked, shows how far it is, and can be
 * stopped.
 */
export function AnsweredQuestion<A>(props: {
  query: Asked<A>
  what: string
  loading?: ReactNode
  empty?: (data: A) => ReactNode | false
  /** To ask it although it is too large. */
  onAnyway: () => void
  /** To end it, with what belongs to it. */
  onStop: () => void
  children: (data: A) => ReactNode
}) {
  const { query, what, onAnyway, onStop } = props
  if (query.isError && query.error?.code === 'too-large') {
    return (
      <div className="state" role="alert" data-testid="too-large">
        <strong>This question is large</strong>
        <p>{query.error.message}.</p>
        <Button size="xs" variant="default" onClick={onAnyway} data-testid="ask-anyway">
          Ask anyway
        </Button>
      </div>
    )
  }
  if (query.stopped) {
    return (
      <div className="state">
        <strong>Stopped</strong>
        <Button size="xs" variant="default" onClick={() => void query.refetch()}>
          Ask again
        </Button>
      </div>
    )
  }
  return (
    <>
      {query.slow !== null && <Asking ask={query.slow} onStop={onStop} />}
      <Answered
        query={query}
        what={what}
        {...(props.loading === undefined ? {} : { loading: props.loading })}
        {...(props.empty === undefined ? {} : { empty: props.empty })}
      >
        {props.children}
      </Answered>
    </>
  )
}

function Asking({ ask, onStop }: { ask: string; onStop: () => void }) {
  const { data } = useProgress(ask)
  const progress = data?.progress
  const share = progress == null ? 0 : (100 * progress.rowsRead) / Math.max(1, progress.rowsTotal)
  return (
    <div className="panel-body row" data-testid="asking" style={{ flexWrap: 'nowrap' }}>
      <Progress
        value={share}
        animated
        style={{ flex: 1 }}
        aria-label="How much of the question is read"
      />
      <span className="dim nowrap">
        {progress == null
          ? 'waiting for the engine'
          : `${formatQuantity(progress.rowsRead, 'rows')} of ${formatQuantity(progress.rowsTotal, '')}, ${formatDuration(progress.elapsedMs)}`}
      </span>
      <Button
        size="compact-xs"
        variant="default"
        leftSection={<IconPlayerStop size={13} />}
        onClick={onStop}
        data-testid="stop-asking"
      >
        Stop
      </Button>
    </div>
  )
}
