/**
 * Two servers, their database and the link between them, simulated: every statement, answer and
 * reading takes its own random time, may be lost, or come after everybody has given it up; processes
 * crash, freeze and restart; machines are suspended; wall clocks jump. The real state machine decides;
 * the invariants are checked after every event.
 */
import { createRandom } from '../../src/apps/simulation/random.ts'
import { holdOf, initialState, memoryOf, writableTerm } from '../../src/failover/machine.ts'
import type { Action, Event, Evidence, Memory, State } from '../../src/failover/states.ts'
import type { Step } from '../../src/failover/step.ts'
import { answerMs, elapsed, type Moment, type Timings } from '../../src/failover/timings.ts'
import {
  claimed,
  failedOver,
  type Grants,
  identity,
  newDatabase,
  paused,
  released,
  renewed,
  resumed,
  type SharedDatabase,
  wrongToGrant,
} from './shared-database.ts'

export type Fault =
  | { kind: 'crash'; node: 0 | 1 }
  | { kind: 'freeze'; node: 0 | 1 }
  | { kind: 'suspend'; node: 0 | 1 }
  | { kind: 'host down'; node: 0 | 1 }
  | { kind: 'database away'; node: 0 | 1 }
  /** What it says is done, and it never hears so. */
  | { kind: 'answers lost'; node: 0 | 1 }
  | { kind: 'database down' }
  | { kind: 'database failover' }
  /** To a replica that lacks the last term. */
  | { kind: 'database failover with loss' }
  | { kind: 'link cut' }
  /** It asks in vain, and is asked with success. */
  | { kind: 'link deaf'; node: 0 | 1 }
  | { kind: 'paused' }
  | { kind: 'wall jump'; node: 0 | 1 }
  | { kind: 'unwell'; node: 0 | 1 }
  | { kind: 'switchover'; node: 0 | 1 }
  | { kind: 'stop'; node: 0 | 1 }

export interface Schedule {
  seed: number
  faults: (Fault & { at: number; forMs: number })[]
}

export interface Machine {
  step(state: State, event: Event, now: Moment): Step
}

/** What can be broken on purpose, to see that the invariants notice. */
export interface Sabotage {
  step?: Machine['step']
  grants?: Grants
  /** The disk forgets the highest term. */
  noMemory?: boolean
  /** The database accepts a write of any term. */
  noFence?: boolean
  noGuard?: boolean
}

export interface Outcome {
  takeovers: number
  writes: number
  /** Whether so many takeovers came that nobody took over any more. */
  stopped: boolean
  /** Roles at the end. */
  roles: string[]
  story: string[]
}

interface Node {
  name: string
  timings: Timings
  up: boolean
  hostUp: boolean
  frozen: boolean
  /** Real time at which it last began to run again. */
  wokenAt: number
  incarnation: string
  state: State
  clock: { rate: number; monotonicOffset: number; wallOffset: number }
  reachesDatabase: boolean
  hearsDatabase: boolean
  hearsPeer: boolean
  disk: Memory | undefined
  kept: number | undefined
  address: boolean
  expiredAt: number | undefined
  deferred: (() => void)[]
}

/** What runs again after a freeze notices within as much that its time is over. */
const noticeMs = 250
const guardMs = 40
const limit = { most: 4, withinMs: 60_000 }

