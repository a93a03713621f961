/** Where the state is, and who says which server may change it: one place for both ways to run a pair. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lease } from '../../failover/lease/lease.ts'
import { createRowLease } from '../../failover/lease/row.ts'
import { type Component, createSequence } from '../../lib/component.ts'
import { databaseTargets } from '../../lib/database-hosts.ts'
import type { Tally } from '../../lib/tally.ts'
import type { ServerAddress } from '../../lib/upgraded.ts'
import type { Database } from '../../store/postgres/database.ts'
import { beginTerm, readPause } from '../../store/postgres/leadership.ts'
import type { Directory } from './directory.ts'
import { recallOther, rememberOther } from './other-server.ts'
import {
  createOwnDatabase,
  type OwnDatabase,
  type OwnDatabaseConfig,
  type OwnDatabaseDeps,
} from './own-database.ts'
import type { ServerSettings } from './settings.ts'

interface Work {
  start(term: number): Promise<void>
  stop(): Promise<void>
}

export interface Foundation {
  /** Of the state's database. */
  url: string
  lease: Lease
  /** Undefined: the database is shared, and somebody else’s. */
  own: OwnDatabase | undefined
  /** What comes before everything that asks the database. */
  first(database: Component): Component
  /** What begins as soon as the database is reached; with one of its own, a server does not wait for it. */
  reached(database: Component, parts: readonly Component[]): Component
  /** What the active does, once the database has the term. */
  leading(work: Work): Work
  /** Who keeps the lease, in words; undefined: the database. */
  keeper?: string
  /** What keeps this server from being active, beyond its own health. */
  obstacle(): string | undefined
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  /** @throws Error in words if this server must not become active at a person's word */
  promote(by: string): Promise<void>
}

interface FoundationDeps extends Omit<OwnDatabaseDeps, 'other' | 'tally'> {
  tally: Pick<Tally<'own-database' | 'not-reached'>, 'count'>
  database(): Database
  directory(): Pick<Directory, 'peer'>
}

interface FoundationConfig extends Omit<OwnDatabaseConfig, 'port' | 'otherPort'> {
  database: ServerSettings['database']
}

const retryMs = 1000
/** A takeover that does not reach its own database in so long fails. */
const reachMs = 60_000
const pauseLookMs = 1000

export function createFoundation(deps: FoundationDeps, config: FoundationConfig): Foundation {
  const { own, url } = config.database
  if (url !== undefined) return sharedFoundation(deps, { ...config, url })
  return ownFoundation(deps, { ...config, ...own! })
}

function sharedFoundation(
  deps: FoundationDeps,
  config: Omit<FoundationConfig, 'database'> & { url: string },
): Foundation {
  const { incarnation, name, takeovers, timings, url } = config
  return {
    url,
    lease: createRowLease(deps, {
      ...{ name, incarnation, timings, takeovers },
      targets: databaseTargets(url),
    }),
    own: undefined,
    first: database => database,
    reached: (_database, parts) => createSequence(parts),
    leading: work => work,
    obstacle: () => undefined,
    upgrade: () => false,
    promote: () =>
      Promise.reject(
        new Error(
          'the servers share a database: who reaches it takes over by itself, nobody else may',
        ),
      ),
  }
}

function ownFoundation(deps: FoundationDeps, config: OwnDatabaseConfig): Foundation {
  const { tally } = deps
  const { dataDir, incarnation, name, timings } = config
  let remembered: ServerAddress | undefined
  const reached = Promise.withResolvers<void>()

  /** As the database has it; it is written down for when that cannot be asked. */
  function other(): ServerAddress | undefined {
    const peer = deps.directory().peer()
    if (peer === undefined) {
      remembered ??= recallOther(dataDir)
      return remembered
    }
    const { linkHost: host, linkPort: port } = peer
    const known = { name: peer.name, host, port }
    if (JSON.stringify(known) !== JSON.stringify(remembered)) {
      remembered = known
      rememberOther(dataDir, known)
    }
    return known
  }

  const own = createOwnDatabase({ ...deps, other }, config)
  return {
    url: own.url,
    lease: own.lease,
    own,
    first: () => own,
    keeper: 'a majority of the voters',
    obstacle: own.obstacle,
    upgrade: own.upgrade,
    promote: own.promote,

    reached(database, parts) {
      const stopping = new AbortController()
      let beginning: Promise<void> = Promise.resolve()

      async function begin() {
        for (const part of [database, ...parts]) await begun(part)
        if (!stopping.signal.aborted) reached.resolve()
      }

      /** What has failed to start may be started again: it waits for the database, and nothing else. */
      async function begun(part: Component) {
        while (!stopping.signal.aborted) {
          try {
            return await part.start()
          } catch (error) {
            if (stopping.signal.aborted) return
            tally.count('not-reached', () => ({ error: (error as Error).message }))
          }
          await sleep(retryMs, undefined, { signal: stopping.signal }).catch(() => {})
        }
      }

      return {
        start() {
          beginning = begin()
          return Promise.resolve()
        },
        async stop() {
          stopping.abort()
          for (const part of [database, ...parts].reverse()) await part.stop()
          await beginning
        },
      }
    },

    leading(work) {
      /** @throws the signal's reason */
      async function reachedBy(signal: AbortSignal) {
        const late = Promise.withResolvers<never>()
        const giveUp = () => late.reject(new Error('its own database is not reached'))
        signal.addEventListener('abort', giveUp, { once: true })
        await Promise.race([reached.promise, late.promise])
        signal.removeEventListener('abort', giveUp)
      }

      let looking: Promise<void> = Promise.resolve()
      let ended = new AbortController()

      /** What people have said in the database the voters hear with the next heartbeat. */
      async function lookForPause(signal: AbortSignal) {
        while (!signal.aborted) {
          await sleep(pauseLookMs, undefined, { signal }).catch(() => {})
          if (signal.aborted) return
          try {
            const found = await readPause(deps.database())
            own.lease.pause(found && { ...found, until: found.until?.toISOString() })
          } catch (error) {
            tally.count('own-database', () => ({ error: (error as Error).message }))
          }
        }
      }

      return {
        async start(term) {
          ended = new AbortController()
          await own.lead(term, ended.signal)
          const database = deps.database()
          database.recheck()
          await reachedBy(AbortSignal.any([ended.signal, AbortSignal.timeout(reachMs)]))
          const { sentence } = deps.status()
          await beginTerm(
            database,
            { ...{ term, incarnation, reason: sentence }, holder: name, leaseMs: timings.leaseMs },
            own.lease.paused(),
          )
          looking = lookForPause(ended.signal)
          await work.start(term)
        },
        async stop() {
          ended.abort()
          await looking
          await work.stop()
          await own.rest()
        },
      }
    },
  }
}
