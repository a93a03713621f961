import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createHealthWatch, type Listener, ownUrl } from './health.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-health-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function setUp(dataDir: string, engineReady: () => boolean, listeners: Listener[] = []) {
  let now = 0
  const reports: (string | undefined)[] = []
  const watch = createHealthWatch(
    {
      clock: { monotonic: () => (now += 15_000), wall: () => 0 },
      engineReady,
      listeners: () => listeners,
      collects: () => true,
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

test('a listener that is gone is a fault at once', async () => {
  const server = createServer((_request, response) => response.writeHead(503).end())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const { watch, reports, next } = setUp(folder, () => true, [
    { what: 'console', url: ownUrl('http', '0.0.0.0', port, '/active') },
  ])
  await watch.start()
  await next(1)
  expect(reports).toEqual(reports.map(() => undefined))
  await new Promise(resolve => {
    server.close(resolve)
    server.closeAllConnections()
  })
  await vi.waitFor(() =>
    expect(reports.at(-1)).toMatch(/^its console does not answer: .*ECONNREFUSED/),
  )
  await watch.stop()
})
