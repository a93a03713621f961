/**
 * Two servers, their database and the link between them as one value, and every move that can change
 * it: time in ticks, statements and answers one by one, and faults at any point between them. The real
 * state machine decides; `explore.ts` goes through all of it. Times are relative to now, so that
 * states that differ only in when they are reached are the same.
 */
import type { TakeoverLimit } from '../../src/failover/lease/grant.ts'
import type { Claim, Release } from '../../src/failover/lease/lease.ts'
import { holdOf, initialState, memoryOf, writableTerm } from '../../src/failover/machine.ts'
import type { Event, Evidence, Memory, Row, State } from '../../src/failover/states.ts'
import type { Step } from '../../src/failover/step.ts'
import { elapsed, type Moment, type Timings } from '../../src/failover/timings.ts'
import { Violation } from './breadth-first.ts'
import {
  claimed,
  failedOver,
  type Grants,
  identity,
  newDatabase,
  released,
  renewed,
  resumed,
  type SharedDatabase,
  wrongToGrant,
} from './shared-database.ts'

export const tickMs = 1000

export const faults = [
  'crash',
  'host down',
  'freeze',
  'suspend',
  'wall set back',
  'wall set forward',
  'statement lost',
  'answer lost',
  'statement slow',
  'answer slow',
  'question lost',
  'question slow',
  'letting go hangs',
  'work fails',
  'link cut',
  'link deaf',
  'database away',
  'database down',
  'database failover',
  'database failover with loss',
  'unwell',
  'switchover',
  'stop',
  'pause',
] as const
export type Fault = (typeof faults)[number]

export interface Rules {
  timings: readonly [Timings, Timings]
  limit: TakeoverLimit
  faults: ReadonlySet<Fault>
  /** Each fault at most once on a path. */
  once?: boolean
  /** Ticks after which a statement without an answer is given up. */
  patience: number
  step(state: State, event: Event, now: Moment): Step
  grants?: Grants
  noGuard?: boolean
  noMemory?: boolean
}

export type Statement = { sentAt: Moment; age: number; slow: boolean } & (
  | { kind: 'read'; result?: { row: Row } }
  | { kind: 'renew'; term: number; result?: { mine: boolean; row: Row } }
  | { kind: 'claim'; claim: Claim; result?: { won: boolean; term: number; reason: string } }
  | { kind: 'release'; release: Release; result?: 'done' }
)
type Command = { do: 'claim'; claim: Claim } | { do: 'release'; release: Release } | { do: 'watch' }

export interface Host {
  name: string
  hostUp: boolean
  /** Undefined: the process does not run. */
  state: State | undefined
  incarnation: string
  frozen: 'no' | 'stopped' | 'asleep'
  /** Milliseconds until now, as all times here: 0 or less. */
  wokenAt: number
  bornAt: number
  tickDue: boolean
  disk: Memory | undefined
  reachesDatabase: boolean
  hearsPeer: boolean
  /** The term that its thread renews. */
  kept: number | undefined
  turnDue: boolean
  statement: Statement | undefined
  /** Given up, or sent by a process that has ended: may still be applied. */
  orphan: { statement: Statement; incarnation: string } | undefined
  inbox: readonly Command[]
  question: boolean
  answer: { evidence: Evidence; askedAt: Moment } | undefined
  letGo: 'no' | 'due' | 'hangs'
  address: boolean
  /** Since when the guard has seen that its time is over. */
  overSince: number | undefined
}

export interface World {
  database: SharedDatabase
  databaseUp: boolean
  hosts: readonly [Host, Host]
  /** The highest term that was ever begun. */
  begun: number
  starts: number
  faultsLeft: number
  /** Those that there were, if each may be only once: a bit for each. */
  used: number
}

export type Draft = World & { hosts: [Host, Host] }

export interface Move {
  label: string
  fault: Fault | undefined
  make(draft: Draft): void
}

