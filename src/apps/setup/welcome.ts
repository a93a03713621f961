/** What the active gives a machine that may join. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { JoinAnswer, JoinRequest, PairSettings } from '../../api/contract/setup.ts'
import { ApiError } from '../../api/handler.ts'
import { hasAuthority, openAuthority } from '../../lib/tls.ts'
import { obstacleBetween, version } from '../../lib/version.ts'
import type { ServerSettings } from '../server/settings.ts'

/** A server says this often that it lives; some may have been missed. */
const aliveMs = 15_000
const hostForm = /^[a-z0-9_](?:[\w-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[\w-]*[a-z0-9_])?)*\.?$/i
const loopback = /^(127\.|::1$|localhost$)/

export interface WelcomeDeps {
  listServers(): Promise<readonly { name: string; seenAt: Date }[]>
  /** Where this server listens, with the ports that were bound. */
  ports(): { console: number; link: number }
}

/** @throws ApiError with the reason why it may not join */
export async function welcome(
  deps: WelcomeDeps,
  own: { settings: ServerSettings; identityDir: string; key: Buffer },
  request: JoinRequest,
  pair: PairSettings,
): Promise<JoinAnswer> {
  const { settings, identityDir, key } = own
  const obstacle = obstacleBetween(version, request.version)
  if (obstacle !== undefined) {
    throw new ApiError(
      'conflict',
      `${settings.name} has version ${version}, this machine ${request.version}: install ${version} here (${obstacle})`,
    )
  }
  await demandFree(deps, settings.name, request.name)
  if (!hasAuthority(identityDir)) {
    throw new ApiError(
      'conflict',
      `${settings.name} cannot issue a certificate: copy ca.key of the authority into ${identityDir} there`,
    )
  }
  const address = request.address ?? pair.secondary
  if (address === null) {
    throw new ApiError('bad-request', 'address: is missing; name it with --address')
  }
  const hosts = [...new Set([address, ...request.hosts])].filter(isHost)
  if (!hosts.includes(address)) {
    throw new ApiError('bad-request', `address: ${address} is neither a name nor an address`)
  }
  const authority = await openAuthority(identityDir)
  const { name } = request
  const certificate = await authority.certify({ role: 'server', name, hosts }, request.publicKey)
  const { console, link } = settings
  const consoleCertificate = console.tls
    ? await authority.certify(
        { role: 'console', name, hosts: [...new Set([...hosts, ...sharedHosts(pair)])] },
        request.consolePublicKey,
      )
    : null
  const ports = deps.ports()
  // One that listens at one of its own addresses only: the other has others.
  const everywhere = (host: string) => (loopback.test(host) || host === '::' ? host : '0.0.0.0')
  return {
    version,
    primary: { name: settings.name, linkHost: link.advertise, linkPort: ports.link },
    address,
    ca: authority.ca,
    caKey: readFileSync(join(identityDir, 'ca.key'), 'utf8'),
    certificate,
    consoleCertificate,
    deploymentKey: key.toString('base64'),
    databaseUrl: settings.database.url ?? null,
    console: {
      host: everywhere(console.host),
      port: ports.console,
      tls: console.tls !== undefined,
    },
    link: { host: everywhere(link.host), port: ports.link },
    failover: { ...settings.failover },
    collect: settings.collect ? { ...settings.collect } : null,
    settings: pair,
  }
}

/** Whether there is a place for a server of this name. @throws ApiError */
async function demandFree({ listServers }: WelcomeDeps, own: string, name: string) {
  if (name === own) {
    throw new ApiError('conflict', `${own} is the name of the first server; choose one with --name`)
  }
  const servers = await listServers()
  // The newest sign of life is that of this server, by the database's clock as all of them.
  const newest = Math.max(...servers.map(({ seenAt }) => seenAt.getTime()))
  const alive = servers.filter(
    server => server.name !== own && newest - server.seenAt.getTime() < aliveMs,
  )
  for (const server of alive) {
    throw new ApiError(
      'conflict',
      server.name === name
        ? `a server ${name} is running already; choose another name with --name, or stop it first`
        : `the pair is complete: ${server.name} is running; stop it first`,
    )
  }
}

/** What every console of the pair is reached by. */
export function sharedHosts({ connection }: PairSettings): string[] {
  if (connection.type === 'virtual-ip') return connection.addresses.map(({ address }) => address)
  return connection.type === 'virtual-name' ? [connection.name] : []
}

export function isHost(text: string): boolean {
  return isIP(text) !== 0 || (text.length <= 253 && hostForm.test(text))
}
