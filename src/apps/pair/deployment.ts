/** The files of a whole deployment on one machine, made at first start and read at the next. */
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { writeWhole } from '../../lib/files.ts'
import { freePort } from '../../lib/ports.ts'
import { openAuthority, type Subject, writeIdentity } from '../../lib/tls.ts'
import type { Ports } from './ports.ts'

export interface Deployment {
  dataDir: string
  ports: Ports
  links: { 'server-a': number; 'server-b': number }
  databasePort: number
  token: string
  /** Null once a person has chosen a password. */
  password: string | null
  file(name: string): string
}

/** Makes what is missing: keys, certificates, first password and token. */
export async function prepareDeployment(dataDir: string, ports: Ports): Promise<Deployment> {
  // Others may pass through: PostgreSQL, where it runs as a user of its own, has its folder in here.
  mkdirSync(dataDir, { recursive: true, mode: 0o711 })
  chmodSync(dataDir, 0o711)
  for (const folder of ['pki', 'logs']) {
    mkdirSync(join(dataDir, folder), { recursive: true, mode: 0o700 })
  }
  const authority = await openAuthority(join(dataDir, 'pki'))
  const subjects: Subject[] = [
    { role: 'server', name: 'server-a', hosts: ['127.0.0.1', 'localhost'] },
    { role: 'server', name: 'server-b', hosts: ['127.0.0.1', 'localhost'] },
    { role: 'collector', name: 'collector-1', hosts: ['127.0.0.1', 'localhost'] },
  ]
  for (const subject of subjects) {
    if (existsSync(join(dataDir, 'pki', `${subject.name}.crt`))) continue
    writeIdentity(join(dataDir, 'pki'), subject.name, await authority.issue(subject))
  }
  makeSecret(dataDir, 'deployment.key', () => randomBytes(32).toString('base64'))
  const isNew = !existsSync(join(dataDir, 'api-token'))
  makeSecret(dataDir, 'api-token', () => `kw_${randomBytes(32).toString('base64url')}`)
  if (isNew) makeSecret(dataDir, 'first-password', () => randomBytes(9).toString('base64url'))
  const passwordFile = join(dataDir, 'first-password')
  return {
    dataDir,
    ports,
    links: { 'server-a': await freePort(), 'server-b': await freePort() },
    databasePort: await freePort(),
    token: readFileSync(join(dataDir, 'api-token'), 'utf8').trim(),
    password: existsSync(passwordFile) ? readFileSync(passwordFile, 'utf8').trim() : null,
    file: name => join(dataDir, name),
  }
}

/** Writes the settings file of each part; the same parts start from the same files on their own. */
export function writeSettings(deployment: Deployment, options: { databaseUrl: string }): void {
  const { ports, links } = deployment
  const server = (name: 'server-a' | 'server-b', consolePort: number) => ({
    name,
    installed: name === 'server-a' ? 'primary' : 'secondary',
    dataDir: name,
    console: { host: '127.0.0.1', port: consolePort },
    link: { host: '127.0.0.1', port: links[name], advertise: '127.0.0.1', identity: 'pki' },
    database: { url: options.databaseUrl },
    keyFile: 'deployment.key',
    first: { passwordFile: 'first-password', tokenFile: 'api-token' },
  })
  writeYaml(deployment, 'server-a.yaml', server('server-a', ports.console))
  writeYaml(deployment, 'server-b.yaml', server('server-b', ports.standby_console))
  writeYaml(deployment, 'collector-1.yaml', {
    name: 'collector-1',
    spool: 'collector-1',
    identity: 'pki',
    servers: (['server-a', 'server-b'] as const).map(name => ({
      name,
      url: `https://127.0.0.1:${links[name]}`,
    })),
    observe: { port: ports.collector_metrics },
    listen: {
      netflow: ports.netflow,
      ipfix: ports.ipfix,
      ipfix_tcp: ports.ipfix_tcp,
      sflow: ports.sflow,
      syslog_udp: ports.syslog_udp,
      syslog_tcp: ports.syslog_tcp,
      traps: ports.traps,
    },
  })
}

function writeYaml(deployment: Deployment, name: string, settings: object) {
  // The database's password is in it.
  writeWhole(deployment.file(name), stringify(settings), 0o600)
}

function makeSecret(dataDir: string, name: string, make: () => string) {
  const file = join(dataDir, name)
  if (!existsSync(file)) writeWhole(file, `${make()}\n`, 0o600)
}
