/**
 * Two servers, their database, a collector, devices and a person, each on a host of its own, watched
 * by witnesses: what tests/lab scenarios, the soak and the failover bench run on.
 */

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import type { PairSettings } from '../../src/api/contract/setup.ts'
import { openAuthority, writeIdentity } from '../../src/lib/tls.ts'
import { createClient } from './client.ts'
import { countAll, countWhileRunning, ledgerFile, untilSettled } from './count.ts'
import { createPostgresHost, type Database, databaseUrl } from './database.ts'
import { createDevices, type Devices, ports, type Stream } from './devices.ts'
import { createSharedFolder, type SharedFolder } from './folder.ts'
import { createMailbox, type Mailbox, smtpPort } from './mailbox.ts'
import { type Host, ipv4, ipv6, type Network, openNetwork, unmountBelow } from './network.ts'
import { beginPair, createLeadingDatabase, ownDatabaseSettings } from './own-databases.ts'
import { createProgram, type Program } from './program.ts'
import { type Active, createLabServer, type LabServer } from './server.ts'
import { type AddressesWitness, createAddressesWitness } from './witness/addresses.ts'
import { createRolesWitness, type RolesWitness } from './witness/roles.ts'
import { createWriterWitness, type WriterWitness } from './witness/writer.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const settleDeadlineMs = 180_000
const diskBytes = '1500m'
/** With a database, and a copy of it while that is made anew. */
const diskBytesReplicated = '4g'
const watched = 'watched'

const numbers = {
  kw1: 11,
  kw2: 12,
  db1: 21,
  db2: 22,
  folder: 31,
  collector: 41,
  person: 51,
  devices: 61,
}
/** Where the network finds the active, if the lab has virtual addresses. */
export const virtual = { ipv4: ipv4(9), ipv6: ipv6(9) }

export interface LabOptions {
  heartbeatMs?: number
  leaseMs?: number
  timeoutMs?: number
  /** More of the settings file of both servers. */
  settings?: Record<string, unknown>
  /** The clocks of the servers can be set. */
  clocks?: boolean
  /** A second database that follows the first; servers know both. */
  replica?: boolean
  /** The servers share no database: each has its own, and they vote with the collector. */
  replicated?: boolean
  /** On the disk of this machine instead of in its memory: slower, and cannot be filled. */
  realDisk?: boolean
  /** Until a server that ended is started again. */
  restartMs?: number
  streams?: readonly Stream[]
  /** Both servers have the addresses `virtual` in turn. */
  virtualAddresses?: boolean
  /** Both servers share a folder, over the network. */
  sharedFolder?: boolean
  /** The servers receive what devices send to them. */
  ownCollectors?: boolean
  /** Who has mails of the pair, which arrive in a mailbox on the person's host. */
  mailTo?: readonly string[]
  /** More of the settings of the pair. */
  pair?: Partial<PairSettings>
}

export interface Lab {
  readonly network: Network
  readonly folder: string
  /** File with the certificate of the authority. */
  readonly authority: string
  readonly kw1: LabServer
  readonly kw2: LabServer
  readonly servers: readonly LabServer[]
  readonly database: Database
  readonly replica: Database | undefined
  /** The clocks of the servers can be set. */
  readonly clocks: boolean
  /** The servers share no database. */
  readonly replicated: boolean
  readonly collector: { host: Host; program: Program }
  readonly sharedFolder: SharedFolder | undefined
  readonly person: Host
  readonly mailbox: Mailbox | undefined
  readonly devices: Devices
  readonly roles: RolesWitness
  readonly writer: WriterWitness
  readonly addresses: AddressesWitness
  /** The database that takes changes now: the first, until the other was promoted. */
  main: Database
  active(): Promise<LabServer>
  other(server: LabServer): LabServer
  /** Waits until a server says that it is active. @returns it, its term, and the seconds it took */
  untilActive(options?: {
    except?: LabServer
    withinMs?: number
    since?: number
  }): Promise<{ server: LabServer; term: number; seconds: number }>
  /** Waits until one is active, the other stands by, each hears the other, and little waits for delivery. */
  settled(withinMs?: number, options?: { delivered?: boolean }): Promise<void>
  /** Repairs everything that scenarios break. */
  healAll(): Promise<void>
  /** What the witnesses have seen that must not be. */
  violations(allowed?: { overlapMs?: number; mayLoseChanges?: boolean }): Promise<string[]>
  /** One sentence a server: what it says it is. */
  says(): Promise<string>
  /**
   * Stops sending for a moment, and asks both servers how many messages and flows they have.
   * @throws unless these are all that were sent through the collector
   */
  countRunning(): Promise<void>
  /** Stops sending, the servers too, and counts what is in their engines. */
  count(): Promise<Counted[]>
  /** All logs and what the witnesses noted, copied to a folder. */
  keepEvidence(folder: string): Promise<void>
  close(): Promise<void>
}

