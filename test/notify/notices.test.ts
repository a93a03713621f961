import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Condition } from '../../src/alarms/watch.ts'
import { pairSettings } from '../../src/api/contract/setup.ts'
import { createNotices, type Notices } from '../../src/apps/server/notices.ts'
import type { NodeStatus } from '../../src/failover/node.ts'
import type { NoticeBody } from '../../src/notify/outbox.ts'
import { createAlarms } from '../../src/store/postgres/alarms.ts'
import { readLeadership } from '../../src/store/postgres/leadership.ts'
import { createRoleChanges } from '../../src/store/postgres/role-changes.ts'
import { log, setUpMs, takeOver } from '../contract/databases.ts'
import { type Databases, openPost, type Post, startDatabases, until } from './lab.ts'

interface Row {
  key: string
  channel: string
  recipient: string
  class: string
  subject: string
  state: string
  body: NoticeBody
}

const hour = 3_600_000

describe('what happens becomes notices', { timeout: 60_000 }, () => {
  let databases: Databases
  let post: Post
  let notices: Notices
  let wall: number
  let settings: object
  const started: Notices[] = []

  beforeAll(async () => {
    databases = await startDatabases()
  }, setUpMs)
  afterAll(() => databases?.stop(), setUpMs)

  beforeEach(async () => {
    post = await openPost(databases)
    wall = Date.now()
    // Nothing listens there: what is added stays to be looked at.
    const mail = { host: '127.0.0.1', port: 1, from: 'keepwatch@example.test' }
    settings = { mail: { ...mail, recipients: ['ada@example.test', 'bob@example.test'] } }
    notices = openNotices('one')
  }, setUpMs)
  afterEach(async () => {
    for (const one of started.splice(0)) await one.stop()
    await post.stop()
  }, setUpMs)

  function openNotices(server: string): Notices {
    const { database, outbox } = post
    const made = createNotices(
      {
        ...{ log, metrics: new Registry(), database, outbox },
        clock: { wall: () => wall, monotonic: () => performance.now() },
        tally: { count: (_reason, detail) => process.stderr.write(`${detail?.().error}\n`) },
        alarms: createAlarms({ database }),
        roleChanges: createRoleChanges({ database }),
        servers: { list: async () => [] },
        readLeadership: () => readLeadership(database),
        settings: () => ({ settings: pairSettings.parse(settings), secrets: {} }),
        console: () => `https://${server}.test`,
      },
      { server },
    )
    started.push(made)
    return made
  }

  async function rows(where = 'true'): Promise<Row[]> {
    const found = await post.admin.query(`SELECT * FROM outbox WHERE ${where} ORDER BY id`)
    return found.rows
  }
  const toAda = () => rows(`recipient = 'ada@example.test'`)
  const subjects = async () => (await toAda()).map(({ subject }) => subject)

  const away = (server: string, over: Partial<Condition> = {}): Condition => ({
    key: `standby-away/${server}`,
    class: 'self-monitoring',
    severity: 'critical',
    subject: server,
    text: `The standby ${server} is away.`,
    ...over,
  })
  const raise = (condition: Condition) => notices.alarmStore(1).raise(condition)
  const clear = (key: string) => notices.alarmStore(1).clear(key)
  /** As if it had been raised so long ago. */
  async function age(key: string, seconds: number) {
    await post.admin.query(`SELECT set_config('keepwatch.term', '1', false)`)
    await post.admin.query(
      `UPDATE alarms SET raised_at = raised_at - make_interval(secs => $2)
       WHERE key = $1 AND cleared_at IS NULL`,
      [key, seconds],
    )
  }

  test('an alarm is told to everybody after a minute, with what it means and what to do', async () => {
    await raise(away('two'))
    const found = await rows()
    expect(found.map(({ recipient }) => recipient)).toEqual([
      'ada@example.test',
      'bob@example.test',
    ])
    expect(found[0]).toMatchObject({
      class: 'self-monitoring',
      channel: 'mail',
      subject: 'Keepwatch: The standby two is away.',
      body: { server: 'one', term: 1, message: { link: 'https://one.test/' } },
    })
    expect(found[0]!.body.message.act[0]).toMatch(/Start the standby/)
    const [due] = (
      await post.admin.query('SELECT not_before - clock_timestamp() AS left FROM outbox LIMIT 1')
    ).rows
    expect(due.left.seconds).toBeGreaterThan(30)
  })

  test('one that is over within a minute is never told', async () => {
    await raise(away('two'))
    await clear('standby-away/two')
    expect(await rows()).toEqual([])
  })

  test('one that lasted is told when it is over, in the same thread', async () => {
    await raise(away('two'))
    await age('standby-away/two', 300)
    await clear('standby-away/two')
    const [raised, cleared] = await toAda()
    expect(cleared!.subject).toBe('Keepwatch: over after 5 min: The standby two is away.')
    expect(cleared!.body.thread.split('/').slice(0, -1)).toEqual(
      raised!.body.thread.split('/').slice(0, -1),
    )
  })

  test('one that becomes critical is told again', async () => {
    await raise(away('two', { severity: 'warning' }))
    await raise(away('two'))
    await raise(away('two'))
    expect(await subjects()).toEqual([
      'Keepwatch: warning: The standby two is away.',
      'Keepwatch: The standby two is away.',
    ])
  })

  test('one that comes and goes is told twice, and then once an hour how often', async () => {
    for (let times = 0; times < 8; times++) {
      await raise(away('two'))
      await age('standby-away/two', 120)
      await clear('standby-away/two')
    }
    const found = await toAda()
    expect(found.map(({ key }) => key.split('/').at(0))).toEqual([
      ...['alarm', 'alarm', 'alarm', 'alarm', 'digest'],
    ])
    expect(found.at(-1)!.subject).toBe('Keepwatch: 6 times, over: The standby two is away.')
    expect((await rows()).length).toBe(10)
  })

  test('what comes and goes for seconds only is not told in the digest either', async () => {
    for (let count = 0; count < 21; count++) await raise(away(`s${count}`))
    expect((await toAda()).length).toBe(21)
    await clear('standby-away/s20')
    expect((await toAda()).map(({ key }) => key.split('/')[0])).not.toContain('digest')
  })

  test('of many alarms at once some are told, and the rest in one message', async () => {
    for (let count = 0; count < 30; count++) await raise(away(`s${count}`))
    for (let count = 25; count < 28; count++) {
      await age(`standby-away/s${count}`, 120)
      await clear(`standby-away/s${count}`)
    }
    const found = await toAda()
    expect(found.length).toBe(21)
    expect(found.at(-1)!.subject).toBe('Keepwatch: 10 alarms in short, 7 still open')
    // The next hour is another message.
    wall += hour
    await raise(away('later'))
    expect((await toAda()).length).toBe(22)
  })

  test('a takeover is told whatever else was, once for its term, in its best words', async () => {
    for (let count = 0; count < 30; count++) await raise(away(`s${count}`))
    const changes = createRoleChanges({ database: post.database })
    const become = (server: string, role: 'active' | 'standby', term: number, cause: string) =>
      changes.append({ server, role, term, cause, sentence: `${server}: ${cause}` })
    await become('one', 'active', 1, 'first')
    await takeOver(post.admin, 2)
    const two = openNotices('two')
    await two.start(2)
    const told = () => rows(`class = 'takeover' AND recipient = 'ada@example.test' AND term = 2`)
    await until(told, found => found.length > 1)
    // What is known only a moment later is in it, too.
    await become('two', 'active', 2, 'released')
    await become('one', 'standby', 1, 'switchover')
    await until(told, found =>
      found.some(({ subject }) => subject === 'Keepwatch: two took over from one as planned'),
    )
    // The same term again, by a server that begins its work anew.
    await two.stop()
    const again = openNotices('two')
    await again.start(2)
    await again.stop()
    expect((await told()).map(({ key }) => key)).toEqual([
      'takeover/1/ada@example.test',
      'takeover/2/ada@example.test',
    ])
  })

  test('two takeovers that follow at once are both told', async () => {
    await takeOver(post.admin, 2)
    const two = openNotices('two')
    await two.start(2)
    await until(toAda, found => found.length > 0)
    await two.stop()
    await takeOver(post.admin, 3)
    const three = openNotices('one')
    await three.start(3)
    const found = await until(toAda, all => all.length > 1)
    expect(found.map(({ key }) => key)).toEqual([
      'takeover/2/ada@example.test',
      'takeover/3/ada@example.test',
    ])
  })

  test('who did not choose a class is not told of it; a webhook is told what mail is', async () => {
    settings = {
      webhook: 'https://hook.test/secret',
      mail: {
        ...{ host: '127.0.0.1', from: 'keepwatch@example.test' },
        ...{ recipients: ['ada@example.test'], classes: ['synchronization'] },
      },
    }
    await raise(away('two'))
    await raise(away('two', { key: 'delivery/c1/two', class: 'synchronization' }))
    const told = (await rows()).map(({ channel, key }) => `${channel} ${key}`)
    expect(told).toEqual([
      expect.stringMatching(/^mail alarm\/delivery\/c1\/two\//),
      expect.stringMatching(/^webhook alarm\/delivery\/c1\/two\/.*https:\/\/hook.test\/secret$/),
    ])
  })

  test('where nothing is set up nothing is added', async () => {
    settings = {}
    await raise(away('two'))
    await age('standby-away/two', 120)
    await clear('standby-away/two')
    expect(await rows()).toEqual([])
  })

  test('what is not committed is not told', async () => {
    await takeOver(post.admin, 2)
    await expect(raise(away('two'))).rejects.toThrow('term 1 is over')
    expect(await rows()).toEqual([])
  })

  describe('an outage of the database', () => {
    const status = (database: string, state = 'active', role = 'active') =>
      ({ database, state, role }) as NodeStatus

    test('is told once when it is over, with its length', async () => {
      await notices.start(1)
      notices.watch(status('there'))
      notices.watch(status('away', 'held'))
      wall += 12 * 60_000
      notices.watch(status('there'))
      notices.watch(status('there'))
      const found = await until(
        () => rows(`key LIKE 'outage/%' AND recipient LIKE 'ada%'`),
        all => all.length > 0,
      )
      expect(found.map(({ subject }) => subject)).toEqual([
        'Keepwatch: the database was away for 12 min and is back',
      ])
    })

    test('is not told if it was short, or if another took over meanwhile', async () => {
      await notices.start(1)
      notices.watch(status('away', 'held'))
      wall += 20_000
      notices.watch(status('there'))
      notices.watch(status('away', 'held'))
      wall += 120_000
      notices.watch(status('there', 'standby', 'standby'))
      await notices.stop()
      expect(await rows(`key LIKE 'outage/%'`)).toEqual([])
    })
  })

  test('a test goes to everybody, whatever they chose', async () => {
    settings = { webhook: 'https://hook.test/', mail: null }
    const keys = await post.database.fenced(1, { name: 'ada' }, tx =>
      notices.test(tx, 'an-id', new Date(wall)),
    )
    expect(keys).toEqual(['test/an-id/https://hook.test/'])
    expect((await post.outbox.find(keys))[0]).toMatchObject({ class: 'test', state: 'waiting' })
  })
})
