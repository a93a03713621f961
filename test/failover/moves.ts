/**
 * Everything that may happen next to two servers. What happens at once comes before time goes on, in
 * every order that makes a difference. A process may die or freeze between any two moves; what lies
 * outside of the processes changes between ticks, because each message can be lost by itself too.
 */
import { obstacleToSwitchover } from '../../src/failover/machine.ts'
import type { Event, Evidence } from '../../src/failover/states.ts'
import { paused, resumed } from './shared-database.ts'
import type { Fault, Move, Rules, Statement, World } from './world.ts'
import {
  answered,
  bitOf,
  type Draft,
  dropped,
  end,
  execute,
  failOver,
  type Host,
  hear,
  now,
  pass,
  post,
  shift,
  start,
  tick,
  tickMs,
  truth,
  unknown,
  wake,
} from './world.ts'

type Index = 0 | 1
type Make = Move['make']

const hour = 3600 * tickMs

export function movesOf(world: World, rules: Rules): Move[] {
  const indices = [0, 1] as const
  const running = indices.filter(index => runs(world.hosts[index]))
  const quiet = running.every(index => isQuiet(world.hosts[index]))
  const moves = createMoves(world, rules)

  let pending = false
  for (const index of running) pending = ownStep(moves, index) || pending
  let waits = false
  for (const index of running) waits = statementOf(moves, index) || waits
  let asks = false
  for (const index of running) {
    if (quiet && asks) break
    asks = questionOf(moves, index) || asks
  }
  pending ||= waits || asks

  for (const index of running) dies(moves, index)
  if (!pending || !quiet) for (const index of indices) late(moves, index)
  if (pending) return moves.all
  for (const index of indices) around(moves, index)
  outside(moves)
  moves.add('a tick', draft => pass(draft, rules))
  return moves.all
}

function createMoves(world: World, rules: Rules) {
  const all: Move[] = []
  return {
    all,
    world,
    rules,
    add(label: string, make: Make) {
      all.push({ label, fault: undefined, make })
    },
    /** Only as long as faults are left, and if this one is asked for. */
    fail(fault: Fault, label: string, make: Make) {
      if (world.faultsLeft === 0 || !rules.faults.has(fault)) return
      if ((world.used & bitOf(fault)) === 0) all.push({ label, fault, make })
    },
  }
}
type Moves = ReturnType<typeof createMoves>

function runs(host: Host): boolean {
  return host.state !== undefined && host.frozen === 'no'
}

function isQuiet({ inbox, letGo, statement, tickDue }: Host): boolean {
  const changes = statement?.kind === 'claim' || statement?.kind === 'release'
  return !changes && !tickDue && letGo === 'no' && inbox.length === 0
}

function set(index: Index, change: Partial<Host>): Make {
  return draft => {
    Object.assign(draft.hosts[index], change)
  }
}

function told(index: Index, event: Event, rules: Rules): Make {
  return draft => post(draft, index, event, rules)
}

/** What the process does by itself. @returns whether time waits for it */
function ownStep({ add, fail, rules, world }: Moves, index: Index): boolean {
  const { letGo, name, tickDue } = world.hosts[index]
  if (tickDue) {
    add(`${name} looks at the clock`, draft => tick(draft, index, rules))
    return true
  }
  if (letGo === 'no') return false
  const drop: Make = draft => dropped(draft, index, rules)
  if (letGo === 'hangs') {
    add(`${name} has let go at last`, drop)
    return false
  }
  add(`${name} has let go`, drop)
  fail('letting go hangs', `${name} hangs while it lets go`, set(index, { letGo: 'hangs' }))
  return true
}

function statementOf({ add, fail, rules, world }: Moves, index: Index): boolean {
  const { name, reachesDatabase, statement } = world.hosts[index]
  if (statement === undefined || statement.slow) return false
  const { kind } = statement
  const lost: Make = draft => unknown(draft, index, rules)
  if (statement.result !== undefined) {
    add(`the ${kind} of ${name} is answered`, draft => answered(draft, index, rules))
    fail('answer lost', `the answer to the ${kind} of ${name} is lost`, lost)
    return true
  }
  if (!world.databaseUp || !reachesDatabase) {
    add(`the ${kind} of ${name} fails`, lost)
    return true
  }
  const applies: Make = draft => applied(draft, index, statement, rules)
  // Nothing can come between what only reads or renews and its answer that would matter.
  if (kind === 'claim' || kind === 'release') add(`the ${kind} of ${name} is applied`, applies)
  else {
    add(`${name}: ${kind}`, draft => {
      applies(draft)
      answered(draft, index, rules)
    })
  }
  fail('statement lost', `the ${kind} of ${name} is lost`, lost)
  if (kind === 'renew') {
    fail('answer lost', `the answer to the renewal of ${name} is lost`, draft => {
      applies(draft)
      unknown(draft, index, rules)
    })
  }
  const slow = set(index, { statement: { ...statement, slow: true } })
  fail('statement slow', `the ${kind} of ${name} takes its time`, slow)
  if (kind === 'read') return true
  fail('answer slow', `the answer to the ${kind} of ${name} takes its time`, draft => {
    applied(draft, index, { ...statement, slow: true }, rules)
  })
  return true
}

function applied(draft: Draft, index: Index, statement: Statement, rules: Rules) {
  const host = draft.hosts[index]
  const result = execute(draft, index, statement, host.incarnation, rules)
  host.statement = { ...statement, result } as Statement
}

