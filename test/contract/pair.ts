/** What a pair of servers keeps in the state: settings, invitations, messages, operations. */
import { randomBytes, randomUUID } from 'node:crypto'
import { Registry } from 'prom-client'
import { beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/lib/clock.ts'
import { Conflict, InvalidCursor, TermOver } from '../../src/lib/errors.ts'
import type { NewNotice, NoticeBody, OutboxQueue, OutboxWrites } from '../../src/notify/outbox.ts'
import { createContents } from '../../src/store/postgres/contents.ts'
import type { Tx } from '../../src/store/postgres/database.ts'
import { createJoinTokens, type JoinTokens } from '../../src/store/postgres/join-tokens.ts'
import { createOperations, type Operations } from '../../src/store/postgres/operations.ts'
import { createOutbox, type Outbox } from '../../src/store/postgres/outbox.ts'
import {
  createPairSettings,
  type PairSettingsStore,
} from '../../src/store/postgres/pair-settings.ts'
import { createRetention } from '../../src/store/postgres/retention.ts'
import { createSessions } from '../../src/store/postgres/sessions.ts'
import { createUsers } from '../../src/store/postgres/users.ts'
import { log, type TestState } from './databases.ts'

const key = randomBytes(32)

export function pairContract(current: () => TestState): void {
  let state: TestState
  beforeEach(() => {
    state = current()
  })

  describe('the settings of the pair', () => {
    let settings: PairSettingsStore
    beforeEach(() => {
      settings = createPairSettings(state, { key })
    })

    test('are nothing until somebody sets them, and then what was set, by whom', async () => {
      expect(await settings.read()).toBeUndefined()
      const written = await state.write(tx =>
        settings.write(tx, {
          settings: { sharedFolder: '/srv/share' },
          secrets: { smtpPassword: 'hunter2' },
          version: 0,
        }),
      )
      expect(written).toEqual({
        settings: { sharedFolder: '/srv/share' },
        secrets: { smtpPassword: 'hunter2' },
        version: 1,
        changedAt: expect.any(Date),
        changedBy: 'ann',
      })
      expect(await settings.read()).toEqual(written)
    })

    test('are not overwritten by who read them before somebody else changed them', async () => {
      const write = (to: string, version: number) =>
        state.write(tx => settings.write(tx, { settings: { to }, version }))
      await write('first', 0)
      await write('second', 1)
      await expect(write('late', 1)).rejects.toThrow(Conflict)
      await expect(write('late', 0)).rejects.toMatchObject({ constraint: 'pair_settings_version' })
      expect(await settings.read()).toMatchObject({ settings: { to: 'second' }, version: 2 })
    })

    test('are set by one of two who begin at the same moment', async () => {
      const outcomes = await Promise.allSettled(
        ['a', 'b'].map(to =>
          state.write(tx => settings.write(tx, { settings: { to }, version: 0 })),
        ),
      )
      expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      expect((await settings.read())!.version).toBe(1)
    })

    test('keep secrets that are not named, drop those that are null, and hide them all', async () => {
      const write = (secrets: object, version: number) =>
        state.write(tx => settings.write(tx, { settings: {}, secrets, version }))
      await write({ smtpPassword: 'hunter2', tsigSecret: 'dHNpZw==' }, 0)
      await write({ webhookSecret: 'w', tsigSecret: undefined }, 1)
      const third = await write({ smtpPassword: null }, 2)
      expect(third.secrets).toEqual({ tsigSecret: 'dHNpZw==', webhookSecret: 'w' })
      const [row] = await state.database.query<{ secrets: Buffer }>(
        'SELECT secrets FROM pair_settings',
      )
      expect(row!.secrets.includes('dHNpZw')).toBe(false)
      const elsewhere = createPairSettings(state, { key: randomBytes(32) })
      await expect(elsewhere.read()).rejects.toThrow('another key')
      expect(await write({ tsigSecret: null, webhookSecret: null }, 3)).toMatchObject({
        secrets: {},
      })
    })
  })

  describe('a join token', () => {
    let tokens: JoinTokens
    beforeEach(() => {
      tokens = createJoinTokens(state, { key })
    })

    test('lets one machine in, once, whoever else asks at the same moment', async () => {
      const made = await state.write(tx => tokens.create(tx, 60))
      expect(made.secret).toMatch(/^[\w-]{43}$/)
      expect(await tokens.find(made.id)).toEqual(made)
      const uses = await Promise.all(
        Array.from({ length: 4 }, (_, i) => state.write(tx => tokens.use(tx, made.id, `m${i}`))),
      )
      expect(uses.filter(Boolean)).toHaveLength(1)
      const used = await tokens.find(made.id)
      expect(used).toMatchObject({ usedBy: `m${uses.indexOf(true)}`, usedAt: expect.any(Date) })
      // The same one may ask again: the answer may have been lost.
      expect(await state.write(tx => tokens.use(tx, made.id, used!.usedBy!))).toBe(true)
    })

    test('lets nobody in after its time, nor under another name', async () => {
      const made = await state.write(tx => tokens.create(tx, 0))
      expect(await tokens.find(made.id)).toMatchObject({ expired: true, usedBy: null })
      expect(await state.write(tx => tokens.use(tx, made.id, 'late'))).toBe(false)
      expect(await tokens.find(randomUUID())).toBeNull()
      expect(await tokens.find("x' OR true")).toBeNull()
    })

    test('is of no use to who reads the database', async () => {
      const made = await state.write(tx => tokens.create(tx, 60))
      const [row] = await state.database.query<{ secret: Buffer }>('SELECT secret FROM join_tokens')
      expect(row!.secret.includes(made.secret)).toBe(false)
      const elsewhere = createJoinTokens(state, { key: randomBytes(32) })
      await expect(elsewhere.find(made.id)).rejects.toThrow('another key')
    })
  })

  describe('the outbox', () => {
    let outbox: Outbox<NoticeBody>
    beforeEach(() => {
      outbox = createOutbox<NoticeBody>(state)
      // What the notices ask for is what the store gives.
      outbox satisfies OutboxWrites<Tx> & OutboxQueue
    })

    const body = (happened: string): NoticeBody => ({
      message: { subject: happened, happened, facts: [], means: '', act: [], link: null },
      at: '2026-11-22T00:00:00Z',
      server: 'one',
      term: 7,
      thread: 'a',
    })
    const message = (id: string, change: Partial<NewNotice> = {}): NewNotice => ({
      key: `takeover/7/${id}`,
      class: 'takeover',
      channel: 'mail',
      recipient: 'ops@example.net',
      subject: `about ${id}`,
      body: body(id),
      delayMs: 0,
      ...change,
    })
    const add = (...messages: NewNotice[]) => state.write(tx => outbox.add(tx, messages))
    const states = async () =>
      (await outbox.list({ limit: 10 })).rows.map(row => `${row.subject}: ${row.state}`).sort()

    test('takes a message once, however often it is added, and none of what was rolled back', async () => {
      expect(await add(message('a'), message('b'))).toBe(2)
      expect(await add(message('a'), message('c'))).toBe(1)
      await state
        .write(async tx => {
          await outbox.add(tx, [message('undone')])
          throw new Error('changed my mind')
        })
        .catch(() => {})
      expect(await states()).toEqual(['about a: waiting', 'about b: waiting', 'about c: waiting'])
    })

    test('gives each message to one sender, oldest first, when its time has come', async () => {
      await add(message('later', { delayMs: 60_000 }), message('a'), message('b'))
      await add(message('hook', { channel: 'webhook', recipient: 'https://example.net/' }))
      const claims = await Promise.all(Array.from({ length: 4 }, () => outbox.claim(1, 'mail')))
      const claimed = claims.flatMap(each => each ?? [])
      expect(claimed.map(({ key }) => key).sort()).toEqual(['takeover/7/a', 'takeover/7/b'])
      expect(claimed[0]).toMatchObject({
        attempts: 1,
        class: 'takeover',
        created: expect.any(Date),
      })
      expect(claimed[0]!.ageMs).toBeGreaterThanOrEqual(0)
      expect(claimed.find(({ key }) => key.endsWith('a'))!.body).toEqual(body('a'))
      expect(await outbox.claim(1, 'webhook')).toMatchObject({ recipient: 'https://example.net/' })
    })

    test('remembers how far a message came', async () => {
      await add(message('sent'), message('refused'), message('busy'))
      const take = async () => (await outbox.claim(1, 'mail'))!.id
      const [sent, refused, busy] = [await take(), await take(), await take()]
      expect(await outbox.ending(1, sent)).toBe(true)
      expect(await outbox.ending(1, sent)).toBe(false)
      await outbox.sent(1, sent)
      await outbox.failed(1, refused, '550 no such user')
      await outbox.later(1, busy, '451 try again', 0)
      const { rows } = await outbox.list({ limit: 10 })
      expect(rows.map(({ state, failure, attempts }) => [state, failure, attempts])).toEqual([
        ['waiting', '451 try again', 1],
        ['failed', '550 no such user', 1],
        ['sent', null, 1],
      ])
      expect(rows[2]!.sentAt).toBeInstanceOf(Date)
      await outbox.later(1, sent, 'never mind', 0)
      expect((await outbox.list({ limit: 10, state: 'sent' })).rows).toHaveLength(1)
      expect(await outbox.claim(1, 'mail')).toMatchObject({ id: busy, attempts: 2 })
    })

    test('gives what a former active left half sent to the next one', async () => {
      await add(message('a'), message('b'), message('c'))
      const a = await outbox.claim(1, 'mail')
      const b = await outbox.claim(1, 'mail')
      await outbox.ending(1, b!.id)
      await state.raiseTerm(2)
      await expect(outbox.sent(1, b!.id)).rejects.toThrow(TermOver)
      expect(await outbox.reopen(2)).toEqual({ sending: 1, ending: 1 })
      expect(await outbox.reopen(2)).toEqual({ sending: 0, ending: 0 })
      const { rows } = await outbox.list({ limit: 10 })
      expect(rows.map(({ failure }) => failure)).toEqual([
        null,
        'the server ended while the recipient may have taken it already',
        'the server ended while it sent this',
      ])
      const again = await Promise.all([1, 2, 3].map(() => outbox.claim(2, 'mail')))
      expect(again.map(each => each!.attempts).sort()).toEqual([1, 2, 2])
      expect(again.map(each => each!.id)).toContain(a!.id)
    })

    test('lets words be changed and messages withdrawn only before somebody tried to send them', async () => {
      await add(message('a'), message('b'))
      await outbox.claim(1, 'mail')
      const words = { subject: 'new', body: body('new') }
      await state.write(async tx => {
        expect(await outbox.lockWaiting(tx, 'takeover/7/a')).toBeUndefined()
        expect(await outbox.lockWaiting(tx, 'takeover/7/b')).toEqual(body('b'))
        expect(await outbox.reword(tx, 'takeover/7/a', words)).toBe(false)
        expect(await outbox.reword(tx, 'takeover/7/b', words)).toBe(true)
      })
      expect(await states()).toEqual(['about a: sending', 'new: waiting'])
      expect(await state.write(tx => outbox.withdraw(tx, 'takeover/%'))).toBe(0)
      expect(await state.write(tx => outbox.withdraw(tx, 'takeover/7/'))).toBe(1)
      expect(await states()).toEqual(['about a: sending'])
    })

    test('counts what a recipient was told lately, drops a channel, and forgets what is old', async () => {
      await add(message('a'), message('b'), message('c', { recipient: 'other@example.net' }))
      const recent = (withinMs: number) =>
        state.write(tx =>
          outbox.countRecent(tx, {
            channel: 'mail',
            recipient: 'ops@example.net',
            keyPrefix: 'takeover/',
            withinMs,
          }),
        )
      expect(await recent(60_000)).toBe(2)
      expect(await recent(0)).toBe(0)
      const { id } = (await outbox.claim(1, 'mail'))!
      await outbox.sent(1, id)
      expect(await outbox.prune(1, 60_000)).toBe(0)
      expect(await outbox.prune(1, 0)).toBe(1)
      expect(await outbox.discard(1, 'webhook')).toBe(0)
      expect(await outbox.discard(1, 'mail')).toBe(2)
    })

    test('is listed newest first, page by page', async () => {
      await add(message('a'), message('b'), message('c'))
      const first = await outbox.list({ limit: 2 })
      expect(first.rows.map(({ subject }) => subject)).toEqual(['about c', 'about b'])
      const rest = await outbox.list({ limit: 2, cursor: first.next! })
      expect(rest.rows.map(({ subject }) => subject)).toEqual(['about a'])
      expect(rest.next).toBeNull()
    })
  })

  describe('an operation', () => {
    let operations: Operations
    beforeEach(() => {
      operations = createOperations(state)
    })

    test('is written by both servers, in any term, until it has ended', async () => {
      const { id } = await operations.create({ kind: 'drill', by: 'ann', report: { to: 'two' } })
      expect(await operations.running('drill')).toMatchObject({ id, ok: null, finished: null })
      expect(await operations.running('upgrade')).toBeNull()
      const other = createOperations({ database: state.other })
      await Promise.all([
        operations.addStep(id, { server: 'one', text: 'hands over', ok: null }),
        other.addStep(id, { server: 'two', text: 'is active', ok: true }),
      ])
      await state.raiseTerm(2)
      expect(await other.setReport(id, { to: 'two', thereMs: 300 })).toBe(true)
      expect(await operations.finish(id, true)).toBe(true)
      const ended = await operations.find(id)
      expect(ended).toMatchObject({
        kind: 'drill',
        by: 'ann',
        ok: true,
        finished: expect.any(Date),
        report: { to: 'two', thereMs: 300 },
      })
      expect(ended!.steps.map(({ server }) => server).sort()).toEqual(['one', 'two'])
      expect(Math.abs(ended!.steps[0]!.at.getTime() - Date.now())).toBeLessThan(60_000)
      expect(await operations.addStep(id, { server: 'one', text: 'late', ok: null })).toBe(false)
      expect(await operations.finish(id, false)).toBe(false)
      expect(await operations.running()).toBeNull()
    })

    test('is listed newest first, page by page, and forgotten in the end', async () => {
      const ids: string[] = []
      for (const kind of ['drill', 'upgrade', 'drill'] as const) {
        ids.unshift((await operations.create({ kind, by: 'ann' })).id)
      }
      const first = await operations.list({ limit: 2 })
      expect(first.rows.map(({ id }) => id)).toEqual(ids.slice(0, 2))
      const rest = await operations.list({ limit: 2, cursor: first.next! })
      expect(rest).toMatchObject({ rows: [{ id: ids[2] }], next: null })
      expect((await operations.list({ limit: 9, kind: 'upgrade' })).rows).toHaveLength(1)
      await expect(operations.list({ limit: 1, cursor: '7' })).rejects.toThrow(InvalidCursor)
      expect(await operations.find('7')).toBeNull()
      expect(await operations.prune(60_000)).toBe(0)
      expect(await operations.prune(0)).toBe(3)
    })
  })

  test('what nobody needs any more goes after a while, and what people did stays', async () => {
    const contents = createContents(state, { key })
    const sessions = createSessions(state)
    const operations = createOperations(state)
    const users = createUsers(state)
    const metrics = new Registry()
    const { user } = (await state.write(tx => users.createFirst(tx)))!
    await sessions.create(user.id, 3600)
    await sessions.create(user.id, 0)
    await state.write(async tx => {
      await contents.store(tx, 'hostname a')
      await tx.query(
        `INSERT INTO contents (hash, compressed, size)
         SELECT 'old-' || n, '', 0 FROM generate_series(1, 1500) n`,
      )
      await tx.query("INSERT INTO audit (who, action, subject, term) VALUES ('ann', 'x', 'y', 1)")
    })
    await operations.create({ kind: 'drill', by: 'ann' })
    const failing = { prune: () => Promise.reject(new Error('out of order')) }
    const retention = createRetention(
      {
        log,
        metrics,
        clock: systemClock,
        database: state.database,
        contents,
        sessions,
        outbox: failing,
        operations,
      },
      { firstMs: 0, everyMs: 3_600_000, keepMessagesMs: 0, keepOperationsMs: 0 },
    )
    const left = async (table: string) =>
      (await state.database.query(`SELECT FROM ${table}`)).length
    await retention.start(1)
    try {
      await expect.poll(() => left('operations'), { timeout: 20_000 }).toBe(0)
    } finally {
      await retention.stop()
    }
    expect(await left('contents')).toBe(0)
    expect(await left('sessions')).toBe(1)
    expect(await left('audit')).toBe(1)
    const said = await metrics.metrics()
    expect(said).toContain('keepwatch_retention_rows_total{work="contents"} 1501')
    expect(said).toContain('keepwatch_retention_rows_total{work="sealing"} 1500')
    expect(said).toContain('keepwatch_retention_failures_total{reason="messages"} 1')
  })
}
