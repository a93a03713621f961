/** A PostgreSQL, and in it the outbox of one test, with a notifier as a server has it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Registry } from 'prom-client'
import { systemClock } from '../../src/lib/clock.ts'
import { freePort } from '../../src/lib/ports.ts'
import { defaultMailConfig } from '../../src/notify/mail.ts'
import {
  createNotifier,
  defaultNotifierConfig,
  type Notifier,
  type NotifierConfig,
  type NotifySettings,
} from '../../src/notify/notifier.ts'
import type { Channel, NewNotice, NoticeBody, OutboxQueue } from '../../src/notify/outbox.ts'
import type { Database } from '../../src/store/postgres/database.ts'
import { createEmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import { createOutbox, type Outbox } from '../../src/store/postgres/outbox.ts'
import {
  createTestDatabases,
  log,
  openDatabase,
  type TestDatabases,
  takeOver,
} from '../contract/databases.ts'

export interface Databases extends TestDatabases {
  url: string
}

export async function startDatabases(): Promise<Databases> {
  const folder = await mkdtemp(join(tmpdir(), 'keepwatch-notify-'))
  const postgres = createEmbeddedPostgres(
    { log },
    { dataDir: join(folder, 'postgres'), port: await freePort() },
  )
  await postgres.start()
  const databases = await createTestDatabases(postgres.url)
  return {
    ...databases,
    url: postgres.url,
    async stop() {
      await databases.stop()
      await postgres.stop()
      await rm(folder, { recursive: true })
    },
  }
}

/** The state of one test, in term 1. */
export interface Post {
  url: string
  database: Database
  outbox: Outbox<NoticeBody>
  admin: pg.Client
  /** Adds notices with these keys for one recipient. */
  add(keys: readonly string[], notice?: Partial<NewNotice>): Promise<void>
  /** A notifier that polls often; stopped with the rest. */
  notifier(
    settings: NotifySettings,
    config?: Partial<NotifierConfig>,
    queue?: OutboxQueue,
  ): Notifier
  /** The rows, by key. */
  rows(): Promise<Record<string, { state: string; attempts: number; failure: string | null }>>
  /** What is waited for before its time is due now. */
  hurry(): Promise<void>
  stop(): Promise<void>
}

export const quickMail = { ...defaultMailConfig, connectMs: 5000, sendMs: 20_000, endMs: 20_000 }

export async function openPost(databases: Databases): Promise<Post> {
  const url = await databases.create()
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  await takeOver(admin, 1)
  const database = openDatabase(url)
  await database.start()
  const outbox = createOutbox<NoticeBody>({ database })
  const notifiers: Notifier[] = []
  return {
    url,
    database,
    outbox,
    admin,
    async add(keys, notice = {}) {
      const notices = keys.map(key => ({ ...noticeOf(key), ...notice }))
      await database.fenced(1, { name: 'test' }, tx => outbox.add(tx, notices))
    },
    notifier(settings, config = {}, queue = outbox) {
      const made = createNotifier(
        {
          log,
          metrics: new Registry(),
          clock: systemClock,
          queue,
          settings: () => settings,
        },
        { ...defaultNotifierConfig, pollMs: 50, mail: quickMail, ...config },
      )
      notifiers.push(made)
      return made
    },
    async rows() {
      const { rows } = await admin.query('SELECT key, state, attempts, failure FROM outbox')
      return Object.fromEntries(rows.map(({ key, ...row }) => [key, row]))
    },
    async hurry() {
      await admin.query(
        `SELECT set_config('keepwatch.term', (SELECT term FROM leadership)::text, false)`,
      )
      await admin.query(`UPDATE outbox SET not_before = clock_timestamp() WHERE state = 'waiting'`)
    },
    async stop() {
      for (const notifier of notifiers) await notifier.stop()
      await database.stop()
      await admin.end()
      await databases.drop(url)
    },
  }
}

export const recipient = 'ops@example.test'

export function noticeOf(key: string, channel: Channel = 'mail'): NewNotice {
  const subject = `Keepwatch: about ${key}`
  const message = {
    ...{ subject, happened: `It happened: ${key}`, facts: [['Key', key] as const] },
    ...{ means: 'A test.', act: ['Nothing.'], link: 'https://console.test/' },
  }
  const body = { message, at: '2026-11-22T01:29:04.000Z', server: 'one', term: 1, thread: key }
  return { key, class: 'takeover', channel, recipient, subject, body, delayMs: 0 }
}

/** Waits until it holds. @throws with what was seen last */
export async function until<T>(
  look: () => T | Promise<T>,
  holds: (seen: T) => boolean,
  withinMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const seen = await look()
    if (holds(seen)) return seen
    if (performance.now() > deadline) {
      throw new Error(`not within ${withinMs} ms: ${JSON.stringify(seen, undefined, 1)}`)
    }
    await sleep(20)
  }
}