function questionOf({ add, fail, rules, world }: Moves, index: Index): boolean {
  const { name, question } = world.hosts[index]
  if (!question) return false
  const evidence = truth(world, index)
  add(`${name} asks: ${nameOf(evidence)}`, draft => hear(draft, index, evidence, now, rules))
  if (evidence.kind !== 'alive') return true
  const silent: Evidence = { kind: 'silent', server: evidence.server }
  fail('question lost', `the answer to ${name} is lost`, draft =>
    hear(draft, index, silent, now, rules),
  )
  const later = set(index, { question: false, answer: { evidence, askedAt: now } })
  fail('question slow', `the answer to ${name} takes its time`, later)
  return true
}

function nameOf(evidence: Evidence): string {
  return evidence.kind === 'alive' ? evidence.state : evidence.kind
}

function dies({ fail, world }: Moves, index: Index) {
  const { name } = world.hosts[index]
  fail('crash', `${name} is killed`, draft => end(draft, index))
  fail('freeze', `${name} is frozen`, set(index, { frozen: 'stopped' }))
  fail('suspend', `the machine of ${name} sleeps`, set(index, { frozen: 'asleep' }))
}

/** What was under way too long, and may come at any time. */
function late({ add, rules, world }: Moves, index: Index) {
  const host = world.hosts[index]
  const { answer, name, orphan, statement } = host
  const reached = world.databaseUp && host.reachesDatabase
  if (orphan !== undefined) {
    const { incarnation, statement: sent } = orphan
    add(`a late ${sent.kind} of ${incarnation} is lost`, set(index, { orphan: undefined }))
    if (world.databaseUp) {
      add(`a late ${sent.kind} of ${incarnation} is applied`, draft => {
        draft.hosts[index].orphan = undefined
        execute(draft, index, sent, incarnation, rules)
      })
    }
  }
  if (statement !== undefined && (statement.slow || host.frozen !== 'no')) {
    const { kind } = statement
    if (statement.result === undefined) {
      if (reached) {
        const applies: Make = draft => applied(draft, index, statement, rules)
        add(`the slow ${kind} of ${name} is applied`, applies)
      }
    } else if (runs(host)) {
      add(`the slow ${kind} of ${name} is answered`, draft => answered(draft, index, rules))
    }
  }
  if (answer !== undefined && runs(host)) {
    const { askedAt, evidence } = answer
    add(`${name} hears late: ${nameOf(evidence)}`, draft =>
      hear(draft, index, evidence, askedAt, rules),
    )
  }
}

/** What befalls one server from outside, and how that ends. */
function around({ add, fail, rules, world }: Moves, index: Index) {
  const { frozen, hearsPeer, hostUp, name, reachesDatabase, state } = world.hosts[index]
  if (!hostUp) add(`the host of ${name} is back`, set(index, { hostUp: true }))
  else {
    fail('host down', `the host of ${name} is down`, draft => {
      end(draft, index)
      draft.hosts[index].hostUp = false
    })
  }
  if (!reachesDatabase) {
    add(`${name} reaches the database again`, set(index, { reachesDatabase: true }))
  } else fail('database away', `${name} loses the database`, set(index, { reachesDatabase: false }))
  if (!hearsPeer) add(`${name} hears the other again`, set(index, { hearsPeer: true }))
  else fail('link deaf', `${name} asks the other in vain`, set(index, { hearsPeer: false }))
  if (state === undefined) {
    if (hostUp) add(`${name} starts`, draft => start(draft, index, rules))
    return
  }
  if (frozen !== 'no') {
    add(`${name} runs again`, draft => wake(draft.hosts[index]))
    return
  }
  const clock = (ms: number): Make => {
    return draft => shift(draft.hosts[index], 0, ms)
  }
  fail('wall set back', `the wall clock of ${name} is set back`, clock(-hour))
  fail('wall set forward', `the wall clock of ${name} is set forward`, clock(hour))
  const tell = (event: Event) => told(index, event, rules)
  if (state.unhealthy === undefined) {
    fail('unwell', `${name} is unwell`, tell({ type: 'health', fault: 'its disk is full' }))
  } else add(`${name} is well`, tell({ type: 'health', fault: undefined }))
  if (state.kind === 'active') {
    if (obstacleToSwitchover(state, now) === undefined) {
      fail('switchover', `${name} is asked to hand over`, tell({ type: 'switchover' }))
    }
    fail('work fails', `the work of ${name} fails`, tell({ type: 'workFailed', reason: 'no port' }))
  }
  if (state.kind !== 'stopped') fail('stop', `${name} is stopped`, tell({ type: 'stop' }))
}

function outside({ add, fail, world }: Moves) {
  const link = (hearsPeer: boolean): Make => {
    return draft => {
      for (const host of draft.hosts) host.hearsPeer = hearsPeer
    }
  }
  const heard = world.hosts.filter(({ hearsPeer }) => hearsPeer).length
  if (heard === 2) fail('link cut', 'the link is cut', link(false))
  if (heard === 0) add('the link is whole again', link(true))
  if (!world.databaseUp) {
    add('the database is up again', draft => {
      draft.databaseUp = true
    })
    return
  }
  fail('database down', 'the database is down', draft => {
    draft.databaseUp = false
  })
  fail('database failover', 'the database fails over', draft => failOver(draft, false))
  fail('database failover with loss', 'the database fails over and loses the last term', draft =>
    failOver(draft, true),
  )
  if (world.database.row.paused !== undefined) {
    add('a person resumes', draft => {
      draft.database = resumed(draft.database)
    })
    return
  }
  fail('pause', 'a person pauses', draft => {
    const pause = { by: 'anna', reason: 'a new switch', until: undefined }
    draft.database = paused(draft.database, pause)
  })
}
