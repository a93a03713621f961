/**
 * Whatever comes to the ports of a deployment: malformed and mutated datagrams, floods, strangers,
 * damaged files. It is counted, logged at a bounded rate, and harms nobody else: the numbers of good
 * devices arrive all the while, each exactly once.
 */
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { parse, stringify } from 'yaml'
import { bootBefore, createSflow } from '../../src/apps/simulation/flow-export.ts'
import { authenticationTrapV1, linkTrap } from '../../src/apps/simulation/notifications.ts'
import { type Authority, openAuthority, readIdentity, writeIdentity } from '../../src/lib/tls.ts'
import { capturesExist, readCaptures } from '../captures/flow-captures.ts'
import { createRandom, mutate, type Random } from '../fixtures/mutate.ts'
import { type CollectorProgram, type CollectorState, startCollector, until } from './collector.ts'
import { startDeployment, type TestDeployment } from './deployment.ts'
import { createDevices, type Devices, stream } from './exporters.ts'
import {
  countStored,
  createNumbered,
  type Numbered,
  numberedFlow,
  numberedMessage,
  type Source,
  saidNumber,
} from './numbered.ts'
import { keepwatch } from './program.ts'
import { openStored } from './stored-numbers.ts'

vi.setConfig({ testTimeout: 120_000 })

const maxConnections = 50
/** Bad datagrams to each listener. */
const badDatagrams = 12_000
/** Sent before the collector is asked whether it has them, so that no buffer overflows. */
const window = 80

const udpListeners = ['netflow', 'ipfix', 'sflow', 'syslog_udp', 'traps'] as const

let deployment: TestDeployment
let authority: Authority
let pki: string
let servers: { name: string; url: string }[]
let devices: Devices
let collector: CollectorProgram
let numbered: Numbered
const sent = new Map<Source, number>()
const running: CollectorProgram[] = []

beforeAll(async () => {
  deployment = await startDeployment()
  pki = join(deployment.dataDir, 'pki')
  authority = await openAuthority(pki)
  for (const name of ['site', 'site-2']) {
    const identity = await authority.issue({ role: 'collector', name, hosts: [] })
    writeIdentity(pki, name, identity)
  }
  const settings = readFileSync(join(deployment.dataDir, 'collector-1.yaml'), 'utf8')
  servers = parse(settings).servers
  devices = createDevices()
  collector = await start('site', servers)
  numbered = await createNumbered(devices, collector.ports)
}, 180_000)

afterAll(async () => {
  for (const program of running) await program.stop()
  await devices?.close()
  await deployment?.stop()
  deployment?.remove()
}, 120_000)

async function start(name: string, to: { name: string; url: string }[]) {
  const options = { dir: deployment.dataDir, name, identity: pki, servers: to }
  const program = await startCollector({ ...options, listen: { maxConnections } })
  running.push(program)
  return program
}

/** Resident memory of a process in bytes. */
function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(status)![1])
}

const received = (state: CollectorState, listener: string) =>
  state.listeners.find(({ name }) => name === listener)!.datagrams

/** What a collector says of itself, as the servers tell it. */
async function asServersTell(name: string): Promise<CollectorState> {
  const { url } = await deployment.untilActive()
  const { collectors } = await deployment.call<{ collectors: { state: CollectorState }[] }>(
    url,
    'GET',
    '/collectors',
  )
  return collectors.find(({ state }) => state.name === name)!.state
}

/** The values of a counter by its label `reason`. */
function reasonsIn(metrics: string, name: string): Record<string, number> {
  const lines = metrics.matchAll(new RegExp(`^${name}\\{.*?reason="([^"]+)".*?\\} (\\d+)$`, 'gm'))
  return Object.fromEntries([...lines].map(([, reason, count]) => [reason, Number(count)]))
}

