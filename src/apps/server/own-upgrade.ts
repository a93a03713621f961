import type { FailoverNode } from '../../failover/node.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Identity } from '../../lib/tls.ts'
import { version } from '../../lib/version.ts'
import type { Database } from '../../store/postgres/database.ts'
import type { Home } from '../upgrade/home.ts'
import { type ProvenMessage, startAgain } from '../upgrade/launcher.ts'
import { createUpgrader, type Upgrader, type UpgradeStore } from '../upgrade/upgrader.ts'
import { fetchVersion } from '../upgrade/version-link.ts'
import type { Directory } from './directory.ts'

/** What the other server said longer ago may be over. */
const peerFreshMs = 3000
/** Beyond the lease, until a hand-over that nobody has followed is ordered once more. */
const orderSlackMs = 2000

/** This server's part in an upgrade of the pair. */
export function createOwnUpgrade(
  deps: {
    clock: Clock
    log: Log
    tally: Pick<Tally<'upgrade'>, 'count'>
    store: UpgradeStore
    home: Home | undefined
    identity: Identity
    node: Pick<FailoverNode, 'status'>
    directory: Pick<Directory, 'peer'>
    database: Pick<Database, 'migrate' | 'pendingMigrations'>
    engineReady(): boolean
    switchover(): Promise<{ accepted: boolean; sentence: string }>
    die(reason: string): void
  },
  config: { name: string; leaseMs: number },
): Upgrader {
  const { home, identity, directory, database, log } = deps
  return createUpgrader(
    {
      ...deps,
      self() {
        const { role, fault, database: reached, state, peer, paused } = deps.node.status()
        const other = directory.peer()
        const evidence = peer !== undefined && peer.ageMs < peerFreshMs ? peer.evidence : undefined
        const answer = evidence?.kind === 'alive' ? evidence : undefined
        return {
          server: config.name,
          role,
          ready:
            fault === undefined &&
            reached === 'there' &&
            (state === 'standby' || state === 'active') &&
            deps.engineReady(),
          other: other && {
            name: other.name,
            version: answer?.version ?? other.version,
            role: answer?.role ?? 'unknown',
          },
          paused: paused?.reason,
        }
      },
      async fetch(wanted, progress, signal) {
        const peer = directory.peer()
        if (!home || !peer) throw new Error('there is no other server to fetch it from')
        const from = { name: peer.name, host: peer.linkHost, port: peer.linkPort }
        await fetchVersion({ home, identity, progress }, from, wanted, signal)
      },
      async migrate() {
        const applied = await database.migrate()
        if (applied.length > 0) log.info({ applied }, 'brought the schema up to date')
        return { later: (await database.pendingMigrations()).later.length }
      },
      restart() {
        process.exitCode = startAgain
        process.kill(process.pid, 'SIGTERM')
      },
      prove() {
        if (process.connected) process.send?.({ proven: version } satisfies ProvenMessage)
      },
    },
    { version, orderEveryMs: config.leaseMs + orderSlackMs },
  )
}
