/** A zone on two real name servers (BIND): a primary that takes signed updates, and a secondary. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { askAddresses, askTexts, type NameServer } from '../../src/failover/address/name-servers.ts'
import { freePort } from '../../src/lib/ports.ts'
import { until } from './address-lab.ts'

const exec = promisify(execFile)
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }

export const zone = 'example.net'

/** Why it cannot be built here; undefined if it can. */
export function lacksDns(): string | undefined {
  const missing = ['named', 'nsupdate', 'dig'].filter(
    name => spawnSync('which', [name], { env }).status !== 0,
  )
  if (missing.length > 0) return `needs ${missing.join(', ')}`
  const six = Object.values(networkInterfaces()).some(list =>
    list?.some(({ address }) => address === '::1'),
  )
  return six ? undefined : 'needs the loopback address ::1'
}

export interface Dns {
  /** As it is set: `127.0.0.1:5353`. */
  server: string
  tsig: { name: string; algorithm: string; secret: string }
  primary: NameServer
  secondary: NameServer
  /** Tells the secondary that the zone has changed, which by itself it asks once an hour. */
  notify(): Promise<void>
  /** What a person could see of it: `dig`, sorted lines. */
  answers(server: NameServer, name: string): Promise<string[]>
  texts(name: string): Promise<string[]>
  signal(signal: NodeJS.Signals): void
  stop(): Promise<void>
}

export async function createDns(): Promise<Dns> {
  const folder = await mkdtemp(join(tmpdir(), 'keepwatch-dns-'))
  const port = await freePort()
  const secret = randomBytes(32).toString('base64')
  const key = `key "keepwatch" { algorithm hmac-sha256; secret "${secret}"; };`
  const common = (where: string) => `
    directory "${where}"; pid-file "${where}/pid"; session-keyfile "${where}/session";
    recursion no; dnssec-validation no; notify no; max-refresh-time 3600; min-refresh-time 3600;`
  const children: ChildProcess[] = []

  async function begin(name: string, settings: (where: string) => string) {
    const where = join(folder, name)
    await mkdir(where)
    await writeFile(join(where, 'named.conf'), settings(where))
    await writeFile(join(where, 'zone'), zoneText)
    children.push(
      spawn('named', ['-f', '-n', '1', '-c', join(where, 'named.conf')], { env, stdio: 'ignore' }),
    )
  }

  await begin(
    'primary',
    where => `${key} controls { };
    options { ${common(where)}
      listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; }; allow-transfer { any; };
    };
    zone "${zone}" {
      type primary; file "${where}/zone";
      update-policy { grant keepwatch subdomain keepwatch.${zone}. A AAAA TXT; };
    };`,
  )
  const primary: NameServer = { name: `ns1.${zone}`, address: '127.0.0.1', port }
  const secondary: NameServer = { name: `ns2.${zone}`, address: '::1', port }
  const serves = (server: NameServer) =>
    until(
      async () => (await askAddresses(`ns1.${zone}`, server).catch(() => [])).length > 0,
      `${server.name} does not serve`,
      30_000,
    )
  await serves(primary)
  await begin(
    'secondary',
    where => `controls { };
    options { ${common(where)}
      listen-on { none; }; listen-on-v6 port ${port} { ::1; }; allow-notify { any; };
    };
    zone "${zone}" { type secondary; primaries { 127.0.0.1 port ${port}; }; file "${where}/copy"; };`,
  )
  await serves(secondary)

  return {
    ...{ primary, secondary },
    server: `127.0.0.1:${port}`,
    tsig: { name: 'keepwatch', algorithm: 'hmac-sha256', secret },
    async notify() {
      const question = ['+opcode=NOTIFY', '+norecurse', '+tries=1', zone, 'SOA']
      await exec('dig', [`@${secondary.address}`, '-p', String(port), ...question])
    },
    answers: (server, name) => askAddresses(name, server),
    texts: async name => (await askTexts(name, primary)).map(strings => strings.join('')),
    signal: signal => void children[0]!.kill(signal),
    async stop() {
      const ended = children.map(child => new Promise(resolve => child.once('exit', resolve)))
      for (const child of children) child.kill('SIGKILL')
      await Promise.all(ended)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const zoneText = `$TTL 60
@ SOA ns1 admin 1 3600 600 86400 60
@ NS ns1
@ NS ns2
ns1 A 127.0.0.1
ns2 AAAA ::1
`
