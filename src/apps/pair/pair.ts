import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Component, createSequence } from '../../lib/component.ts'
import { writeWhole } from '../../lib/files.ts'
import { createLog } from '../../lib/log.ts'
import { createEmbeddedPostgres } from '../../store/postgres/embedded.ts'
import { type Child, createChild } from './child.ts'
import { type Deployment, prepareDeployment, writeSettings } from './deployment.ts'
import { readPairFile, writePairFile } from './pair-file.ts'
import { choosePorts, type Ports } from './ports.ts'

export interface PairOptions {
  data: string
  simulation: boolean
  ports: Partial<Ports>
}

/** What `npm start -- --json` prints: the deployment for programs. */
export interface PairSummary {
  console: string
  servers: { name: string; url: string; pid: number | undefined }[]
  collector: { pid: number | undefined; ports: Record<string, number> }
  admin: { user: string; password: string | null }
  token: string
}

export interface Pair extends Component {
  summary(): PairSummary
}

/**
 * A whole deployment on this machine, each part a process of its own: PostgreSQL, two servers with
 * their engines, a collector and, unless told otherwise, a simulated network.
 */
export function createPair(deps: { say(line: string): void }, options: PairOptions): Pair {
  const { say } = deps
  const dataDir = resolve(options.data)
  const pidFile = resolve(dataDir, 'pair.pid')
  let deployment: Deployment | undefined
  let children: Record<'a' | 'b' | 'collector', Child> | undefined
  let running: Component | undefined

  async function start() {
    takeFolder()
    const ports = await choosePorts(options.ports, readPairFile(dataDir)?.ports ?? {}, say)
    deployment = await prepareDeployment(dataDir, ports)
    const database = createEmbeddedPostgres(
      { log: createLog({ level: 'warn', part: 'postgres' }) },
      { dataDir: deployment.file('postgres'), port: deployment.databasePort },
    )
    children = {
      a: part('server-a', ['server', '--settings', deployment.file('server-a.yaml')]),
      b: part('server-b', ['server', '--settings', deployment.file('server-b.yaml')]),
      collector: part('collector-1', [
        'collector',
        '--settings',
        deployment.file('collector-1.yaml'),
      ]),
    }
    running = createSequence([
      described('PostgreSQL', database),
      { start: writeFiles, stop: async () => {} },
      // Stopped last of the three, so that nobody takes over from it on the way out.
      described('server-a', children.a),
      described('server-b', children.b),
      described('collector-1', children.collector),
      ...(options.simulation ? [described('simulated network', simulation(deployment))] : []),
    ])
    await running.start()

    async function writeFiles() {
      writeSettings(deployment!, { databaseUrl: database.url })
      writePairFile(dataDir, {
        ports,
        pid: process.pid,
        servers: serversOf(deployment!).map(({ name, url }) => ({ name, url })),
        tokenFile: deployment!.file('api-token'),
      })
    }
  }

  /** For those who look from outside which process is which. */
  function writePids() {
    if (!children || !deployment) return
    const pids = Object.values(children).map(({ name, pid }) => [name, { pid }])
    writeWhole(deployment.file('pids.json'), JSON.stringify(Object.fromEntries(pids)), 0o644)
  }

  /** Refuses a folder that another pair uses. */
  function takeFolder() {
    mkdirSync(dataDir, { recursive: true, mode: 0o711 })
    if (existsSync(pidFile)) {
      const pid = Number(readFileSync(pidFile, 'utf8'))
      if (pid !== process.pid && isAlive(pid)) {
        throw new Error(`${dataDir} is in use by process ${pid}; choose another folder with --data`)
      }
    }
    writeFileSync(pidFile, String(process.pid))
  }

  function part(name: string, args: string[]): Child {
    return createChild(
      { say, onPid: writePids },
      { name, args, logFile: resolve(dataDir, 'logs', `${name}.log`) },
    )
  }

  function simulation({ ports, file }: Deployment): Child {
    const targets = ['netflow', 'ipfix', 'sflow', 'syslog_udp', 'traps'] as const
    return part('simulation', [
      'simulate',
      '--data',
      file('simulation'),
      '--token-file',
      file('api-token'),
      ...serversOf(deployment!).flatMap(({ url }) => ['--server', url]),
      ...targets.flatMap(name => [`--${name.replace('_', '-')}-port`, String(ports[name])]),
    ])
  }

  function described(what: string, component: Component): Component {
    return {
      async start() {
        const began = performance.now()
        say(`starting ${what} …`)
        await component.start()
        say(`${what} is ready (${((performance.now() - began) / 1000).toFixed(1)} s)`)
      },
      async stop() {
        await component.stop()
        say(`${what} has stopped`)
      },
    }
  }

  function serversOf({ ports }: Deployment) {
    const url = (port: number) => `http://127.0.0.1:${port}`
    return [
      { name: 'server-a', url: url(ports.console), pid: children?.a.pid },
      { name: 'server-b', url: url(ports.standby_console), pid: children?.b.pid },
    ]
  }

  return {
    start,
    async stop() {
      await running?.stop()
      running = undefined
      if (deployment) rmSync(pidFile, { force: true })
    },
    summary() {
      if (!deployment || !children) throw new Error('the pair has not been started')
      const { console: _, standby_console: __, collector_metrics: ___, ...ports } = deployment.ports
      const servers = serversOf(deployment)
      return {
        console: servers[0]!.url,
        servers,
        collector: { pid: children.collector.pid, ports },
        admin: { user: 'admin', password: deployment.password },
        token: deployment.token,
      }
    },
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