export interface Counted {
  server: string
  stream: string
  sent: number
  rows: number
  distinct: number
  lost: number
  doubled: number
  /** What is there more than once, by when it came. */
  incidents: Incident[]
  /** What is not there, as ranges of numbers. */
  absent: [from: number, to: number][]
}

export interface Incident {
  /** When the first copies were received. */
  from: string
  to: string
  /** The least and the greatest. */
  numbers: [number, number]
  doubled: number
  /** So far apart were two copies received at most; 0: both come from the same reception. */
  apartMs: number
}

/** Devices that send to the collector, at rates that a busy machine takes. */
export const throughCollector: readonly Stream[] = (
  ['netflow5', 'netflow9', 'ipfix', 'syslog', 'traps'] as const
).map((form, index) => ({
  name: `${form} through the collector`,
  form,
  from: ipv4(101 + index),
  to: [ipv4(numbers.collector)],
  port: ports[form],
  perSecond: form === 'syslog' ? 50 : 5,
}))

const virtualConnection: PairSettings['connection'] = {
  type: 'virtual-ip',
  addresses: [
    { address: virtual.ipv4, prefix: 24 },
    { address: virtual.ipv6, prefix: 64 },
  ],
}

/** A device that sends to the virtual address, often enough to tell when it moved. */
export const throughVirtual: readonly Stream[] = [
  {
    ...{ name: 'syslog to the virtual address', form: 'syslog', from: ipv4(121) },
    ...{ to: [virtual.ipv4], port: ports.syslog, perSecond: 200 },
  },
  {
    ...{ name: 'netflow5 to the virtual address', form: 'netflow5', from: ipv4(122) },
    ...{ to: [virtual.ipv4], port: ports.netflow5, perSecond: 5 },
  },
  {
    ...{ name: 'syslog to the virtual address of IPv6', form: 'syslog', from: ipv6(121) },
    ...{ to: [virtual.ipv6], port: ports.syslog, perSecond: 50 },
  },
]

/** Devices that send all they have to both servers. */
export const toBoth: readonly Stream[] = [
  {
    ...{ name: 'syslog to both servers', form: 'syslog', from: ipv4(131) },
    ...{ to: [ipv4(numbers.kw1), ipv4(numbers.kw2)], port: ports.syslog, perSecond: 50 },
  },
  {
    ...{ name: 'netflow9 to both servers', form: 'netflow9', from: ipv4(132) },
    ...{ to: [ipv4(numbers.kw1), ipv4(numbers.kw2)], port: ports.netflow9, perSecond: 5 },
  },
]

