/**
 * Goes through everything that two servers can do: over the moves of `moves.ts`, each state once, the
 * invariants checked after every move.
 */
import type { Evidence, Row, State } from '../../src/failover/states.ts'
import type { Moment } from '../../src/failover/timings.ts'
import { breadthFirst, type Exploration, hash, Violation } from './breadth-first.ts'
import { movesOf } from './moves.ts'
import {
  apply,
  type Host,
  heal,
  type Move,
  newWorld,
  type Rules,
  tickMs,
  type World,
} from './world.ts'

export interface Bounds {
  /** From where: nothing runs yet, or one server is active and the other stands by for some time. */
  beginning: 'cold' | 'steady'
  /** Faults on one path, at every place where they can happen. */
  faults: number
  maxStates: number
  /** Recovery is tried from each of so many states; undefined: from none. */
  healEach?: number
}

/** Ticks within which the pair has to recover; a heartbeat timeout and a lease, and some. */
const healTicks = 30

export function explore(rules: Rules, bounds: Bounds): Exploration {
  const cold = newWorld(rules, bounds.faults)
  const beginning = bounds.beginning === 'cold' ? cold : steady(cold, rules)
  const recovers = new Set<number>()
  return breadthFirst<World, Move>(
    {
      beginning,
      movesOf: world => movesOf(world, rules),
      apply: (world, move) => apply(world, move, rules),
      keyOf: world => keyOf(world, rules),
      narrate: path => narrate(beginning, path, rules),
      tryToRecover: world => tryToRecover(world, rules, recovers),
    },
    bounds,
  )
}

/** After both have started, and so long that nothing of it is left. */
function steady(cold: World, rules: Rules): World {
  let world = { ...heal(cold, rules), faultsLeft: 0 }
  for (let ticks = 0; ticks < healTicks; ) {
    const move = unassisted(world, rules)
    if (move.label === 'a tick') ticks++
    world = apply(world, move, rules)
  }
  return { ...world, faultsLeft: cold.faultsLeft }
}

/** The moves of a path in words, with what the servers say when it changes. */
function narrate(beginning: World, path: readonly number[], rules: Rules): string[] {
  const lines: string[] = []
  let world = beginning
  let ms = 0
  for (const index of path) {
    const move = movesOf(world, rules)[index]!
    const reached = apply(world, move, rules)
    if (move.label === 'a tick') ms += tickMs
    else lines.push(`${(ms / 1000).toFixed(0)} s ${move.fault ? '(fault) ' : ''}${move.label}`)
    lines.push(...changes(world, reached))
    world = reached
  }
  return lines
}

function changes(before: World, after: World): string[] {
  return after.hosts.flatMap((host, index) => {
    const was = before.hosts[index]?.state?.kind
    const { kind, sentence } = host.state ?? {}
    return kind === undefined || kind === was ? [] : [`     ${host.name} ${kind}: ${sentence}`]
  })
}

/**
 * Without faults and each time by the first move that there is, one server must become active and the
 * other standby. @returns the way that does not lead there
 */
function tryToRecover(world: World, rules: Rules, known: Set<number>): string[] | undefined {
  let at = heal(world, rules)
  const lines: string[] = []
  const passed: number[] = []
  for (let ticks = 0; ticks < healTicks; ) {
    const key = hash(keyOf(at, rules))
    if (known.has(key)) break
    passed.push(key)
    const move = unassisted(at, rules)
    let reached: World
    try {
      reached = apply(at, move, rules)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      return [...lines, `→ ${move.label}: ${error.message}`]
    }
    if (move.label === 'a tick') {
      ticks++
      if (isWhole(reached)) break
    } else lines.push(move.label)
    lines.push(...changes(at, reached))
    at = reached
    if (ticks === healTicks) return lines
  }
  for (const key of passed) known.add(key)
  return undefined
}

function unassisted(world: World, rules: Rules): Move {
  const [first] = movesOf(world, rules)
  return first!
}

function isWhole({ hosts }: World): boolean {
  const kinds = hosts.map(({ state }) => state?.kind).sort()
  return kinds.join() === 'active,standby' && hosts.some(({ address }) => address)
}

// What makes two states the same: everything on which a decision depends, terms and counters by their
// distance, incarnations by where they appear, times as far back as they matter, and no sentence.

