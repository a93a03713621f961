/**
 * The thread that keeps the lease row: it reads or renews at each interval, on a connection of its
 * own, so that neither the main loop nor the pool can make a renewal late. One statement at a time.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { DatabaseTarget } from '../../lib/database-hosts.ts'
import type { DatabaseIdentity } from '../states.ts'
import type { Moment } from '../timings.ts'
import type { TakeoverLimit } from './grant.ts'
import type { Claim, LeaseEvent, Release } from './lease.ts'
import { claimRow, readRow, releaseRow, renewRow } from './row-statements.ts'
import { createLeaseSession } from './session.ts'

export interface RowThreadData {
  targets: readonly DatabaseTarget[]
  known: DatabaseIdentity
  server: string
  incarnation: string
  /** This server's lease, written down when it begins a term. */
  leaseMs: number
  takeovers: TakeoverLimit
  heartbeatIntervalMs: number
  watchIntervalMs: number
  /** The longest wait for one answer of the database. */
  deadlineMs: number
  /** A takeover that is not done by then has failed. */
  claimMs: number
  /** The main loop is alive if its last tick is no older. */
  staleMs: number
  /** One BigInt64: the main loop's last tick, in nanoseconds of the process's monotonic clock. */
  loop: SharedArrayBuffer
}

export type Command =
  | { do: 'claim'; claim: Claim }
  | { do: 'release'; release: Release }
  | { do: 'watch' }
  | { do: 'stop' }

const data = workerData as RowThreadData
const port = parentPort!
const loop = new BigInt64Array(data.loop)
const self = { server: data.server, incarnation: data.incarnation, leaseMs: data.leaseMs }
const applicationName = `keepwatch/${data.server}/${data.incarnation}/lease`

const inbox: Command[] = []
let wake = () => {}
/** The term to renew; undefined: read. */
let kept: number | undefined
let due = 0
let stopped = false

const session = createLeaseSession(
  { targets: data.targets, known: data.known, applicationName, deadlineMs: data.deadlineMs },
  () => {
    due = 0
    wake()
  },
)

port.on('message', (command: Command) => {
  inbox.push(command)
  wake()
})

while (!stopped) {
  const command = inbox.shift()
  const wait = due - moment().monotonic
  if (command !== undefined) await obey(command)
  else if (wait <= 0) await turn()
  else await pause(wait)
}
session.close()
port.close()

async function turn() {
  const started = moment().monotonic
  due = started + (kept === undefined ? data.watchIntervalMs : data.heartbeatIntervalMs)
  if (kept === undefined) await read()
  else await renew(kept)
}

async function obey(command: Command) {
  switch (command.do) {
    case 'claim':
      await claim(command.claim)
      return
    case 'release':
      kept = undefined
      await release(command.release)
      return
    case 'watch':
      kept = undefined
      due = 0
      return
    case 'stop':
      stopped = true
  }
}

async function read() {
  const sentAt = moment()
  try {
    const row = await readRow(session)
    const { unidentified } = session
    report({ type: 'observed', row, sentAt, ...(unidentified ? { unidentified } : {}) })
  } catch (error) {
    report({ type: 'databaseAway', reason: reasonOf(error) })
  }
}

async function renew(term: number) {
  const sentAt = moment()
  const loopAgeMs = sentAt.monotonic - Number(Atomics.load(loop, 0)) / 1e6
  if (loopAgeMs > data.staleMs) {
    report({ type: 'renewalUnknown', reason: 'the main loop hangs' })
    return
  }
  try {
    const outcome = await renewRow(session, self, term)
    if (outcome.renewed) {
      const { counter, paused, database } = outcome
      report({ type: 'renewed', term, sentAt, counter, paused, database })
    } else {
      kept = undefined
      report({ type: 'renewalRefused', term: outcome.term })
    }
  } catch (error) {
    report({ type: 'renewalUnknown', reason: reasonOf(error) })
  }
}

async function claim(asked: Claim) {
  const outcome = await claimRow(
    session,
    self,
    asked,
    {
      now: () => moment().monotonic,
      until: moment().monotonic + data.claimMs,
      sending: moment,
    },
    data.takeovers,
  )
  if (outcome.type === 'claimWon') {
    kept = asked.term
    due = 0
  }
  report(outcome)
}

async function release(asked: Release) {
  try {
    await releaseRow(session, self, asked)
  } catch {
    // The others wait for the lease instead.
  }
  due = 0
  report({ type: 'released' })
}

function report(event: LeaseEvent) {
  port.postMessage(event)
}

/** The clock that all threads share; the main thread converts it to its own. */
function moment(): Moment {
  return { monotonic: Number(process.hrtime.bigint()) / 1e6, wall: Date.now() }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string }
  return message || code || String(error)
}

async function pause(ms: number) {
  const woken = Promise.withResolvers<void>()
  wake = woken.resolve
  const timer = setTimeout(woken.resolve, ms)
  await woken.promise
  clearTimeout(timer)
  wake = () => {}
}
