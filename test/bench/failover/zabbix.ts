/** The high availability of Zabbix, two nodes on a PostgreSQL of the same kind of network. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { createPostgresHost, type Database } from '../../lab/database.ts'
import { type Host, openNetwork } from '../../lab/network.ts'
import { type Figures, figuresOf } from './figures.ts'
import type { Progress } from './pair.ts'

const schemaFolder = '/usr/share/zabbix-server-pgsql'
const server = '/usr/sbin/zabbix_server'
/** The least that it allows. */
const failoverDelay = '10s'
const startDeadlineMs = 60_000
const takeoverDeadlineMs = 120_000
/** Of a node in the table `ha_node`. */
const [standbyStatus, activeStatus] = [0, 3]

export const zabbixInstalled = existsSync(server) && existsSync(schemaFolder)

export interface ZabbixFigures {
  /** `ha_set_failover_delay`, seconds. */
  failover_delay_s: number
  crash_to_active_s: Figures
  planned_s: Figures
}

/** @param folder for its files; removed at the end */
export async function measureZabbix(
  folder: string,
  runs: number,
  progress: Progress,
): Promise<ZabbixFigures> {
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  const network = await openNetwork({ z1: 11, z2: 12, zdb: 21 })
  const database = createPostgresHost(network.host('zdb'), join(folder, 'database'))
  const nodes = ['z1', 'z2'].map(name =>
    createNode(network.host(name), folder, network.host('zdb')),
  )
  try {
    await database.start()
    for (const name of ['schema', 'images', 'data']) {
      await database.script(
        gunzipSync(readFileSync(join(schemaFolder, `${name}.sql.gz`))).toString(),
      )
    }
    await database.query(`UPDATE config SET ha_failover_delay = '${failoverDelay}'`)
    for (const node of nodes) node.start()
    await untilPair(database, startDeadlineMs).catch(error => {
      throw new Error(`${error.message}\n${nodes.map(node => node.log()).join('\n')}`)
    })

    const crashed: number[] = []
    const planned: number[] = []
    for (const [what, taken, end] of [
      ['crash', crashed, (node: Node) => node.kill()],
      ['planned', planned, (node: Node) => node.stop()],
    ] as const) {
      while (taken.length < runs) {
        const before = await activeOf(database)
        const node = nodes.find(({ host }) => host.name === before)!
        await sleep(Math.random() * 1000)
        const since = performance.now()
        const ending = end(node)
        for (;;) {
          const now = await activeOf(database)
          if (now !== undefined && now !== node.host.name) break
          if (performance.now() - since > takeoverDeadlineMs) {
            throw new Error(`Zabbix: the other node was not active within 120 s\n${node.log()}`)
          }
          await sleep(10)
        }
        const took = (performance.now() - since) / 1000
        taken.push(took)
        progress(`Zabbix, ${what} ${taken.length}/${runs}: ${took.toFixed(3)} s`)
        await ending
        node.start()
        await untilPair(database, startDeadlineMs)
      }
    }
    return {
      failover_delay_s: Number.parseInt(failoverDelay, 10),
      crash_to_active_s: figuresOf(crashed),
      planned_s: figuresOf(planned),
    }
  } finally {
    await Promise.all(nodes.map(({ host }) => host.signalAll('SIGKILL')))
    await database.stop()
    await network.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Node {
  host: Host
  start(): void
  kill(): Promise<void>
  stop(): Promise<void>
  log(): string
}

function createNode(host: Host, folder: string, database: Host): Node {
  const file = join(folder, `${host.name}.conf`)
  const logFile = join(folder, `${host.name}.log`)
  mkdirSync(join(folder, host.name), { recursive: true })
  const settings = {
    LogFile: logFile,
    PidFile: join(folder, `${host.name}.pid`),
    SocketDir: join(folder, host.name),
    DBHost: database.ipv4,
    DBName: 'keepwatch',
    DBUser: 'keepwatch',
    DBPassword: 'lab',
    AllowUnsupportedDBVersions: 1,
    AllowRoot: 1,
    HANodeName: host.name,
    NodeAddress: `${host.ipv4}:10051`,
    StartPollers: 1,
    StartPreprocessors: 1,
    StartTrappers: 1,
    StartDiscoverers: 0,
    StartPingers: 0,
    StartHTTPPollers: 0,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(file, lines.join(''))
  let child: ChildProcess | undefined
  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null
  return {
    host,
    start() {
      if (!running()) child = host.spawn(server, ['-c', file, '-f'], { stdio: 'ignore' })
    },
    async kill() {
      if (!running()) return
      const ended = once(child!, 'exit')
      await host.signalAll('SIGKILL')
      await ended
    },
    async stop() {
      if (!running()) return
      const ended = once(child!, 'exit')
      child!.kill('SIGTERM')
      await ended
    },
    log: () =>
      existsSync(logFile) ? readFileSync(logFile, 'utf8').split('\n').slice(-20).join('\n') : '',
  }
}

async function nodesBy(database: Database, status: number): Promise<string[]> {
  const rows = await database.query<{ name: string }>(
    'SELECT name FROM ha_node WHERE status = $1',
    [status],
  )
  return rows.map(({ name }) => name)
}

async function activeOf(database: Database): Promise<string | undefined> {
  return (await nodesBy(database, activeStatus))[0]
}

async function untilPair(database: Database, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const active = await nodesBy(database, activeStatus)
    const standby = await nodesBy(database, standbyStatus)
    if (active.length === 1 && standby.length === 1) return
    if (performance.now() > deadline) {
      throw new Error(
        `Zabbix: active ${active.join()}, standby ${standby.join()} after ${withinMs} ms`,
      )
    }
    await sleep(50)
  }
}
