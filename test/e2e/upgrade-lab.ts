/**
 * A pair as service managers run it: each server by a launcher, out of a home of its own, with the
 * compiled package; PostgreSQL, and a collector of their own beside them.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { parse, stringify } from 'yaml'
import type { z } from 'zod'
import type { operation, pairState } from '../../src/api/contract/pair.ts'
import { prepareDeployment, writeSettings } from '../../src/apps/pair/deployment.ts'
import { defaultPorts, type Ports } from '../../src/apps/pair/ports.ts'
import { type Home, openHome } from '../../src/apps/upgrade/home.ts'
import { freePort } from '../../src/lib/ports.ts'
import { createEmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import { log } from '../contract/databases.ts'
import { type CollectorProgram, startCollector } from './collector.ts'
import { buildPackages, type Packages } from './upgrade-packages.ts'

export const names = ['server-a', 'server-b'] as const
export type Name = (typeof names)[number]
export type Operation = z.output<typeof operation>
export type Pair = z.output<typeof pairState>

const trialSeconds = 25
const restartMs = 200
const stopDeadlineMs = 60_000
const commandMs = 500_000

export interface UpgradeLab {
  /** Holds the data of the servers, and the packages. */
  readonly dataDir: string
  readonly packages: Packages
  readonly homes: Record<Name, Home>
  readonly collector: CollectorProgram
  url(name: Name): string
  call<T>(name: Name, method: string, path: string, body?: object): Promise<T>
  /** `keepwatch` as installed in the home of a server, on its machine. */
  keepwatch(name: Name, ...args: string[]): Promise<{ code: number | null; said: string }>
  /** Asks again until it is so. @throws with what was there last, and the end of the logs */
  until<T>(what: string, look: () => Promise<T>, is: (seen: T) => boolean, ms?: number): Promise<T>
  /** One is active and the other stands by, both ready. @returns the name of the active one */
  untilPair(versions?: string): Promise<Name>
  sql<Row extends object>(text: string): Promise<Row[]>
  kill(name: Name, what: 'server' | 'launcher'): void
  log(name: Name): string
  stopServers(): Promise<void>
  remove(): Promise<void>
}

