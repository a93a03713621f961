import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { expect, test, vi } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { openAuthority } from '../../lib/tls.ts'
import { createVitals } from './vitals.ts'

test('a server’s disk, memory, certificates and clocks are measured at once and shown as metrics', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keepwatch-vitals-'))
  const metrics = new Registry()
  const counted: string[] = []
  const authority = await openAuthority(folder)
  const vitals = createVitals(
    {
      metrics,
      clock: systemClock,
      tally: { count: (_reason, detail) => counted.push(String(detail?.().error)) },
      databaseLatencyMs: () => 3,
      peerClock: () => ({ name: 'server-b', skewMs: -40 }),
      databaseTime: async () => new Date(Date.now() + 5000),
    },
    {
      folders: [folder, join(folder, 'missing')],
      certificates: [{ name: 'authority', pem: authority.ca }],
    },
  )
  await vitals.start()
  await vi.waitFor(() => expect(vitals.now().memory).toBeDefined())
  await vitals.stop()
  await rm(folder, { recursive: true })

  const { disks, memory, certificates, skews } = vitals.now()
  expect(disks.map(({ path }) => path)).toEqual([folder])
  expect(disks[0]!.freeBytes).toBeLessThanOrEqual(disks[0]!.totalBytes)
  expect(memory!.processBytes).toBeGreaterThan(10_000_000)
  expect(memory!.totalBytes).toBeGreaterThanOrEqual(memory!.availableBytes)
  expect(certificates[0]!.expires.getFullYear()).toBeGreaterThan(new Date().getFullYear() + 10)
  expect(skews[0]).toEqual({ to: 'server-b', ms: -40 })
  expect(skews[1]!.ms / 1000).toBeCloseTo(5, 0)
  // The folder that is not there is counted, and the rest goes on.
  expect(counted).toEqual([expect.stringContaining('ENOENT')])
  expect(await metrics.metrics()).toMatch(/keepwatch_clock_skew_seconds\{to="server-b"\} -0.04/)
})
