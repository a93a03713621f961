/** A PostgreSQL and the members of a pair as processes, and what tests ask of them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { defaultTimings, type Timings } from '../../src/failover/timings.ts'
import { createLog } from '../../src/lib/log.ts'
import { freePort } from '../../src/lib/ports.ts'
import { openAuthority } from '../../src/lib/tls.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import type { MemberSettings, Said } from './member.ts'

const memberProgram = fileURLToPath(new URL('./member.ts', import.meta.url))

export interface Lab {
  /** Holds a folder for each server, where its highest term is. */
  folder: string
  postgres: EmbeddedPostgres
  /** Starts the process of server `a` or `b`; its node starts by the command `start`. */
  member(name: 'a' | 'b', timings?: Timings, change?: Partial<MemberSettings>): Promise<Member>
  query<Row extends object>(sql: string, params?: unknown[]): Promise<Row[]>
  stop(): Promise<void>
}

/**
 * @param config.postgres false: the members' settings name another database
 * @param config.quiet nothing is logged
 */
export async function createLab(
  config: { postgres?: boolean; quiet?: boolean } = {},
): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), 'keepwatch-failover-'))
  const log = config.quiet === true ? 'silent' : 'warn'
  const ports = { a: await freePort(), b: await freePort() }
  const postgres = createEmbeddedPostgres(
    { log: createLog({ level: log, part: 'lab' }) },
    { dataDir: join(folder, 'postgres'), port: await freePort() },
  )
  const own = config.postgres !== false
  if (own) await postgres.start()
  const authority = await openAuthority(join(folder, 'authority'))
  const members: Member[] = []
  return {
    folder,
    postgres,
    async member(name, timings = defaultTimings, change = {}) {
      const other = name === 'a' ? 'b' : 'a'
      const identity = await authority.issue({ role: 'server', name, hosts: ['127.0.0.1'] })
      const member = createMember<MemberSettings>(memberProgram, {
        ...{ name, identity, timings },
        databaseUrl: own ? postgres.url : '',
        dataDir: join(folder, name),
        log,
        takeovers: { most: 100, withinMs: 10_000 },
        linkPort: ports[name],
        peer: { name: other, host: '127.0.0.1', port: ports[other] },
        ...change,
      })
      members.push(member)
      // Time to load the program on a busy machine.
      await member.said('ready', { withinMs: 60_000 })
      return member
    },
    async query(sql, params = []) {
      const client = new pg.Client({ connectionString: postgres.url })
      client.on('error', () => {})
      await client.connect()
      try {
        return (await client.query(sql, params)).rows
      } finally {
        await client.end()
      }
    },
    async stop() {
      await Promise.all(members.map(member => member.kill()))
      await postgres.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

type Change = Extract<Said, { said: 'change' }>

export interface Member {
  process: ChildProcess
  /** Everything said so far. */
  heard: Said[]
  tell(command: string): void
  /** The first thing of that kind said after `from` (an index into `heard`). */
  said<S extends Said['said']>(
    kind: S,
    options?: {
      from?: number
      withinMs?: number
      where?(said: Extract<Said, { said: S }>): boolean
    },
  ): Promise<Extract<Said, { said: S }>>
  /** Waits until it is in that state; at once if it is. */
  is(state: string, withinMs?: number): Promise<Change>
  /** The last change. */
  now(): Change | undefined
  signal(signal: NodeJS.Signals): void
  kill(): Promise<void>
}

/** A process that speaks as `member.ts` does. */
export function createMember<Settings extends { name: string }>(
  program: string,
  settings: Settings,
): Member {
  const child = spawn(process.execPath, [program, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const heard: Said[] = []
  const waiting = new Set<() => void>()
  createInterface(child.stdout!).on('line', line => {
    heard.push(JSON.parse(line) as Said)
    for (const look of waiting) look()
  })
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))

  function until<T>(find: () => T | undefined, what: string, withinMs: number): Promise<T> {
    const found = Promise.withResolvers<T>()
    const look = () => {
      const value = find()
      if (value !== undefined) found.resolve(value)
    }
    waiting.add(look)
    const timer = setTimeout(() => {
      const history = heard
        .filter((said, index) => said.said !== 'acknowledged' || index === heard.length - 1)
        .map(said => JSON.stringify(said))
        .join('\n')
      found.reject(new Error(`${settings.name}: not ${what} in ${withinMs} ms:\n${history}`))
    }, withinMs)
    look()
    return found.promise.finally(() => {
      clearTimeout(timer)
      waiting.delete(look)
    })
  }

  const lastChange = () => heard.findLast(said => said.said === 'change')
  return {
    process: child,
    heard,
    tell: command => void child.stdin!.write(`${command}\n`),
    now: lastChange,
    said: (kind, { from = 0, withinMs = 10_000, where = () => true } = {}) =>
      until(
        () =>
          heard
            .slice(from)
            .filter(said => said.said === kind)
            .find(said => where(said as never)) as never,
        kind,
        withinMs,
      ),
    is: (state, withinMs = 10_000) =>
      until(
        () => {
          const change = lastChange()
          return change?.state === state ? change : undefined
        },
        state,
        withinMs,
      ),
    signal: signal => void child.kill(signal),
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
