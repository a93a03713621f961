/**
 * Everything that two servers, their launchers and chance can do during an upgrade: breadth first,
 * each state once. What a server has decided it carries out later, or never: between the two
 * everything else may happen.
 */
import { describe, expect, test } from 'vitest'
import { type Act, mostOrders, nextAct, type Other, type Own, type UpgradeReport } from './plan.ts'

const oldVersion = '0.2.0'
const newVersion = '0.3.0'
const names = ['a', 'b'] as const
type Name = (typeof names)[number]

interface Machine {
  /** What runs, or runs at the next start. */
  version: string
  /** As it last said in the state. */
  said: string
  state: 'down' | 'starting' | 'ready' | 'lost'
  /** On trial: how often it was started. */
  starts: number | null
  previous: string
  rolledBack: boolean
  installed: boolean
  /** Down, or not yet ready, because the plan said so. */
  planned: boolean
  /** Decided, and not carried out yet. */
  act: { act: Act; was: string } | null
}

interface World {
  a: Machine
  b: Machine
  active: Name | null
  /** Who has just let go takes back only if the other cannot. */
  aside: Name | null
  report: UpgradeReport
  finished: boolean
  faults: number
}

interface Case {
  before?: Record<Name, string>
  holder?: Name
  faults: number
  /** Who cannot run the new version; who runs it, but fails as the active. */
  cannotStart?: readonly Name[]
  cannotServe?: readonly Name[]
  /** Writes without looking whether the upgrade is still where it was when this was decided. */
  blind?: boolean
}

type Plan = typeof nextAct

const otherOf = (name: Name): Name => (name === 'a' ? 'b' : 'a')

function firstWorld({ before, holder = 'a', faults }: Case): World {
  const versions = before ?? { a: oldVersion, b: oldVersion }
  const machine = (name: Name): Machine => ({
    version: versions[name],
    said: versions[name],
    state: 'ready',
    starts: null,
    previous: versions[name],
    rolledBack: false,
    installed: name === holder || versions[name] === newVersion,
    planned: false,
    act: null,
  })
  return {
    a: machine('a'),
    b: machine('b'),
    active: 'a',
    aside: null,
    report: {
      version: newVersion,
      holder,
      phase: 'fetch',
      before: { ...versions },
      orders: 0,
      restarting: null,
      failure: null,
    },
    finished: false,
    faults,
  }
}

/** Reports and decisions are never changed, but replaced. */
function copyOf(world: World): World {
  return { ...world, a: { ...world.a }, b: { ...world.b } }
}

class Violation extends Error {}

function demand(holds: boolean, what: string) {
  if (!holds) throw new Violation(what)
}

function ownOf(world: World, name: Name, kase: Case): Own {
  const machine = world[name]
  const other = world[otherOf(name)]
  const up = other.state === 'ready' || other.state === 'starting'
  const role = up ? (world.active === otherOf(name) ? 'active' : 'standby') : 'unknown'
  return {
    server: name,
    version: machine.version,
    role: world.active === name ? 'active' : 'standby',
    ready: machine.state === 'ready',
    steady: machine.state === 'ready' && canServe(world, name, kase),
    installed: machine.installed,
    rolledBack: machine.rolledBack ? 'exit code 1' : undefined,
    other: {
      name: otherOf(name),
      version: up ? other.version : other.said,
      role,
      steady: canServe(world, otherOf(name), kase),
    } satisfies Other,
  }
}

/** All that may happen next, each with its name and the world after it. */
function* moves(world: World, plan: Plan, kase: Case): Generator<[string, World]> {
  for (const name of names) {
    const machine = world[name]
    const up = machine.state === 'ready' || machine.state === 'starting'
    if (up && machine.act === null && !world.finished) {
      for (const overdue of [false, true]) {
        const act = plan(world.report, ownOf(world, name, kase), overdue)
        if (act.do === 'wait') continue
        const alone = act.do === 'restart' && world.active !== otherOf(name)
        demand(!alone, `${name} restarts although the other one is not active`)
        const next = copyOf(world)
        next[name].act = { act, was: JSON.stringify(world.report) }
        yield [`${name} decides: ${act.do}${overdue ? ' (overdue)' : ''}`, next]
      }
    }
    if (machine.act !== null) {
      yield [`${name} does: ${machine.act.act.do}`, carriedOut(world, name, kase)]
      if (world.faults > 0) yield [`${name} loses what it decided`, lost(world, name)]
    }
    if (world.faults > 0 && machine.state !== 'lost') {
      if (up) yield [`${name} is killed`, killed(world, name, 'down')]
      yield [`${name} is lost for good`, killed(world, name, 'lost')]
    }
    yield* launcherMoves(world, name, kase)
    const { active, aside } = world
    const other = world[otherOf(name)]
    if (active === null && machine.state === 'ready') {
      if (aside !== name || other.state !== 'ready') {
        yield [`${name} becomes active`, { ...copyOf(world), active: name, aside: null }]
      }
    }
    if (active === name && !canServe(world, name, kase)) {
      yield [`${name} cannot do the work`, { ...copyOf(world), active: null, aside: name }]
    }
  }
}

