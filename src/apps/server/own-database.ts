/**
 * The database of a server that shares none: it leads while the server is active, else it follows the
 * other's. With it goes the lease, which voters grant, because there is no row to hold it.
 */
import { existsSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import type { pairState } from '../../api/contract/pair.ts'
import { createMajorityLease, type MajorityLease } from '../../failover/lease/majority.ts'
import type { NodeStatus } from '../../failover/node.ts'
import type { Timings } from '../../failover/timings.ts'
import {
  type Acknowledging,
  type AcknowledgingEvent,
  completeIn,
  stepAcknowledging,
} from '../../failover/vote/acknowledging.ts'
import { meaningOf } from '../../failover/vote/enrolling.ts'
import { beginRoll, createOwnVoter, voteFile } from '../../failover/vote/own-voter.ts'
import { createVoteLine } from '../../failover/vote/vote-line.ts'
import { createVoterLines } from '../../failover/vote/voter-lines.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import { writeWhole } from '../../lib/files.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Identity } from '../../lib/tls.ts'
import type { ServerAddress } from '../../lib/upgraded.ts'
import type { BackupProgress } from '../../store/postgres/replica/base-backup.ts'
import { createReplicatedDatabase } from '../../store/postgres/replica/replicated.ts'
import { createTunnelEntry, createTunnelExit } from '../../store/postgres/replica/tunnel.ts'
import { keyFor } from '../../store/postgres/sealed.ts'
import { createEnrolment } from './enrolment.ts'

export interface OwnDatabase extends Component {
  /** Of the state: this server's database, and the other's by way of the link; one of them takes writes. */
  readonly url: string
  readonly lease: MajorityLease
  /** Takes a connection that voters or the other's database make to the link. @returns false if it is for neither */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean
  /** The database takes writes when it resolves. @throws Error if it cannot be led, or the signal's reason */
  lead(term: number, signal: AbortSignal): Promise<void>
  /** Leads no more; if the other follows closely, so that this one can follow it at once. */
  rest(): Promise<void>
  /** What keeps this server from being active; undefined: nothing. */
  obstacle(): string | undefined
  /** As the API says it. */
  view(): Replication
  /** At a person's word this server takes over without a majority. @throws Error in words if it must not */
  promote(by: string): Promise<void>
}

export type Replication = NonNullable<z.output<typeof pairState>['replication']>

/** Changes wait so long for a server that is missing. */
const patienceMs = 3000
/** Every change heeds whom it waits for within so long after PostgreSQL has said so. */
const settleMs = 2000
/** Of the log, for a server that is away; one that was away for longer copies everything anew. */
const keepMegabytes = 8192
const lookBehindMs = 10_000
/** The other server asks this one's voter more often. */
const silentMs = 5000

/** Lies there until the first database of a deployment is made: what is lost later is not begun anew. */
const firstIn = (dataDir: string) => join(dataDir, 'first-database')

/** Of the first server of a deployment: it may make a database, and votes alone. May be repeated. */
export async function beginDeployment(dataDir: string, name: string): Promise<void> {
  const file = join(dataDir, voteFile)
  if (existsSync(file)) return
  writeWhole(firstIn(dataDir), '', 0o600)
  await beginRoll(file, [name])
}

export interface OwnDatabaseDeps {
  clock: Clock
  log: Log
  metrics: Metrics
  tally: Pick<Tally<'own-database'>, 'count'>
  identity: Identity
  /** The other server; undefined: there is none. */
  other(): ServerAddress | undefined
  status(): NodeStatus
  /** It may or may not be fit to be active by now. */
  changed(): void
  fatal(error: Error): void
}

export interface OwnDatabaseConfig {
  name: string
  incarnation: string
  /** Which pair it is. */
  pair: string
  dataDir: string
  /** The deployment's: the database's password is made of it. */
  key: Buffer
  /** On the loopback address: of this server's PostgreSQL, and of the way to the other's. */
  port: number
  otherPort: number
  timings: Timings
  takeovers: { most: number; withinMs: number }
}

