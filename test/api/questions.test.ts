/** Questions at the edges of what the API takes, answered by the real engine. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { askOf } from '../../src/apps/server/ask.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { type Component, createSequence } from '../../src/lib/component.ts'
import { createLog } from '../../src/lib/log.ts'
import { createEmbeddedEngine } from '../../src/store/clickhouse/engine.ts'
import { createTelemetryStore } from '../../src/store/clickhouse/telemetry-store.ts'
import { type Edge, startEdge } from '../fixtures/http-edge.ts'

let folder: string
let engine: Component
let edge: Edge
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-questions-'))
  const base = {
    log: createLog({ level: 'silent', part: 'test' }),
    metrics: new Registry(),
    clock: systemClock,
  }
  const connection = createEmbeddedEngine(base, { dataDir: folder })
  const telemetry = createTelemetryStore({ ...base, connection })
  engine = createSequence([connection, telemetry])
  await engine.start()
  edge = await startEdge({
    ask: askOf(telemetry),
    estimate: ({ text, params }) => telemetry.estimate(text, params),
    progress: telemetry.progress,
  })
}, 60_000)
afterAll(async () => {
  await edge?.stop()
  await engine?.stop()
  rmSync(folder, { recursive: true })
})

const ranges = {
  'the last hour': '',
  'the first second': 'from=1970-01-01T00:00:00Z&to=1970-01-01T00:00:01Z',
  'the last second': 'from=2106-02-07T06:28:14Z&to=2106-02-07T06:28:15Z',
  'a millisecond': 'from=2025-11-21T00:00:00.001Z&to=2025-11-21T00:00:00.002Z',
  'ten years': 'from=2020-01-01T00:00:00Z&to=2029-12-31T23:59:59.999Z',
}
const awkward = encodeURIComponent('it\'s \\ {x:Int8} ? % \t\n 🎉 \u202e `"--')
const questions = [
  'logs',
  `logs?text=${awkward}&severity=7&sender=${awkward.slice(0, 30)}&limit=1000`,
  'logs?cursor=0-999999999',
  'logs/histogram?severity=0&sender=::1',
  `traps?text=${awkward}&cursor=0-0`,
  'traffic/series',
  'traffic/series?by=src.addr&groups=50&metric=packets&where=src.addr=010.0.0.1&where=dst.port=9999999999',
  'traffic/series?by=dst.port&metric=flows&where=dst.addr=FE80::1%25eth0&where=dst.port=0000000443',
  'traffic/top?by=src.addr,dst.addr,src.port,dst.port&limit=10000',
  'traffic/top?by=application,in.interface,vrf.name',
  'traffic/progress/7c9e6679-7425-40de-944b-e07fc1f90ae7',
  'exporters/heard',
  'exporters/compared',
  'exporters/192.0.2.1/interfaces',
]

test.each(
  Object.entries(ranges).flatMap(([name, range]) =>
    questions.map(question => [name, question, range] as const),
  ),
)('of %s: %s', async (_, question, range) => {
  const path = `/api/v1/${question}${question.includes('?') ? '&' : '?'}${range}`
  const reply = await edge.call('GET', path, { headers: { cookie: edge.cookieOf('viewer') } })
  expect(reply.json.error).toBeUndefined()
  expect(reply.status).toBe(200)
})
