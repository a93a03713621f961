/** Checks the prerequisites of a pair: gathers facts here and on the other server, and has them judged. */
import { existsSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, resolve } from 'node:path'
import type { LinkRoute } from '../../collect/link.ts'
import { checkFolder, deploymentOf, otherFolder } from '../../failover/folder/check.ts'
import type { Facts, PlannedConnection, ServerFacts } from '../../failover/preflight/facts.ts'
import type { Finding } from '../../failover/preflight/finding.ts'
import { gatherFacts } from '../../failover/preflight/gather.ts'
import { judge } from '../../failover/preflight/judge.ts'
import {
  clockHeader,
  mostBytes,
  type OtherServer,
  openLink,
  preflightPaths,
} from '../../failover/preflight/measure.ts'
import type { Identity } from '../../lib/tls.ts'
import { version } from '../../lib/version.ts'
import type { ServerSettings } from '../server/settings.ts'
import { toolsFor } from './connection-tools.ts'
import { databaseFacts } from './database-facts.ts'
import { allAddresses } from './listen-at.ts'

/** As much of the pair's settings as the checks look at. */
export interface Planned {
  connection: PlannedConnection
  sharedFolder: string | null
}

export interface Preflight {
  /** What this server says to whoever checks; `asked`: names and addresses of that one. */
  facts(asked: readonly string[]): Promise<ServerFacts>
  /** Some seconds, at most a minute or so. */
  run(): Promise<Finding[]>
}

export interface PreflightDeps {
  identity: Identity
  /** Undefined while there is no second server. */
  other(): Promise<OtherServer | undefined>
  /** What a person has set for the pair. */
  planned(): Promise<Planned>
  /** The ports that were bound, where the settings leave the choice; undefined: it does not run yet. */
  running(): { console: number; link: number } | undefined
}

/** @param file the settings file: relative paths start beside it */
export function createPreflight(
  deps: PreflightDeps,
  config: { settings: ServerSettings; file: string },
): Preflight {
  const { settings, file } = config
  const at = (path: string) => resolve(dirname(file), path)

  /** @param other is asked to look into the shared folder too */
  async function gather(
    planned: Planned,
    asked: readonly string[],
    other?: { name: string; host: string; port: number },
  ): Promise<ServerFacts> {
    const { console, link } = settings
    const bound = deps.running()
    return gatherFacts(
      {
        requiredTools: toolsFor,
        folder: path =>
          checkFolder(
            path,
            {
              server: settings.name,
              deployment: deploymentOf(deps.identity),
              dataDir: nearest(at(settings.dataDir)),
            },
            other && otherFolder({ identity: deps.identity }, other),
          ),
        // One of the server's own is nothing that somebody else has to bring.
        database: async () =>
          settings.database.url === undefined ? null : databaseFacts(settings.database.url),
      },
      {
        server: settings.name,
        version,
        console: {
          host: console.host,
          port: bound?.console ?? console.port,
          protocol: console.tls ? 'https' : 'http',
        },
        link: { host: link.host, port: bound?.link ?? link.port },
        reception: receptionPorts(settings),
        advertise: link.advertise,
        dataDir: nearest(at(settings.dataDir)),
        certificate: console.tls ? readFileSync(at(console.tls.cert), 'utf8') : null,
        ...planned,
        asked,
        running: bound !== undefined,
      },
    )
  }

  async function run(): Promise<Finding[]> {
    const [other, planned] = await Promise.all([deps.other(), deps.planned()])
    const base = { ...planned, now: Date.now() }
    if (other === undefined) {
      const own = await gather(planned, [])
      return judge({ ...base, own, other: undefined, otherError: undefined, link: undefined })
    }
    const link = openLink({ identity: deps.identity }, other)
    try {
      const asked = [settings.link.advertise, hostname()]
      const facts = await link.facts(asked)
      const named = { ...other, name: facts.server }
      const own = await gather(planned, [facts.advertise, facts.hostname], named)
      const measured = await link.measure()
      return judge({ ...base, own, other: facts, otherError: undefined, link: measured })
    } catch (error) {
      const own = await gather(planned, [other.host])
      const otherError = `${other.name ?? 'the other server'} does not answer at ${other.host}:${other.port}: ${(error as Error).message}`
      return judge({ ...base, own, other: undefined, otherError, link: undefined } satisfies Facts)
    } finally {
      link.close()
    }
  }

  return {
    facts: async asked => gather(await deps.planned(), asked),
    run,
  }
}

/** What a server answers when the other one checks. */
export function preflightRoutes(preflight: Pick<Preflight, 'facts'>): LinkRoute[] {
  const chunk = Buffer.alloc(64 * 1024)
  return [
    {
      method: 'GET',
      prefix: preflightPaths.facts,
      role: 'server',
      async answer(request, response) {
        const asked = new URL(request.url!, 'https://link').searchParams.getAll('asked')
        const facts = await preflight.facts(asked.slice(0, 10).map(name => name.slice(0, 253)))
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(facts))
      },
    },
    {
      method: 'GET',
      prefix: preflightPaths.bytes,
      role: 'server',
      async answer(request, response) {
        const said = Number(new URL(request.url!, 'https://link').searchParams.get('size') ?? 0)
        let left = Number.isInteger(said) ? Math.min(Math.max(said, 0), mostBytes) : 0
        response.setHeader(clockHeader, Date.now())
        response.setHeader('content-length', left)
        const gone = new Promise<void>(done => response.once('close', done))
        while (left > 0 && !response.destroyed) {
          const part = chunk.subarray(0, Math.min(left, chunk.length))
          left -= part.length
          if (response.write(part)) continue
          await Promise.race([new Promise(drained => response.once('drain', drained)), gone])
        }
        response.end()
      },
    },
  ]
}

/** The folder itself, or the one in which it will be made. */
function nearest(folder: string): string {
  return existsSync(folder) || dirname(folder) === folder ? folder : nearest(dirname(folder))
}

/** Of the collector inside, in the order of their numbers. */
const listeners = [
  'traps',
  'syslog_udp',
  'syslog_tcp',
  'netflow',
  'ipfix',
  'ipfix_tcp',
  'sflow',
  'syslog_tls',
  'ipfix_tls',
] as const

function receptionPorts({ collect }: ServerSettings) {
  if (collect === undefined) return []
  const { listen } = collect
  const host = listen.address === '' ? allAddresses() : listen.address
  return listeners.flatMap(name => {
    const port = listen[name]
    const protocol = /_(tcp|tls)$/.test(name) ? ('TCP' as const) : ('UDP' as const)
    return port === false ? [] : [{ name, protocol, host, port }]
  })
}