function keyOf(world: World, { faults, limit, timings }: Rules): string {
  const { database, databaseUp, faultsLeft, hosts } = world
  const mayLose = faults.has('database failover with loss')
  const leaseMs = Math.max(...timings.map(one => one.leaseMs))
  const incarnations: string[] = []
  const who = (incarnation: string | undefined) => {
    if (incarnation === undefined || incarnation === '') return '-'
    const index = incarnations.indexOf(incarnation)
    return index >= 0 ? index : incarnations.push(incarnation) - 1
  }
  const base = database.row.term
  const term = (value: number | undefined) => (value === undefined ? '-' : value - base)
  const counter = (value: number) => Math.max(-2, Math.min(2, value - database.row.counter))
  const which = (name: string | undefined) => (name === undefined ? '-' : name.slice(-2))
  /** In ticks; what is older than that is all the same. */
  const ago = (ms: number, most: number) => Math.max(ms, -most) / tickMs
  const moment = (at: Moment | undefined, most: number) => {
    if (at === undefined) return '-'
    const monotonic = ago(at.monotonic, most)
    const wall = Math.min(ago(at.wall, most), most / tickMs)
    return wall === monotonic ? monotonic : `${monotonic}w${wall}`
  }
  const row = (it: Row) =>
    `${term(it.term)}${it.holder ?? '-'}${who(it.incarnation)}${it.released ? 'r' : ''}` +
    `c${counter(it.counter)}l${it.leaseMs}${it.intended ?? ''}${it.paused ? 'p' : ''}${which(it.database)}`
  const evidence = (it: Evidence) =>
    it.kind === 'alive'
      ? `${who(it.incarnation)}${it.state}${term(it.term)}${it.database}${it.healthy ? '' : 'u'}`
      : it.kind
  const state = (it: State) => {
    const { heardAt, identity, peer, promisedAt, raisedAt, seen, settings, wary } = it
    const { heartbeatIntervalMs, heartbeatTimeoutMs, peerTimeoutMs } = settings.timings
    const away = 3 * heartbeatIntervalMs
    const waits = it.kind === 'starting' || it.kind === 'standby'
    const acts = it.kind === 'active' || it.kind === 'held'
    const common = [
      ...[it.kind, term(it.highestTerm), mayLose ? moment(raisedAt, away) : '', it.database],
      ...[which(identity), it.holderLeaseMs, it.paused ? 'p' : '', it.unhealthy ? 'u' : ''],
      moment(heardAt, away),
      // A new reading is waited for after a takeover, and after letting go.
      seen && waits
        ? `${row(seen.row)}@${moment(seen.since, heartbeatTimeoutMs + away)}/${ago(seen.readAt.monotonic, away)}`
        : '-',
      wary && !wary.over
        ? `${ago(wary.since.monotonic, wary.ms)}:${wary.ms}${wary.because}${which(wary.before)}`
        : wary?.because,
      peer
        ? `${evidence(peer.evidence)}@${moment(peer.askedAt, Math.max(leaseMs, away + peerTimeoutMs) + tickMs)}`
        : '-',
      acts ? moment(promisedAt, leaseMs) : moment(it.asideSince, leaseMs),
    ].join(' ')
    switch (it.kind) {
      case 'claiming':
        return `${common} ${term(it.term)} ${it.stopAsked}`
      case 'active':
      case 'held':
        return `${common} ${term(it.term)} ${moment(it.renewedAt, leaseMs)}`
      case 'steppingDown': {
        const until = it.until ? `${moment(it.until.since, leaseMs)}:${it.until.ms}` : '-'
        return `${common} ${term(it.term)} ${it.release} ${it.intended} ${it.next} ${it.cause === 'stop'} ${until}`
      }
      default:
        return common
    }
  }
  const statement = (it: Host['statement']) => {
    if (it === undefined) return '-'
    const sent = `${it.kind}${moment(it.sentAt, leaseMs)}${it.slow ? 's' : ''}${Math.min(it.age, 9)}`
    switch (it.kind) {
      case 'read':
        return `${sent} ${it.result ? row(it.result.row) : ''}`
      case 'renew':
        return `${sent} ${term(it.term)} ${it.result ? `${it.result.mine}${row(it.result.row)}` : ''}`
      case 'claim':
        return `${sent} ${term(it.claim.term)} ${row(it.claim.over)} ${it.claim.whileSilent} ${it.result ? `${it.result.won}${term(it.result.term)}` : ''}`
      case 'release':
        return `${sent} ${term(it.release.term)} ${it.release.intended} ${it.result ?? ''}`
    }
  }
  const host = (it: Host) =>
    [
      ...[it.hostUp, who(it.incarnation), it.frozen, ago(it.wokenAt, tickMs)],
      ...[database.row.intended ? ago(it.bornAt, leaseMs) : '', it.tickDue],
      ...[it.reachesDatabase, it.hearsPeer],
      it.disk ? `${term(it.disk.term)}${which(it.disk.database)}${it.disk.leaseMs}` : '-',
      ...[term(it.kept), it.turnDue, it.question, it.letGo, it.address],
      ...[it.overSince === undefined ? '-' : ago(it.overSince, leaseMs), statement(it.statement)],
      it.orphan ? `${who(it.orphan.incarnation)}${statement(it.orphan.statement)}` : '-',
      it.inbox.map(command =>
        command.do === 'claim'
          ? `${term(command.claim.term)}${row(command.claim.over)}${command.claim.whileSilent}`
          : command.do === 'release'
            ? `${term(command.release.term)}${command.release.intended}`
            : 'w',
      ),
      it.answer ? `${evidence(it.answer.evidence)}@${moment(it.answer.askedAt, leaseMs)}` : '-',
      it.state ? state(it.state) : '-',
    ].join(' ')
  const shared = (it: World['database']) => {
    const takeovers = it.takeovers.filter(at => at > -limit.withinMs)
    return (
      `${row(it.row)} ${term(it.beat.term)}${who(it.beat.incarnation)} ${ago(it.beatenAt, leaseMs)} ` +
      `${it.row.released ? ago(it.releasedAt, leaseMs) : ''} ${takeovers.map(at => at / tickMs)}`
    )
  }
  return [
    ...[faultsLeft, world.used, term(world.begun), databaseUp, shared(database)],
    faultsLeft > 0 && mayLose && database.before ? shared(database.before) : '-',
    ...[host(hosts[0]), host(hosts[1])],
  ].join('|')
}
