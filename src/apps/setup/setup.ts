/** What a running server has for the set-up: routes of the API and of the link, and the control socket. */
import { dirname, join, resolve } from 'node:path'
import type { PairSettings } from '../../api/contract/setup.ts'
import { controlSocket, createControl } from '../../api/control.ts'
import type { ForwardedRequest, HttpServer } from '../../api/http.ts'
import { type SetupStores, setupRoutes } from '../../api/routes/setup.ts'
import type { Write } from '../../api/write.ts'
import type { LinkRoute } from '../../collect/link.ts'
import { deploymentOf, prepareFolder } from '../../failover/folder/check.ts'
import { isFit } from '../../failover/preflight/finding.ts'
import { type Component, createSequence } from '../../lib/component.ts'
import type { Tally } from '../../lib/tally.ts'
import { fingerprintOf } from '../../lib/tls.ts'
import type { Tx } from '../../store/postgres/database.ts'
import type { Operations } from '../../store/postgres/operations.ts'
import type { Opened } from '../server/opened.ts'
import type { ServerSettings } from '../server/settings.ts'
import { createConsoleCertificate } from './console-certificate.ts'
import { controlRoute, createForward } from './control-link.ts'
import { createPreflight, preflightRoutes } from './preflight.ts'
import { createPreflightRuns } from './preflight-runs.ts'
import { welcome } from './welcome.ts'

interface KnownServer {
  name: string
  linkHost: string
  linkPort: number
  seenAt: Date
}

export interface SetupDeps {
  stores: SetupStores<Tx> & { operations: Operations }
  write: Write<Tx>
  tally: Pick<Tally<'preflight' | 'console-certificate'>, 'count'>
  now(): number
  peer(): KnownServer | undefined
  listServers(): Promise<readonly KnownServer[]>
  consoleUrl(): string
  /** Where this server listens, with the ports that were bound. */
  ports(): { console: number; link: number }
  /** What people have set for the pair, as this server last read it. */
  pairSettings: { current(): { settings: PairSettings }; refresh(): Promise<unknown> }
  /** Made after this, for this is handed to it. */
  http(): Pick<HttpServer, 'answer' | 'renewTls'>
}

export interface Setup extends Component {
  handlers: ReturnType<typeof setupRoutes<Tx>>
  linkRoutes: LinkRoute[]
  /** Has the active answer what a program on this machine asked. */
  forward(request: ForwardedRequest): Promise<{ status: number; body: unknown }>
}

/** @param config.file the settings file */
export function createSetup(
  deps: SetupDeps,
  config: { settings: ServerSettings; file: string; opened: Opened },
): Setup {
  const { settings, file, opened } = config
  const { identity, identityDir, dataDir, key } = opened
  const { name } = settings

  const planned = async () => deps.pairSettings.current().settings

  const preflight = createPreflight(
    {
      identity,
      async other() {
        const peer = deps.peer()
        return peer && { name: peer.name, host: peer.linkHost, port: peer.linkPort }
      },
      planned,
      running: deps.ports,
    },
    { settings, file },
  )
  const runs = createPreflightRuns(
    { operations: deps.stores.operations, tally: deps.tally, run: preflight.run, isFit },
    { self: name },
  )
  const answer: HttpServer['answer'] = (...asked) => deps.http().answer(...asked)
  const control = createControl({ answer }, { path: join(dataDir, controlSocket) })
  const { tls } = settings.console
  const at = (path: string) => resolve(dirname(file), path)
  const certificate =
    tls &&
    createConsoleCertificate(
      {
        settings: planned,
        renewed: renewed => deps.http().renewTls(renewed),
        failed: error => deps.tally.count('console-certificate', () => ({ error: error.message })),
        now: deps.now,
      },
      { name, identityDir, files: { key: at(tls.key), cert: at(tls.cert) } },
    )

  return {
    ...createSequence([
      control,
      ...(certificate ? [certificate] : []),
      { start: async () => {}, stop: runs.stop },
    ]),
    handlers: setupRoutes<Tx>({
      stores: deps.stores,
      write: deps.write,
      now: deps.now,
      prepareFolder: path =>
        prepareFolder(path, { server: name, deployment: deploymentOf(identity), dataDir }),
      async changed() {
        await deps.pairSettings.refresh()
        await certificate?.look()
      },
      invitation: () => ({
        console: deps.consoleUrl(),
        fingerprint: fingerprintOf(identity.ca),
      }),
      welcome: (request, pair) =>
        welcome(
          { listServers: deps.listServers, ports: deps.ports },
          { settings, identityDir, key },
          request,
          pair,
        ),
      preflight: { start: runs.begin, last: runs.last },
    }),
    linkRoutes: [...preflightRoutes(preflight), controlRoute(answer)],
    forward: createForward({ identity, peer: deps.peer }),
  }
}
