/** Which of the database's hosts takes writes, found out by asking all of them at once. */
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { DatabaseTarget } from '../../lib/database-hosts.ts'

export interface FoundHost {
  target: DatabaseTarget
  /** False: a replica, or one that was made read-only. */
  writable: boolean
  /** Rises each time a replica is promoted; 0 if it is not known. */
  timeline: number
}

interface Answer extends FoundHost {
  rank: number
}

export interface Search {
  deadlineMs: number
  /** What was written on a lower timeline is lost: a host that still is on one is not used. */
  leastTimeline: number
}

/** A host takes writes, has no connection to spare, or can only be read; in this order. */
const ranks = { writable: 0, full: 1, readable: 2 }
const tooManyConnections = '53300'
/** So long the others are waited for when one takes writes already. */
const graceMs = 250
const partingMs = 500

/**
 * Of several that take writes it is the one that was promoted last: the other was isolated, and came
 * back without having noticed. Of those that can only be read it is the first.
 *
 * @param connection what every connection is made with
 * @throws what the hosts failed with, if none of them can be used
 */
export async function findHost(
  targets: readonly DatabaseTarget[],
  connection: pg.ClientConfig,
  search: Search,
): Promise<FoundHost> {
  const enough = new AbortController()
  const found = Promise.withResolvers<void>()
  const asked = targets.map(async target => {
    const answer = await ask(target, connection, search, enough.signal)
    if (answer.writable) found.resolve()
    return answer
  })
  const settled = Promise.allSettled(asked)
  await Promise.race([settled, found.promise.then(() => late(graceMs, enough.signal))])
  enough.abort()
  const outcomes = await settled
  const [best] = outcomes
    .flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    .sort((a, b) => a.rank - b.rank || b.timeline - a.timeline)
  if (best) return best
  throw failureOf(
    targets,
    outcomes.map(outcome => (outcome as PromiseRejectedResult).reason),
  )
}

async function ask(
  target: DatabaseTarget,
  connection: pg.ClientConfig,
  { deadlineMs, leastTimeline }: Search,
  enough: AbortSignal,
): Promise<Answer> {
  const socket = new Socket()
  const cut = () => socket.destroy()
  const deadline = setTimeout(cut, deadlineMs)
  enough.addEventListener('abort', cut)
  const client = new pg.Client({ ...connection, ...target, stream: () => socket })
  client.on('error', () => {})
  let connected = false
  try {
    await client.connect()
    connected = true
    const { rows } = await client.query<{ readOnly: boolean }>(
      `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "readOnly"`,
    )
    if (rows[0]!.readOnly) return { target, writable: false, rank: ranks.readable, timeline: 0 }
    const timeline = await timelineOf(client)
    if (timeline !== 0 && timeline < leastTimeline) {
      throw new Error(
        `it was left behind when another host was promoted (timeline ${timeline}, not ${leastTimeline}): ` +
          'make it a replica of that one',
      )
    }
    return { target, writable: true, rank: ranks.writable, timeline }
  } catch (error) {
    // It is there, and who holds connections to it can go on with them.
    if ((error as { code?: string }).code === tooManyConnections) {
      return { target, writable: true, rank: ranks.full, timeline: 0 }
    }
    throw error
  } finally {
    clearTimeout(deadline)
    enough.removeEventListener('abort', cut)
    void part(client, socket, connected)
  }
}

/** 0 where the server does not tell. */
async function timelineOf(client: pg.Client): Promise<number> {
  return client
    .query<{ file: string }>('SELECT pg_walfile_name(pg_current_wal_lsn()) AS file')
    .then(
      ({ rows }) => Number.parseInt(rows[0]!.file.slice(0, 8), 16),
      () => 0,
    )
}

/** Politely where it is answered, so that the server does not report a lost connection. */
async function part(client: pg.Client, socket: Socket, connected: boolean) {
  const closed = new AbortController()
  socket.once('close', () => closed.abort())
  if (connected && !socket.destroyed) {
    client.end().catch(() => {})
    await late(partingMs, closed.signal)
  }
  socket.destroy()
}

async function late(ms: number, signal: AbortSignal) {
  await sleep(ms, undefined, { signal }).catch(() => {})
}

/** Of several hosts one failure that names them all. */
function failureOf(targets: readonly DatabaseTarget[], reasons: readonly Error[]): unknown {
  if (reasons.length === 1) return reasons[0]
  const lines = reasons.map((reason, index) => {
    const { host, port } = targets[index]!
    const { message, code } = reason as Error & { code?: string }
    return `${host}:${port}: ${message || code}`
  })
  return new AggregateError(reasons, lines.join('; '))
}
