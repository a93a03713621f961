/** `keepwatch init`: everything that the first server of a deployment needs, made and checked. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join, relative } from 'node:path'
import type { z } from 'zod'
import type { Finding } from '../../failover/preflight/finding.ts'
import { databaseTargets } from '../../lib/database-hosts.ts'
import { writeWhole } from '../../lib/files.ts'
import { readSettings } from '../../lib/settings.ts'
import {
  isIssuedBy,
  openAuthority,
  publicKeyOf,
  readIdentity,
  type Subject,
  writeIdentity,
} from '../../lib/tls.ts'
import { beginDeployment } from '../server/own-database.ts'
import { serverSettings } from '../server/settings.ts'
import {
  keyIn,
  type Layout,
  layoutOf,
  makeFolders,
  newDeploymentKey,
  ownDatabasePorts,
  secretIn,
  writeSettings,
} from './layout.ts'
import { allAddresses } from './listen-at.ts'
import { createPreflight } from './preflight.ts'
import { isHost } from './welcome.ts'

export interface InitOptions {
  /** URL of one that both servers are to share; undefined: each has one of its own. */
  database: string | undefined
  name: string
  address: string
  data: string
  settings: string
  /** Undefined: all that the machine has. */
  consoleHost: string | undefined
  consolePort: number
  linkPort: number
  /** PEM files of a public certificate, instead of one of the private authority. */
  consoleTls: { key: string; cert: string } | undefined
  /** With a collector inside, for what devices send to this machine or to the pair's address. */
  collector: boolean
  /** Writes over settings that are there, and goes on after a failure. */
  force: boolean
}

export interface Initialized {
  layout: Layout
  url: string
  findings: Finding[]
  /** Whether the settings file is there: not if something is missing without which no server starts. */
  written: boolean
  /** Of the user `admin`. */
  password: string
}

/** Without these a server cannot start at all; the others matter once there are two. */
const needed = ['database', 'ports', 'disk']

/**
 * May be repeated: keys and certificates stay. The settings file is written last, so that it is there
 * only where everything else is.
 *
 * @throws Error that says what would be right
 */
export async function initialize(options: InitOptions): Promise<Initialized> {
  const layout = layoutOf(options.settings)
  if (existsSync(layout.settings) && !options.force) {
    throw new Error(
      `${layout.settings} is there already: start the server with it, or write it anew with --force (keys and certificates stay)`,
    )
  }
  if (!isHost(options.address)) {
    throw new Error(`--address ${options.address}: is neither a name nor an IP address`)
  }
  if (options.database !== undefined) databaseTargets(options.database)
  makeFolders(layout.folder, layout.pki, options.data)
  const { name } = options
  const authority = await openAuthority(layout.pki)
  const hosts = [...new Set([options.address, ...ownAddresses()])]
  await issue({ role: 'server', name, hosts })
  const tls = options.consoleTls ?? (await issueForConsole())
  secretIn(layout.deploymentKey, newDeploymentKey)
  const password = secretIn(layout.firstPassword, () => randomBytes(9).toString('base64url'))
  secretIn(layout.apiToken, () => `kw_${randomBytes(32).toString('base64url')}`)

  const url = urlOf(options.address, options.consolePort)
  const beside = (path: string) => relativeTo(layout.folder, path)
  const settings: z.input<typeof serverSettings> = {
    name,
    installed: 'primary',
    dataDir: beside(options.data),
    console: {
      host: options.consoleHost ?? allAddresses(),
      port: options.consolePort,
      url,
      tls: { key: beside(tls.key), cert: beside(tls.cert) },
    },
    link: {
      host: allAddresses(),
      port: options.linkPort,
      advertise: options.address,
      identity: beside(layout.pki),
    },
    database:
      options.database === undefined
        ? { own: await ownDatabasePorts() }
        : { url: options.database },
    keyFile: beside(layout.deploymentKey),
    first: { passwordFile: beside(layout.firstPassword), tokenFile: beside(layout.apiToken) },
    ...(options.collector ? { collect: {} } : {}),
  }
  const findings = await check(settings)
  const missing = findings.filter(({ id, result }) => result === 'failure' && needed.includes(id))
  const written = missing.length === 0 || options.force
  if (written && options.database === undefined) {
    await beginDeployment(options.data, name)
  }
  if (written) writeSettings(layout.settings, settings, 'keepwatch init')
  return { layout, url, findings, written, password }

  async function issue(subject: Subject) {
    const certFile = join(layout.pki, `${subject.name}.crt`)
    if (existsSync(certFile)) {
      const { cert, key } = readIdentity(layout.pki, subject.name)
      if (isIssuedBy(cert, authority.ca, key)) return
    }
    writeIdentity(layout.pki, subject.name, await authority.issue(subject))
  }

  async function issueForConsole() {
    const key = await keyIn(layout.consoleKey)
    const named = [...new Set([...hosts, 'localhost', '127.0.0.1'])]
    const subject = { role: 'console' as const, name, hosts: named }
    writeWhole(layout.consoleCertificate, await authority.certify(subject, publicKeyOf(key)), 0o644)
    return { key: layout.consoleKey, cert: layout.consoleCertificate }
  }

  async function check(input: object) {
    const parsed = serverSettings.parse(input)
    const preflight = createPreflight(
      {
        identity: readIdentity(layout.pki, name),
        other: async () => undefined,
        planned: async () => ({ connection: { type: 'none' }, sharedFolder: null }),
        running: () => undefined,
      },
      { settings: parsed, file: layout.settings },
    )
    const all = await preflight.run()
    // There is no second server yet, so nothing to say about the two.
    return all.filter(({ id, result }) => result !== 'skipped' && id !== 'folder-elsewhere')
  }
}

/** Of this machine, without those that only it itself can reach. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((entries = []) => entries)
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address)
}

export function urlOf(host: string, port: number): string {
  const name = host.includes(':') ? `[${host}]` : host
  return `https://${name}${port === 443 ? '' : `:${port}`}`
}

/** A path as it is written into the settings file: short where it lies beside it. */
export function relativeTo(folder: string, path: string): string {
  const short = relative(folder, path)
  return short.startsWith('..') ? path : short
}

/** The settings of a server that was set up. @throws SettingsError */
export function readServer(file: string) {
  return readSettings(file, serverSettings)
}
