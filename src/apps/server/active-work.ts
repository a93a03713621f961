import { readFileSync } from 'node:fs'
import type { Condition } from '../../alarms/watch.ts'
import { createAlarmWatch } from '../../alarms/watch.ts'
import type { BackupJobs } from '../../devices/jobs.ts'
import type { Log } from '../../lib/log.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Alarms } from '../../store/postgres/alarms.ts'
import type { Database, Tx } from '../../store/postgres/database.ts'
import type { Tokens } from '../../store/postgres/tokens.ts'
import type { Users } from '../../store/postgres/users.ts'

/** What only the active does; the node starts it with the term it has won. */
export interface ActiveWork {
  start(term: number): Promise<void>
  stop(): Promise<void>
}

export function createActiveWork(
  deps: {
    log: Log
    database: Database
    users: Users
    tokens: Tokens
    alarms: Alarms
    backups: BackupJobs
    conditions(): Promise<readonly Condition[]>
    /** Messages of the last minutes, which the former active may not have looked at. */
    lookBack(): Promise<void>
    tally: Pick<Tally<'alarms' | 'look-back'>, 'count'>
  },
  config: { first: { passwordFile: string; tokenFile: string } | undefined },
): ActiveWork {
  const { database, log } = deps
  let running: { stop(): Promise<void> }[] = []

  const inTerm =
    (term: number) =>
    <T>(work: (tx: Tx) => Promise<T>) =>
      database.fenced(term, { name: 'keepwatch' }, work)

  /** An administrator to log in as, and a token for programs, in a deployment that has nobody yet. */
  async function createFirst(term: number) {
    if ((await deps.users.list()).length > 0) return
    const password = config.first && readFileSync(config.first.passwordFile, 'utf8').trim()
    const passwordHash = password && (await deps.users.hashPassword(password))
    await inTerm(term)(async tx => {
      if (config.first && passwordHash) {
        const { passwordFile, tokenFile } = config.first
        await deps.users.create(tx, {
          name: 'admin',
          role: 'administrator',
          passwordHash,
          mustChange: true,
        })
        await deps.tokens.adopt(tx, {
          name: 'local',
          role: 'administrator',
          secret: readFileSync(tokenFile, 'utf8').trim(),
        })
        log.info({ passwordFile }, 'created the user admin; the file holds the first password')
      } else {
        const first = await deps.users.createFirst(tx)
        if (first) log.warn(`created the user admin with the first password ${first.password}`)
      }
    })
  }

  return {
    async start(term) {
      const write = inTerm(term)
      const watch = createAlarmWatch({
        store: {
          async open() {
            const { rows } = await deps.alarms.list({ open: true, limit: 1000 })
            return rows.map(({ key }) => key)
          },
          raise: condition => write(tx => deps.alarms.raise(tx, condition)),
          clear: key => write(tx => deps.alarms.clear(tx, key)),
        },
        conditions: deps.conditions,
        tally: deps.tally,
      })
      await createFirst(term)
      running = [deps.backups, watch]
      await deps.backups.start(term)
      await watch.start()
      await deps.lookBack().catch(error => {
        deps.tally.count('look-back', () => ({ error: (error as Error).message }))
      })
    },
    async stop() {
      await Promise.all(running.splice(0).map(part => part.stop()))
    },
  }
}
