import { describe, expect, test } from 'vitest'
import { createDrills, type DrillRecord, type DrillReport, type DrillStore } from './drill.ts'

type Kept = DrillRecord & { ok: boolean | null; report: DrillReport }

/** A pair that shares a store; whoever is told to hand over does so at once. */
function pair(options: { refuses?: 'server-a' | 'server-b'; takesOver?: boolean } = {}) {
  const { refuses, takesOver = true } = options
  let wall = Date.parse('2026-11-22T02:00:00Z')
  let kept: Kept | undefined
  const counted: string[] = []
  const store: DrillStore = {
    async create({ id, report }) {
      kept = { id, started: new Date(wall), steps: [], ok: null, report }
    },
    async addStep(_id, step) {
      wall += 10
      kept!.steps = [...kept!.steps, { ...step, at: new Date(wall) }]
    },
    async setReport(_id, report) {
      kept!.report = report
    },
    async finish(_id, ok, report) {
      Object.assign(kept!, { ok, report })
    },
    find: async () => kept ?? null,
    running: async () => (kept?.ok === null ? kept : null),
  }
  const done = Promise.withResolvers<void>()
  let active = 'server-a'
  const drillsOf = (self: string, other: string) => {
    const drills = createDrills(
      {
        clock: { monotonic: () => wall, wall: () => wall },
        store,
        tally: { count: reason => counted.push(reason) },
        peer: () => other,
        async switchover() {
          wall += 1000
          if (self === refuses)
            return { accepted: false, sentence: `no switchover: ${other} is unwell` }
          setImmediate(async () => {
            if (takesOver) active = other
            await all[active as keyof typeof all].start()
            setTimeout(done.resolve, 20)
          })
          return { accepted: true, sentence: '' }
        },
      },
      { self, settleMs: 1 },
    )
    return drills
  }
  const all = {
    'server-a': drillsOf('server-a', 'server-b'),
    'server-b': drillsOf('server-b', 'server-a'),
  }
  return {
    ...all,
    done: done.promise,
    active: () => active,
    kept: () => kept!,
    counted,
    async finished() {
      const deadline = Date.now() + 5000
      while (kept?.ok === null && Date.now() < deadline) {
        await new Promise(resolve => setTimeout(resolve, 5))
      }
      return kept!
    },
    age: (ms: number) => {
      wall += ms
    },
  }
}

describe('a drill', () => {
  test('goes there and back, and says how long each half took', async () => {
    const lab = pair()
    await lab['server-a'].begin('ada')
    const drill = await lab.finished()
    expect(drill.ok).toBe(true)
    expect(drill.report).toMatchObject({
      phase: 'done',
      from: 'server-a',
      to: 'server-b',
      failure: null,
    })
    expect(drill.report.thereMs).toBeGreaterThanOrEqual(1000)
    expect(drill.report.backMs).toBeGreaterThanOrEqual(1000)
    expect(lab.active()).toBe('server-a')
    expect(drill.steps.map(({ server, text }) => `${server} ${text}`)).toEqual([
      'server-a hands over to server-b',
      'server-b is active',
      'server-b hands back to server-a',
      'server-a is active',
    ])
    expect(lab.counted).toEqual([])
  })

  test('fails in words when the standby cannot take over', async () => {
    const lab = pair({ refuses: 'server-a' })
    await expect(lab['server-a'].begin('ada')).rejects.toThrow('server-b is unwell')
    expect(lab.kept()).toMatchObject({
      ok: false,
      report: { failure: 'no switchover: server-b is unwell' },
    })
  })

  test('fails when the standby does not take what it is given', async () => {
    const lab = pair({ takesOver: false })
    await lab['server-a'].begin('ada')
    const drill = await lab.finished()
    expect(drill).toMatchObject({
      ok: false,
      report: { failure: 'server-b did not take over; server-a goes on' },
    })
  })

  test('fails when the first server cannot take back', async () => {
    const lab = pair({ refuses: 'server-b' })
    await lab['server-a'].begin('ada')
    lab.age(0)
    const waiting = lab.finished()
    // Its patience is by the clock.
    await lab.done
    lab.age(200_000)
    expect(await waiting).toMatchObject({
      ok: false,
      report: { failure: 'no switchover: server-a is unwell' },
    })
  })

  test('that was interrupted long ago is not gone on with', async () => {
    const lab = pair({ takesOver: false })
    await lab['server-a'].begin('ada')
    lab.age(700_000)
    expect(await lab.finished()).toMatchObject({
      ok: false,
      report: { failure: expect.stringContaining('interrupted') },
    })
  })

  test('is not begun twice, nor alone', async () => {
    const lab = pair()
    const first = lab['server-a'].begin('ada')
    await first
    await expect(lab['server-a'].begin('bob')).rejects.toThrow('under way')
    await lab.finished()
    const alone = createDrills(
      {
        clock: { monotonic: () => 0, wall: () => 0 },
        store: {} as DrillStore,
        tally: { count: () => {} },
        peer: () => undefined,
        switchover: async () => ({ accepted: true, sentence: '' }),
      },
      { self: 'server-a' },
    )
    await expect(alone.begin('ada')).rejects.toThrow('there is no standby')
  })
})
