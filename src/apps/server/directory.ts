import type { PairView } from '../../api/http.ts'
import type { DeviceNames } from '../../api/routes/logs.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Tally } from '../../lib/tally.ts'
import { formatAddress, parseAddress } from '../../telemetry/address.ts'

export interface KnownServer {
  name: string
  installed: 'primary' | 'secondary'
  incarnation: string
  version: string
  consoleUrl: string
  linkHost: string
  linkPort: number
  startedAt: Date
  seenAt: Date
}

export interface Leader {
  term: number
  holder: string | null
  since: Date
  reason: string
}

/** What is looked up in the state again and again, remembered, and still known while the database is away. */
export interface Directory extends Component, DeviceNames {
  servers(): readonly KnownServer[]
  /** The server that is not this one. */
  peer(): KnownServer | undefined
  leader(): Leader | undefined
  database(): { reachable: boolean; latencyMs: number | null }
  /** Of the drill, upgrade or check that is under way. */
  operation(): string | null
  origins: PairView['origins']
  /** Rates that a person has set, by exporter. */
  sampling(): ReadonlyMap<string, number>
}

const everyMs = 2000

export function createDirectory(
  deps: {
    clock: Clock
    tally: Pick<Tally<'directory'>, 'count'>
    listServers(): Promise<KnownServer[]>
    /** Says that this server lives. */
    seen(): Promise<unknown>
    readLeader(): Promise<Leader>
    listDevices(): Promise<readonly { name: string; address: string }[]>
    listExporters(): Promise<readonly { address: string; sampling: number }[]>
    runningOperation(): Promise<{ id: string } | null>
    health(): Promise<{ reachable: boolean; latencyMs: number | null }>
  },
  config: { self: string },
): Directory {
  let servers: KnownServer[] = []
  let leader: Leader | undefined
  let names = new Map<string, string>()
  let sampling: ReadonlyMap<string, number> = new Map()
  let operation: string | null = null
  let database = { reachable: false, latencyMs: null as number | null }
  let timer: NodeJS.Timeout | undefined
  let refreshing: Promise<void> | undefined

  async function refresh() {
    database = await deps.health()
    if (!database.reachable) return
    try {
      const [, found, led, devices, exporters, running] = await Promise.all([
        deps.seen(),
        deps.listServers(),
        deps.readLeader(),
        deps.listDevices(),
        deps.listExporters(),
        deps.runningOperation(),
      ])
      servers = found
      leader = led
      operation = running?.id ?? null
      sampling = new Map(exporters.map(one => [canonical(one.address), one.sampling]))
      names = new Map(devices.map(({ address, name }) => [canonical(address), name]))
    } catch (error) {
      deps.tally.count('directory', () => ({ error: (error as Error).message }))
    }
  }

  function tick() {
    refreshing ??= refresh().finally(() => {
      refreshing = undefined
    })
  }

  return {
    async start() {
      await refresh()
      timer = setInterval(tick, everyMs)
    },
    async stop() {
      clearInterval(timer)
      await refreshing
    },
    servers: () => servers,
    peer: () => servers.find(({ name }) => name !== config.self),
    leader: () => leader,
    database: () => database,
    operation: () => operation,
    origins: () => servers.flatMap(({ consoleUrl }) => URL.parse(consoleUrl)?.origin ?? []),
    sampling: () => sampling,
    nameOf: address => names.get(address) ?? null,
  }
}

/** An address as telemetry writes it; a host name as it is. */
function canonical(address: string): string {
  const bytes = parseAddress(address)
  return bytes ? formatAddress(bytes) : address
}
