/** Finds out what a server can say of itself: its machine, its network, its names, its ports. */
import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { lookup, lookupService } from 'node:dns/promises'
import { access, constants, readFile, statfs } from 'node:fs/promises'
import { createServer, isIP } from 'node:net'
import { availableParallelism, hostname, networkInterfaces, totalmem } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readCertificate, speaksFor } from '../../lib/tls.ts'
import { domainOf } from './checks-pair.ts'
import type { PlannedConnection, ServerFacts } from './facts.ts'
import type { Finding } from './finding.ts'
import { folderHostOf } from './folder-host.ts'

export interface GatherDeps {
  /** What the connection type needs. */
  requiredTools(connection: PlannedConnection): readonly { program: string; package: string }[]
  /** Looks into the shared folder. */
  folder(path: string): Promise<Finding[]>
  database(): Promise<ServerFacts['database']>
}

export interface GatherConfig {
  server: string
  version: string
  console: ServerFacts['console'] & { host: string }
  link: { host: string; port: number }
  /** Where devices send to; `name` as in the settings. */
  reception: readonly { name: string; protocol: 'UDP' | 'TCP'; host: string; port: number }[]
  advertise: string
  dataDir: string
  /** PEM of the console's certificate. */
  certificate: string | null
  connection: PlannedConnection
  sharedFolder: string | null
  /** Names and addresses of the other server. */
  asked: readonly string[]
  /** Whether the server runs, so that its ports are open by right. */
  running: boolean
}

const commandDeadlineMs = 4000
const lookupDeadlineMs = 5000
const folderDeadlineMs = 20_000
const mostReverse = 20
/** Where administrators' programs are, also for users who have them not in their path. */
const programFolders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
/** Bit of CAP_NET_ADMIN in a set of capabilities (linux/capability.h). */
const netAdminBit = 12n

/** Takes some seconds. What cannot be found out is null or empty; never rejects for that. */
export async function gatherFacts(deps: GatherDeps, config: GatherConfig): Promise<ServerFacts> {
  const { connection, sharedFolder, advertise } = config
  const shared =
    connection.type === 'virtual-ip' ? connection.addresses.map(one => one.address) : []
  const name = hostname()
  const [
    disk,
    git,
    status,
    limits,
    receive,
    addresses,
    tools,
    ports,
    reception,
    names,
    database,
    folder,
  ] = await Promise.all([
    statfs(config.dataDir).then(
      ({ bsize, blocks, bavail }) => ({ totalBytes: bsize * blocks, freeBytes: bsize * bavail }),
      () => null,
    ),
    run('git', ['--version']).then(({ out }) => out.trim() || null),
    textOf('/proc/self/status'),
    textOf('/proc/self/limits'),
    textOf('/proc/sys/net/core/rmem_max'),
    addressesHere(),
    Promise.all(
      deps.requiredTools(connection).map(async tool => ({
        ...tool,
        present: (await programPath(tool.program)) !== undefined,
      })),
    ),
    portsOf(config),
    receptionOf(config),
    lookUp([advertise, name, ...config.asked]),
    deps.database(),
    sharedFolder === null ? [] : within(deps.folder(sharedFolder), folderDeadlineMs, hung),
  ])
  const probes = await Promise.all(
    shared.map(async address => ({ address, answers: await answers(address) })),
  )
  return {
    server: config.server,
    version: config.version,
    console: { port: config.console.port, protocol: config.console.protocol },
    linkPort: config.link.port,
    advertise,
    hostname: name,
    domain: domainOf(name) ?? domainOf(advertise) ?? searchDomain(await textOf('/etc/resolv.conf')),
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    utcOffsetMinutes: -new Date().getTimezoneOffset(),
    cores: availableParallelism(),
    memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
    disk,
    fileDescriptors: numberIn(limits, /^Max open files\s+(\d+)/m),
    receiveBufferBytes: numberIn(receive, /^(\d+)/),
    git,
    root: process.getuid?.() === 0,
    netAdmin: mayAdminister(status),
    addresses,
    tools,
    ports,
    reception,
    certificate:
      config.certificate === null
        ? null
        : certificateFacts(config.certificate, [
            advertise,
            ...shared,
            ...(connection.type === 'virtual-name' ? [connection.name] : []),
          ]),
    ...names,
    database,
    folderHost:
      sharedFolder === null
        ? null
        : folderHostOf(sharedFolder, await textOf('/proc/self/mountinfo')),
    folder,
    probes,
  }
}

function certificateFacts(pem: string, hosts: readonly string[]): ServerFacts['certificate'] {
  try {
    const { hosts: named, expires } = readCertificate(pem)
    return {
      hosts: named,
      expires: expires.getTime(),
      speaksFor: hosts.filter(host => speaksFor(pem, host)),
    }
  } catch {
    return { hosts: [], expires: 0, speaksFor: [] }
  }
}

