/**
 * From nothing to a pair, as an operator does it: init, server, failover enable, join. Two servers on
 * one machine, so some checks of the prerequisites have to be overruled.
 */
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { freePort } from '../../src/lib/ports.ts'
import { readIdentity } from '../../src/lib/tls.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import { log } from '../contract/databases.ts'
import { createOperator, type Pair, rolesOf } from './operator.ts'
import { keepwatch } from './program.ts'

vi.setConfig({ testTimeout: 240_000 })

let folder: string
let postgres: EmbeddedPostgres
let operator: ReturnType<typeof createOperator>
const at = (name: string) => operator.at(name)
const settingsOf = (name: string) => operator.settingsOf(name)
const told = <T>(...args: string[]) => operator.told<T>(...args)
const start = (...args: string[]) => operator.start(...args)
const untilPair: typeof operator.untilPair = (...args) => operator.untilPair(...args)
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-e2e-setup-'))
  operator = createOperator(folder)
  postgres = createEmbeddedPostgres(
    { log },
    { dataDir: join(folder, 'postgres'), port: await freePort() },
  )
  await postgres.start()
}, 120_000)
afterAll(async () => {
  await operator?.endAll()
  await postgres?.stop()
  rmSync(folder, { recursive: true, force: true })
}, 120_000)

async function refused(...args: string[]): Promise<string> {
  const { code, said } = await keepwatch(args)
  expect(code, said).toBe(1)
  return said
}

function initArguments(name: string, ports: { console: number; link: number }): string[] {
  return [
    ...['init', '--database', postgres.url, '--name', name, '--address', '127.0.0.1'],
    ...['--data', join(folder, `${name}-data`), ...at(name), '--console-host', '127.0.0.1'],
    ...['--console-port', `${ports.console}`, '--link-port', `${ports.link}`, '--no-collector'],
  ]
}

