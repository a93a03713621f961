import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import type { pairState } from '../../api/contract/pair.ts'
import type { PairView } from '../../api/http.ts'
import type { FailoverNode, NodeStatus } from '../../failover/node.ts'
import type { Completeness } from './catch-up.ts'
import type { Directory, KnownServer } from './directory.ts'

type PairState = z.output<typeof pairState>

/** Between two tellings of the live pair. */
const leastMs = 200
const mostMs = 2000

/** The pair as this server sees it, out of its node, its peer's answers and the state. */
export function createPairView(
  deps: Pick<FailoverNode, 'status' | 'onChange' | 'onHeartbeat'> & {
    directory: Directory
    engineReady(): boolean
    /** Undefined: the servers share a database. */
    replication?: (() => PairState['replication']) | undefined
    telemetry(): Completeness[]
  },
  config: { name: string; timings: PairState['timings']; ownConsole: () => string },
): PairView & {
  state(): PairState
  /** At once, then whenever something has changed, and at least every two seconds. */
  changes(signal: AbortSignal): AsyncIterable<PairState>
} {
  const { directory } = deps

  function consoleOf(name: string | undefined): string | null {
    if (name === undefined) return null
    if (name === config.name) return config.ownConsole()
    return directory.servers().find(server => server.name === name)?.consoleUrl ?? null
  }

  /** When the active became active. */
  function sinceOf(status: NodeStatus): string {
    const since = status.role === 'active' ? status.since : directory.leader()?.since
    return (since ?? status.since).toISOString()
  }

  function roleOf(server: KnownServer, status: NodeStatus): PairState['servers'][number]['role'] {
    if (server.name === config.name) return status.role
    const evidence = status.peer?.evidence
    if (evidence?.kind === 'alive' && evidence.server === server.name) return evidence.role
    // While it is not heard, it is not known what it is; as a rule it is gone.
    return 'unknown'
  }

  /** A server reports itself unwell when its engine does not answer. */
  function healthOf(server: KnownServer, status: NodeStatus): boolean | null {
    const evidence = status.peer?.evidence
    return evidence?.kind === 'alive' && evidence.server === server.name ? evidence.healthy : null
  }

  function state(): PairState {
    const status = deps.status()
    const { paused, address } = status
    return {
      self: config.name,
      role: status.role,
      term: status.term,
      active: status.active ?? null,
      activeConsole: consoleOf(status.active),
      since: sinceOf(status),
      sentence: status.sentence,
      servers: directory.servers().map(server => {
        const self = server.name === config.name
        return {
          name: server.name,
          installed: server.installed,
          role: roleOf(server, status),
          self,
          version: server.version,
          console: server.consoleUrl,
          startedAt: server.startedAt.toISOString(),
          seenAt: server.seenAt.toISOString(),
          engine: self ? deps.engineReady() : healthOf(server, status),
        }
      }),
      heartbeat: {
        counter: status.heartbeat.counter,
        ageMs: status.heartbeat.ageMs ?? null,
        recentMs: status.heartbeat.recentMs,
      },
      timings: config.timings,
      database: directory.database(),
      replication: deps.replication?.() ?? null,
      telemetry: deps.telemetry().map(said),
      paused: paused ? { ...paused, until: paused.until?.toISOString() ?? null } : null,
      address: { ...address, fault: address?.fault ?? null },
      operation: directory.operation(),
    }
  }

  async function* changes(signal: AbortSignal): AsyncIterable<PairState> {
    let changed = Promise.withResolvers<void>()
    const notice = () => changed.resolve()
    const ends = [deps.onChange(notice), deps.onHeartbeat(notice)]
    signal.addEventListener('abort', notice, { once: true })
    try {
      while (!signal.aborted) {
        changed = Promise.withResolvers<void>()
        yield state()
        // Several changes at once are told once.
        await sleep(leastMs, undefined, { signal }).catch(() => {})
        const timer = setTimeout(notice, mostMs)
        await changed.promise
        clearTimeout(timer)
      }
    } finally {
      signal.removeEventListener('abort', notice)
      for (const end of ends) end()
    }
  }

  return {
    state,
    changes,
    role: () => deps.status().role,
    activeConsole: () => consoleOf(deps.status().active),
    summary() {
      const status = deps.status()
      const { name } = config
      const { role, term, active = null, sentence } = status
      return {
        server: name,
        role,
        term,
        since: sinceOf(status),
        active,
        activeConsole: consoleOf(status.active),
        sentence,
      }
    },
    addressMoves: () => deps.status().address?.type !== 'none',
    origins: () => [...new Set([new URL(config.ownConsole()).origin, ...directory.origins()])],
  }
}

function said(one: Completeness): PairState['telemetry'][number] {
  const { copiedRows, copying, foundAt, lacks, lastError, server } = one
  const times = (span: { fromMs: number; toMs: number }) => ({
    from: new Date(span.fromMs).toISOString(),
    to: new Date(span.toMs).toISOString(),
  })
  return {
    server,
    lacks:
      lacks?.map(({ kind, rows, segments, ...span }) => ({
        ...{ kind, rows, segments },
        ...times(span),
      })) ?? null,
    foundAt: foundAt === undefined ? null : new Date(foundAt).toISOString(),
    copying: copying ? { kind: copying.kind, rows: copying.rows, ...times(copying) } : null,
    copiedRows,
    error: lastError ?? null,
  }
}