/** Datagrams that no listener should have to see. */
function createRubbish(random: Random): (listener: (typeof udpListeners)[number]) => Uint8Array {
  const sflow = createSflow(bootBefore(Date.now()), '127.66.0.99', 100)
  const flows = Array.from({ length: 7 }, (_, i) => numberedFlow(i + 1, Date.now()))
  const originals = {
    flow: [
      sflow.encode(flows, Date.now()),
      ...(capturesExist ? readCaptures().map(({ bytes }) => bytes) : []),
    ],
    syslog: [
      Buffer.from('<34>1 2026-10-11T22:14:15.003Z host app 1 ID47 [a@1 b="c\\]"] text'),
      Buffer.from('<999>Oct 11 22:14:15 host app[1]: text'),
      Buffer.from('<189>123: router: Oct 11 22:14:15.003 UTC: %SYS-5-CONFIG_I: by admin'),
    ],
    trap: [linkTrap(true, 1, 'eth1', 1), authenticationTrapV1('192.0.2.1', 1)],
  }
  const beginnings = [[0, 5], [0, 9], [0, 10], [0, 0, 0, 5], [0x30, 0x82], [0x30, 0x84], [0x3c]]
  const noise = (length: number) => Uint8Array.from({ length }, () => random(256))
  const pick = <T>(from: readonly T[]) => from[random(from.length)]!

  return listener => {
    const kind = listener === 'traps' ? 'trap' : listener === 'syslog_udp' ? 'syslog' : 'flow'
    switch (random(10)) {
      case 0:
        return noise(random(60))
      case 1:
        return noise(random(100) === 0 ? 60_000 : random(1500))
      case 2: {
        const bytes = noise(4 + random(1400))
        bytes.set(pick(beginnings))
        return bytes
      }
      // What is right at another port.
      case 3:
        return pick(originals[pick(['flow', 'syslog', 'trap'] as const)])
      default:
        return mutate(pick(originals[kind]), random)
    }
  }
}

test('rubbish to every listener is counted by reason, and every good number gets through', async () => {
  const rubbish = createRubbish(createRandom(20_260_814))
  const addresses = Array.from({ length: 20 }, (_, i) => `127.66.0.${i + 1}`)
  const counts = Object.fromEntries(udpListeners.map(name => [name, 0]))
  const logged = collector.logLines().length
  const began = performance.now()
  let warm = 0
  for (let bad = 0; bad < badDatagrams; bad += window) {
    for (let i = 0; i < window; i++) {
      for (const listener of udpListeners) {
        const from = addresses[(bad + i) % addresses.length]!
        await devices.send(from, rubbish(listener), collector.ports[listener])
        counts[listener]!++
      }
    }
    await numbered.round()
    await until('all was received', collector.state, state =>
      udpListeners.every(name => received(state, name) >= counts[name]!),
    )
    if (bad < badDatagrams / 2) warm = memoryOf(collector.pid)
  }
  const seconds = (performance.now() - began) / 1000
  const grown = memoryOf(collector.pid) - warm
  const lines = collector.logLines().slice(logged)
  const { problems, listeners } = await collector.state()
  const reasons = Object.keys(problems).length
  process.stdout.write(
    `${badDatagrams * udpListeners.length} bad datagrams in ${seconds.toFixed(1)} s: ` +
      `${reasons} reasons, ${lines.length} lines of log, ` +
      `${(warm / 2 ** 20).toFixed(0)} MiB of memory at half-time and ${(grown / 2 ** 20).toFixed(0)} more at the end\n`,
  )
  expect(listeners.map(({ kernelDrops }) => kernelDrops ?? 0)).toEqual(listeners.map(() => 0))
  expect(collector.alive()).toBe(true)
  expect(grown).toBeLessThan(100 * 2 ** 20)
  expect(warm + grown).toBeLessThan(700 * 2 ** 20)
  expect(problems['listen.decoder-failed']).toBeUndefined()
  for (const reason of [
    'flow.unknown-version',
    'flow.truncated',
    'flow.sflow-truncated',
    'syslog.unparsed',
    'syslog.bad-priority',
    'trap.malformed',
    'trap.truncated',
    'trap.oversize',
  ]) {
    expect(problems[reason] ?? 0, `${reason} of ${JSON.stringify(problems)}`).toBeGreaterThan(0)
  }
  // One line a reason in ten seconds, whatever the number of datagrams.
  expect(lines.length).toBeLessThan(reasons * (1 + seconds / 10) + 20)
})

