/** Settings that cannot be used: the program says where, and what would be right, and ends with 1. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { openAuthority, writeIdentity } from '../../src/lib/tls.ts'
import { keepwatch } from './program.ts'

vi.setConfig({ testTimeout: 60_000 })

let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-settings-'))
  const authority = await openAuthority(join(folder, 'pki'))
  for (const [role, name] of [
    ['collector', 'site'],
    ['server', 'server-a'],
  ] as const) {
    writeIdentity(join(folder, 'pki'), name, await authority.issue({ role, name, hosts: [] }))
  }
  writeFileSync(join(folder, 'key'), Buffer.alloc(32).toString('base64'))
  writeFileSync(join(folder, 'short-key'), 'c2hvcnQ=')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function run(command: string, settings: object | string) {
  const text = typeof settings === 'string' ? settings : stringify(settings)
  writeFileSync(join(folder, 'x.yaml'), text)
  return keepwatch([command, '--settings', 'x.yaml'], folder)
}

const anyPort = {
  netflow: 0,
  ipfix: 0,
  sflow: 0,
  syslog_udp: 0,
  syslog_tcp: 0,
  traps: 0,
  ipfix_tcp: 0,
}
const site = {
  name: 'site',
  spool: 'spool',
  identity: 'pki',
  servers: [{ name: 'server-a', url: 'https://127.0.0.1:9' }],
  listen: anyPort,
}
const server = {
  name: 'server-a',
  installed: 'primary',
  dataDir: 'server-a',
  console: { host: '127.0.0.1', port: 0 },
  link: { host: '127.0.0.1', port: 0, advertise: '127.0.0.1', identity: 'pki' },
  database: { url: 'postgresql://nobody@127.0.0.1:9/none' },
  keyFile: 'key',
}

describe('a collector', () => {
  test('with many mistakes in its settings says all of them by line, and ends with 1', async () => {
    const { code, said } = await run('collector', {
      ...site,
      name: 'a b',
      quotaBytes: '20GB',
      servers: [{ name: 'a', url: 'http://a:1' }],
      listen: { netflow: 'http', traps: 70_000, address: 'eth0', netfow: 1 },
    })
    expect(said.split('\n').slice(0, -1).sort()).toEqual([
      expect.stringMatching(/^keepwatch: x\.yaml:1: name: must be letters, digits/),
      expect.stringMatching(/^x\.yaml:10: listen\.address: must be an IPv4 or IPv6 address/),
      expect.stringMatching(
        /^x\.yaml:11: listen\.netfow: there is no such setting; there are .*netflow/,
      ),
      expect.stringMatching(/^x\.yaml:12: quotaBytes: must be a number, and is text/),
      expect.stringMatching(/^x\.yaml:6: servers\.0\.url: must look like https:\/\/server:8450/),
      expect.stringMatching(/^x\.yaml:8: listen\.netflow: must be a port \(0 to 65535/),
      expect.stringMatching(/^x\.yaml:9: listen\.traps: must be at most 65535/),
    ])
    expect(code).toBe(1)
  })

  test.each<[what: string, settings: object | string, said: RegExp]>([
    ['nothing in the file', '', /^keepwatch: x\.yaml:1: name: is missing; it must be text$/m],
    ['no YAML', 'name: site\nspool: [a\n', /^keepwatch: x\.yaml:\d: \S/],
    ['a key twice', 'name: site\nname: site\n', /^keepwatch: x\.yaml:2: .*unique/],
    [
      'no identity',
      { ...site, identity: 'nowhere' },
      /x\.yaml:3: identity: the folder .*nowhere must hold site\.key, site\.crt .* ca\.crt: ENOENT/,
    ],
  ])('with %s says so with the line, and ends with 1', async (_, settings, said) => {
    const answer = await run('collector', settings)
    expect(answer.said).toMatch(said)
    expect(answer.code).toBe(1)
    expect(existsSync(join(folder, 'spool'))).toBe(false)
  })

  test('whose certificate belongs to another key says so', async () => {
    const mixed = join(folder, 'mixed')
    const authority = await openAuthority(join(folder, 'pki'))
    const issue = () => authority.issue({ role: 'collector', name: 'site', hosts: [] })
    const [one, two] = [await issue(), await issue()]
    writeIdentity(mixed, 'site', { ...one, cert: two.cert })
    const { code, said } = await run('collector', { ...site, identity: 'mixed' })
    expect(said).toMatch(/x\.yaml:3: identity: .*which go together.*mismatch/)
    expect(code).toBe(1)
  })

  test('whose port is taken names the port, the setting and what may hold it', async () => {
    const udp = createSocket('udp4').bind(0, '127.0.0.1')
    await once(udp, 'listening')
    const tcp = createServer().listen(0, '127.0.0.1')
    await once(tcp, 'listening')
    const { port } = udp.address()
    const { port: tcpPort } = tcp.address() as AddressInfo
    const listen = { ...anyPort, address: '127.0.0.1' }
    try {
      const flows = await run('collector', { ...site, listen: { ...listen, netflow: port } })
      expect(flows.said).toMatch(
        new RegExp(`UDP port ${port} \\(listen\\.netflow\\) is taken.*another flow collector`),
      )
      const syslog = await run('collector', { ...site, listen: { ...listen, syslog_tcp: tcpPort } })
      expect(syslog.said).toMatch(
        new RegExp(`TCP port ${tcpPort} \\(listen\\.syslog_tcp\\) is taken.*rsyslogd`),
      )
      const observe = { host: '127.0.0.1', port: tcpPort }
      const metrics = await run('collector', { ...site, listen, observe })
      expect(metrics.said).toMatch(/x\.yaml:\d+: observe\.port: cannot be opened: .*EADDRINUSE/)
      expect([flows.code, syslog.code, metrics.code]).toEqual([1, 1, 1])
    } finally {
      udp.close()
      tcp.close()
      rmSync(join(folder, 'spool'), { recursive: true, force: true })
    }
  })
})

describe('a server', () => {
  test('with many mistakes in its settings says all of them by line, and ends with 1', async () => {
    const { code, said } = await run('server', {
      ...server,
      name: 'Server A',
      installed: 'first',
      database: { url: 'mysql://root:hunter2@a' },
      failover: { leaseMs: 0 },
      log: 'verbose',
    })
    expect(said.split('\n').slice(0, -1).sort()).toEqual([
      expect.stringMatching(/^keepwatch: x\.yaml:1: name: must be lower-case letters/),
      expect.stringMatching(/^x\.yaml:13: database\.url: must look like postgres:/),
      expect.stringMatching(/^x\.yaml:16: failover\.leaseMs: must be more than 0/),
      expect.stringMatching(/^x\.yaml:17: log: must be "debug" or "info" or "warn" or "error"/),
      expect.stringMatching(/^x\.yaml:2: installed: must be "primary" or "secondary"/),
    ])
    expect(said).not.toContain('hunter2')
    expect(code).toBe(1)
  })

  test.each<[what: string, change: object, said: RegExp]>([
    [
      'an open console without TLS',
      { console: { host: '0.0.0.0', port: 0 } },
      /x\.yaml:5: console\.host: without tls it must be a loopback address/,
    ],
    [
      'a certificate that is none',
      { console: { tls: { key: 'key', cert: 'key' } } },
      /x\.yaml:5: console\.tls: key and cert must be PEM files/,
    ],
    [
      'no identity',
      { name: 'server-x' },
      /x\.yaml:11: link\.identity: the folder .*pki must hold server-x\.key/,
    ],
    ['no key', { keyFile: 'nokey' }, /x\.yaml:14: keyFile: ENOENT.*nokey/],
    ['a short key', { keyFile: 'short-key' }, /keyFile: the file must hold 32 bytes in base64/],
  ])('with %s says so with the line, and ends with 1', async (_, change, said) => {
    const answer = await run('server', { ...server, ...change })
    expect(answer.said).toMatch(said)
    expect(answer.code).toBe(1)
    expect(existsSync(join(folder, 'server-a'))).toBe(false)
  })
})

test('a file that is not there is named; an order that is not understood ends with 2', async () => {
  const missing = await keepwatch(['server', '--settings', 'none.yaml'], folder)
  expect(missing).toMatchObject({
    code: 1,
    said: expect.stringMatching(/none\.yaml: cannot be read/),
  })
  const unnamed = await keepwatch(['collector'])
  expect(unnamed).toMatchObject({ code: 2, said: expect.stringMatching(/--settings <file>/) })
  const unknown = await keepwatch(['guard'])
  expect(unknown).toMatchObject({ code: 2, said: expect.stringMatching(/unknown command 'guard'/) })
})