export async function startUpgradeLab(): Promise<UpgradeLab> {
  const dataDir = mkdtempSync(join(tmpdir(), 'keepwatch-e2e-upgrade-'))
  const ports = {} as Ports
  for (const name of Object.keys(defaultPorts) as (keyof Ports)[]) {
    ports[name] = await freePort()
  }
  const deployment = await prepareDeployment(dataDir, ports)
  const postgres = createEmbeddedPostgres(
    { log },
    { dataDir: deployment.file('postgres'), port: deployment.databasePort },
  )
  const homes = { 'server-a': homeOf('server-a'), 'server-b': homeOf('server-b') }
  const managers = { 'server-a': manage('server-a'), 'server-b': manage('server-b') }
  let packages: Packages | undefined
  let database: pg.Pool | undefined
  let collector: CollectorProgram | undefined

  async function start() {
    packages = buildPackages(dataDir)
    install(packages)
    await postgres.start()
    database = new pg.Pool({ connectionString: postgres.url, max: 1 })
    database.on('error', () => {})
    writeSettings(deployment, { databaseUrl: postgres.url })
    for (const name of names) {
      allowTakeovers(deployment.file(`${name}.yaml`))
      managers[name].start()
    }
    await untilPair()
    collector = await startCollector({
      dir: dataDir,
      name: 'collector-1',
      identity: 'pki',
      servers: names.map(name => ({
        name,
        url: `https://127.0.0.1:${deployment.links[name]}`,
      })),
    })
  }

  function homeOf(name: Name): Home {
    return openHome(join(dataDir, `home-${name}`))
  }

  /** By the program on the first machine; the second one's is the same, linked to save time. */
  function install(packages: Packages) {
    const folder = packages.make(packages.version)
    const [first, second] = [homes['server-a'].path, homes['server-b'].path]
    const program = [join(folder, 'dist/main.js'), 'install', '--home', first]
    execFileSync(process.execPath, program, { stdio: ['ignore', 'ignore', 'pipe'] })
    execFileSync('cp', ['--archive', '--link', first, second])
  }

  const logFile = (name: Name) => join(dataDir, 'logs', `${name}.log`)
  const readLog = (name: Name) => {
    try {
      return readFileSync(logFile(name), 'utf8')
    } catch {
      return ''
    }
  }

  /** Starts the launcher again whenever it ends. */
  function manage(name: Name) {
    const home = homes[name].path
    let stopped = false
    let launcher: ChildProcess | undefined
    let running: Promise<void> = Promise.resolve()
    async function run() {
      while (!stopped) {
        const args = ['launch', '--home', home, '--trial-seconds', String(trialSeconds)]
        const started = spawn(
          join(home, 'bin/keepwatch'),
          [...args, 'server', '--settings', deployment.file(`${name}.yaml`)],
          { stdio: ['ignore', 'ignore', 'pipe'] },
        )
        launcher = started
        started.stderr.on('data', data => appendFileSync(logFile(name), data))
        await once(started, 'exit')
        await sleep(restartMs)
      }
    }
    return {
      start() {
        running = run()
      },
      kill: () => launcher?.kill('SIGKILL'),
      async stop() {
        stopped = true
        launcher?.kill('SIGTERM')
        const late = setTimeout(() => launcher?.kill('SIGKILL'), stopDeadlineMs)
        await running
        clearTimeout(late)
      },
    }
  }

  const url = (name: Name) =>
    `http://127.0.0.1:${name === 'server-a' ? ports.console : ports.standby_console}`

  async function call<T>(name: Name, method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(`${url(name)}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${deployment.token}`,
        ...(body ? { 'content-type': 'application/json' } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      signal: AbortSignal.timeout(20_000),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return JSON.parse(text)
  }

  async function until<T>(
    what: string,
    look: () => Promise<T>,
    is: (seen: T) => boolean,
    ms = 120_000,
  ): Promise<T> {
    const deadline = performance.now() + ms
    let last: unknown
    while (performance.now() < deadline) {
      try {
        const seen = await look()
        if (is(seen)) return seen
        last = JSON.stringify(seen)
      } catch (error) {
        last = (error as Error).message
      }
      await sleep(100)
    }
    const logs = names.map(name => `${name}:\n${readLog(name).slice(-3000)}`).join('\n')
    throw new Error(`${what}: not in ${ms / 1000} s: ${last}\n${logs}`)
  }

  async function untilPair(version?: string): Promise<Name> {
    const pairs = await until(
      `one active, one standby${version === undefined ? '' : `, both with ${version}`}`,
      () => Promise.all(names.map(name => call<Pair>(name, 'GET', '/pair'))),
      seen => {
        const roles = seen.map(({ role }) => role).sort()
        const all = seen.flatMap(({ servers }) => servers)
        return (
          roles.join() === 'active,standby' &&
          all.every(({ role, engine }) => role !== 'unknown' && engine === true) &&
          all.every(one => version === undefined || one.version === version)
        )
      },
    )
    return pairs.find(({ role }) => role === 'active')!.self as Name
  }

  const lab: UpgradeLab = {
    dataDir,
    get packages() {
      return packages!
    },
    homes,
    get collector() {
      return collector!
    },
    url,
    call,
    async keepwatch(name, ...args) {
      const child = spawn(
        join(homes[name].path, 'bin/keepwatch'),
        [...args, '--settings', deployment.file(`${name}.yaml`)],
        { stdio: ['ignore', 'pipe', 'pipe'], timeout: commandMs, killSignal: 'SIGKILL' },
      )
      let said = ''
      for (const output of [child.stdout, child.stderr]) {
        output.on('data', data => {
          said += data
        })
      }
      const [code] = await once(child, 'close')
      return { code, said }
    },
    until,
    untilPair,
    sql: async text => (await database!.query(text)).rows,
    kill(name, what) {
      if (what === 'launcher') managers[name].kill()
      else process.kill(homes[name].running()!.pid, 'SIGKILL')
    },
    log: readLog,
    async stopServers() {
      await Promise.all(names.map(name => managers[name].stop()))
    },
    async remove() {
      await collector?.stop()
      await lab.stopServers()
      await database?.end()
      await postgres.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
  try {
    await start()
  } catch (error) {
    await lab.remove()
    throw error
  }
  return lab
}

/** What is killed on purpose is no reason to call a person. */
function allowTakeovers(file: string) {
  const settings = parse(readFileSync(file, 'utf8'))
  writeFileSync(file, stringify({ ...settings, failover: { takeovers: { most: 100 } } }))
}