test('the same counts stand in the API of the servers and in the metrics', async () => {
  // Asked for anew each time: what is received has still to be decoded, and is counted only then.
  const everywhere = async () => {
    const told = (await asServersTell('site')).problems
    const metrics = await collector.metrics()
    const { problems } = await collector.state()
    const counted = ['flow', 'syslog', 'trap'].flatMap(part =>
      Object.entries(reasonsIn(metrics, `keepwatch_${part}_problems_total`)).map(
        ([reason, count]) => [`${part}.${reason}`, count] as const,
      ),
    )
    const own = Object.entries(problems).filter(([name]) => /^(flow|syslog|trap)\./.test(name))
    return { problems, told, counted: Object.fromEntries(counted), own: Object.fromEntries(own) }
  }
  const { problems } = await until(
    'the servers and the metrics say what the collector says',
    everywhere,
    ({ problems, told, counted, own }) =>
      isDeepStrictEqual(told, problems) && isDeepStrictEqual(counted, own),
  )
  expect(Object.keys(problems).length).toBeGreaterThan(10)
})

function openTcp(from: string): Promise<Socket> {
  const socket = connectTcp({
    host: '127.0.0.1',
    port: collector.ports.syslog_tcp,
    localAddress: from,
  })
  socket.on('error', () => {})
  return once(socket.resume(), 'connect').then(() => socket)
}

test('over TCP wrong counts, endless lines and broken connections cost nobody else a message', async () => {
  const before = await collector.state()
  const memory = memoryOf(collector.pid)
  const say = numberedMessage
  await stream('127.66.1.1', `9999999 ${say(1)}\n${say(2)}\n`, collector.ports.syslog_tcp)
  await stream('127.66.1.2', `12 ${say(1)}\n${say(2)}\n`, collector.ports.syslog_tcp)
  await stream('127.66.1.3', `0 -1 99999999999 ${say(1)}\n${say(2)}\n`, collector.ports.syslog_tcp)
  await stream('127.66.1.4', Buffer.alloc(8_000_000, 'x'), collector.ports.syslog_tcp)
  const endless = `${'y'.repeat(1_000_000)}\n${say(1)}\n`
  await stream('127.66.1.5', endless, collector.ports.syslog_tcp)
  const halfSaid = await openTcp('127.66.1.6')
  halfSaid.write('200 <134>numbered: only the begin')
  await numbered.round()
  await new Promise<void>(resolve => halfSaid.write('ning', () => resolve()))
  halfSaid.resetAndDestroy()
  await stream('127.66.1.7', createNoise(300_000), collector.ports.syslog_tcp)

  const { problems } = await until('all is counted', collector.state, state =>
    ['bad-count', 'oversize', 'cut-off'].every(
      reason =>
        (state.problems[`syslog.${reason}`] ?? 0) > (before.problems[`syslog.${reason}`] ?? 0),
    ),
  )
  expect(problems['listen.decoder-failed']).toBeUndefined()
  expect(memoryOf(collector.pid) - memory).toBeLessThan(100 * 2 ** 20)
})

function createNoise(length: number): Buffer {
  const random = createRandom(7)
  return Buffer.from(Uint8Array.from({ length }, () => random(256)))
}

test('a flood of connections costs neither those who were there nor a newcomer a message', async () => {
  const flood = await Promise.all(
    Array.from({ length: 4 * maxConnections }, () => openTcp('127.66.2.1')),
  )
  const { problems } = await until(
    'it is refused',
    collector.state,
    state => (state.problems['listen.connection-refused'] ?? 0) >= 3 * maxConnections,
  )
  expect(problems['listen.connection-refused']).toBeLessThan(4 * maxConnections)
  await numbered.round()
  const before = received(await collector.state(), 'syslog_tcp')
  await stream('127.66.2.2', '<13>hello from a newcomer\n', collector.ports.syslog_tcp)
  const after = await until('it is heard', collector.state, state => {
    return received(state, 'syslog_tcp') > before
  })
  expect(after.problems['listen.connection-displaced']).toBeGreaterThan(0)
  for (const socket of flood) socket.destroy()
})

/** Sends bytes as they are and gives what comes back until the other side closes. */
function talk(port: number, bytes: Uint8Array | string): Promise<string> {
  return new Promise(resolve => {
    let answer = ''
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(bytes))
    const late = setTimeout(() => socket.destroy(), 20_000)
    socket.on('data', data => {
      answer += data.toString('latin1')
      // Well-formed requests keep the connection; one answer is enough.
      if (/^HTTP\/1\.1 \d{3}/.test(answer)) socket.end()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(late)
      resolve(answer)
    })
  })
}

