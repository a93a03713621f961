/** The active is frozen while clients write, and wakes up when another has taken over. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startDeployment, type TestDeployment } from './deployment.ts'

let deployment: TestDeployment

beforeAll(async () => {
  deployment = await startDeployment()
}, 180_000)

afterAll(async () => {
  await deployment?.stop()
  deployment?.remove()
}, 120_000)

test('a frozen active writes nothing any more after the new term has written', async () => {
  const { call, summary } = deployment
  const frozen = await deployment.untilActive()
  const { id } = await call<{ id: string }>(frozen.url, 'POST', '/devices', {
    name: 'hammered',
    address: '192.0.2.1',
    driver: 'cisco-ios',
    enabled: false,
  })

  const stop = new AbortController()
  const written: Record<string, number> = {}
  const hammers = summary.servers.flatMap(({ name, url }) =>
    Array.from({ length: 4 }, async (_, client) => {
      for (let n = 0; !stop.signal.aborted; n++) {
        const note = `${name} ${client} ${n}`
        await call(url, 'PATCH', `/devices/${id}`, { note }).then(
          () => {
            written[name] = (written[name] ?? 0) + 1
          },
          () => sleep(5),
        )
      }
    }),
  )
  await sleep(2000)
  const pid = await deployment.pidOf(frozen.name)
  process.kill(pid, 'SIGSTOP')
  const next = await deployment.untilActive(frozen.name)
  await sleep(2000)
  process.kill(pid, 'SIGCONT')
  await sleep(5000)
  stop.abort()
  await Promise.all(hammers)

  process.stdout.write(
    `takeover from a frozen active: ${next.seconds.toFixed(2)} s; writes accepted: ${JSON.stringify(written)}\n`,
  )
  expect(next.seconds).toBeLessThan(12)
  expect(written[frozen.name]).toBeGreaterThan(10)
  expect(written[next.name]).toBeGreaterThan(10)

  const client = new pg.Client({ connectionString: deployment.databaseUrl })
  await client.connect()
  try {
    // By the order of commits, as the database itself recorded it.
    const { rows } = await client.query<{ term: string }>(
      'SELECT term FROM audit ORDER BY pg_xact_commit_timestamp(xmin), id',
    )
    const terms = rows.map(({ term }) => Number(term))
    expect(terms.length).toBeGreaterThan(20)
    expect(terms).toEqual([...terms].sort((a, b) => a - b))
    expect(new Set(terms)).toEqual(new Set([frozen.term, next.term]))
  } finally {
    await client.end()
  }
  const answer = await fetch(`${frozen.url}/active`)
  expect(await answer.json()).toMatchObject({ role: 'standby', active: next.name })
}, 180_000)
