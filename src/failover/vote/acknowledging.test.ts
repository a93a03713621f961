import { describe, expect, test } from 'vitest'
import {
  type Acknowledging,
  type AcknowledgingEvent,
  completeIn,
  type Follower,
  stepAcknowledging,
} from './acknowledging.ts'

const config = { self: 'a', patienceMs: 2, settleMs: 2 }
const follower = (change: Partial<Follower> = {}): Follower => ({
  ...{ name: 'b', flushed: 10, written: 10, synchronous: true, ...change },
})
const looked = (change?: Partial<Follower>): AcknowledgingEvent => ({
  ...{ type: 'looked', follower: follower(change) },
})
const nobody: AcknowledgingEvent = { type: 'looked', follower: undefined }
const alone: Acknowledging = { kind: 'alone' }
const together: Acknowledging = { kind: 'together', follower: 'b', missingSince: undefined }

describe('a follower', () => {
  test('is waited for when it is there, and may take over when it has everything', () => {
    const joined = stepAcknowledging(alone, looked({ flushed: 4, synchronous: false }), config, 0)
    expect(joined.waitFor).toEqual({ follower: 'b' })
    expect(completeIn(joined.state, 'a')).toEqual(['a'])
    const said = stepAcknowledging(joined.state, looked(), config, 1)
    expect(said.sentence).toBe('changes are said to wait for b')
    const behind = stepAcknowledging(said.state, looked({ flushed: 12, written: 15 }), config, 3)
    expect(behind).toMatchObject({ state: { until: 15 }, sentence: 'b lacks 3 bytes of the log' })
    const whole = stepAcknowledging(behind.state, looked({ flushed: 15, written: 20 }), config, 4)
    expect(completeIn(whole.state, 'a')).toEqual(['a', 'b'])
  })

  test('begins anew when changes do not wait for it after all', () => {
    const said = stepAcknowledging(
      { kind: 'joining', follower: 'b', since: 0, until: 5 },
      looked({ synchronous: false }),
      config,
      5,
    )
    expect(said.state).toMatchObject({ since: undefined, until: undefined })
  })

  test('that is missing for a moment is waited for', () => {
    const missing = stepAcknowledging(together, nobody, config, 10)
    expect(missing.state).toMatchObject({ kind: 'together', missingSince: 10 })
    const back = stepAcknowledging(missing.state, looked(), config, 11)
    expect(back.state).toEqual(together)
  })

  test('that stays away is done without only when the voters know', () => {
    const missing = stepAcknowledging(together, nobody, config, 10)
    const told = stepAcknowledging(missing.state, nobody, config, 12)
    expect(told.state.kind).toBe('parting')
    expect(told.waitFor, 'changes still wait').toBeUndefined()
    const early = stepAcknowledging(told.state, { type: 'told', complete: ['a', 'b'] }, config, 13)
    expect(early.state.kind, 'an older heartbeat').toBe('parting')
    const known = stepAcknowledging(early.state, { type: 'told', complete: ['a'] }, config, 14)
    expect(known).toMatchObject({ state: { kind: 'alone' }, waitFor: { follower: undefined } })
  })
})

/**
 * All that can happen, to a depth: changes are acknowledged, the follower comes, goes and catches up,
 * heartbeats arrive or do not, and the settings of the database take effect late.
 */
interface World {
  state: Acknowledging
  now: number
  /** Whether changes wait for the follower; whether the database says so, since when; and should. */
  waits: boolean
  says: boolean
  saysSince: number
  ordered: boolean
  there: boolean
  /** Places in the log: written, on the follower's disk, acknowledged. */
  written: number
  flushed: number
  acknowledged: number
  /** Of each voter; the active is the first, the follower the second. */
  voters: readonly (readonly string[])[]
}