export function createOwnDatabase(deps: OwnDatabaseDeps, config: OwnDatabaseConfig): OwnDatabase {
  const { clock, identity, tally } = deps
  const { dataDir, name, otherPort, port, timings } = config
  const password = keyFor('own-database', config.key).toString('hex')
  const urlOf = (hosts: string) => `postgresql://keepwatch:${password}@${hosts}/keepwatch`
  let acknowledging: Acknowledging = { kind: 'alone' }
  let sentence = 'no server follows'
  /** What a majority of voters has heard last. */
  let heard = { complete: '', term: 0 }
  let awaited: { term: number; heard(): void; giveUp(reason: unknown): void } | undefined
  /** What the voters know of a lease of the other’s: this server lacks acknowledged changes. */
  let lacks = false
  /** A person has said that it leads with what it has. */
  let promoted = false
  let following: AbortController | undefined
  let turns: Promise<unknown> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  let lookedBehindAt = Number.NEGATIVE_INFINITY

  const own = createOwnVoter(deps, {
    ...{ file: join(dataDir, voteFile), server: name },
    rules: { leaseMs: timings.leaseMs, limit: config.takeovers },
  })
  const lines = createVoterLines({ ...deps, own }, { server: name })
  const line = createVoteLine(
    {
      ...{ identity, own },
      misunderstood: (server, error) => tally.count('own-database', () => ({ server, error })),
    },
    { server: deps.other, silentMs: Math.max(silentMs, 5 * timings.heartbeatIntervalMs) },
  )
  const exit = createTunnelExit(deps, {
    port: () => (database.url === undefined ? undefined : port),
    self: name,
  })
  const entry = createTunnelEntry({ identity }, { server: deps.other, port: otherPort })
  const database = createReplicatedDatabase(
    {
      ...deps,
      acknowledgement: {
        begin(term) {
          acknowledging = { kind: 'alone' }
          // What was said before may have named the other too, from when this server led last.
          if (heard.term === term && heard.complete === name) return Promise.resolve()
          const { promise, reject, resolve } = Promise.withResolvers<void>()
          awaited = { term, heard: resolve, giveUp: reject }
          return promise
        },
        look: follower => decide({ type: 'looked', follower }),
      },
    },
    {
      ...{ dataDir: join(dataDir, 'database'), port, self: name, password, keepMegabytes },
      leftBehind: join(dataDir, 'left-behind'),
      other: () => deps.other()?.name,
      upstream: () => urlOf(`127.0.0.1:${otherPort}`),
      mayCreate: () => isFirst(),
    },
  )
  const lease = createMajorityLease(
    { clock, electorate: lines, fatal: deps.fatal },
    {
      ...{ name, incarnation: config.incarnation, pair: config.pair, timings },
      takeovers: config.takeovers,
      complete: () => completeIn(acknowledging, name),
      heard: () => own.kept().roll,
      told(complete, term) {
        heard = { complete: complete.join(), term }
        if (awaited?.term === term && heard.complete === name) awaited.heard()
        const change = decide({ type: 'told', complete })
        if (change !== undefined) database.acknowledge(change.follower)
      },
      read(complete) {
        lacks = complete.length > 0 && !complete.includes(name)
        deps.changed()
      },
    },
  )
  const enrolment = createEnrolment(
    { clock, lines, lease, log: deps.log, other: () => deps.other()?.name },
    { self: name },
  )

  const isFirst = () => existsSync(firstIn(dataDir))

  function decide(event: AcknowledgingEvent) {
    const rules = { self: name, patienceMs, settleMs }
    const taken = stepAcknowledging(acknowledging, event, rules, clock.monotonic())
    if (taken.state.kind !== acknowledging.kind) deps.log.info(taken.sentence)
    acknowledging = taken.state
    if (event.type === 'looked' || taken.waitFor !== undefined) sentence = taken.sentence
    return taken.waitFor
  }

  /** One after the other: the database is led, or follows, and never both. */
  function inTurn(work: () => Promise<void>): Promise<void> {
    const done = turns.then(work)
    turns = done.catch(() => {})
    return done
  }

  async function attend() {
    const { active, role } = deps.status()
    if (role === 'active') return enrolment.look()
    if (active === undefined || active !== deps.other()?.name || following !== undefined) return
    const { doing } = database.state()
    if (doing === 'follows') {
      if (clock.monotonic() - lookedBehindAt < lookBehindMs) return
      lookedBehindAt = clock.monotonic()
      if (!(await database.lookBehind())) return
    }
    await follow()
  }

  async function follow() {
    const stop = new AbortController()
    following = stop
    await inTurn(async () => {
      if (!stop.signal.aborted) await database.follow(stop.signal)
    }).finally(() => {
      following = undefined
      deps.changed()
    })
  }

  function tick() {
    attend().catch(error => {
      if (timer !== undefined && following?.signal.aborted !== true) {
        tally.count('own-database', () => ({ error: (error as Error).message }))
      }
    })
  }

  return {
    url: urlOf(`127.0.0.1:${port},127.0.0.1:${otherPort}`),
    lease,
    upgrade: (request, socket, head) =>
      lines.upgrade(request, socket, head) || exit.upgrade(request, socket, head),

    async start() {
      await own.start()
      await entry.start()
      await database.start()
      await line.start()
      timer = setInterval(tick, timings.heartbeatIntervalMs)
    },

    async stop() {
      clearInterval(timer)
      timer = undefined
      following?.abort()
      await turns
      await line.stop()
      await database.stop()
      exit.stop()
      await entry.stop()
      lines.stop()
      await own.stop()
    },

    async lead(term, signal) {
      following?.abort()
      promoted = false
      const giveUp = () => awaited?.giveUp(signal.reason)
      signal.addEventListener('abort', giveUp)
      await inTurn(() => {
        signal.throwIfAborted()
        return database.lead(term)
      }).finally(() => signal.removeEventListener('abort', giveUp))
      rmSync(firstIn(dataDir), { force: true })
    },

    async rest() {
      if (acknowledging.kind !== 'together') return
      const rested = inTurn(() => database.rest())
      // Beyond that it rests too, but the lease is not held for it.
      await Promise.race([rested, sleep(timings.stepDownMs / 2)])
    },

    obstacle() {
      if (deps.status().role === 'active' || promoted) return undefined
      const { copied, doing, there } = database.state()
      if (doing === 'copies')
        return `it copies the database of ${deps.other()?.name}${partOf(copied)}`
      if (!there && !isFirst()) return 'it has no copy of the database yet'
      return lacks ? 'it lacks changes that were acknowledged without it' : undefined
    },

    view() {
      const { copied, doing, follower, lastError } = database.state()
      const there = new Map(lines.present().map(({ grant, name: voter }) => [voter, grant]))
      const voters = lease.roll().voters.map(voter => ({
        ...{ name: voter, present: there.has(voter) },
        votedFor: there.get(voter)?.holder ?? null,
        term: there.get(voter)?.term ?? null,
      }))
      return {
        ...{ voters, votersMean: meaningOf(voters), doing },
        copied:
          copied && doing === 'copies'
            ? { ...copied, totalBytes: copied.totalBytes ?? null }
            : null,
        copyError: doing === 'copies' ? (lastError ?? null) : null,
        follower: follower
          ? {
              ...{ name: follower.follower, synchronous: follower.synchronous },
              ...{ behindBytes: follower.behindBytes, behindMs: follower.behindMs ?? null },
            }
          : null,
        together: doing === 'leads' ? acknowledging.kind === 'together' : null,
        changes: doing === 'leads' ? sentence : null,
      }
    },

    async promote(by) {
      const { active, peer, role } = deps.status()
      if (role === 'active') throw new Error('it is active already')
      if (peer?.evidence.kind === 'alive' && peer.evidence.role === 'active') {
        throw new Error(`${active} is active and answers: hand over there instead`)
      }
      // What it had before stays until a copy is whole.
      if (!database.state().there) throw new Error('it has no whole copy of the database')
      deps.log.warn({ by }, 'takes over without a majority, at a person’s word')
      await own.overrule(name, by, Math.max(lease.roll().term, deps.status().term))
      promoted = true
      deps.changed()
    },
  }
}

function partOf(copied: BackupProgress | undefined): string {
  if (!copied?.totalBytes) return ''
  return `, ${Math.min(99, Math.floor((100 * copied.bytes) / copied.totalBytes))} % of it`
}
