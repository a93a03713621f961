import { describe, expect, test } from 'vitest'
import {
  type Acknowledging,
  type AcknowledgingEvent,
  beginning,
  completeIn,
  type Follower,
  stepAcknowledging,
} from './acknowledging.ts'

const config = { self: 'a', patienceMs: 2 }
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
    const behind = stepAcknowledging(joined.state, looked({ flushed: 9 }), config, 1)
    expect(behind).toMatchObject({
      state: { kind: 'joining' },
      sentence: 'b lacks 1 bytes of the log',
    })
    const whole = stepAcknowledging(behind.state, looked(), config, 2)
    expect(completeIn(whole.state, 'a')).toEqual(['a', 'b'])
  })

  test('must have what was written until changes were seen to wait for it', () => {
    const joined = stepAcknowledging(alone, looked({ synchronous: false }), config, 0)
    const still = stepAcknowledging(joined.state, looked({ synchronous: false }), config, 1)
    const waits = looked({ flushed: 12, written: 15 })
    const behind = stepAcknowledging(still.state, waits, config, 2)
    expect(behind.state).toMatchObject({ kind: 'joining', until: 15 })
    const after = looked({ flushed: 15, written: 20 })
    expect(stepAcknowledging(behind.state, after, config, 3).state.kind).toBe('together')
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
  /** What the database waits for, and what it was told to. */
  waits: boolean
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
  const { flushed, there, voters, waits, written } = world
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
  if (waits !== world.ordered)
    moves.push(['the setting counts', { ...world, waits: world.ordered }])
  const seen: Follower | undefined = there
    ? { name: 'b', flushed, written, synchronous: waits }
    : undefined
  moves.push(['the active looks', apply({ type: 'looked', follower: seen })])
  if (world.now < 6) moves.push(['time passes', { ...world, now: world.now + 1 }])
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
  ...{ state: alone, now: 0, waits: false, ordered: false, there: false },
  ...{ written: 1, flushed: 0, acknowledged: 1, voters: [['a'], ['a'], ['a']] },
}
/** The server that follows has just led, and the voters think that both have everything. */
const takenOver: World = {
  ...fresh,
  ...{ state: beginning('b'), waits: true, ordered: true, flushed: 1 },
  voters: Array(3).fill(['a', 'b']),
}

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

  test('the exploration finds one that takes over and acknowledges at once', () => {
    const { violation } = explore(stepAcknowledging, { ...takenOver, waits: false, ordered: false })
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
      'one that need have only what was written when it came',
      (state, event, options, now) => {
        const taken = stepAcknowledging(state, event, options, now)
        const came = event.type === 'looked' && state.kind === 'alone'
        return came && taken.state.kind === 'joining'
          ? { ...taken, state: { ...taken.state, until: event.follower!.written } }
          : taken
      },
    ],
  ])('the exploration finds %s', ([, step]) => {
    const { states, violation } = explore(step)
    expect(violation, `not within ${states} states`).toBeDefined()
    console.log(`after ${states} states: ${violation!.join(', ')}`)
  })
})