function lost(world: World, name: Name): World {
  const next = copyOf(world)
  next[name].act = null
  next.faults--
  return next
}

function killed(world: World, name: Name, state: 'down' | 'lost'): World {
  const next = lost(world, name)
  next[name].state = state
  if (next.active === name) next.active = null
  return next
}

/** What the launcher does, and the start of the program. */
function* launcherMoves(world: World, name: Name, kase: Case): Generator<[string, World]> {
  const machine = world[name]
  const fails = kase.cannotStart?.includes(name) && machine.version === newVersion
  const next = copyOf(world)
  const after = next[name]
  if (machine.state === 'down') {
    const given = machine.starts !== null && (machine.starts >= 2 || fails)
    if (given) {
      Object.assign(after, { version: machine.previous, starts: null, rolledBack: true })
      yield [`${name} goes back`, next]
    } else if (!fails) {
      if (machine.starts !== null) after.starts!++
      Object.assign(after, { state: 'starting', said: machine.version })
      yield [`${name} starts`, next]
    }
  } else if (machine.state === 'starting') {
    Object.assign(after, { state: 'ready', starts: null, planned: false })
    yield [`${name} is ready`, next]
  }
}

function carriedOut(world: World, name: Name, kase: Case): World {
  const next = copyOf(world)
  const machine = next[name]
  const { act, was } = machine.act!
  machine.act = null
  const current = !world.finished && (kase.blind || JSON.stringify(world.report) === was)
  switch (act.do) {
    case 'fetch':
      machine.installed = true
      break
    case 'return':
      if (current) next.report = { ...next.report, restarting: null }
      break
    case 'restart':
      // Looked at once more, see the upgrader; the other may be gone by now all the same.
      if (!current || next.active === name) break
      next.report = { ...next.report, restarting: name }
      demand(machine.installed, `${name} restarts into what is not there`)
      demand(!next[otherOf(name)].planned, 'both restart at once')
      demand(canServe(world, otherOf(name), kase), 'who restarts leaves one that cannot work')
      Object.assign(machine, {
        ...{ version: act.into, previous: machine.version, starts: 0 },
        ...{ rolledBack: false, state: 'down', planned: true },
      })
      break
    case 'advance':
      if (!current) break
      demand(world.report.phase !== 'undo', `undo leads to ${act.phase}`)
      next.report = {
        ...next.report,
        phase: act.phase,
        failure: act.failure ?? next.report.failure,
      }
      break
    case 'hand-over': {
      if (!current) break
      const { orders, phase } = next.report
      demand(orders < mostOrders || phase === 'undo', 'it is ordered again and again')
      next.report = { ...next.report, orders: Math.min(mostOrders, orders + 1) }
      const able = next.active === name && next[otherOf(name)].state === 'ready'
      if (able) Object.assign(next, { active: null, aside: name })
      break
    }
    case 'finish':
      if (!current) break
      next.finished = true
      judge(next, act.failure)
  }
  return next
}

function canServe(world: World, name: Name, { cannotServe = [] }: Case): boolean {
  return !(cannotServe.includes(name) && world[name].version === newVersion)
}

/** What is said in the end is true. */
function judge(world: World, failure: string | null) {
  const runs = (name: Name) => world[name].version
  if (failure === null) {
    for (const name of names) {
      demand(runs(name) === newVersion, `it is said to be done, and ${name} runs ${runs(name)}`)
      demand(world[name].starts === null, `it is said to be done, and ${name} is on trial`)
    }
    return
  }
  demand(failure !== '', 'it failed without a reason')
  if (/look at it|could not go back/.test(failure)) return
  for (const name of names) {
    const { before } = world.report
    demand(runs(name) === before[name], `it is said to be undone, and ${name} runs ${runs(name)}`)
  }
}

/** From here nothing else goes wrong. @throws Violation if it does not end, with an active */
function calm(from: World, plan: Plan, kase: Case) {
  let world = copyOf(from)
  world.faults = 0
  const path: string[] = []
  for (let round = 0; round < 120; round++) {
    const lost = names.every(name => world[name].state === 'lost')
    if (lost || (world.finished && (world.active !== null || isHopeless(world, kase)))) return
    // A phase takes too long only when nothing else happens, or the same again and again.
    const next = (late: boolean) =>
      [...moves(world, plan, kase)].filter(([what]) => late === what.endsWith('(overdue)'))
    const choice = next(false)
    const late = choice.length === 0 || round > 80 ? next(true)[0] : undefined
    const [what, after] = late ?? choice[round % choice.length] ?? []
    if (after === undefined) break
    path.push(what!)
    world = after
  }
  throw new Violation(`it does not end: ${path.join('; ')}`)
}

/** The only server that is left cannot do the work. */
function isHopeless(world: World, { cannotServe = [] }: Case): boolean {
  return names.every(name => world[name].state === 'lost' || cannotServe.includes(name))
}