export async function openLab(options: LabOptions = {}): Promise<Lab> {
  const { heartbeatMs = 1000, leaseMs = 10_000, timeoutMs = 60_000 } = options
  const undo: (() => unknown)[] = []
  async function close() {
    const failures: unknown[] = []
    for (const step of undo.splice(0).reverse()) {
      await Promise.resolve()
        .then(step)
        .catch(error => failures.push(error))
    }
    if (failures.length > 0) throw new AggregateError(failures, `closing the lab: ${failures}`)
  }
  try {
    return await open()
  } catch (error) {
    await close().catch(() => {})
    throw error
  }

  async function open(): Promise<Lab> {
    const openedAt = Date.now()
    const folder = mkdtempSync(join(tmpdir(), 'keepwatch-lab-'))
    chmodSync(folder, 0o755)
    undo.push(() => {
      unmountBelow(folder)
      rmSync(folder, { recursive: true, force: true })
    })
    const network = await openNetwork(numbers, {
      aliases: { keepwatch: [virtual.ipv4, virtual.ipv6] },
      folder,
    })
    undo.push(() => network.close())
    const [collectorHost, person] = [network.host('collector'), network.host('person')]
    const hosts = [network.host('kw1'), network.host('kw2')] as const

    const shared = options.replicated
      ? undefined
      : createPostgresHost(network.host('db1'), join(folder, 'db1'))
    const replica = options.replica
      ? createPostgresHost(network.host('db2'), join(folder, 'db2'))
      : undefined
    undo.push(() => Promise.all([shared?.stop(), replica?.stop()]))
    const databaseReady = shared?.start().then(() => replica?.follow(shared))

    const sharedFolder = options.sharedFolder
      ? createSharedFolder(network.host('folder'), hosts, folder)
      : undefined
    undo.push(() => sharedFolder?.stop())
    await sharedFolder?.start()

    const ca = await makeSecrets(folder, hosts, collectorHost)
    const token = readToken(folder)
    await databaseReady

    const servers = hosts.map(host => {
      mkdirSync(join(folder, host.name), { recursive: true })
      if (!options.realDisk) {
        execFileSync('mount', [
          '-t',
          'tmpfs',
          '-o',
          `size=${options.replicated ? diskBytesReplicated : diskBytes}`,
          'kwlab',
          join(folder, host.name),
        ])
      }
      const client = createClient({ address: host.management, name: host.name, ca, token })
      undo.push(() => client.close())
      return createLabServer(host, client, {
        folder,
        fakeClock: options.clocks ?? false,
        mounts: sharedFolder?.mounts(host),
        ...(options.restartMs === undefined ? {} : { restartMs: options.restartMs }),
        settings: {
          name: host.name,
          installed: host.name === 'kw1' ? 'primary' : 'secondary',
          console: {
            host: '::',
            port: 443,
            url: `https://${host.name}`,
            tls: { key: `pki/${host.name}-console.key`, cert: `pki/${host.name}-console.crt` },
          },
          link: { host: '::', port: 8450, advertise: host.name, identity: 'pki' },
          database: options.replicated
            ? ownDatabaseSettings
            : { url: databaseUrl(replica ? ['db1', 'db2'] : ['db1']) },
          keyFile: 'deployment.key',
          // As many takeovers as there are faults.
          failover: { heartbeatMs, leaseMs, timeoutMs, takeovers: { most: 100, withinMs: 10_000 } },
          first: { passwordFile: 'first-password', tokenFile: 'api-token' },
          // Half a million networks of countries have nothing to do with what breaks here.
          geo: { country: false },
          ...(options.ownCollectors ? { collect: {} } : {}),
          ...options.settings,
        },
      })
    })
    const [kw1, kw2] = servers as [LabServer, LabServer]
    undo.push(async () => {
      await Promise.all(servers.map(({ host }) => host.heal()))
      await Promise.all(servers.map(({ host }) => host.signalAll('SIGCONT')))
      await Promise.all(servers.map(server => server.off()))
    })
    if (options.replicated) await beginPair(folder)
    await Promise.all(servers.map(server => server.start()))

    const collector = startedCollector(folder, collectorHost, servers)
    undo.push(() => collector.off())
    const devices = createDevices(network.host('devices'), options.streams ?? throughCollector)
    undo.push(() => devices.stop())
    await Promise.all([collector.start(), devices.start()])

    const mailbox = options.mailTo ? createMailbox(person) : undefined
    undo.push(() => mailbox?.stop())
    await mailbox?.start()
    const main = shared ?? createLeadingDatabase(folder, () => lab.active())
    const roles = createRolesWitness(servers)
    const addresses = createAddressesWitness(network.bridgeNamespace, person, [
      virtual.ipv4,
      virtual.ipv6,
    ])
    const lab: Lab = {
      authority: join(folder, 'pki', 'ca.crt'),
      ...{
        network,
        folder,
        kw1,
        kw2,
        servers,
        replica,
        sharedFolder,
        mailbox,
        person,
        devices,
        roles,
        addresses,
      },
      database: main,
      main,
      clocks: options.clocks ?? false,
      replicated: options.replicated ?? false,
      collector: { host: collectorHost, program: collector },
      writer: createWriterWitness(servers, () => lab.main, watched),
      other: server => (server === kw1 ? kw2 : kw1),
      active: async () => (await lab.untilActive()).server,
      async untilActive({ except, withinMs = settleDeadlineMs, since = performance.now() } = {}) {
        for (;;) {
          const said = await Promise.all(
            servers.map(async server => ({ server, is: await server.role(300) })),
          )
          const found = said.find(({ server, is }) => server !== except && is?.role === 'active')
          if (found) {
            const seconds = (performance.now() - since) / 1000
            return { server: found.server, term: found.is!.term, seconds }
          }
          if (performance.now() - since > withinMs) {
            throw new Error(
              `nobody${except ? ` but ${except.name}` : ''} became active within ${withinMs} ms: ` +
                said.map(({ server, is }) => sentenceOf(server, is)).join('; '),
            )
          }
          await sleep(10)
        }
      },
      settled: (withinMs = settleDeadlineMs, { delivered = true } = {}) =>
        untilSettled(lab, withinMs, delivered),
      async healAll() {
        await Promise.all([...network.hosts.values()].map(host => host.heal()))
        await Promise.all([...network.hosts.values()].map(host => host.signalAll('SIGCONT')))
        await sharedFolder?.heal()
        for (const server of servers) server.freeDisk()
        if (options.clocks) for (const server of servers) server.setClock(0)
        await lab.main.start()
        await Promise.all(servers.map(server => server.start()))
        await collector.start()
      },
      async violations({ overlapMs = 0, mayLoseChanges = false } = {}) {
        return [
          ...roles.violations(overlapMs),
          ...addresses.violations(overlapMs),
          ...(mailbox?.violations() ?? []),
          ...(await lab.writer.violations({ mayBeLost: mayLoseChanges })),
        ]
      },
      async says() {
        const said = await Promise.all(
          servers.map(async server => sentenceOf(server, await server.role())),
        )
        return said.join('; ')
      },
      countRunning: () => countWhileRunning(lab, openedAt),
      count: () => countAll(lab),
      async keepEvidence(into) {
        mkdirSync(into, { recursive: true })
        for (const { program } of servers)
          cpSync(program.logFile, join(into, basename(program.logFile)))
        cpSync(collector.logFile, join(into, basename(collector.logFile)))
        for (const database of [shared, replica]) {
          if (database)
            cpSync(join(database.folder, 'log'), join(into, `${database.host.name}.log`))
        }
        for (const { name } of servers) {
          const ledger = join(folder, ledgerFile(name))
          if (existsSync(ledger)) cpSync(ledger, join(into, ledgerFile(name)))
        }
        const notes = {
          reigns: roles.reigns,
          claims: addresses.claims.slice(-5000),
          violations: await lab.violations().catch(error => [String(error)]),
        }
        writeFileSync(join(into, 'witnesses.json'), JSON.stringify(notes, null, 2))
      },
      async close() {
        await Promise.all([roles.stop(), lab.writer.stop(), addresses.stop()])
        await close()
      },
    }
    undo.push(() => Promise.all([roles.stop(), lab.writer.stop(), addresses.stop()]))

    const { server } = await lab.untilActive()
    await untilReadable(server)
    await server.call('POST', '/devices', {
      ...{ name: watched, address: '192.0.2.1', driver: 'cisco-ios', enabled: false },
    })
    const pair: Partial<PairSettings> = {
      ...(mailbox ? { mail: mailSettings(options.mailTo ?? []) } : {}),
      ...(options.virtualAddresses ? { connection: virtualConnection } : {}),
      ...(sharedFolder ? { sharedFolder: sharedFolder.path } : {}),
      ...options.pair,
    }
    if (Object.keys(pair).length > 0) {
      await changePair(server, pair)
    }
    roles.start()
    await Promise.all([lab.writer.start(), addresses.start()])
    await untilSettled(lab, settleDeadlineMs, true)
    devices.send()
    return lab
  }
}