function next(world: World, step = stepAcknowledging): [string, World][] {
  const moves: [string, World][] = []
  const { flushed, says, there, voters, waits, written } = world
  const apply = (event: AcknowledgingEvent): World => {
    const { state, waitFor } = step(world.state, event, config, world.now)
    return {
      ...world,
      state,
      ordered: waitFor === undefined ? world.ordered : waitFor.follower !== undefined,
    }
  }
  const mayWrite = written < 4
  if (mayWrite) moves.push(['a change is written', { ...world, written: written + 1 }])
  if (there && flushed < written)
    moves.push(['it is there too', { ...world, flushed: flushed + 1 }])
  const free = waits ? Math.min(written, flushed) : written
  if (world.acknowledged < free) {
    moves.push(['it is acknowledged', { ...world, acknowledged: free }])
  }
  moves.push([there ? 'the follower goes' : 'it comes', { ...world, there: !there }])
  if (says !== world.ordered) {
    const said = { ...world, says: world.ordered, saysSince: world.now }
    moves.push(['the database says so', said])
  }
  if (waits !== says) moves.push(['changes heed it', { ...world, waits: says }])
  const seen: Follower | undefined = there
    ? { name: 'b', flushed, written, synchronous: says }
    : undefined
  moves.push(['the active looks', apply({ type: 'looked', follower: seen })])
  const late = waits !== says && world.now + 1 - world.saysSince >= config.settleMs
  if (world.now < 7 && !late) moves.push(['time passes', { ...world, now: world.now + 1 }])
  const complete = completeIn(world.state, 'a')
  for (const heard of [[0, 1], [0, 2], [0, 1, 2], [0]]) {
    const after = voters.map((said, index) => (heard.includes(index) ? complete : said))
    const told = heard.length > 1 ? apply({ type: 'told', complete }) : world
    moves.push([`voters ${heard} hear`, { ...told, voters: after }])
  }
  return moves
}

/** What a majority would lose if it voted for the follower now. */
function lost({ acknowledged, flushed, voters }: World): boolean {
  return voters.filter(said => said.includes('b')).length >= 2 && flushed < acknowledged
}

/** Nobody has ever followed. */
const fresh: World = {
  ...{ state: alone, now: 0, waits: false, says: false, saysSince: 0, ordered: false },
  there: false,
  ...{ written: 1, flushed: 0, acknowledged: 1, voters: [['a'], ['a'], ['a']] },
}
/** The server that follows has led before, and one voter has not heard yet that it lacks anything. */
const takenOver: World = { ...fresh, flushed: 1, voters: [['a'], ['a'], ['a', 'b']] }

function explore(
  step = stepAcknowledging,
  from = fresh,
): { states: number; violation: string[] | undefined } {
  const seen = new Set([JSON.stringify(from)])
  let level: { world: World; path: string[] }[] = [{ world: from, path: [] }]
  while (level.length > 0) {
    const following: typeof level = []
    for (const { path, world } of level) {
      for (const [label, reached] of next(world, step)) {
        const key = JSON.stringify(reached)
        if (seen.has(key)) continue
        seen.add(key)
        const way = [...path, label]
        if (lost(reached)) return { states: seen.size, violation: way }
        following.push({ world: reached, path: way })
      }
    }
    level = following
  }
  return { states: seen.size, violation: undefined }
}

describe('whoever may take over has every change that was acknowledged', () => {
  test.for<[string, World]>([
    ['nobody has ever followed', fresh],
    ['a server has taken over', takenOver],
  ])('in every state that can be reached from where %s', ([, from]) => {
    const { states, violation } = explore(stepAcknowledging, from)
    expect(violation).toBeUndefined()
    expect(states).toBeGreaterThan(10_000)
    console.log(`${states} states`)
  })

  test('the exploration finds one that takes changes before a majority has heard that it leads', () => {
    const { violation } = explore(stepAcknowledging, {
      ...takenOver,
      voters: [['a'], ['a', 'b'], ['a', 'b']],
    })
    expect(violation).toBeDefined()
  })

  test.for<[string, typeof stepAcknowledging]>([
    [
      'a follower that is done without before the voters know',
      (state, event, options, now) => {
        const taken = stepAcknowledging(state, event, options, now)
        return taken.state.kind === 'parting'
          ? { ...taken, waitFor: { follower: undefined } }
          : taken
      },
    ],
    [
      'a follower that is trusted before it has everything',
      (state, event, options, now) => {
        const taken = stepAcknowledging(state, event, options, now)
        return taken.state.kind === 'joining'
          ? { ...taken, state: { kind: 'together', follower: 'b', missingSince: undefined } }
          : taken
      },
    ],
    [
      'one that need have only what was written when it was first waited for',
      (state, event, options, now) => {
        const taken = stepAcknowledging(state, event, options, now)
        if (event.type !== 'looked' || taken.state.kind !== 'joining') return taken
        const until = state.kind === 'joining' ? state.until : undefined
        return { ...taken, state: { ...taken.state, until: until ?? event.follower!.written } }
      },
    ],
    [
      'a database that is believed at once',
      (state, event, options, now) =>
        stepAcknowledging(state, event, { ...options, settleMs: 0 }, now),
    ],
  ])('the exploration finds %s', ([, step]) => {
    const { states, violation } = explore(step)
    expect(violation, `not within ${states} states`).toBeDefined()
    console.log(`after ${states} states: ${violation!.join(', ')}`)
  })
})