export const now: Moment = { monotonic: 0, wall: 0 }
/** What is longer ago is all the same: above every threshold. */
const longAgo = -9 * tickMs

export function bitOf(fault: Fault): number {
  return 1 << faults.indexOf(fault)
}

export function newWorld(rules: Rules, faultsLeft: number): World {
  const [a, b] = ['a', 'b'].map((name, index) => newHost(name, rules.timings[index]!))
  return {
    database: newDatabase(longAgo, rules.timings[0].leaseMs),
    databaseUp: true,
    hosts: [a!, b!],
    begun: 0,
    starts: 0,
    faultsLeft,
    used: 0,
  }
}

function newHost(name: string, { leaseMs }: Timings): Host {
  return {
    ...{ name, hostUp: true, state: undefined, incarnation: '', frozen: 'no' as const },
    ...{ wokenAt: longAgo, bornAt: longAgo, tickDue: false, reachesDatabase: true },
    ...{ hearsPeer: true, kept: undefined, turnDue: false, statement: undefined },
    ...{ orphan: undefined, inbox: [], question: false, answer: undefined },
    ...{ letGo: 'no' as const, address: false, overSince: undefined },
    disk: { term: 0, database: identity(1), leaseMs },
  }
}

/** @throws Violation */
export function apply(world: World, move: Move, rules: Rules): World {
  const [a, b] = world.hosts
  const draft: Draft = { ...world, hosts: [{ ...a }, { ...b }] }
  if (move.fault !== undefined) {
    draft.faultsLeft--
    if (rules.once === true) draft.used |= bitOf(move.fault)
  }
  move.make(draft)
  audit(draft, rules)
  return draft
}

/** Ends every fault, so that one can see whether the pair recovers by itself. */
export function heal(world: World, rules: Rules): World {
  const [a, b] = world.hosts
  const draft: Draft = { ...world, faultsLeft: 0, databaseUp: true, hosts: [{ ...a }, { ...b }] }
  draft.database = resumed(draft.database)
  for (const index of [0, 1] as const) {
    const host = draft.hosts[index]
    host.hostUp = true
    host.reachesDatabase = true
    host.hearsPeer = true
    host.orphan = undefined
    if (host.letGo === 'hangs') host.letGo = 'due'
    if (host.frozen !== 'no') wake(host)
    if (host.state === undefined || host.state.kind === 'stopped') start(draft, index, rules)
    else if (host.state.unhealthy !== undefined) {
      post(draft, index, { type: 'health', fault: undefined }, rules)
    }
  }
  return draft
}

// What the processes do.

export function start(draft: Draft, index: 0 | 1, rules: Rules) {
  end(draft, index)
  draft.starts++
  const host = draft.hosts[index]
  const { name } = host
  host.incarnation = `${name}${draft.starts}`
  const settings = { name, incarnation: host.incarnation, timings: rules.timings[index] }
  host.state = initialState(settings, now, rules.noMemory === true ? undefined : host.disk)
  host.bornAt = 0
  host.question = true
  turn(host)
}

/** The process is gone; what it had sent may still arrive. */
export function end(draft: Draft, index: 0 | 1) {
  const host = draft.hosts[index]
  abandon(host)
  Object.assign(host, {
    ...newHost(host.name, { leaseMs: 0 } as Timings),
    ...{ hostUp: host.hostUp, disk: host.disk, orphan: host.orphan },
    ...{ reachesDatabase: host.reachesDatabase, hearsPeer: host.hearsPeer },
  })
}

function abandon(host: Host) {
  const { incarnation, statement } = host
  host.statement = undefined
  if (statement === undefined || statement.result !== undefined) return
  if (statement.kind !== 'read') host.orphan = { statement, incarnation }
}

export function wake(host: Host) {
  host.frozen = 'no'
  host.wokenAt = 0
  host.tickDue = true
  if (host.statement !== undefined) host.statement = { ...host.statement, slow: true }
}

