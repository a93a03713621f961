import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openAuthority } from '../../src/lib/tls.ts'
import { identityOf } from '../../src/notify/channel.ts'
import type { MailSettings } from '../../src/notify/mail.ts'
import { setUpMs, takeOver } from '../contract/databases.ts'
import { type Databases, noticeOf, openPost, type Post, startDatabases, until } from './lab.ts'
import { type SmtpProxy, startSmtpProxy } from './smtp-proxy.ts'
import {
  hasSmtpServer,
  type SmtpServer,
  type SmtpSettings,
  startSmtpServer,
} from './smtp-server.ts'

describe.skipIf(!hasSmtpServer)('mail, with a real mail server', { timeout: 120_000 }, () => {
  let databases: Databases
  let post: Post
  let server: SmtpServer
  let proxy: SmtpProxy
  let mail: MailSettings

  beforeAll(async () => {
    databases = await startDatabases()
  }, setUpMs)
  afterAll(() => databases?.stop(), setUpMs)

  beforeEach(async () => {
    post = await openPost(databases)
    server = await startSmtpServer()
    proxy = await startSmtpProxy(server)
    mail = {
      ...{ host: '127.0.0.1', port: proxy.port },
      ...{ security: 'opportunistic', from: 'keepwatch@example.test' },
    }
  }, setUpMs)
  afterEach(async () => {
    await post.stop()
    await proxy.stop()
    await server.kill()
  }, setUpMs)

  const states = async () =>
    Object.fromEntries(Object.entries(await post.rows()).map(([key, { state }]) => [key, state]))
  const allSent = (seen: Record<string, string>) =>
    Object.values(seen).every(state => state === 'sent')
  const subjects = () => server.taken.map(({ headers }) => headers.Subject)

  test('what is in the outbox is sent in order, once, over one connection', async () => {
    const keys = Array.from({ length: 20 }, (_, count) => `takeover/${count}/ops`)
    await post.add(keys)
    await post.notifier({ mail, webhook: null }).start(1)
    await until(states, allSent)
    expect(subjects()).toEqual(keys.map(key => `Keepwatch: about ${key}`))
    expect(proxy.connections).toBe(1)
  })

  test('a mail is complete: who, what, as text and HTML, not to be answered', async () => {
    await post.add(['takeover/1/ops'])
    await post.notifier({ mail, webhook: null }).start(1)
    await until(states, allSent)
    const [taken] = server.taken
    const { rows } = await post.admin.query('SELECT key, created FROM outbox')
    expect(taken).toMatchObject({
      id: `<${identityOf(rows[0])}@example.test>`,
      to: ['ops@example.test'],
      mailFrom: 'keepwatch@example.test',
      headers: {
        From: 'Keepwatch <keepwatch@example.test>',
        To: 'ops@example.test',
        Subject: 'Keepwatch: about takeover/1/ops',
        'Auto-Submitted': 'auto-generated',
        'Keepwatch-Class': 'takeover',
      },
    })
    expect(taken!.parts['text/plain']).toContain('It happened: takeover/1/ops')
    expect(taken!.parts['text/html']).toContain('<td>takeover/1/ops</td>')
  })

  test('while the mail server is away everything waits, and arrives once when it is back', async () => {
    proxy.fault = 'away'
    await post.add(['a', 'b', 'c'])
    await post.notifier({ mail, webhook: null }).start(1)
    await until(post.rows, ({ a, b }) => [a!, b!].every(row => row.attempts > 0))
    await server.restart()
    proxy.fault = 'none'
    await post.hurry()
    await until(states, allSent, 60_000)
    expect(subjects().toSorted()).toEqual(['a', 'b', 'c'].map(key => `Keepwatch: about ${key}`))
  })

  test('one recipient that is refused fails, with what the server said; the others get theirs', async () => {
    await post.add(['a'], { recipient: 'unknown@example.test' })
    await post.add(['b', 'c'])
    await post.notifier({ mail, webhook: null }).start(1)
    await until(states, seen => seen.b === 'sent' && seen.c === 'sent')
    const rows = await post.rows()
    expect(rows.a).toMatchObject({ state: 'failed', attempts: 1 })
    expect(rows.a!.failure).toContain('550 5.1.1 no such user here')
    expect(await post.outbox.trouble('alarm/notices-')).toMatchObject({ failed: 1 })
  })

  test('one that is put off waits, and holds up nobody', async () => {
    await post.add(['a'], { recipient: 'greylisted@example.test' })
    await post.add(['b'])
    await post.notifier({ mail, webhook: null }).start(1)
    await until(states, seen => seen.b === 'sent')
    expect((await post.rows()).a).toMatchObject({ state: 'waiting', attempts: 1 })
    expect((await post.rows()).a!.failure).toContain('451 4.7.1')
  })

  test('contents that the server refuses are not tried again', async () => {
    const { body, subject } = noticeOf('a')
    const message = { ...body.message, happened: 'refuse-this-content' }
    await post.add(['a'], { subject, body: { ...body, message } })
    await post.notifier({ mail, webhook: null }).start(1)
    await until(states, seen => seen.a === 'failed')
    expect((await post.rows()).a!.failure).toContain('554 5.7.1')
  })

  test('a connection that breaks before the end of a mail costs nothing: it arrives once', async () => {
    proxy.fault = 'cut-before-end'
    await post.add(['a'])
    await post.notifier({ mail, webhook: null }).start(1)
    await until(post.rows, ({ a }) => a!.attempts > 0 && a!.state === 'waiting')
    proxy.fault = 'none'
    await post.hurry()
    await until(states, allSent)
    expect(server.taken.length).toBe(1)
  })

  test('after an answer that was lost the mail comes again, as the same mail', async () => {
    proxy.fault = 'cut-after-end'
    await post.add(['a'])
    await post.notifier({ mail, webhook: null }).start(1)
    const { a } = await until(
      post.rows,
      rows => rows.a!.state === 'waiting' && rows.a!.attempts > 0,
    )
    expect(a!.failure).toContain('it may have been taken')
    proxy.fault = 'none'
    await post.hurry()
    await until(states, allSent)
    expect(server.taken.length).toBe(2)
    expect(server.taken[0]!.id).toBe(server.taken[1]!.id)
  })

  test('a slow server is waited for, a mute one not for ever', async () => {
    proxy.delayMs = 150
    await post.add(['a'])
    const quick = { connectMs: 1500, sendMs: 3000, endMs: 20_000, idleMs: 1000 }
    await post.notifier({ mail, webhook: null }, { mail: quick }).start(1)
    await until(states, allSent)
    expect(server.taken.length).toBe(1)
    proxy.fault = 'mute'
    // A refusal ends the connection that is still open.
    await post.add(['b'], { recipient: 'unknown@example.test' })
    await until(states, seen => seen.b === 'failed')
    await post.add(['c'])
    await until(post.rows, ({ c }) => c!.state === 'waiting' && c!.attempts === 1)
    expect((await post.rows()).c!.failure).toMatch(/Greeting never received|within/)
  })

  test('one that is held up while another takes over drops the mail before its end', async () => {
    proxy.holdContents = true
    await post.add(['a'])
    const old = post.notifier({ mail, webhook: null })
    await old.start(1)
    await until(
      () => proxy.held,
      held => held === 1,
    )
    await takeOver(post.admin, 2)
    const young = post.notifier({ mail: { ...mail, port: server.port }, webhook: null })
    await young.start(2)
    await until(states, allSent)
    proxy.letGo()
    await until(() => old.stop().then(() => true), Boolean)
    expect(proxy.ends).toBe(0)
    expect(server.taken.length).toBe(1)
  })

  test('at a stop nothing is cut that has its end on the way, and nothing is begun', async () => {
    await post.add(Array.from({ length: 50 }, (_, count) => `takeover/${count}/ops`))
    const notifier = post.notifier({ mail, webhook: null })
    await notifier.start(1)
    await until(
      () => server.taken.length,
      count => count > 3,
    )
    const before = performance.now()
    await notifier.stop()
    expect(performance.now() - before).toBeLessThan(2000)
    const taken = server.taken.length
    expect(Object.values(await states()).filter(state => state === 'sent').length).toBe(taken)
    const again = post.notifier({ mail, webhook: null })
    await again.start(1)
    await until(states, allSent)
    expect(new Set(server.taken.map(({ id }) => id)).size).toBe(server.taken.length)
  })

  test('drained before a hand-over, it has nothing under way and begins nothing', async () => {
    proxy.delayMs = 100
    await post.add(['a', 'b', 'c', 'd'])
    const notifier = post.notifier({ mail, webhook: null })
    await notifier.start(1)
    await until(states, seen => Object.values(seen).some(state => state === 'sending'))
    await notifier.drain(20_000)
    const after = Object.values(await states())
    expect(after.filter(state => state === 'sending' || state === 'ending')).toEqual([])
    expect(after.filter(state => state === 'sent').length).toBe(server.taken.length)
  })

  test('nothing is sent by a channel that is not set up, and what waited for it is dropped', async () => {
    await post.add(['a'])
    await post.notifier({ mail: null, webhook: null }).start(1)
    await until(post.rows, rows => Object.keys(rows).length === 0)
    expect(server.taken).toEqual([])
  })

  test('one that cannot be sent for too long is given up, and says why', async () => {
    proxy.fault = 'away'
    await post.add(['a'])
    await post.notifier({ mail, webhook: null }, { giveUpMs: 0 }).start(1)
    await until(states, seen => seen.a === 'failed')
    expect((await post.rows()).a!.failure).toMatch(/^given up after 0 hours: /)
  })

  describe('encrypted and with a password', () => {
    let folder: string
    let ca: string
    let files: { certificate: string; key: string }
    const user = { user: 'keepwatch', password: 'correct horse' }
    const servers: SmtpServer[] = []

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'keepwatch-smtp-'))
      files = { certificate: join(folder, 'crt.pem'), key: join(folder, 'key.pem') }
      const authority = await openAuthority(folder)
      const identity = await authority.issue({ role: 'server', name: 'mail', hosts: ['127.0.0.1'] })
      await writeFile(files.certificate, identity.cert)
      await writeFile(files.key, identity.key)
      ca = authority.ca
    })
    afterEach(async () => {
      for (const one of servers.splice(0)) await one.kill()
    })
    afterAll(() => rm(folder, { recursive: true }))

    async function sendTo(
      settings: SmtpSettings,
      how: Partial<MailSettings>,
      config: { ca?: string } = { ca },
    ) {
      const one = await startSmtpServer(settings)
      servers.push(one)
      await post.add(['a'])
      const mailConfig = { connectMs: 5000, sendMs: 20_000, endMs: 20_000, idleMs: 1000, ...config }
      const settingsOfMail = { ...mail, port: one.port, ...how }
      await post.notifier({ mail: settingsOfMail, webhook: null }, { mail: mailConfig }).start(1)
      const { a } = await until(
        post.rows,
        rows => rows.a!.attempts > 0 && rows.a!.state !== 'sending' && rows.a!.state !== 'ending',
      )
      return { row: a!, taken: one.taken }
    }

    test('STARTTLS with a log-in', async () => {
      const { taken } = await sendTo({ ...files, ...user }, { security: 'starttls', ...user })
      expect(taken).toMatchObject([{ tls: true, user: 'keepwatch' }])
    })

    test('TLS from the start with a log-in', async () => {
      const { taken } = await sendTo(
        { ...files, ...user, implicitTls: true },
        { security: 'tls', ...user },
      )
      expect(taken).toMatchObject([{ tls: true, user: 'keepwatch' }])
    })

    test('where it is offered, without being asked, and without proof', async () => {
      const { taken } = await sendTo(files, { security: 'opportunistic' }, {})
      expect(taken).toMatchObject([{ tls: true, user: null }])
    })

    test('not to a server whose certificate is not vouched for', async () => {
      const { row, taken } = await sendTo(files, { security: 'starttls' }, {})
      expect(row).toMatchObject({ state: 'waiting', failure: expect.stringMatching(/certificate/) })
      expect(taken).toEqual([])
    })

    test('not in clear where encryption is demanded', async () => {
      const { row, taken } = await sendTo({}, { security: 'starttls' })
      expect(row.state).toBe('waiting')
      expect(row.failure).toMatch(/STARTTLS/)
      expect(taken).toEqual([])
    })

    test('no password in clear unless security is none', async () => {
      const { row } = await sendTo({}, { security: 'opportunistic', ...user })
      expect(row.failure).toBe('the server offers no encryption, so the password was not sent')
    })

    test('a wrong password is said in words', async () => {
      const { row } = await sendTo(
        { ...files, ...user },
        { security: 'starttls', ...user, password: 'wrong' },
      )
      expect(row).toMatchObject({ state: 'waiting', failure: expect.stringContaining('535') })
      expect(row.failure).not.toContain('wrong')
    })
  })
})