function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** A database of its own is made while the server is active already. */
async function untilReadable(server: LabServer) {
  const deadline = performance.now() + settleDeadlineMs
  while ((await server.ask('/api/v1/devices')).status !== 200) {
    if (performance.now() > deadline) throw new Error(`${server.name} has no database`)
    await sleep(100)
  }
}

function mailSettings(recipients: readonly string[]): PairSettings['mail'] {
  return {
    recipients: [...recipients],
    from: 'keepwatch@example.net',
    host: 'person',
    port: smtpPort,
    security: 'none',
    classes: ['self-monitoring', 'synchronization', 'takeover'],
  }
}

async function changePair(server: LabServer, pair: Partial<PairSettings>) {
  const { version } = await server.call<{ version: number }>('GET', '/pair/settings')
  await server.call('PUT', '/pair/settings', { settings: pair, version })
}

function startedCollector(folder: string, host: Host, servers: readonly LabServer[]): Program {
  const file = join(folder, 'collector.yaml')
  const settings = {
    name: 'site',
    spool: join(folder, 'collector'),
    identity: join(folder, 'pki'),
    servers: servers.map(({ name }) => ({ name, url: `https://${name}:8450` })),
    listen: {
      netflow: 2055,
      ipfix: 4739,
      sflow: 6343,
      syslog_udp: 514,
      syslog_tcp: 514,
      traps: 162,
    },
  }
  writeFileSync(file, stringify(settings))
  return createProgram(host, {
    name: 'collector',
    logFile: join(folder, 'collector.log'),
    command: () => ({
      file: process.execPath,
      args: ['--disable-warning=ExperimentalWarning', main, 'collector', '--settings', file],
    }),
  })
}

