/** Two real PostgreSQL servers, of which the second follows the first. */
import { execFile } from 'node:child_process'
import { appendFile, chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { freePort } from '../../src/lib/ports.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import { log } from './databases.ts'

const execute = promisify(execFile)

export interface Host {
  start(): Promise<void>
  /** All its processes at once, as when a machine loses its power. */
  kill(): Promise<void>
  /** All its processes stand still, until `wake`. */
  freeze(): Promise<void>
  wake(): void
  query(sql: string): Promise<Record<string, unknown>[]>
}

export interface Replicas {
  /** Of both hosts, the first one first. */
  url: string
  first: Host
  second: Host
  stop(): Promise<void>
}

/** Makes the data of a server once, since that takes longest. */
export async function createReplicaTemplate() {
  const folder = await mkdtemp(join(tmpdir(), 'keepwatch-replicas-'))
  const template = join(folder, 'template')
  const postgres = createEmbeddedPostgres({ log }, { dataDir: template, port: await freePort() })
  await postgres.start()
  await postgres.stop()
  let count = 0

  async function copy(): Promise<string> {
    const dataDir = join(folder, `${count++}`)
    await execute('cp', ['-a', template, dataDir])
    return dataDir
  }

  return {
    /** @param config.synchronous the first acknowledges nothing that the second does not have */
    async start(config: { synchronous?: boolean } = {}): Promise<Replicas> {
      const dirs = [await copy(), await copy()] as const
      const ports = [await freePort(), await freePort()] as const
      const password = (await readFile(join(dirs[0], 'password'), 'utf8')).trim()
      await follow(dirs[1], { port: ports[0], password })
      if (config.synchronous) {
        const file = join(dirs[0], 'cluster', 'postgresql.auto.conf')
        await appendFile(file, `synchronous_standby_names = 'second'\n`)
      }
      const [first, second] = [createHost(dirs[0], ports[0]), createHost(dirs[1], ports[1])]
      await first.start()
      await second.start()
      return {
        url: `postgresql://keepwatch:${password}@127.0.0.1:${ports[0]},127.0.0.1:${ports[1]}/keepwatch`,
        first,
        second,
        async stop() {
          await Promise.all([first.stop(), second.stop()])
          for (const dir of dirs) await rm(dir, { recursive: true })
        },
      }
    },

    stop: () => rm(folder, { recursive: true }),
  }
}

async function follow(dataDir: string, of: { port: number; password: string }) {
  const cluster = join(dataDir, 'cluster')
  const conninfo = `host=127.0.0.1 port=${of.port} user=keepwatch password=${of.password} application_name=second`
  const signal = join(cluster, 'standby.signal')
  await appendFile(join(cluster, 'postgresql.auto.conf'), `primary_conninfo = '${conninfo}'\n`)
  await writeFile(signal, '')
  const { uid, gid } = await stat(cluster)
  await chown(signal, uid, gid)
}

function createHost(dataDir: string, port: number) {
  let postgres: EmbeddedPostgres | undefined
  let frozen: number[] = []

  function wake() {
    for (const pid of frozen.splice(0)) send(pid, 'SIGCONT')
  }

  return {
    async start() {
      postgres = createEmbeddedPostgres({ log }, { dataDir, port })
      await postgres.start()
    },
    async kill() {
      const ending = postgres!
      for (const pid of await processes(ending.pid!)) send(pid, 'SIGKILL')
      await ending.stop()
      postgres = undefined
    },
    async freeze() {
      frozen = await processes(postgres!.pid!)
      for (const pid of frozen) send(pid, 'SIGSTOP')
    },
    wake,
    async query(sql: string) {
      const client = new pg.Client({ connectionString: postgres!.url, query_timeout: 60_000 })
      client.on('error', () => {})
      await client.connect()
      try {
        return (await client.query(sql)).rows
      } finally {
        await client.end()
      }
    },
    async stop() {
      wake()
      await postgres?.stop()
      postgres = undefined
    },
  }
}

/** The postmaster first, so that it starts nobody anew. */
async function processes(postmaster: number): Promise<number[]> {
  const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8')
  return [postmaster, ...children.trim().split(' ').filter(Boolean).map(Number)]
}

function send(pid: number, signal: NodeJS.Signals) {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ESRCH') throw error
  }
}