function explore(kase: Case, plan: Plan = nextAct) {
  const first = firstWorld(kase)
  const seen = new Map<string, { from: string; by: string }>()
  let level: [string, World][] = [[JSON.stringify(first), first]]
  seen.set(level[0]![0], { from: '', by: 'the beginning' })
  let visited = 0
  const trace = (key: string): string[] => {
    const { from, by } = seen.get(key)!
    return from === '' ? [by] : [...trace(from), by]
  }
  while (level.length > 0) {
    const next: typeof level = []
    for (const [key, world] of level) {
      let by = ''
      try {
        if (++visited % 25 === 0) calm(world, plan, kase)
        for (const [what, after] of moves(world, plan, kase)) {
          by = what
          const found = JSON.stringify(after)
          if (seen.has(found)) continue
          seen.set(found, { from: key, by: what })
          next.push([found, after])
        }
        by = ''
      } catch (error) {
        if (!(error instanceof Violation)) throw error
        return { states: seen.size, violation: error.message, trace: [...trace(key), by] }
      }
    }
    level = next
  }
  return { states: seen.size, violation: undefined, trace: [] }
}

const cases: [string, Case][] = [
  ['all works, and two things go wrong anywhere', { faults: 2 }],
  ['the new version was installed on the standby', { faults: 1, holder: 'b' }],
  ['the standby runs it already', { faults: 1, before: { a: oldVersion, b: newVersion } }],
  ['the active runs it already', { faults: 1, before: { a: newVersion, b: oldVersion } }],
  ['the first server cannot run it', { faults: 1, cannotStart: ['b'] }],
  ['the second server cannot run it', { faults: 1, cannotStart: ['a'] }],
  ['neither can run it', { faults: 1, cannotStart: ['a', 'b'] }],
  ['the first server cannot do an active’s work with it', { faults: 1, cannotServe: ['b'] }],
  ['neither can do an active’s work with it', { faults: 1, cannotServe: ['a', 'b'] }],
]

describe('every way that an upgrade can go', () => {
  test.each(cases)('is right and comes to an end when %s', { timeout: 120_000 }, (name, kase) => {
    const { states, violation, trace } = explore(kase)
    expect(violation, trace.join('\n')).toBeUndefined()
    process.stdout.write(`an upgrade when ${name}: ${states} states\n`)
  })
})

/** The plan with a mistake in it: it is told something that is not so, or does something else. */
const mistakes: [string, Partial<Case>, Plan][] = [
  [
    'restarts beside a server that is not active',
    {},
    (report, own, overdue) =>
      nextAct(report, { ...own, other: { ...own.other!, role: 'active', steady: true } }, overdue),
  ],
  [
    'restarts although it is active',
    {},
    (report, own, overdue) => nextAct(report, { ...own, role: 'standby' }, overdue),
  ],
  [
    'does not care that the other one restarts',
    {},
    (report, own, overdue) => nextAct({ ...report, restarting: null }, own, overdue),
  ],
  [
    'says that it is done without asking what the other one runs',
    {},
    (report, own, overdue) =>
      report.phase === 'second'
        ? nextAct(report, { ...own, other: { ...own.other!, version: newVersion } }, overdue)
        : nextAct(report, own, overdue),
  ],
  [
    'takes a server that has just begun for one that is ready',
    {},
    (report, own, overdue) => nextAct(report, { ...own, ready: true }, overdue),
  ],
  [
    'takes one that is active for a moment for one that does the work',
    { cannotServe: ['b'] },
    (report, own, overdue) =>
      nextAct(report, { ...own, steady: true, other: { ...own.other!, steady: true } }, overdue),
  ],
  [
    'orders the hand-over for ever',
    { cannotServe: ['b'] },
    (report, own, overdue) => nextAct({ ...report, orders: 0 }, own, overdue),
  ],
  ['waits for ever', {}, (report, own) => nextAct(report, own, false)],
  [
    'leaves the first server as it is when the second fails',
    { cannotStart: ['a'] },
    (report, own, overdue) => {
      const act = nextAct(report, own, overdue)
      const failed = report.phase === 'second' && act.do === 'advance' && act.phase === 'undo'
      return failed ? { do: 'finish', failure: act.text } : act
    },
  ],
  [
    'forgets in the end what each server ran before',
    {},
    (report, own, overdue) => {
      const before = report.phase === 'undo' ? { a: newVersion, b: newVersion } : report.before
      return nextAct({ ...report, before }, own, overdue)
    },
  ],
  ['writes over what the other server has written meanwhile', { blind: true }, nextAct],
]

describe('the exploration notices when an upgrade', () => {
  test.each(mistakes)('%s', { timeout: 120_000 }, (_what, kase, plan) => {
    const { violation, states } = explore({ faults: 1, ...kase }, plan)
    expect(violation, `nothing was noticed in ${states} states`).toBeDefined()
  })
})