async function makeSecrets(
  folder: string,
  servers: readonly Host[],
  collector: Host,
): Promise<string> {
  const pki = join(folder, 'pki')
  mkdirSync(pki, { mode: 0o700 })
  const authority = await openAuthority(pki)
  for (const host of servers) {
    const hosts = [host.name, host.ipv4, host.ipv6, 'localhost', '127.0.0.1']
    writeIdentity(pki, host.name, await authority.issue({ role: 'server', name: host.name, hosts }))
    const name = `${host.name}-console`
    const reached = [...hosts, host.management, 'keepwatch', virtual.ipv4, virtual.ipv6]
    writeIdentity(pki, name, await authority.issue({ role: 'server', name, hosts: reached }))
  }
  const hosts = [collector.name, collector.ipv4, collector.ipv6]
  writeIdentity(pki, 'site', await authority.issue({ role: 'collector', name: 'site', hosts }))
  writeFileSync(join(folder, 'deployment.key'), `${randomBytes(32).toString('base64')}\n`)
  writeFileSync(join(folder, 'first-password'), `${randomBytes(9).toString('base64url')}\n`)
  return authority.ca
}

function readToken(folder: string): string {
  const token = `kw_${randomBytes(32).toString('base64url')}`
  writeFileSync(join(folder, 'api-token'), `${token}\n`)
  return token
}

function sentenceOf(server: LabServer, is: Active | undefined): string {
  return is
    ? `${server.name} is ${is.role} in term ${is.term}: ${is.sentence}`
    : `${server.name} does not answer`
}
