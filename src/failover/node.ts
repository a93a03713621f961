/** A server of the pair: carries out what the state machine decides, and feeds the results back. */
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import type { AddressAdapter, AddressStatus } from './address/address.ts'
import type { Lease } from './lease/lease.ts'
import {
  holdOf,
  initialState,
  memoryOf,
  obstacleToSwitchover,
  roleOf,
  step,
  writableTerm,
} from './machine.ts'
import { createMeter, type Heartbeat } from './meter.ts'
import type { Peer } from './peer.ts'
import type {
  Action,
  DatabaseView,
  Event,
  Evidence,
  LinkState,
  Memory,
  Role,
  RoleChange,
  State,
  StateKind,
} from './states.ts'
import type { TermMemory } from './term-file.ts'
import { checkTimings, type Moment, type Timings } from './timings.ts'

export interface NodeConfig {
  name: string
  /** A UUID drawn anew at each start of the process. */
  incarnation: string
  /** Of the program. */
  version: string
  timings: Timings
  /** @see Settings.keeper */
  keeper?: string
}

export interface NodeDeps {
  clock: Clock
  log: Log
  metrics: Metrics
  lease: Lease
  peer: Peer
  address: AddressAdapter
  memory: TermMemory
  /** What only the active does. `stop` may come while `start` is still under way. */
  work: { start(term: number): Promise<void>; stop(): Promise<void> }
  /** Writes a line of the history; repeated until it succeeds. */
  record(change: RoleChange): Promise<unknown>
  /** Ends the process at once: it could not let go in time. */
  die(reason: string): void
}

export interface NodeStatus {
  server: string
  incarnation: string
  version: string
  role: Role
  state: StateKind
  /** The highest term that is known; its own if it is active. */
  term: number
  /** Name of the active server as far as this one knows. */
  active: string | undefined
  /** When the state began. */
  since: Date
  /** What it does and why. */
  sentence: string
  /** What it lacks to be active; undefined when it lacks nothing. */
  fault: string | undefined
  database: DatabaseView
  /** Who has stopped takeovers; `until` undefined: until somebody resumes. */
  paused: { by: string; reason: string; until: Date | undefined } | undefined
  /** How the network finds the active server, and whether it finds this one so. */
  address: AddressStatus
  /** The holder's lease in milliseconds: its own, or a longer one of the other server. */
  leaseMs: number
  heartbeat: {
    counter: number
    /** Milliseconds since the last heartbeat: sent if active, seen if standby. */
    ageMs: number | undefined
    /** Milliseconds between the heartbeats of the last minute, newest last. */
    recentMs: number[]
  }
  /** What the other server last answered, and how long ago it was asked. */
  peer: { evidence: Evidence; ageMs: number } | undefined
}

export interface FailoverNode {
  /** Boots passively: drops what a crash left of the address, then watches. */
  start(): Promise<void>
  /** Hands over if it is active. */
  stop(): Promise<void>
  status(): NodeStatus
  /** For fenced writes: defined only while this server is active and its lease valid, by the clock at this instant. */
  term(): number | undefined
  /** Asks for a planned hand-over; the sentence says why not, if not. */
  switchover(): { accepted: boolean; sentence: string }
  /** What this server lacks to be active (a dead listener, a full disk); undefined when it lacks nothing. */
  health(fault: string | undefined): void
  /** At each change of state or of its sentence. @returns how to stop listening */
  onChange(listener: (status: NodeStatus) => void): () => void
  /** At each heartbeat that it sends as active, or sees as standby. @returns how to stop listening */
  onHeartbeat(listener: (heartbeat: Heartbeat) => void): () => void
}

const tickMs = 100
const maxEvents = 1000
const maxRecords = 100
const retryMs = 1000
/** A takeover does not wait longer for its own disk. */
const rememberMs = 1000
/** Beyond what the lease itself takes for a release. */
const stopSlackMs = 5000