/** With `ip`, which knows of leases; else what Node knows. */
async function addressesHere(): Promise<ServerFacts['addresses']> {
  const { out } = await run('ip', ['-json', 'addr', 'show'])
  try {
    const links = JSON.parse(out) as {
      ifname: string
      flags: string[]
      addr_info: { local?: string; prefixlen: number; dynamic?: boolean; scope: string }[]
    }[]
    return links.flatMap(({ ifname, flags, addr_info }) =>
      addr_info.flatMap(({ local, prefixlen, dynamic, scope }) =>
        local === undefined || scope === 'link'
          ? []
          : [
              {
                address: local,
                prefix: prefixlen,
                interface: ifname,
                loopback: flags.includes('LOOPBACK'),
                dynamic: dynamic === true,
              },
            ],
      ),
    )
  } catch {
    return Object.entries(networkInterfaces()).flatMap(([name, entries = []]) =>
      entries
        .filter(({ address }) => !address.startsWith('fe80:'))
        .map(({ address, cidr, internal }) => ({
          address,
          prefix: Number(cidr?.split('/')[1] ?? 0),
          interface: name,
          loopback: internal,
          dynamic: null,
        })),
    )
  }
}

async function portsOf(config: GatherConfig): Promise<ServerFacts['ports']> {
  const named = [
    { name: 'console', ...config.console },
    { name: 'link', ...config.link },
  ].filter(({ port }) => port !== 0)
  return Promise.all(
    named.map(async ({ name, host, port }) => ({
      name,
      port,
      state: config.running ? ('ours' as const) : await portState(host, port),
    })),
  )
}

async function receptionOf(config: GatherConfig): Promise<ServerFacts['reception']> {
  return Promise.all(
    config.reception
      .filter(({ port }) => port !== 0)
      .map(async ({ name, protocol, host, port }) => {
        const probe = protocol === 'UDP' ? udpPortState : portState
        return { name, port, state: config.running ? ('ours' as const) : await probe(host, port) }
      }),
  )
}

function udpPortState(host: string, port: number): Promise<'free' | 'taken'> {
  return new Promise(resolve => {
    const probe = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    probe.once('error', () => {
      probe.close()
      resolve('taken')
    })
    probe.bind({ address: host, port, exclusive: true }, () => probe.close(() => resolve('free')))
  })
}

function portState(host: string, port: number): Promise<'free' | 'taken'> {
  return new Promise(resolve => {
    const probe = createServer()
    probe.once('error', () => resolve('taken'))
    probe.listen({ host, port }, () => probe.close(() => resolve('free')))
  })
}

/** Addresses of names, and the names of those addresses: by DNS and /etc/hosts, as programs do. */
async function lookUp(hosts: readonly string[]): Promise<Pick<ServerFacts, 'lookups' | 'reverse'>> {
  const lookups = await Promise.all(
    [...new Set(hosts)].map(async asked => ({
      asked,
      found: isIP(asked) ? [asked] : await within(addressesOf(asked), lookupDeadlineMs, () => []),
    })),
  )
  const addresses = new Set(lookups.flatMap(({ found }) => found))
  const reverse = await Promise.all(
    [...addresses].slice(0, mostReverse).map(async asked => ({
      asked,
      found: await within(namesOf(asked), lookupDeadlineMs, () => []),
    })),
  )
  return { lookups, reverse }
}

async function addressesOf(name: string): Promise<string[]> {
  const found = await lookup(name, { all: true }).catch(() => [])
  return [...new Set(found.map(({ address }) => address))]
}

async function namesOf(address: string): Promise<string[]> {
  const { hostname: name } = await lookupService(address, 0).catch(() => ({ hostname: '' }))
  return name === '' || name === address ? [] : [name]
}

/** Whether somebody has the address: answers an echo, or at least the question for its hardware address. */
async function answers(address: string): Promise<boolean | null> {
  const { code } = await run('ping', ['-n', '-c', '1', '-W', '1', address])
  if (code === 0) return true
  const { out, code: shown } = await run('ip', ['-json', 'neigh', 'show', 'to', address])
  if (shown === 0 && out.includes('"lladdr"') && !out.includes('FAILED')) return true
  // 1: nobody answered; 2: it could not be asked, for example because there is no way there.
  return code === 1 ? false : null
}

function searchDomain(resolv: string): string | null {
  return /^(?:search|domain)\s+(\S+)/m.exec(resolv)?.[1]?.replace(/\.$/, '') ?? null
}

function mayAdminister(status: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1]
  return effective !== undefined && ((BigInt(`0x${effective}`) >> netAdminBit) & 1n) === 1n
}

function numberIn(text: string, pattern: RegExp): number | null {
  const found = pattern.exec(text)?.[1]
  return found === undefined ? null : Number(found)
}

async function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}

async function programPath(program: string): Promise<string | undefined> {
  for (const folder of programFolders) {
    const path = join(folder, program)
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  return undefined
}

async function run(program: string, args: string[]): Promise<{ code: number; out: string }> {
  const path = await programPath(program)
  if (path === undefined) return { code: 127, out: '' }
  return new Promise(resolve => {
    const options = { timeout: commandDeadlineMs, killSignal: 'SIGKILL', maxBuffer: 4e6 } as const
    execFile(path, args, options, (error, out) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 126, out })
    })
  })
}

function hung(): Finding[] {
  return [
    {
      id: 'folder',
      title: 'Shared folder',
      result: 'failure',
      text: `it does not answer within ${folderDeadlineMs / 1000} s`,
      whatToDo: 'look at the file server and at the way to it',
    },
  ]
}

async function within<T>(work: Promise<T>, ms: number, otherwise: () => T): Promise<T> {
  const late = new AbortController()
  const timer = sleep(ms, undefined, { signal: late.signal }).then(otherwise)
  timer.catch(() => {})
  try {
    return await Promise.race([work, timer])
  } finally {
    late.abort()
  }
}
