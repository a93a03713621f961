import { readFileSync } from 'node:fs'
import type { Log } from '../../lib/log.ts'
import type { Database } from '../../store/postgres/database.ts'
import type { Tokens } from '../../store/postgres/tokens.ts'
import type { Users } from '../../store/postgres/users.ts'

/** What only the active does; the node starts it with the term it has won. */
export interface ActiveWork {
  start(term: number): Promise<void>
  stop(): Promise<void>
}

/**
 * All of it, begun in order, once there is somebody who may log in; stopped at once.
 *
 * @param deps.parts none may take long to start: the takeover waits for them
 */
export function createActiveWork(
  deps: {
    log: Log
    database: Database
    users: Users
    tokens: Tokens
    parts: readonly ActiveWork[]
  },
  config: { first: { passwordFile: string; tokenFile: string } | undefined },
): ActiveWork {
  const { database, log } = deps
  let running: ActiveWork[] = []

  /** An administrator to log in as, and a token for programs, in a deployment that has nobody yet. */
  async function createFirst(term: number) {
    if ((await deps.users.list()).length > 0) return
    const password = config.first && readFileSync(config.first.passwordFile, 'utf8').trim()
    const passwordHash = password && (await deps.users.hashPassword(password))
    await database.fenced(term, { name: 'keepwatch' }, async tx => {
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
      await createFirst(term)
      for (const part of deps.parts) {
        running.push(part)
        await part.start(term)
      }
    },
    async stop() {
      const stopping = running
      running = []
      await Promise.all(stopping.map(part => part.stop()))
    },
  }
}