/** @throws Error if the timings are unsafe together */
export function createNode(deps: NodeDeps, config: NodeConfig): FailoverNode {
  const unsafe = checkTimings(config.timings)
  if (unsafe.length > 0) throw new Error(`unsafe failover timings: ${unsafe.join('; ')}`)
  const { address, clock, lease, log, peer, work } = deps
  const tally = createTally<'queue-full' | 'record' | 'record-dropped' | 'listener' | 'memory'>(
    deps,
    { name: 'failover_problems', help: 'What went wrong around failover, by reason' },
  )
  let state: State = initialState(config, moment())
  const meter = createMeter(deps, () => state)
  const listeners = new Set<(status: NodeStatus) => void>()
  const heartbeatListeners = new Set<(heartbeat: Heartbeat) => void>()
  const events: Event[] = []
  let draining = false
  let ticker: NodeJS.Timeout | undefined
  let ended = Promise.withResolvers<void>()
  /** The work as far as it was begun. */
  let serving: Promise<void> | undefined
  let lettingGo = false

  const records: RoleChange[] = []
  let recording: Promise<void> | undefined
  let recordAgainAt = 0

  /** What is on the disk, as JSON. */
  let remembered: string | undefined
  let remembering: Promise<void> | undefined
  let rememberAgainAt = 0
  let saidUnidentified = false

  function moment(): Moment {
    return { monotonic: clock.monotonic(), wall: clock.wall() }
  }

  function post(event: Event) {
    if (events.length >= maxEvents) {
      tally.count('queue-full')
      return
    }
    events.push(event)
    if (draining) return
    draining = true
    for (let next = events.shift(); next !== undefined; next = events.shift()) handle(next)
    draining = false
  }

  function handle(event: Event) {
    const before = state
    const now = moment()
    const taken = step(state, event, now)
    state = taken.state
    const heartbeat = meter.note(event, before, state, now)
    if (event.type === 'observed') noteUnidentified(event.unidentified)
    // Before any action: from here on nobody may write, and the guard knows the deadline.
    if (before !== state) {
      const hold = holdOf(state)
      lease.guard(hold)
      address.hold(hold)
    }
    for (const action of taken.actions) carryOut(action)
    if (before.kind !== state.kind || before.sentence !== state.sentence) announce(before)
    if (heartbeat !== undefined) tellAll(heartbeatListeners, heartbeat)
  }

  function noteUnidentified(reason: string | undefined) {
    if (reason === undefined || saidUnidentified) return
    saidUnidentified = true
    log.warn(
      { reason },
      'the database does not say which one it is: a failover of it goes unnoticed',
    )
  }

  function announce(before: State) {
    const fields = { state: state.kind, term: state.highestTerm }
    if (state.kind === 'held') log.error(fields, state.sentence)
    else if (before.kind === state.kind) log.debug(fields, state.sentence)
    else log.info(fields, state.sentence)
    tellAll(listeners, status())
  }

  function tellAll<T>(to: ReadonlySet<(what: T) => void>, what: T) {
    for (const listener of to) {
      try {
        listener(what)
      } catch (error) {
        tally.count('listener', () => ({ error: (error as Error).message }))
      }
    }
  }

  function carryOut(action: Action) {
    switch (action.do) {
      case 'claim':
        lease.claim(action)
        return
      case 'serve':
        serve(action.term)
        return
      case 'letGo':
        void letGo()
        return
      case 'release':
        lease.release(action)
        return
      case 'watch':
        lease.watch()
        return
      case 'record':
        keepRecord(action.change)
        return
      case 'end':
        ended.resolve()
    }
  }

  function serve(term: number) {
    serving = (async () => {
      try {
        // On the disk before anybody can rely on this term, but no disk holds up a takeover.
        await within(rememberMs, remember())
        if (!lettingGo) await address.take(term)
        if (!lettingGo) await work.start(term)
      } catch (error) {
        post({ type: 'workFailed', reason: (error as Error).message })
      }
    })()
  }

  async function letGo() {
    lettingGo = true
    // The guard ends the process if this takes longer than the lease allows.
    try {
      await address.drop()
      await work.stop()
      await serving
      // A take that was under way may have come to its end after the drop.
      await address.drop()
    } catch (error) {
      deps.die(`could not let go: ${(error as Error).message}`)
      return
    }
    lettingGo = false
    serving = undefined
    post({ type: 'letGo' })
  }

  function keepRecord(change: RoleChange) {
    if (records.length >= maxRecords) {
      records.shift()
      tally.count('record-dropped')
    }
    records.push(change)
    flushRecords()
  }

  function flushRecords() {
    if (recording !== undefined || records.length === 0) return
    if (clock.monotonic() < recordAgainAt) return
    recording = (async () => {
      try {
        for (let first = records[0]; first !== undefined; first = records[0]) {
          await deps.record(first)
          if (records[0] === first) records.shift()
        }
      } catch (error) {
        recordAgainAt = clock.monotonic() + retryMs
        tally.count('record', () => ({ error: (error as Error).message }))
      }
      recording = undefined
    })()
  }

  function recall(): Memory | undefined {
    try {
      return deps.memory.read()
    } catch (error) {
      log.error({ error: (error as Error).message }, 'starts without the highest term of before')
      return undefined
    }
  }

  async function remember(): Promise<void> {
    // Nothing is known yet that is not there.
    if (state.kind === 'starting') return
    for (;;) {
      await remembering
      const memory = memoryOf(state)
      const text = JSON.stringify(memory)
      if (text === remembered || clock.monotonic() < rememberAgainAt) return
      remembering ??= write(memory, text)
    }
  }

  async function write(memory: Memory, text: string) {
    try {
      await deps.memory.write(memory)
      remembered = text
    } catch (error) {
      rememberAgainAt = clock.monotonic() + retryMs
      tally.count('memory', () => ({ error: (error as Error).message }))
    }
    remembering = undefined
  }

  function status(): NodeStatus {
    const now = moment()
    const { evidence, askedAt } = state.peer ?? {}
    return {
      server: config.name,
      incarnation: config.incarnation,
      version: config.version,
      role: roleOf(state),
      state: state.kind,
      term: state.highestTerm,
      active: activeServer(state),
      since: new Date(now.wall - (now.monotonic - state.since.monotonic)),
      sentence: state.sentence,
      fault: state.unhealthy,
      database: state.database,
      paused: state.paused && {
        ...state.paused,
        until: state.paused.until === undefined ? undefined : new Date(state.paused.until),
      },
      address: address.status(),
      leaseMs: Math.max(config.timings.leaseMs, state.holderLeaseMs),
      heartbeat: meter.heartbeat(now),
      peer:
        evidence && askedAt
          ? { evidence, ageMs: Math.max(0, now.monotonic - askedAt.monotonic) }
          : undefined,
    }
  }

  return {
    async start() {
      if (ticker !== undefined) throw new Error('the node has been started already')
      ended = Promise.withResolvers()
      const memory = recall()
      remembered = memory && JSON.stringify(memory)
      state = initialState(config, moment(), memory)
      ticker = setInterval(() => {
        lease.beat()
        post({ type: 'tick' })
        flushRecords()
        if (remembering === undefined) void remember()
      }, tickMs)
      await address.start()
      await lease.start(post, memory?.database)
      await peer.start(post)
    },

    async stop() {
      if (ticker === undefined) return
      const patience = config.timings.leaseMs + stopSlackMs
      const late = setTimeout(() => deps.die('could not stop in time'), patience)
      post({ type: 'stop' })
      await ended.promise
      recordAgainAt = 0
      flushRecords()
      await recording
      clearInterval(ticker)
      await within(rememberMs, remember())
      ticker = undefined
      await peer.stop()
      await lease.stop()
      await address.stop()
      clearTimeout(late)
    },

    status,
    term: () => writableTerm(state, moment()),

    switchover() {
      const obstacle = obstacleToSwitchover(state, moment())
      if (obstacle !== undefined) return { accepted: false, sentence: `no switchover: ${obstacle}` }
      post({ type: 'switchover' })
      return { accepted: true, sentence: state.sentence }
    },

    health(fault) {
      if (fault !== state.unhealthy) post({ type: 'health', fault })
    },

    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },

    onHeartbeat(listener) {
      heartbeatListeners.add(listener)
      return () => heartbeatListeners.delete(listener)
    },
  }
}

/** Waits for it, but no longer. */
async function within(ms: number, done: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, ms)
  await Promise.race([done, late.promise])
  clearTimeout(timer)
}

function activeServer(state: State): string | undefined {
  const { peer, seen, settings } = state
  if (roleOf(state) === 'active') return settings.name
  if (state.database === 'there' && seen !== undefined) {
    return seen.row.released ? undefined : seen.row.holder
  }
  if (peer?.evidence.kind === 'alive' && peer.evidence.role === 'active') {
    return peer.evidence.server
  }
  return undefined
}

/** The body of the answer to GET /link/v1/state. */
export function linkState(node: Pick<FailoverNode, 'status'>): LinkState {
  const status = node.status()
  const { server, incarnation, role, state, term, database, version } = status
  return {
    ...{ server, incarnation, role, state, term, database, version },
    healthy: status.fault === undefined,
    address: status.address.held,
  }
}
