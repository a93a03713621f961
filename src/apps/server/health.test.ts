import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createHealthWatch } from './health.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-health-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function setUp(dataDir: string, engineReady: () => boolean) {
  let now = 0
  const reports: (string | undefined)[] = []
  const watch = createHealthWatch(
    {
      clock: { monotonic: () => (now += 15_000), wall: () => 0 },
      engineReady,
      report: fault => reports.push(fault),
    },
    { dataDir, everyMs: 20 },
  )
  const next = (count: number) =>
    vi.waitFor(() => expect(reports.length).toBeGreaterThanOrEqual(count), { timeout: 15_000 })
  return { watch, reports, next }
}

test('a server whose disk can be written and whose engine answers lacks nothing', async () => {
  const { watch, reports, next } = setUp(folder, () => true)
  await watch.start()
  await next(1)
  await watch.stop()
  expect(reports[0]).toBeUndefined()
})

test('a disk that cannot be written is a fault at once, an engine that is away only after a while', async () => {
  const gone = setUp(join(folder, 'gone'), () => true)
  const silent = setUp(folder, () => false)
  await gone.watch.start()
  await silent.watch.start()
  await Promise.all([gone.next(1), silent.next(3)])
  await gone.watch.stop()
  await silent.watch.stop()
  expect(gone.reports[0]).toMatch(/^its disk cannot be written: ENOENT/)
  expect(silent.reports.slice(0, 3)).toEqual([
    undefined,
    undefined,
    'its telemetry engine does not answer',
  ])
})
