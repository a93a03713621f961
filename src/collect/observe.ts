/** A collector's state as metrics: read when they are asked for, so that a datagram pays nothing. */
import { Counter, type CounterConfiguration, Gauge } from 'prom-client'
import type { Clock } from '../lib/clock.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { CollectorState as State } from './link.ts'

type Sample = [labels: Record<string, string>, value: number | null]

/** One reading serves all metrics of one scrape. */
const freshMs = 500

/** @param deps.state undefined while the collector does not run */
export function observeCollector(deps: {
  metrics: Metrics
  clock: Clock
  state: () => State | undefined
}): void {
  let latest: { at: number; state: State | undefined } | undefined
  function state(): State | undefined {
    const at = deps.clock.monotonic()
    if (latest === undefined || at - latest.at > freshMs) latest = { at, state: deps.state() }
    return latest.state
  }

  function observe(
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    labels: string[],
    samples: (state: State) => Sample[],
  ) {
    const options = {
      name: `keepwatch_${name}`,
      help,
      labelNames: labels,
      registers: [deps.metrics],
    }
    const collect = function (this: { reset(): void; inc(labels: object, value: number): void }) {
      this.reset()
      const now = state()
      if (now === undefined) return
      for (const [label, value] of samples(now)) if (value !== null) this.inc(label, value)
    }
    if (kind === 'gauge') new Gauge({ ...options, collect: collect as () => void })
    else new Counter({ ...options, collect } as CounterConfiguration<string>)
  }

  const listeners =
    (pick: 'datagrams' | 'bytes' | 'kernelDrops' | 'buffer') =>
    (now: State): Sample[] =>
      now.listeners.map(listener => [{ listener: listener.name }, listener[pick]])
  const perKind =
    (pick: 'rows' | 'sealed' | 'backlog' | 'backlogBytes' | 'lost' | 'notEverywhere') =>
    (now: State): Sample[] =>
      now.kinds.map(kind => [{ kind: kind.kind }, kind[pick]])
  const perServer =
    (value: (delivery: State['deliveries'][number]) => number) =>
    (now: State): Sample[] =>
      now.deliveries.map(delivery => [{ server: delivery.server }, value(delivery)])

  const inPair =
    (samples: (pair: NonNullable<State['pair']>) => Sample[]) =>
    (now: State): Sample[] =>
      now.pair === undefined ? [] : samples(now.pair)

  // biome-ignore format: one line a metric, to be read as a table
  const metrics = [
    ['counter', 'received_datagrams_total', 'Datagrams, over TCP messages, received.', ['listener'], listeners('datagrams')],
    ['counter', 'received_bytes_total', 'Bytes received.', ['listener'], listeners('bytes')],
    ['counter', 'kernel_drops_total', 'Datagrams the kernel dropped: the socket’s buffer was full.', ['listener'], listeners('kernelDrops')],
    ['gauge', 'receive_buffer_bytes', 'Receive buffer that the kernel granted.', ['listener'], listeners('buffer')],
    ['counter', 'rows_total', 'Rows decoded.', ['kind'], perKind('rows')],
    ['counter', 'sealed_segments_total', 'Segments sealed.', ['kind'], perKind('sealed')],
    ['counter', 'lost_segments_total', 'Segments given up that nobody had.', ['kind'], perKind('lost')],
    ['counter', 'not_everywhere_segments_total', 'Segments given up that some servers had and others not.', ['kind'], perKind('notEverywhere')],
    ['gauge', 'backlog_segments', 'Segments that not every server has.', ['kind'], perKind('backlog')],
    ['gauge', 'backlog_bytes', 'Bytes of segments that not every server has.', ['kind'], perKind('backlogBytes')],
    ['gauge', 'server_reachable', '1 if the server takes segments.', ['server'], perServer(({ reachable }) => Number(reachable))],
    ['gauge', 'ring_datagrams', 'Datagrams that a standby keeps for a takeover.', [], inPair(({ ring }) => [[{}, ring.datagrams]])],
    ['gauge', 'ring_bytes', 'Bytes of them.', [], inPair(({ ring }) => [[{}, ring.bytes]])],
    ['counter', 'ring_claimed_total', 'Datagrams taken out of the ring because the active has them.', [], inPair(({ ring }) => [[{}, ring.claimed]])],
    ['counter', 'ring_forgotten_total', 'Datagrams forgotten: too many, or too old.', ['reason'], inPair(({ ring }) => [[{ reason: 'overflown' }, ring.overflown], [{ reason: 'expired' }, ring.expired]])],
    ['counter', 'replayed_datagrams_total', 'Datagrams out of the ring that were decoded after a takeover.', [], inPair(({ replayed }) => [[{}, replayed]])],
    ['counter', 'rescued_datagrams_total', 'Datagrams decoded by the standby because the active, though it lives, never had them.', [], inPair(({ rescued }) => [[{}, rescued]])],
    ['counter', 'disputed_datagrams_total', 'Datagrams that the other server had taken in too, and left out.', [], inPair(({ disputed }) => [[{}, disputed]])],
    ['gauge', 'server_waiting_segments', 'Segments that the server does not have.', ['server'], perServer(({ waiting }) => waiting)],
    ['gauge', 'server_behind_seconds', 'How long ago the oldest of what the server does not have was received.', ['server'], perServer(({ behindMs }) => behindMs / 1000)],
  ] as const
  for (const [kind, name, help, labels, samples] of metrics) {
    observe(kind, name, help, [...labels], samples)
  }
}
