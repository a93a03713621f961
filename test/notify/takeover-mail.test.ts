import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pairSettings } from '../../src/api/contract/setup.ts'
import { startDeployment, type TestDeployment } from '../e2e/deployment.ts'
import { until } from './lab.ts'
import { hasSmtpServer, type SmtpServer, startSmtpServer } from './smtp-server.ts'

describe.skipIf(!hasSmtpServer)('a pair with a real mail server', { timeout: 240_000 }, () => {
  let deployment: TestDeployment
  let server: SmtpServer

  beforeAll(async () => {
    server = await startSmtpServer()
    deployment = await startDeployment()
  }, 180_000)
  afterAll(async () => {
    await deployment?.stop()
    deployment?.remove()
    await server?.kill()
  }, 120_000)

  async function setMail(term: number) {
    const settings = pairSettings.parse({
      mail: {
        ...{ host: '127.0.0.1', port: server.port, from: 'keepwatch@example.test' },
        recipients: ['ada@example.test', 'bob@example.test'],
      },
    })
    const client = new pg.Client({ connectionString: deployment.databaseUrl })
    await client.connect()
    try {
      await client.query('BEGIN')
      await client.query('SELECT fence($1)', [term])
      await client.query(
        `INSERT INTO pair_settings (settings, version, changed_by) VALUES ($1, 1, 'test')`,
        [settings],
      )
      await client.query('COMMIT')
    } finally {
      await client.end()
    }
  }

  const subjectsTo = (recipient: string) =>
    server.taken.filter(({ to }) => to.includes(recipient)).map(({ headers }) => headers.Subject)

  test('tells each recipient once of a test, a crash and a switchover, by the new active', async () => {
    const first = await deployment.untilActive()
    await setMail(first.term)
    // Until the servers have read the settings.
    const answer = await until(
      () =>
        deployment
          .call<{ notices: { state: string }[] }>(first.url, 'POST', '/notices/test')
          .catch(() => undefined),
      found => found !== undefined,
    )
    expect(answer!.notices.map(({ state }) => state)).toEqual(['sent', 'sent'])

    process.kill(await deployment.pidOf(first.name), 'SIGKILL')
    const second = await deployment.untilActive(first.name)
    const died = `Keepwatch: ${second.name} took over from ${first.name}: its process died`
    const began = performance.now()
    await until(
      () => subjectsTo('bob@example.test'),
      subjects => subjects.includes(died),
    )
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    process.stdout.write(`mail of the takeover: ${seconds} s after the new active was seen\n`)

    await until(
      () => deployment.call(second.url, 'POST', '/pair/switchover').catch(() => undefined),
      accepted => accepted !== undefined,
      60_000,
    )
    const planned = `Keepwatch: ${first.name} took over from ${second.name} as planned`
    await until(
      () => subjectsTo('bob@example.test'),
      subjects => subjects.includes(planned),
    )
    for (const recipient of ['ada@example.test', 'bob@example.test']) {
      const takeovers = subjectsTo(recipient).filter(subject => subject!.includes('took over'))
      expect(takeovers).toEqual([died, planned])
    }
    const mail = server.taken.find(({ headers }) => headers.Subject === died)!
    expect(mail.parts['text/plain']).toMatch(/Nobody active: for \d/)
    expect(mail.parts['text/plain']).toContain(`${second.url}/failover`)
  })
})