describe('a pair', () => {
  let first: ReturnType<typeof start>
  let second: ReturnType<typeof start>
  let line: string[]
  let token: string

  const joinAs = async (name: string) => [
    ...line,
    ...['--name', name, '--data', join(folder, `${name}-data`), ...at(name)],
    ...['--console-port', `${await freePort()}`, '--link-port', `${await freePort()}`],
  ]

  async function invite() {
    const enabled = await told<{ line: string; settings: { mail: { recipients: string[] } } }>(
      ...['failover', 'enable', ...at('kw1'), '--secondary', '127.0.0.1', '--none'],
      ...['--mail', 'ops@example.net,noc@example.net', '--smtp', 'mail.example.net'],
    )
    line = enabled.line.split(' ').slice(1)
    token = line.at(-1)!
    return enabled
  }

  test('has its first server after two commands', async () => {
    const ports = { console: await freePort(), link: await freePort() }
    const { said, code } = await keepwatch(initArguments('kw1', ports))
    expect(said).toMatch(/Start {6}keepwatch server --settings .*server\.yaml/)
    expect(said).toMatch(/Log in {5}user admin, password \S{12}/)
    expect(code).toBe(0)
    const modes = (path: string) => (statSync(join(folder, 'kw1', path)).mode & 0o777).toString(8)
    expect(['.', 'pki', 'server.yaml', 'pki/ca.key', 'pki/deployment.key'].map(modes)).toEqual([
      ...['700', '700', '600', '600', '600'],
    ])
    first = start('server', ...at('kw1'))
    const pair = await untilPair('kw1', one => one.active === 'kw1', first.said)
    expect(pair.servers).toMatchObject([{ name: 'kw1', installed: 'primary', role: 'active' }])
    const socket = statSync(join(folder, 'kw1-data', 'control.sock'))
    expect((socket.mode & 0o777).toString(8)).toBe('600')
  })

  test('is asked for its prerequisites, and what is missing ends with 1 and a way out', async () => {
    const { code, said } = await keepwatch(['doctor', ...at('kw1')])
    expect(said).toMatch(/ok +Clocks/)
    expect(said).toMatch(/FAILURE +Database on neither server +it is on kw1 itself/)
    expect(said).toMatch(/→ move the database to a machine of its own/)
    expect(code).toBe(1)
  })

  test('prints one line for the second machine', async () => {
    const { settings } = await invite()
    expect(settings.mail.recipients).toEqual(['ops@example.net', 'noc@example.net'])
    expect(line.slice(0, 3)).toEqual(['join', expect.stringMatching(/^https:\/\//), '--token'])
  })

  test('lets nobody in with a token that is wrong, and leaves nothing half done', async () => {
    const [id, secret, fingerprint] = token.split('.') as [string, string, string]
    const other = (text: string) => (text.startsWith('A') ? 'B' : 'A') + text.slice(1)
    const arguments_ = await joinAs('kw9')
    const withToken = (changed: string) => arguments_.map(one => (one === token ? changed : one))
    expect(await refused(...withToken('kwj_nonsense'))).toMatch(/begins with kwj_/)
    expect(await refused(...withToken([id, other(secret), fingerprint].join('.')))).toMatch(
      /not complete: copy the whole line/,
    )
    const stranger = `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`
    expect(await refused(...withToken([stranger, secret, fingerprint].join('.')))).toMatch(
      /has made no such token/,
    )
    expect(await refused(...withToken([id, secret, other(fingerprint)].join('.')))).toMatch(
      /another authority than the token says/,
    )
    expect(existsSync(settingsOf('kw9'))).toBe(false)
    expect(readdirSync(join(folder, 'kw9', 'pki')).sort()).toEqual(['console.key', 'kw9.key'])
    // The last of them was let in before it saw that it was somewhere else.
    await invite()
  })

  test('is not joined by two under one name', async () => {
    const { code, said } = await keepwatch(await joinAs('kw1').then(renamed))
    expect(said).toMatch(/kw1 is the name of the first server; choose one with --name/)
    expect(code).toBe(1)
  })

  /** The same name, in another place. */
  const renamed = (args: string[]) =>
    args.map(one => one.replace(join(folder, 'kw1'), join(folder, 'kw7')))

  test('has its second server after one, also when that was interrupted', async () => {
    const arguments_ = await joinAs('kw2')
    const unfit = await refused(...arguments_)
    expect(unfit).toMatch(/FAILURE +Database on neither server/)
    expect(unfit).toMatch(/run the same line again, or add --force/)

    // As after a crash in the middle: no certificate, no settings.
    const pki = join(folder, 'kw2', 'pki')
    const key = readFileSync(join(pki, 'kw2.key'), 'utf8')
    rmSync(join(pki, 'kw2.crt'))
    rmSync(join(pki, 'ca.crt'))
    rmSync(settingsOf('kw2'))
    expect((await keepwatch([...arguments_, '--no-start', '--force'])).said).toMatch(
      /Start {6}keepwatch server --settings/,
    )
    expect(readFileSync(join(pki, 'kw2.key'), 'utf8')).toBe(key)
    for (const file of ['ca.crt', 'ca.key', 'deployment.key']) {
      const of = (name: string) => readFileSync(join(folder, name, 'pki', file), 'utf8')
      expect(of('kw2'), file).toBe(of('kw1'))
    }
    expect(readIdentity(pki, 'kw2').cert).not.toBe(
      readIdentity(join(folder, 'kw1/pki'), 'kw1').cert,
    )

    second = start(...arguments_, '--force')
    const pair = await untilPair(
      'kw2',
      one => rolesOf(one).kw1 === 'active' && rolesOf(one).kw2 === 'standby',
      second.said,
    )
    expect(pair.self).toBe('kw2')
    expect(pair.servers).toMatchObject([{ installed: 'primary' }, { installed: 'secondary' }])
  })

  test('lets no third in, and none with the token that was used', async () => {
    expect(await refused(...(await joinAs('kw3')))).toMatch(/the token was used by kw2 at 20/)
    await invite()
    expect(await refused(...(await joinAs('kw3')))).toMatch(/the pair is complete: kw2 is running/)
  })

  test('is operated from either machine, and the audit log says by whom', async () => {
    const handedOver = await told<Pair>('failover', 'switchover', ...at('kw2'))
    expect(handedOver.active).toBe('kw2')
    // On kw1, which stands by now: sent on.
    const { version } = await told<{ version: number }>('failover', 'settings', ...at('kw1'))
    const changed = await told<{ version: number; changedBy: string }>(
      ...['failover', 'set', ...at('kw1'), '--mail', 'ops@example.net'],
    )
    expect(changed.version).toBe(version + 1)
    expect(changed.changedBy).toMatch(/^[\w-]+@[\w.-]+$/)
    await told('failover', 'pause', '--reason', 'new cables', '--for', '2h', ...at('kw1'))
    const paused = await told<Pair & { paused: { reason: string } }>(
      ...['failover', 'status', ...at('kw2')],
    )
    expect(paused.paused.reason).toBe('new cables')
    await told('failover', 'resume', ...at('kw1'))
    const back = await told<Pair>('failover', 'switchover', ...at('kw1'))
    expect(back).toMatchObject({ active: 'kw1', term: handedOver.term + 1 })
    const history = await told<{ server: string; role: string }[]>(
      ...['failover', 'history', '--limit', '3', ...at('kw2')],
    )
    expect(history).toContainEqual(expect.objectContaining({ server: 'kw1', role: 'active' }))
  })

  test('is operated from elsewhere with a token, also by the address of the standby', async () => {
    const { url } = await told<{ url: string }>(
      ...['join', 'https://127.0.0.1:1', '--token', token, '--no-start', '--force', ...at('kw2')],
    )
    const from = ['--server', url, '--token-file', join(folder, 'kw1', 'api-token')]
    const ca = ['--ca', join(folder, 'kw1', 'pki', 'ca.crt')]
    const stored = await told<{ settings: { webhook: string } }>(
      ...['failover', 'set', '--webhook', 'https://chat.example.net/hook', ...from, ...ca],
    )
    expect(stored.settings.webhook).toBe('https://chat.example.net/hook')
    expect(await refused('failover', 'status', ...from)).toMatch(/certificate|unable to verify/)
  })

  test('shows a drill step by step, there and back', async () => {
    const { code, said } = await keepwatch(['failover', 'drill', ...at('kw2')])
    expect(said).toMatch(/kw1: hands over to kw2[\s\S]*kw2: is active[\s\S]*kw1: is active/)
    expect(said).toMatch(/The drill went well: there in \d/)
    expect(code).toBe(0)
  })

  test('says which option is wrong, and what would be right', async () => {
    const set = (...args: string[]) => refused('failover', 'set', ...at('kw1'), ...args)
    expect(await set('--virtual-ip', '192.0.2.10')).toMatch(
      /--virtual-ip 192\.0\.2\.10: must look like 192\.0\.2\.10\/24/,
    )
    expect(await set('--virtual-ip', '192.0.2.10/60')).toMatch(
      /--virtual-ip: of an IPv4 address is at most 32/,
    )
    expect(await set('--virtual-name', 'a.example.net')).toMatch(/--dns-server: is missing/)
    expect(await set('--mail', 'ops')).toMatch(/--mail: must be an e-mail address/)
    expect(await set('--folder', 'mnt')).toMatch(/--folder: must be an absolute path/)
    expect(await set('--folder', folder)).toMatch(/sharedFolder: .*not empty/)
    expect(await set('--none', '--virtual-ip', '192.0.2.10/24')).toMatch(/choose one of them/)
  })
})

describe('init', () => {
  test('writes no settings when no server could start with them, and says why', async () => {
    const ports = { console: await freePort(), link: await freePort() }
    const args = initArguments('kw4', ports).map(one =>
      one === postgres.url ? 'postgresql://nobody@127.0.0.1:9/none' : one,
    )
    const said = await refused(...args)
    expect(said).toMatch(/FAILURE +Database +kw4 does not reach it: 127\.0\.0\.1:9/)
    expect(existsSync(settingsOf('kw4'))).toBe(false)
  })

  test('does not write over what is there', async () => {
    writeFileSync(join(folder, 'mine.yaml'), 'name: mine\n')
    const ports = { console: await freePort(), link: await freePort() }
    const args = initArguments('kw5', ports).map(one =>
      one === settingsOf('kw5') ? join(folder, 'mine.yaml') : one,
    )
    expect(await refused(...args)).toMatch(/mine\.yaml is there already: .*--force/)
    expect(readFileSync(join(folder, 'mine.yaml'), 'utf8')).toBe('name: mine\n')
  })

  test('writes a unit that starts the server again, with the rights of its user', async () => {
    const ports = { console: await freePort(), link: await freePort() }
    const user = process.getuid?.() === 0 ? ['--user', 'nobody'] : []
    const { said, code } = await keepwatch([
      ...initArguments('kw6', ports),
      ...['--systemd', folder, ...user],
    ])
    expect(code, said).toBe(0)
    const unit = readFileSync(join(folder, 'keepwatch.service'), 'utf8')
    for (const wanted of [
      'Restart=always',
      'RestartSec=1',
      'LimitNOFILE=65536',
      'KillMode=mixed',
    ]) {
      expect(unit.split('\n')).toContain(wanted)
    }
    if (user.length === 0) return
    expect(unit).toMatch(/^AmbientCapabilities=.*CAP_NET_ADMIN.*CAP_NET_BIND_SERVICE/m)
    expect(statSync(settingsOf('kw6')).uid).not.toBe(0)
  })
})

test('join says so when what it reaches is no Keepwatch', async () => {
  const other = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const token = `kwj_${'0'.repeat(32)}.${'A'.repeat(43)}.${'A'.repeat(43)}`
  const where = ['--data', join(folder, 'kw8-data'), ...at('kw8'), '--name', 'kw8']
  expect(await refused('join', `http://127.0.0.1:${port}`, '--token', token, ...where)).toMatch(
    /no Keepwatch/,
  )
  other.close()
  expect(await refused('join', 'http://127.0.0.1:9', '--token', token, ...where)).toMatch(
    /cannot be reached: .*ECONNREFUSED/,
  )
})
