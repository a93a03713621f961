import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Counter, Gauge } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { DatabaseTarget } from '../../lib/database-hosts.ts'
import { Overloaded } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { within } from '../../lib/within.ts'
import { findHost } from './writable-host.ts'

/** Connections to the host that takes writes, wherever it is by now. */
export interface FollowingPool {
  /** The host to connect to; looks for it first if that is not known. @throws as `acquire` */
  target(): Promise<DatabaseTarget>
  /** @throws Overloaded, or what the hosts failed with */
  acquire(): Promise<pg.PoolClient>
  /** Something has failed in a way that it would if another host took the writes now. */
  suspect(): void
  /** As `suspect`, and the next look does not wait for a pause after those that found nobody. */
  recheck(): void
  /** `host:port` of now; undefined before the first was found. */
  readonly host: string | undefined
  /** Waits for those that are lent, for as long as a statement may take; then cuts them. */
  stop(): Promise<void>
}

/** All connections to one host. */
interface Lot {
  target: DatabaseTarget
  pool: pg.Pool
  sockets: Set<Socket>
  retired: PromiseWithResolvers<undefined>
}

const lookMs = 3_000
const idleMs = 60_000
const maxWaiting = 500
/** Between looks that found nobody; the callers wait for that. */
const againMs = { least: 100, most: 1_000 }
/** As long as the host can only be read, one that takes writes is looked for so often. */
const betterMs = 1_000
const maxMoves = 5
/** A server that is told goodbye closes the connection at once, unless it has fallen silent. */
const partingMs = 500

export function createFollowingPool(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    /** An idle connection was lost. */
    lost(error: Error): void
  },
  config: {
    targets: readonly DatabaseTarget[]
    /** What every connection is made with. */
    connection: pg.ClientConfig
    size: number
    /** A statement takes no longer. */
    longestMs: number
  },
): FollowingPool {
  const { clock } = deps
  const { targets, connection } = config
  const lots = new Set<Lot>()
  const endings = new Set<Promise<void>>()
  let current: Lot | undefined
  let writable = false
  let newestTimeline = 0
  let suspected = true
  let looking: Promise<void> | undefined
  let lookers = 0
  let lookedAt = Number.NEGATIVE_INFINITY
  let pauseMs = 0
  const stopping = new AbortController()

  new Gauge({
    name: 'keepwatch_database_connections',
    help: 'Connections to the database, and callers that wait for one',
    labelNames: ['state'],
    registers: [deps.metrics],
    collect() {
      const total = [...lots].reduce((sum, { pool }) => sum + pool.totalCount, 0)
      const idle = [...lots].reduce((sum, { pool }) => sum + pool.idleCount, 0)
      this.set({ state: 'idle' }, idle)
      this.set({ state: 'busy' }, total - idle)
      this.set({ state: 'waited-for' }, (current?.pool.waitingCount ?? 0) + lookers)
    },
  })
  new Gauge({
    name: 'keepwatch_database_writable',
    help: '1 if the host of the database that is used took writes when it was last asked',
    registers: [deps.metrics],
    collect() {
      this.set(writable && !suspected ? 1 : 0)
    },
  })
  const moves = new Counter({
    name: 'keepwatch_database_moves_total',
    help: 'Changes to another host of the database',
    registers: [deps.metrics],
  })

  /** One look for all who want to know. */
  async function look() {
    if (lookers >= maxWaiting) throw new Overloaded('too many wait for the database')
    lookers++
    looking ??= lookNow().finally(() => {
      looking = undefined
    })
    try {
      await looking
    } finally {
      lookers--
    }
  }

  async function lookNow() {
    const wait = lookedAt + pauseMs - clock.monotonic()
    if (wait > 0) await sleep(wait, undefined, { signal: stopping.signal }).catch(() => {})
    checkRunning()
    // What is suspected from here on is not answered by this look.
    suspected = false
    try {
      const found = await findHost(targets, connection, {
        deadlineMs: lookMs,
        // Of a single host its operator knows what he does.
        leastTimeline: targets.length > 1 ? newestTimeline : 0,
      })
      pauseMs = 0
      checkRunning()
      if (found.target !== current?.target) moveTo(found.target)
      writable = found.writable
      newestTimeline = Math.max(newestTimeline, found.timeline)
    } catch (error) {
      suspected = true
      pauseMs = Math.min(Math.max(2 * pauseMs, againMs.least), againMs.most)
      throw error
    } finally {
      lookedAt = clock.monotonic()
    }
  }

  function checkRunning() {
    if (stopping.signal.aborted) throw new Error('the database has been stopped')
  }

  function moveTo(target: DatabaseTarget) {
    const former = current
    const sockets = new Set<Socket>()
    const pool = new pg.Pool({
      ...connection,
      ...target,
      max: config.size,
      idleTimeoutMillis: idleMs,
      // Of one that does not answer any more, `pg` would wait for the end for ever.
      stream: () => track(new Socket(), sockets),
    })
    pool.on('error', error => {
      deps.lost(error)
      suspect()
    })
    // Between its connecting and whoever waits for it nobody else would hear its end, and the process
    // would end with it: what a takeover sends to a frozen active comes all at once when that wakes.
    pool.on('connect', client => client.on('error', () => {}))
    current = { target, pool, sockets, retired: Promise.withResolvers() }
    lots.add(current)
    if (!former) return
    moves.inc()
    deps.log.warn({ from: nameOf(former), to: nameOf(current) }, 'the database has moved')
    retire(former)
  }

  /** Its idle connections are closed at once, the others when they are given back. */
  function retire(lot: Lot) {
    lot.retired.resolve(undefined)
    const ending = end(lot).finally(() => {
      lots.delete(lot)
      endings.delete(ending)
    })
    endings.add(ending)
  }

  async function end({ pool, sockets }: Lot) {
    await within(config.longestMs, pool.end())
    const closed = [...sockets].map(socket => new Promise(resolve => socket.once('close', resolve)))
    await within(partingMs, Promise.all(closed))
    for (const socket of sockets) socket.destroy()
  }

  function suspect() {
    suspected = true
  }

  /** The lot to use now. */
  async function find(): Promise<Lot> {
    checkRunning()
    const better = !writable && clock.monotonic() > lookedAt + betterMs
    if (suspected || better || !current) await look()
    return current!
  }

  return {
    target: async () => (await find()).target,

    async acquire() {
      for (let tries = 0; tries < maxMoves; tries++) {
        const { pool, retired } = await find()
        if (pool.waitingCount >= maxWaiting) throw new Overloaded('too many wait for the database')
        const connecting = pool.connect()
        connecting.catch(() => {})
        const client = await Promise.race([connecting, retired.promise])
        if (client) return client
        connecting.then(unused => unused.release()).catch(() => {})
      }
      throw new Overloaded('the database moves from host to host')
    },

    suspect,
    recheck() {
      suspect()
      pauseMs = 0
    },

    get host() {
      return current && nameOf(current)
    },

    async stop() {
      stopping.abort()
      await looking?.catch(() => {})
      if (current) retire(current)
      current = undefined
      await Promise.all(endings)
    },
  }
}

function track(socket: Socket, sockets: Set<Socket>): Socket {
  sockets.add(socket)
  return socket.once('close', () => sockets.delete(socket))
}

function nameOf({ target: { host, port } }: Lot): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