/** The main loop's tick; only after it the thread may renew. */
export function tick(draft: Draft, index: 0 | 1, rules: Rules) {
  const host = draft.hosts[index]
  host.tickDue = false
  if (!watched(draft, index, rules)) return
  post(draft, index, { type: 'tick' }, rules)
  const { state } = host
  if (state === undefined) return
  if (rules.noMemory !== true) host.disk = memoryOf(state)
  if (host.answer === undefined) host.question = true
  turn(host)
}

/** The guard thread. @returns whether the process still lives */
function watched(draft: Draft, index: 0 | 1, rules: Rules): boolean {
  const host = draft.hosts[index]
  const hold = host.state && holdOf(host.state)
  if (rules.noGuard === true || hold === undefined || elapsed(hold.since, now) < hold.ms) {
    host.overSince = undefined
  } else if (host.overSince === undefined) host.overSince = 0
  else if (-host.overSince >= rules.timings[index].stepDownMs) {
    end(draft, index)
    return false
  }
  return true
}

export function post(draft: Draft, index: 0 | 1, event: Event, rules: Rules) {
  const host = draft.hosts[index]
  if (host.state === undefined) return
  const { actions, state } = rules.step(host.state, event, now)
  host.state = state
  const hold = holdOf(state)
  if (hold === undefined || elapsed(hold.since, now) < hold.ms) host.overSince = undefined
  else if (rules.noGuard !== true) host.overSince ??= 0
  for (const action of actions) {
    switch (action.do) {
      case 'claim':
        host.inbox = [...host.inbox, { do: 'claim', claim: action }]
        break
      case 'release':
        host.inbox = [...host.inbox, { do: 'release', release: action }]
        break
      case 'watch':
        host.inbox = [...host.inbox, { do: 'watch' }]
        host.turnDue = true
        break
      case 'letGo':
        host.letGo = 'due'
        break
      case 'serve':
        if (rules.noMemory !== true) host.disk = memoryOf(state)
        host.address = true
        break
      case 'end':
        end(draft, index)
        return
    }
  }
  proceed(host)
}

export function dropped(draft: Draft, index: 0 | 1, rules: Rules) {
  draft.hosts[index].letGo = 'no'
  draft.hosts[index].address = false
  post(draft, index, { type: 'letGo' }, rules)
}

export function hear(
  draft: Draft,
  index: 0 | 1,
  evidence: Evidence,
  askedAt: Moment,
  rules: Rules,
) {
  draft.hosts[index].question = false
  draft.hosts[index].answer = undefined
  post(draft, index, { type: 'peer', evidence, askedAt }, rules)
}

export function truth(world: World, index: 0 | 1): Evidence {
  const peer = world.hosts[1 - index]!
  const server = peer.name
  if (!world.hosts[index].hearsPeer || !peer.hostUp) return { kind: 'silent', server }
  if (peer.state === undefined) return { kind: 'refused', server }
  if (peer.frozen !== 'no') return { kind: 'silent', server }
  const { database, highestTerm: term, kind: state, unhealthy } = peer.state
  return {
    ...{ kind: 'alive', server, incarnation: peer.incarnation, state, term, database },
    ...{ role: 'standby', healthy: unhealthy === undefined, version: '1', address: peer.address },
  }
}

function _nameOf(evidence: Evidence): string {
  return evidence.kind === 'alive' ? evidence.state : evidence.kind
}

// The thread that talks to the database: one statement at a time, commands first.

function turn(host: Host) {
  host.turnDue = true
  proceed(host)
}

function proceed(host: Host) {
  while (host.statement === undefined) {
    const [command, ...rest] = host.inbox
    const sent = { sentAt: now, age: 0, slow: false }
    if (command !== undefined) {
      host.inbox = rest
      if (command.do === 'claim') host.statement = { ...sent, kind: 'claim', claim: command.claim }
      else {
        host.kept = undefined
        if (command.do === 'release') {
          host.statement = { ...sent, kind: 'release', release: command.release }
        }
      }
    } else if (host.turnDue) {
      host.turnDue = false
      host.statement =
        host.kept === undefined
          ? { ...sent, kind: 'read' }
          : { ...sent, kind: 'renew', term: host.kept }
    } else return
  }
}