/** @throws Error naming the invariant that was violated, with the story so far */
export function simulate(
  step: Machine['step'],
  timings: Timings | readonly [Timings, Timings],
  schedule: Schedule,
  sabotage: Sabotage = {},
): Outcome {
  const decide = sabotage.step ?? step
  const random = createRandom(schedule.seed).next
  const between = (low: number, high: number) => low + random() * (high - low)
  const story: string[] = []
  const queue = createQueue()
  let now = 0
  let starts = 0
  let takeovers = 0
  /** No more faults, not even small ones. */
  let healed = false

  let shared: SharedDatabase = newDatabase(0, 10_000)
  let databaseUp = true
  let linkUp = true
  let stopped = false
  const begun = new Map<number, string>()
  const served = new Set<number>()
  let committed: number[] = []

  const both: readonly [Timings, Timings] = 'leaseMs' in timings ? [timings, timings] : timings
  const nodes = ['a', 'b'].map((name, index) =>
    boot({ name, timings: both[index], address: false } as Node),
  )
  const other = (node: Node) => (node === nodes[0] ? nodes[1]! : nodes[0]!)

  function tell(line: string) {
    story.push(`${(now / 1000).toFixed(3)} ${line}`)
  }

  function violate(invariant: string): never {
    throw new Error(`${invariant}\n${story.slice(-60).join('\n')}`)
  }

  function local(node: Node): Moment {
    const { monotonicOffset, rate, wallOffset } = node.clock
    const monotonic = now * rate + monotonicOffset
    return { monotonic, wall: now * rate + wallOffset }
  }

  function later(ms: number, run: () => void) {
    queue.push(now + ms, run)
  }

  /** Runs in the process of the node: not if that has ended, and only when it runs again. */
  function inside(node: Node, ms: number, run: () => void) {
    const { incarnation } = node
    const go = () => {
      if (!node.up || node.incarnation !== incarnation) return
      if (node.frozen) node.deferred.push(go)
      else run()
    }
    later(ms, go)
  }

  function boot(node: Node): Node {
    node.up = true
    node.hostUp = true
    node.frozen = false
    node.wokenAt = now
    node.incarnation = `${node.name}${++starts}`
    node.clock ??= {
      rate: between(0.999, 1.001),
      monotonicOffset: between(0, 1e6),
      wallOffset: between(1e12, 2e12),
    }
    node.reachesDatabase ??= true
    node.hearsDatabase ??= true
    node.hearsPeer ??= true
    // Each has met this database before.
    if (sabotage.noMemory !== true) {
      node.disk ??= { term: 0, database: identity(1), leaseMs: node.timings.leaseMs }
    }
    node.kept = undefined
    node.address = false
    node.expiredAt = undefined
    node.deferred = []
    const { disk, incarnation, name, timings } = node
    node.state = initialState({ name, incarnation, timings }, local(node), disk)
    inside(node, between(0, 50), () => thread(node))
    inside(node, between(0, 50), () => probe(node))
    inside(node, between(0, 50), () => tick(node))
    inside(node, between(0, 50), () => guard(node))
    inside(node, between(0, 50), () => write(node))
    return node
  }

  function die(node: Node, why: string) {
    if (!node.up) return
    tell(`${node.name} dies: ${why}`)
    node.up = false
    node.frozen = false
    node.deferred = []
    // The kernel closes its connection to the peer.
    const peer = other(node)
    if (node.hostUp && linkUp && peer.up) inside(peer, between(1, 5), () => ask(peer, () => {}))
  }

  function post(node: Node, event: Event) {
    const before = node.state
    const taken = decide(before, event, local(node))
    node.state = taken.state
    if (before.kind !== taken.state.kind)
      tell(`${node.name} ${taken.state.kind}: ${taken.sentence}`)
    const hold = holdOf(node.state)
    if (hold === undefined || elapsed(hold.since, local(node)) < hold.ms) {
      node.expiredAt = undefined
    }
    // The disk takes its time, but a term is on it before it is served.
    const serves = taken.actions.some(action => action.do === 'serve')
    if (serves) remember(node)
    else if (before.highestTerm !== node.state.highestTerm) {
      inside(node, between(0, 50), () => remember(node))
    }
    for (const action of taken.actions) carryOut(node, action)
  }

  function remember(node: Node) {
    if (sabotage.noMemory !== true) node.disk = memoryOf(node.state)
  }

  function carryOut(node: Node, action: Action) {
    switch (action.do) {
      case 'claim':
        inside(node, between(0, 5), () => claim(node, action))
        return
      case 'serve': {
        if (served.has(action.term)) violate(`term ${action.term} is served twice`)
        served.add(action.term)
        if (begun.get(action.term) !== node.incarnation) {
          violate(`${node.incarnation} serves term ${action.term}, which is not its own`)
        }
        takeovers++
        inside(node, between(0, 30), () => {
          if (node.state.kind === 'active' && node.state.term === action.term) node.address = true
        })
        return
      }
      case 'letGo': {
        const hangs = !healed && random() < 0.02
        inside(node, between(0, 100), () => {
          if (hangs) return
          node.address = false
          inside(node, between(0, 0.6 * node.timings.stepDownMs), () =>
            post(node, { type: 'letGo' }),
          )
        })
        return
      }
      case 'release': {
        node.kept = undefined
        const { incarnation } = node
        const done = () => post(node, { type: 'released' })
        exchange(
          node,
          () => {
            shared = released(shared, action, incarnation, now)
          },
          done,
          done,
        )
        return
      }
      case 'watch':
        node.kept = undefined
        return
      case 'end':
        die(node, 'it stopped')
        later(20_000, () => !node.up && node.hostUp && boot(node))
    }
  }

  /** One statement: applied after some time, if ever; answered after some time, if ever. */
  function exchange<T>(
    node: Node,
    apply: () => T,
    answered: (result: T) => void,
    unknown: () => void,
  ) {
    const slow = () => !healed && random() < 0.02
    const there = slow() ? between(500, 6000) : between(0.2, 20)
    const back = slow() ? between(500, 6000) : between(0.2, 20)
    const patience = answerMs(node.timings)
    const { timeline } = shared
    let over = false
    const giveUp = () => {
      if (over) return
      over = true
      unknown()
    }
    if (!node.reachesDatabase || !databaseUp || (!healed && random() < 0.005)) {
      inside(node, random() < 0.5 ? between(1, 20) : patience, giveUp)
      return
    }
    inside(node, patience, giveUp)
    // What was sent is applied even if its sender has died or given up since.
    later(there, () => {
      if (!databaseUp || shared.timeline !== timeline) return
      const result = apply()
      if (!node.reachesDatabase || !node.hearsDatabase) return
      inside(node, back, () => {
        if (over) return
        over = true
        answered(result)
      })
    })
  }

  function thread(node: Node) {
    const again = (ms: number) => inside(node, ms, () => thread(node))
    const sentAt = local(node)
    const { kept, timings } = node
    if (kept === undefined) {
      exchange(
        node,
        () => shared.row,
        row => {
          if (node.kept === undefined) post(node, { type: 'observed', row, sentAt })
          again(timings.heartbeatIntervalMs / 2)
        },
        () => {
          post(node, { type: 'databaseAway', reason: 'no answer' })
          again(timings.heartbeatIntervalMs / 2)
        },
      )
      return
    }
    const { incarnation } = node
    exchange(
      node,
      () => {
        const before = shared
        shared = renewed(shared, kept, incarnation, now)
        return { mine: shared !== before, row: shared.row }
      },
      ({ mine, row: { counter, database, paused: pause, term } }) => {
        if (mine) {
          post(node, { type: 'renewed', term: kept, sentAt, counter, paused: pause, database })
        } else {
          node.kept = undefined
          post(node, { type: 'renewalRefused', term })
        }
        again(timings.heartbeatIntervalMs)
      },
      () => {
        post(node, { type: 'renewalUnknown', reason: 'no answer' })
        again(timings.heartbeatIntervalMs)
      },
    )
  }

  function claim(node: Node, asked: Extract<Action, { do: 'claim' }>) {
    const sentAt = local(node)
    const { incarnation, name, timings } = node
    const { term } = asked
    const self = { server: name, incarnation, leaseMs: timings.leaseMs }
    exchange(
      node,
      () => {
        const next = claimed(shared, asked, self, limit, now, sabotage.grants)
        if (typeof next === 'string') return { won: false, term: shared.row.term }
        const wrong = wrongToGrant(shared, asked, self, Math.max(0, ...begun.keys()), now)
        if (wrong !== undefined) violate(wrong)
        begun.set(term, incarnation)
        if (next.row.paused?.by === 'keepwatch') stopped = true
        shared = next
        tell(`term ${term} of ${incarnation} is committed`)
        return { won: true, term }
      },
      result => {
        if (!result.won) {
          post(node, { type: 'claimLost', term: result.term, reason: 'changed' })
          return
        }
        node.kept = term
        post(node, { type: 'claimWon', term, sentAt })
      },
      () => post(node, { type: 'claimUnknown', reason: 'no answer' }),
    )
  }

  function probe(node: Node) {
    ask(node, () => inside(node, node.timings.heartbeatIntervalMs / 2, () => probe(node)))
  }

  function ask(node: Node, done: () => void) {
    const askedAt = local(node)
    const peer = other(node)
    const server = peer.name
    const say = (ms: number, evidence: Evidence) =>
      inside(node, ms, () => {
        post(node, { type: 'peer', evidence, askedAt })
        done()
      })
    const silent = () => say(node.timings.peerTimeoutMs, { kind: 'silent', server })
    if (!linkUp || !node.hearsPeer || !peer.hostUp || (!healed && random() < 0.01)) {
      silent()
      return
    }
    if (!peer.up) {
      say(between(50, 60), { kind: 'refused', server })
      return
    }
    const { incarnation } = peer
    later(between(0.2, 50), () => {
      if (!linkUp || !peer.up || peer.frozen || peer.incarnation !== incarnation) return silent()
      const { database: view, highestTerm: term, kind: state, unhealthy } = peer.state
      const role = state === 'active' || state === 'held' ? 'active' : 'standby'
      const healthy = unhealthy === undefined
      say(between(0.2, 50), {
        ...{ kind: 'alive', server, incarnation, role, state, term, database: view, healthy },
        ...{ version: '1', address: peer.address },
      })
    })
  }

  function tick(node: Node) {
    post(node, { type: 'tick' })
    inside(node, !healed && random() < 0.002 ? between(100, 4000) : between(90, 130), () =>
      tick(node),
    )
  }

  function guard(node: Node) {
    if (sabotage.noGuard !== true) {
      const hold = holdOf(node.state)
      const moment = local(node)
      if (hold === undefined || elapsed(hold.since, moment) < hold.ms) node.expiredAt = undefined
      else if (node.expiredAt === undefined) {
        node.expiredAt = moment.monotonic
        post(node, { type: 'tick' })
      } else if (moment.monotonic - node.expiredAt >= node.timings.stepDownMs - 100) {
        die(node, 'it did not let go in time')
        restartLater(node)
      }
    }
    inside(node, guardMs, () => guard(node))
  }

  function write(node: Node) {
    const term = writableTerm(node.state, local(node))
    if (term !== undefined) {
      // Frozen after it looked, before it sent: the write leaves when it wakes.
      inside(node, random() < 0.01 ? between(1000, 20_000) : between(0, 5), () => {
        later(random() < 0.01 ? between(1000, 30_000) : between(0, 20), () => {
          if (!databaseUp) return
          if (sabotage.noFence !== true && shared.row.term !== term) return
          if (term < (committed.at(-1) ?? 0)) {
            violate(`a write of term ${term} is committed after one of term ${committed.at(-1)}`)
          }
          committed.push(term)
        })
      })
    }
    inside(node, between(100, 400), () => write(node))
  }

  function restartLater(node: Node) {
    later(between(300, 4000), () => {
      if (node.up || !node.hostUp) return
      tell(`${node.name} starts`)
      boot(node)
    })
  }

  function wake(node: Node) {
    if (!node.frozen) return
    node.frozen = false
    node.wokenAt = now
    tell(`${node.name} runs again`)
    for (const run of node.deferred.splice(0)) later(between(0, 20), run)
  }

  function begin(fault: Schedule['faults'][number]) {
    const node = nodes['node' in fault ? fault.node : 0]!
    const { incarnation: frozen } = node
    tell(`fault: ${fault.kind}${'node' in fault ? ` ${node.name}` : ''} for ${fault.forMs} ms`)
    switch (fault.kind) {
      case 'crash':
        die(node, 'killed')
        later(fault.forMs, () => !node.up && node.hostUp && boot(node))
        return
      case 'freeze':
      case 'suspend':
        if (!node.up || node.frozen) return
        node.frozen = true
        later(fault.forMs, () => {
          if (!node.frozen || node.incarnation !== frozen) return
          if (fault.kind === 'suspend') node.clock.monotonicOffset -= fault.forMs * node.clock.rate
          wake(node)
        })
        return
      case 'host down':
        node.hostUp = false
        die(node, 'its host is down')
        later(fault.forMs, () => {
          if (!node.hostUp) boot(node)
        })
        return
      case 'database away':
        node.reachesDatabase = false
        later(fault.forMs, () => {
          node.reachesDatabase = true
        })
        return
      case 'answers lost':
        node.hearsDatabase = false
        later(fault.forMs, () => {
          node.hearsDatabase = true
        })
        return
      case 'database down':
        databaseUp = false
        later(fault.forMs, () => {
          databaseUp = true
        })
        return
      case 'database failover':
      case 'database failover with loss':
        databaseUp = false
        later(Math.min(fault.forMs, 3000), () => {
          databaseUp = true
          shared = failedOver(shared, fault.kind === 'database failover with loss')
          // What was written in the terms that are lost is lost with them.
          committed = committed.filter(term => term <= shared.row.term)
        })
        return
      case 'link deaf':
        node.hearsPeer = false
        later(fault.forMs, () => {
          node.hearsPeer = true
        })
        return
      case 'paused':
        shared = paused(shared, { by: 'anna', reason: 'a new switch', until: undefined })
        later(fault.forMs, () => {
          shared = resumed(shared)
        })
        return
      case 'link cut':
        linkUp = false
        later(fault.forMs, () => {
          linkUp = true
        })
        return
      case 'wall jump':
        node.clock.wallOffset += random() < 0.5 ? 3_600_000 : -3_600_000
        return
      case 'unwell':
        inside(node, 0, () => post(node, { type: 'health', fault: 'its disk is full' }))
        later(fault.forMs, () => {
          inside(node, 0, () => post(node, { type: 'health', fault: undefined }))
        })
        return
      case 'switchover':
        inside(node, 0, () => post(node, { type: 'switchover' }))
        return
      case 'stop':
        inside(node, 0, () => post(node, { type: 'stop' }))
    }
  }

  function audit() {
    const running = nodes.filter(node => node.up && !node.frozen)
    // One that wakes is fenced already; it lets go, or ends, within the time for that.
    const settled = running.filter(node => now - node.wokenAt > noticeMs + node.timings.stepDownMs)
    const writers = running.filter(node => writableTerm(node.state, local(node)) !== undefined)
    if (writers.length > 1) violate('both may write')
    if (settled.filter(node => node.address).length > 1) violate('both have the address')
  }

  let last = 0
  for (const fault of schedule.faults) {
    queue.push(fault.at, () => begin(fault))
    last = Math.max(last, fault.at + fault.forMs + 25_000)
  }
  queue.push(last, () => {
    tell('a person looks, and resumes')
    shared = resumed(shared)
  })
  const end = last + 2.5 * Math.max(...both.map(({ heartbeatTimeoutMs }) => heartbeatTimeoutMs))
  for (let next = queue.pop(); next !== undefined && next.at <= end; next = queue.pop()) {
    now = next.at
    healed = now > last
    next.run()
    audit()
  }
  const roles = nodes.map(node => (node.up ? node.state.kind : 'down')).sort()
  if (roles.join() !== 'active,standby') violate(`ends with ${roles.join(' and ')}`)
  return { takeovers, writes: committed.length, stopped, roles, story }
}

/** Things to run, by time; equal times in the order in which they were pushed. */
function createQueue() {
  const heap: { at: number; order: number; run: () => void }[] = []
  let pushed = 0
  const before = (i: number, j: number) => {
    const a = heap[i]!
    const b = heap[j]!
    return a.at < b.at || (a.at === b.at && a.order < b.order)
  }
  const swap = (i: number, j: number) => {
    const held = heap[i]!
    heap[i] = heap[j]!
    heap[j] = held
  }
  return {
    push(at: number, run: () => void) {
      heap.push({ at, order: pushed++, run })
      for (let i = heap.length - 1; i > 0; ) {
        const parent = (i - 1) >> 1
        if (!before(i, parent)) break
        swap(i, parent)
        i = parent
      }
    },
    pop() {
      const first = heap[0]
      const tail = heap.pop()
      if (first === undefined || tail === undefined || heap.length === 0) return first
      heap[0] = tail
      for (let i = 0; ; ) {
        let least = i
        for (const child of [2 * i + 1, 2 * i + 2]) {
          if (child < heap.length && before(child, least)) least = child
        }
        if (least === i) return first
        swap(i, least)
        i = least
      }
    },
  }
}
