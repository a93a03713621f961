import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { createLog } from '../../lib/log.ts'
import { openHome } from './home.ts'
import type { UpgradeReport } from './plan.ts'
import { createUpgrader, type Self, type UpgradeStore } from './upgrader.ts'

let folder: string
beforeEach(() => {
  vi.useFakeTimers()
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-upgrader-'))
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})

/** The state: one operation at most, and what was written into it. */
function fakeStore(running: { kind: string; report: UpgradeReport } | null = null) {
  const steps: string[] = []
  const state = { running, steps, created: undefined as UpgradeReport | undefined }
  const same = (was: UpgradeReport) => JSON.stringify(was) === JSON.stringify(state.running?.report)
  const store: UpgradeStore = {
    create: async ({ report }) => {
      state.created = report
    },
    running: async () => state.running && { id: 'one', ...state.running },
    addStep: async (_id, { server, text }) => steps.push(`${server}: ${text}`),
    setReport: async (_id, report, was) => {
      if (!same(was)) return false
      state.running = { kind: 'upgrade', report }
      return true
    },
    finish: async (_id, ok, report, was) => {
      if (!same(was)) return false
      steps.push(ok ? 'done' : `failed: ${report.failure}`)
      state.running = null
      return true
    },
  }
  return { state, store }
}

const active: Self = {
  server: 'server-a',
  role: 'active',
  ready: true,
  other: { name: 'server-b', version: '0.2.0', role: 'standby' },
  paused: undefined,
}

function make(
  self: Self,
  { store, launched = true }: { store: UpgradeStore; launched?: boolean },
  version = '0.2.0',
) {
  mkdirSync(join(folder, 'versions/0.3.0'), { recursive: true })
  const calls = { restarts: 0, migrations: 0, proven: 0, problems: [] as string[] }
  const upgrader = createUpgrader(
    {
      clock: systemClock,
      log: createLog({ level: 'silent', part: 'test' }),
      tally: { count: (_reason, detail) => void calls.problems.push(JSON.stringify(detail?.())) },
      store,
      home: launched ? openHome(folder) : undefined,
      self: () => self,
      fetch: async () => {},
      switchover: async () => ({ accepted: true, sentence: 'hands over' }),
      migrate: async () => ({ later: calls.migrations++ === 0 ? 1 : 0 }),
      restart: () => void calls.restarts++,
      die: () => {},
      prove: () => void calls.proven++,
    },
    { version, orderEveryMs: 12_000 },
  )
  return { upgrader, calls }
}

const request = { version: '0.3.0', holder: 'server-a', by: 'ada', id: 'one' }

describe('an upgrade is begun', () => {
  test('where both servers are as they should be', async () => {
    const { state, store } = fakeStore()
    await make(active, { store }).upgrader.begin(request)
    expect(state.created).toMatchObject({
      version: '0.3.0',
      holder: 'server-a',
      phase: 'fetch',
      before: { 'server-a': '0.2.0', 'server-b': '0.2.0' },
    })
  })

  const without = (over: Partial<Self>) => ({ ...active, ...over })
  test.each<[string, Self, Partial<typeof request>, RegExp]>([
    ['paused', without({ paused: 'new switch' }), {}, /takeovers are paused \(new switch\)/],
    [
      'the second is away',
      without({ other: { ...active.other!, role: 'unknown' } }),
      {},
      /server-b does not stand by/,
    ],
    ['too far', active, { version: '0.5.0', holder: 'server-b' }, /server-a cannot be upgraded/],
    ['not installed', active, { version: '0.3.1' }, /version 0\.3\.1 is not installed/],
    ['a stranger has it', active, { holder: 'server-c' }, /there is no server server-c/],
    ['it runs', active, { version: '0.2.0', holder: 'server-b' }, /is what runs already/],
  ])('but not when %s', async (_what, self, over, reason) => {
    const { state, store } = fakeStore()
    const { upgrader } = make(self, { store })
    await expect(upgrader.begin({ ...request, ...over })).rejects.toThrow(reason)
    expect(state.created).toBeUndefined()
  })

  test('but not beside another operation, nor without a launcher', async () => {
    const drill = fakeStore({ kind: 'drill', report: {} as UpgradeReport })
    await expect(make(active, drill).upgrader.begin(request)).rejects.toThrow(
      'a drill is under way already',
    )
    const alone = make(active, { store: fakeStore().store, launched: false })
    await expect(alone.upgrader.begin(request)).rejects.toThrow('was not started by')
  })
})

const report: UpgradeReport = {
  version: '0.3.0',
  holder: 'server-a',
  phase: 'fetch',
  before: { 'server-a': '0.2.0', 'server-b': '0.2.0' },
  orders: 0,
  restarting: null,
  failure: null,
}

test('a server that was not started by a launcher says so, and the upgrade ends', async () => {
  const { state, store } = fakeStore({ kind: 'upgrade', report })
  const standby = { ...active, server: 'server-b', role: 'standby' } as const
  const second = make(
    { ...standby, other: { name: 'server-a', version: '0.2.0', role: 'active' } },
    { store, launched: false },
  ).upgrader
  await second.start()
  await vi.advanceTimersByTimeAsync(1500)
  await second.stop()
  const first = make(active, { store }).upgrader
  await first.start()
  await vi.advanceTimersByTimeAsync(1500)
  await first.stop()
  expect(state.steps.at(-1)).toMatch(/^failed: server-b was not started by `keepwatch launch`/)
})

test('a standby restarts on trial only after it was written, and not beside one that has just come', async () => {
  const { state, store } = fakeStore({ kind: 'upgrade', report: { ...report, phase: 'first' } })
  mkdirSync(join(folder, 'versions/0.3.0/dist'), { recursive: true })
  writeFileSync(join(folder, 'versions/0.3.0/dist/main.js'), '')
  const self: Self = {
    ...{ server: 'server-b', role: 'standby', ready: true, paused: undefined },
    other: { name: 'server-a', version: '0.2.0', role: 'active' },
  }
  const { upgrader, calls } = make(self, { store })
  const home = openHome(folder)
  await upgrader.start()
  await vi.advanceTimersByTimeAsync(2500)
  expect(state.running!.report.restarting, 'it is not sure of the other yet').toBeNull()
  await vi.advanceTimersByTimeAsync(3000)
  expect(state.running!.report.restarting).toBe('server-b')
  expect(state.steps).toContain('server-b: restarts into version 0.3.0')
  expect(home.trial()).toMatchObject({ version: '0.3.0', previous: '0.2.0', operation: 'one' })
  await upgrader.stop()
  expect(calls.proven).toBe(1)
})

test('migrations that waited are tried until none is left, when no upgrade is under way', async () => {
  const { store } = fakeStore()
  const { upgrader, calls } = make(active, { store })
  await upgrader.start()
  await vi.advanceTimersByTimeAsync(100_000)
  await upgrader.stop()
  expect(calls.migrations).toBe(2)
})