/** The database does what a statement says. */
export function execute(
  draft: Draft,
  index: 0 | 1,
  statement: Statement,
  incarnation: string,
  rules: Rules,
): Statement['result'] {
  const { database } = draft
  const { name } = draft.hosts[index]
  switch (statement.kind) {
    case 'read':
      return { row: database.row }
    case 'renew': {
      draft.database = renewed(database, statement.term, incarnation, 0)
      return { mine: draft.database !== database, row: draft.database.row }
    }
    case 'release': {
      draft.database = released(database, statement.release, incarnation, 0)
      // Those who listen hear of it and read.
      for (const other of draft.hosts) {
        if (other.name === name || other.state === undefined || !other.reachesDatabase) continue
        if (other.frozen === 'no' && other.kept === undefined) turn(other)
      }
      return 'done'
    }
    case 'claim': {
      const { claim } = statement
      const by = { server: name, incarnation, leaseMs: rules.timings[index].leaseMs }
      const next = claimed(database, claim, by, rules.limit, 0, rules.grants)
      if (typeof next === 'string') return { won: false, term: database.row.term, reason: next }
      const wrong = wrongToGrant(database, claim, by, draft.begun, 0) ?? unkind(draft, index, rules)
      if (wrong !== undefined) throw new Violation(wrong)
      draft.database = next
      draft.begun = claim.term
      return { won: true, term: claim.term, reason: '' }
    }
  }
}

/** Who was to have it is there, and another takes it. */
function unkind(draft: Draft, index: 0 | 1, rules: Rules): string | undefined {
  const { releasedAt, row } = draft.database
  const taker = draft.hosts[index]
  const other = draft.hosts[1 - index]!
  if (!row.released || row.intended !== other.name) return undefined
  if (-releasedAt >= rules.timings[index].leaseMs) return undefined
  if (other.state === undefined || other.bornAt > releasedAt) return undefined
  return `${taker.name} takes what was released for ${other.name} ${-releasedAt} ms ago`
}

export function answered(draft: Draft, index: 0 | 1, rules: Rules) {
  const host = draft.hosts[index]
  const { statement } = host
  if (statement?.result === undefined) return
  const { sentAt } = statement
  host.statement = undefined
  switch (statement.kind) {
    case 'read':
      post(draft, index, { type: 'observed', row: statement.result!.row, sentAt }, rules)
      break
    case 'renew': {
      const { mine, row } = statement.result!
      const { counter, database, paused: pause } = row
      if (mine) {
        const { term } = statement
        const found = { term, sentAt, counter, paused: pause, database }
        post(draft, index, { type: 'renewed', ...found }, rules)
      } else {
        host.kept = undefined
        post(draft, index, { type: 'renewalRefused', term: row.term }, rules)
      }
      break
    }
    case 'claim': {
      const { reason, term, won } = statement.result!
      if (won) host.kept = term
      post(
        draft,
        index,
        won ? { type: 'claimWon', term, sentAt } : { type: 'claimLost', term, reason },
        rules,
      )
      break
    }
    case 'release':
      post(draft, index, { type: 'released' }, rules)
  }
  proceed(host)
}

export function unknown(draft: Draft, index: 0 | 1, rules: Rules) {
  const host = draft.hosts[index]
  const { statement } = host
  if (statement === undefined) return
  host.statement = undefined
  const reason = 'no answer'
  const events: Record<Statement['kind'], Event> = {
    read: { type: 'databaseAway', reason },
    renew: { type: 'renewalUnknown', reason },
    claim: { type: 'claimUnknown', reason },
    release: { type: 'released' },
  }
  post(draft, index, events[statement.kind], rules)
  proceed(host)
}

