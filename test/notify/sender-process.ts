/**
 * A server that does nothing but tell: takes the term that it is given, makes events, and sends
 * their notices. Its settings are the first argument; it says on standard output, a JSON line each,
 * that it is ready and what it found half sent.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Registry } from 'prom-client'
import { systemClock } from '../../src/lib/clock.ts'
import { createNotifier, defaultNotifierConfig } from '../../src/notify/notifier.ts'
import type { NoticeBody } from '../../src/notify/outbox.ts'
import { createDatabase } from '../../src/store/postgres/database.ts'
import { createOutbox } from '../../src/store/postgres/outbox.ts'
import { log, takeOver } from '../contract/databases.ts'
import { noticeOf, quickMail } from './lab.ts'

export interface SenderSettings {
  url: string
  term: number
  smtpPort: number
  /** Events are made until there are so many. */
  events: number
}

/** `doubted`: keys of what the one before left without an answer to its end. */
export type SenderSaid = { ready: true } | { doubted: string[]; half: number }

const say = (said: SenderSaid) => process.stdout.write(`${JSON.stringify(said)}\n`)
const { url, term, smtpPort, events } = JSON.parse(process.argv[2]!) as SenderSettings
const base = { log, metrics: new Registry(), clock: systemClock }

// As a takeover does: the sessions of the one before are ended, then the term is raised.
const claimer = new pg.Client({ connectionString: url })
await claimer.connect()
await claimer.query(
  `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
   WHERE datname = current_database() AND starts_with(application_name, 'keepwatch/sender-')`,
)
await takeOver(claimer, term)
await claimer.end()

const database = createDatabase(base, {
  url,
  applicationName: `keepwatch/sender-${term}/${randomUUID().slice(0, 8)}`,
  poolSize: 4,
})
await database.start()
const outbox = createOutbox<NoticeBody>({ database })
const queue = {
  ...outbox,
  async reopen(current: number) {
    const left = await database.query<{ key: string; state: string }>(
      `SELECT key, state FROM outbox WHERE state IN ('sending', 'ending')`,
    )
    const doubted = left.filter(({ state }) => state === 'ending').map(({ key }) => key)
    say({ doubted, half: left.length - doubted.length })
    return outbox.reopen(current)
  },
}
const notifier = createNotifier(
  {
    ...base,
    queue,
    settings: () => ({
      mail: {
        ...{ host: '127.0.0.1', port: smtpPort },
        ...{ security: 'none', from: 'keepwatch@example.test' },
      },
      webhook: null,
    }),
  },
  { ...defaultNotifierConfig, mail: quickMail, pollMs: 20 },
)
await notifier.start(term)
say({ ready: true })

for (let made = 0; made < events; ) {
  made = await database.fenced(term, { name: 'test' }, async tx => {
    const [event] = await tx.query<{ n: number }>('INSERT INTO events DEFAULT VALUES RETURNING n')
    await outbox.add(tx, [noticeOf(`event/${event!.n}`)])
    return event!.n
  })
  await sleep(10)
}