const linkPort = (name: string) =>
  Number(new URL(servers.find(server => server.name === name)!.url).port)

async function askLink(
  options: { key?: string; cert?: string; ca?: string },
  request: string,
): Promise<string> {
  return new Promise(resolve => {
    let answer = ''
    const port = linkPort('server-a')
    const socket = connectTls({ host: '127.0.0.1', port, ...options, rejectUnauthorized: false })
    socket.on('secureConnect', () => socket.write(request))
    socket.on('data', data => {
      answer += data
      socket.end()
    })
    socket.on('error', error => {
      answer = error.message
    })
    socket.on('close', () => resolve(answer))
    socket.setTimeout(15_000, () => socket.destroy())
  })
}

test('the link is deaf to strangers, wrong certificates and wrong requests', async () => {
  const { url } = deployment.summary.servers.find(({ name }) => name === 'server-a')!
  const metrics = async () => {
    const text = await (await fetch(`${url}/metrics`)).text()
    return reasonsIn(text, 'keepwatch_receive_problems_total')
  }
  const before = await metrics()
  const port = linkPort('server-a')
  for (const bytes of [createNoise(5000), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', '\x16\x03\x01']) {
    const closing = talk(port, bytes)
    if (bytes.length > 3) expect(await closing).not.toContain('200 OK')
  }
  const strangers = await openAuthority(join(deployment.dataDir, 'strangers'))
  const stranger = await strangers.issue({ role: 'server', name: 'server-a', hosts: [] })
  const hello = 'GET /link/v1/state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  expect(await askLink({}, hello)).not.toContain('200 OK')
  expect(await askLink({ ...stranger, ca: authority.ca }, hello)).not.toContain('200 OK')
  const own = readIdentity(pki, 'site')
  expect(await askLink(own, hello)).toContain('403 Forbidden')
  const put = (path: string, headers = '') =>
    `PUT /link/v1/segments/${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n`
  const id = '00000000-0000-4000-8000-000000000000'
  expect(await askLink(own, put('../../etc/passwd'))).toContain('404 Not Found')
  expect(await askLink(own, put(`${id}/flow/0`))).toContain('400 Bad Request')
  const zstd = 'Content-Encoding: zstd\r\n'
  const sizes = 'keepwatch-native-bytes: 10\r\nkeepwatch-rows: 1\r\n'
  const huge = 'Content-Length: 99999999999\r\n'
  expect(await askLink(own, put(`${id}/flow/0`, zstd + sizes + huge))).toContain('422 ')
  const short = 'Content-Length: 5\r\n'
  expect(await askLink(own, `${put(`${id}/flow/0`, zstd + sizes + short)}12345`)).toContain('400 ')
  expect(await askLink(own, `${put(`${id}/flow/0`, 'x'.repeat(100_000))}`)).not.toContain('200 OK')

  const after = await metrics()
  for (const [reason, least] of [
    ['bad-certificate', 4],
    ['wrong-role', 1],
    ['bad-request', 2],
    ['too-large', 1],
    ['checksum', 1],
  ] as const) {
    expect((after[reason] ?? 0) - (before[reason] ?? 0), reason).toBeGreaterThanOrEqual(least)
  }
  await numbered.round()
  const { deliveries } = await collector.state()
  expect(deliveries.map(({ reachable }) => reachable)).toEqual([true, true])
})

test('the console’s port answers what is no request of its own with an error, and goes on', async () => {
  const active = await deployment.untilActive()
  const port = Number(new URL(active.url).port)
  const logFile = join(deployment.dataDir, 'logs', `${active.name}.log`)
  const lines = () => readFileSync(logFile, 'utf8').split('\n').length
  const before = lines()
  const pid = await deployment.pidOf(active.name)
  const request = (line: string, headers: string[] = [], body = '') =>
    [line, 'Host: a', 'Connection: close', ...headers, '', body].join('\r\n')
  const json = [
    'Content-Type: application/json',
    `Authorization: Bearer ${deployment.summary.token}`,
  ]
  const withBody = (body: string) =>
    request('POST /api/v1/devices HTTP/1.1', [...json, `Content-Length: ${body.length}`], body)
  // biome-ignore format: one request a line
  const requests: [what: string, bytes: Uint8Array | string, answer: RegExp][] = [
    ['noise', createNoise(4000), /^HTTP\/1\.1 400/],
    ['a TLS hello', Buffer.from('16030100c8010000c40303', 'hex'), /^HTTP\/1\.1 400/],
    ['a method that is none', request('STEAL / HTTP/1.1'), /^HTTP\/1\.1 40\d/],
    ['headers without end', request('GET / HTTP/1.1', [`X: ${'x'.repeat(100_000)}`]), /^HTTP\/1\.1 4(00|31)/],
    ['two lengths', request('POST /api/v1/devices HTTP/1.1', ['Content-Length: 5', 'Content-Length: 6'], '123456'), /^HTTP\/1\.1 400/],
    ['a length that is none', request('POST /api/v1/devices HTTP/1.1', ['Content-Length: many']), /^HTTP\/1\.1 400/],
    ['a path out of the folder', request('GET /../../../../etc/passwd HTTP/1.1'), /^HTTP\/1\.1 40\d/],
    ['the same, hidden', request('GET /%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1'), /^HTTP\/1\.1 40\d/],
    ['a path that does not decode', request('GET /api/v1/devices/%ff%zz HTTP/1.1', json), /^HTTP\/1\.1 40\d/],
    ['no JSON', withBody('{"name":'), /^HTTP\/1\.1 400/],
    ['JSON of another shape', withBody('[[[[{"a":null}]]]]'), /^HTTP\/1\.1 400/],
    ['JSON that is deep', withBody('['.repeat(200_000)), /^HTTP\/1\.1 400/],
    ['a prototype', withBody('{"__proto__":{"role":"administrator"},"name":1}'), /^HTTP\/1\.1 400/],
    // Closed before all of it was read, so the answer may be cut off with the connection.
    ['a body that is too large', withBody(`"${'x'.repeat(3_000_000)}"`), /^(HTTP\/1\.1 4(00|13)|$)/],
    ['a token that is none', request('GET /api/v1/devices HTTP/1.1', ['Authorization: Bearer \x01\xff']), /^HTTP\/1\.1 40[01]/],
    ['a stranger', request('GET /api/v1/devices HTTP/1.1'), /^HTTP\/1\.1 401/],
    ['a filter that is none', request('GET /api/v1/logs?from=x&limit=-1 HTTP/1.1', json), /^HTTP\/1\.1 400/],
  ]
  for (let round = 0; round < 10; round++) {
    for (const [what, bytes, expected] of requests) {
      const answer = await talk(port, bytes)
      expect(answer.slice(0, 300), what).toMatch(expected)
      expect(answer, what).not.toContain('root:')
    }
  }
  expect(await deployment.pidOf(active.name)).toBe(pid)
  expect((await deployment.untilActive()).term).toBe(active.term)
  expect(lines() - before).toBeLessThan(100)
})

test('a server whose ports are taken names the setting, and ends', async () => {
  const file = join(deployment.dataDir, 'server-c.yaml')
  const settings = parse(readFileSync(join(deployment.dataDir, 'server-a.yaml'), 'utf8'))
  const identity = await authority.issue({ role: 'server', name: 'server-c', hosts: [] })
  writeIdentity(pki, 'server-c', identity)
  const { console: taken, link } = settings
  for (const [key, change] of [
    ['console.port', { console: taken, link: { ...link, port: 0 } }],
    ['link.port', { console: { ...taken, port: 0 }, link }],
  ] as const) {
    const other = { ...settings, name: 'server-c', dataDir: 'server-c', ...change }
    writeFileSync(file, stringify(other))
    const { code, said } = await keepwatch(['server', '--settings', file])
    expect(said).toMatch(new RegExp(`server-c.yaml:\\d+: ${key}: cannot be opened: .*EADDRINUSE`))
    expect(code).toBe(1)
  }
})

test('damaged templates are put aside, and the exporters’ next ones are learned', async () => {
  await numbered.close()
  for (const [source, count] of Object.entries(numbered.sent)) sent.set(source as Source, count)
  await collector.stop()
  const file = join(collector.spool, 'templates.json')
  const bytes = readFileSync(file)
  // How many there are depends on whether there are captures to make rubbish of.
  expect(JSON.parse(bytes.toString()).domains).not.toEqual([])
  for (const [damaged, loads] of [
    [Buffer.concat([bytes.subarray(0, bytes.length / 2)]), false],
    [createNoise(5000), false],
    [Buffer.alloc(0), false],
    [Buffer.from('{"format":1,"domains":[{"exporter":7,"templates":{"a":1}},null,"x"]}'), true],
  ] as const) {
    writeFileSync(file, damaged)
    collector = await start('site', servers)
    expect(existsSync(`${file}.damaged`), damaged.subarray(0, 20).toString('latin1')).toBe(!loads)
    await collector.stop()
    rmSync(`${file}.damaged`, { force: true })
  }
})

test('damaged segments in the spool are put aside, and their neighbours delivered', async () => {
  const away = [{ name: 'server-a', url: 'https://127.0.0.1:9' }, servers[1]!]
  const messages = 8
  let program = await start('site-2', away)
  for (let number = 1; number <= messages; number++) {
    await devices.send('127.9.1.1', numberedMessage(number), program.ports.syslog_udp)
    await until('a segment is sealed', program.state, ({ kinds }) =>
      kinds.some(({ kind, sealed }) => kind === 'syslog' && sealed >= number),
    )
  }
  await program.stop()
  const folder = join(program.spool, 'syslog')
  const files = readdirSync(folder).sort()
  expect(files).toHaveLength(messages)
  const damage = (index: number, change: (bytes: Buffer) => Uint8Array) => {
    const file = join(folder, files[index]!)
    writeFileSync(file, change(readFileSync(file)))
  }
  damage(1, bytes => bytes.fill(0, 0, 8))
  damage(3, bytes => bytes.fill(0x55, bytes.length - 4))
  damage(5, bytes => bytes.subarray(0, bytes.length - 3))
  damage(6, () => Buffer.alloc(0))
  writeFileSync(join(folder, `${'9'.repeat(12)}.seg.tmp`), 'half written')
  writeFileSync(join(folder, 'README'), 'not ours')

  program = await start('site-2', servers)
  const { problems, kinds } = await until('it is delivered', program.state, ({ deliveries }) =>
    deliveries.every(({ reachable, waiting }) => reachable && waiting === 0),
  )
  expect(problems['spool.damaged']).toBe(4)
  // One server has what is damaged, if that one was asked before it was read.
  const gone = kinds.map(({ lost, notEverywhere }) => lost + notEverywhere)
  expect(gone.reduce((a, b) => a + b)).toBeGreaterThan(0)
  expect(readdirSync(join(program.spool, 'quarantine'))).toHaveLength(4)
  const before = await program.state()
  await devices.send('127.9.1.1', numberedMessage(messages + 1), program.ports.syslog_udp)
  await until('and what comes next', program.state, ({ deliveries }) =>
    deliveries.every(
      ({ delivered, waiting }, index) =>
        waiting === 0 && delivered > before.deliveries[index]!.delivered,
    ),
  )
  await program.stop()
})

test('both engines hold every good number exactly once', async () => {
  for (const program of running) await program.stop()
  await deployment.stop()
  for (const { name } of deployment.summary.servers) {
    const stored = await openStored(deployment.dataDir, name)
    try {
      for (const [source, count] of sent) {
        expect(count).toBeGreaterThan(100)
        expect(await countStored(stored.query, source), `${source} at ${name}`).toEqual({
          rows: count,
          distinct: count,
          least: 1,
          greatest: count,
        })
      }
      const spooled = await stored.query<{ number: string }>(
        `SELECT ${saidNumber} AS number FROM syslog WHERE sender = toIPv6('127.9.1.1') ORDER BY number`,
      )
      const numbers = spooled.map(({ number }) => Number(number))
      // Of the eight, the second, fourth, sixth and seventh were damaged; at server-b all had arrived before.
      const expected = name === 'server-a' ? [1, 3, 5, 8, 9] : [1, 2, 3, 4, 5, 6, 7, 8, 9]
      expect(numbers, name).toEqual(expected)
      const late = await stored.query<{ number: string }>(
        `SELECT DISTINCT sender, ${saidNumber} AS number FROM syslog
         WHERE sender >= toIPv6('127.66.1.1') AND sender <= toIPv6('127.66.1.5') AND number > 0
         ORDER BY sender, number`,
      )
      expect(late.length, JSON.stringify(late)).toBeGreaterThan(5)
    } finally {
      await stored.close()
    }
  }
})