/** What is under way to the old server is lost with it. */
export function failOver(draft: Draft, loss: boolean) {
  draft.database = failedOver(draft.database, loss)
  for (const host of draft.hosts) {
    host.orphan = undefined
    const { statement } = host
    if (statement === undefined || statement.result !== undefined) continue
    host.statement = { ...statement, slow: true, age: Number.MAX_SAFE_INTEGER }
  }
}

// Time.

export function pass(draft: Draft, rules: Rules) {
  const { database } = draft
  const aged = {
    beatenAt: older(database.beatenAt),
    releasedAt: older(database.releasedAt),
    takeovers: database.takeovers.map(older),
  }
  draft.database = { ...database, ...aged }
  for (const host of draft.hosts) {
    shift(host, host.frozen === 'asleep' ? 0 : tickMs, tickMs)
    host.wokenAt = older(host.wokenAt)
    host.bornAt = older(host.bornAt)
    if (host.overSince !== undefined) host.overSince = older(host.overSince)
  }
  for (const index of [0, 1] as const) {
    const host = draft.hosts[index]
    if (host.state === undefined || host.frozen !== 'no') continue
    const { answer, statement } = host
    // A process that is late dies before it does anything else.
    if (!watched(draft, index, rules)) continue
    if (statement !== undefined) {
      host.statement = { ...statement, age: statement.age + 1 }
      if (statement.age + 1 >= rules.patience) {
        const sent = host.statement
        abandon(host)
        host.statement = sent
        unknown(draft, index, rules)
      }
    }
    if (answer && -answer.askedAt.monotonic >= rules.timings[index].peerTimeoutMs) {
      const { name: server } = draft.hosts[1 - index]!
      hear(draft, index, { kind: 'silent', server }, answer.askedAt, rules)
    }
    if (host.state !== undefined) tick(draft, index, rules)
  }
}

function older(at: number): number {
  return Math.max(at - tickMs, longAgo)
}

/** Moves everything that a host remembers into its past, by both of its clocks. */
export function shift(host: Host, monotonicMs: number, wallMs: number) {
  const back = <M extends Moment | undefined>(moment: M): M =>
    (moment && {
      monotonic: Math.max(moment.monotonic - monotonicMs, longAgo),
      wall: Math.min(Math.max(moment.wall - wallMs, longAgo), -longAgo),
    }) as M
  const { answer, state, statement } = host
  if (statement) host.statement = { ...statement, sentAt: back(statement.sentAt) }
  if (answer) host.answer = { ...answer, askedAt: back(answer.askedAt) }
  if (state === undefined) return
  const { heardAt, peer, promisedAt, raisedAt, seen, wary } = state
  const moved = {
    ...state,
    since: now,
    raisedAt: back(raisedAt),
    seen: seen && { ...seen, since: back(seen.since), readAt: back(seen.readAt) },
    wary: wary && { ...wary, since: back(wary.since) },
    heardAt: back(heardAt),
    peer: peer && { ...peer, askedAt: back(peer.askedAt) },
    promisedAt: back(promisedAt),
    asideSince: back(state.asideSince),
  }
  if (moved.kind === 'active' || moved.kind === 'held') moved.renewedAt = back(moved.renewedAt)
  if (moved.kind === 'steppingDown' && moved.until) {
    moved.until = { ...moved.until, since: back(moved.until.since) }
  }
  host.state = moved
}

function audit({ hosts }: World, rules: Rules) {
  const running = hosts.filter(({ frozen, state }) => state !== undefined && frozen === 'no')
  const writers = running.filter(
    ({ state, tickDue }) => !tickDue && writableTerm(state!, now) !== undefined,
  )
  if (writers.length > 1) throw new Violation('both may write')
  // One that wakes is fenced already; it lets go, or ends, within the time for that.
  const settled = running.filter((host, index) => -host.wokenAt >= rules.timings[index]!.stepDownMs)
  if (settled.filter(({ address }) => address).length > 1) {
    throw new Violation('both have the address')
  }
}
