/**
 * A pair whose servers share nothing, from `keepwatch init` on: numbered changes and numbered messages
 * while servers join, are killed, hand over, and are left without a majority.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { z } from 'zod'
import { deviceEndpoints } from '../../src/api/contract/devices.ts'
import type { pairEndpoints } from '../../src/api/contract/pair.ts'
import { watchEndpoints } from '../../src/api/contract/watch.ts'
import { openClient } from '../../src/cli/client.ts'
import { freePort } from '../../src/lib/ports.ts'
import { type CollectorProgram, startCollector } from './collector.ts'
import { type Background, createOperator, type Pair, rolesOf } from './operator.ts'
import { keepwatch } from './program.ts'
import { eachOnce, storedNumbers } from './stored-numbers.ts'

vi.setConfig({ testTimeout: 240_000 })

type Name = 'kw1' | 'kw2'
type LeftBehind = z.output<typeof pairEndpoints.listLeftBehind.response>['leftBehind'][number]
let folder: string
let operator: ReturnType<typeof createOperator>
let collector: CollectorProgram | undefined
let sender: ChildProcess | undefined
let sent = { flows: 0, messages: 0 }
const servers = new Map<Name, Background>()
const links = new Map<Name, number>()
/** Devices that are made while one server is there alone, before the other takes over by hand. */
const onOneAlone = [900_001, 900_002, 900_003]

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-e2e-replicated-'))
  operator = createOperator(folder)
})
afterAll(async () => {
  sender?.kill('SIGKILL')
  await collector?.stop()
  await operator?.endAll()
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}, 120_000)

const dataOf = (name: Name) => join(folder, `${name}-data`)
const other = (name: Name): Name => (name === 'kw1' ? 'kw2' : 'kw1')

async function placesOf(name: Name): Promise<string[]> {
  const link = links.get(name) ?? (await freePort())
  links.set(name, link)
  return [
    ...['--data', dataOf(name), ...operator.at(name)],
    ...['--console-port', `${await freePort()}`, '--link-port', `${link}`, '--no-collector'],
  ]
}

function startServer(name: Name) {
  servers.set(name, operator.start('server', ...operator.at(name)))
}

const saidBy = (name: Name) => servers.get(name)?.said() ?? ''
const until = (name: Name, is: (pair: Pair) => boolean) =>
  operator.untilPair(name, is, () => `kw1:\n${saidBy('kw1')}\nkw2:\n${saidBy('kw2')}`)

/** From when every change is on both disks, and three vote. */
const untilWhole = (active: Name) =>
  until(active, ({ active: name, replication }) => {
    const { together, voters } = replication!
    return (
      name === active && together === true && voters.filter(({ present }) => present).length === 3
    )
  })

async function kill(name: Name) {
  const { child } = servers.get(name)!
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Devices with numbers as names, each acknowledged before the next, by whichever server is active. */
function startWriter() {
  const acknowledged: number[] = []
  let stopped = false
  const done = (async () => {
    for (let number = 1; !stopped; number++) {
      for (const name of ['kw1', 'kw2'] as const) {
        const added = await add(name, number).catch(() => false)
        if (!added) continue
        acknowledged.push(number)
        break
      }
      await sleep(20)
    }
  })()
  return {
    acknowledged,
    async stop() {
      stopped = true
      await done
    },
  }
}

async function add(name: Name, number: number): Promise<boolean> {
  if (!servers.has(name)) return false
  const device = {
    ...{
      name: `n-${number}`,
      address: `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`,
    },
    ...{ driver: 'cisco-ios', enabled: false },
  }
  await openClient({ settings: operator.settingsOf(name) }).call(deviceEndpoints.createDevice, {
    body: device,
  })
  return true
}

async function storedChanges(name: Name): Promise<Set<number>> {
  const client = openClient({ settings: operator.settingsOf(name) })
  const { devices } = await client.call(deviceEndpoints.listDevices)
  return new Set(devices.map(({ name: device }) => Number(device.replace('n-', ''))))
}

/** @returns milliseconds until the other is active, with every change that was acknowledged */
async function takenOver(from: Name, takeFrom: () => Promise<unknown>): Promise<number> {
  const writer = startWriter()
  await vi.waitUntil(() => writer.acknowledged.length > 20, { timeout: 60_000 })
  const began = performance.now()
  await takeFrom()
  const before = writer.acknowledged.length
  await vi.waitUntil(() => writer.acknowledged.length > before + 5, {
    ...{ timeout: 120_000, interval: 5 },
  })
  const ms = performance.now() - began
  await writer.stop()
  const there = await storedChanges(other(from))
  const lost = writer.acknowledged.filter(number => !there.has(number))
  expect(lost, `of ${writer.acknowledged.length} acknowledged changes`).toEqual([])
  return ms
}

describe('a pair whose servers share nothing', () => {
  test('has its first server without a database of anybody else', async () => {
    const { code, said } = await keepwatch([
      ...['init', '--name', 'kw1', '--address', '127.0.0.1'],
      ...(await placesOf('kw1')),
    ])
    expect(code, said).toBe(0)
    startServer('kw1')
    const pair = await until('kw1', one => one.active === 'kw1' && one.database.reachable)
    expect(pair.replication?.voters.map(({ name }) => name)).toEqual(['kw1'])
    expect(pair.replication?.votersMean).toContain('a takeover is by hand')
  })

  test('takes what a collector delivers before there is a second one', async () => {
    await keepwatch([
      ...['certificate', 'collector', 'site', '127.0.0.1'],
      ...['--folder', join(folder, 'kw1', 'pki')],
    ])
    collector = await startCollector({
      ...{ dir: folder, name: 'site', identity: join(folder, 'kw1', 'pki') },
      servers: [{ name: 'kw1', url: `https://127.0.0.1:${links.get('kw1')}` }],
    })
    const { netflow, syslog_udp } = collector.ports
    sender = fork(join(import.meta.dirname, 'numbered-sender.ts'), [
      ...[netflow, syslog_udp, 300, 30].map(String),
    ])
    await once(sender, 'message')
    await vi.waitUntil(
      async () => (await collector!.state()).deliveries.every(({ delivered }) => delivered > 10),
      { timeout: 60_000, interval: 200 },
    )
  })

  test('has its second while the first works, with everything that was there', async () => {
    const { line } = await operator.told<{ line: string }>(
      ...['failover', 'enable', '--replicated', '--secondary', '127.0.0.1', '--none'],
      ...operator.at('kw1'),
    )
    const writer = startWriter()
    const join_ = [...line.split(' ').slice(1), '--name', 'kw2', ...(await placesOf('kw2'))]
    servers.set('kw2', operator.start(...join_, '--force'))
    await until('kw1', ({ replication }) => replication?.follower?.synchronous === true)
    await writer.stop()
    const pair = await until('kw2', one => rolesOf(one).kw2 === 'standby')
    expect(pair.replication?.doing).toBe('follows')
    const there = await storedChanges('kw2')
    expect(writer.acknowledged.filter(number => !there.has(number))).toEqual([])
    expect(writer.acknowledged.length).toBeGreaterThan(50)
  })

  test('has the collector vote, which was told of the first alone', async () => {
    const { replication } = await untilWhole('kw1')
    expect(replication?.votersMean).toBe('3 voters: 1 of them may be away')
  })

  test('has another active when that is killed, with every acknowledged change', async () => {
    const ms = await takenOver('kw1', () => kill('kw1'))
    console.log(`changes are taken again ${ms.toFixed(0)} ms after the active was killed`)
  })

  test('and the one that was killed copies the other by itself, and stands by', async () => {
    startServer('kw1')
    const pair = await untilWhole('kw2')
    expect(rolesOf(pair)).toEqual({ kw1: 'standby', kw2: 'active' })
  })

  test('hands over on demand', async () => {
    const ms = await takenOver('kw2', () =>
      operator.told('failover', 'switchover', ...operator.at('kw2')),
    )
    console.log(`changes are taken again ${ms.toFixed(0)} ms after the command was given`)
    await untilWhole('kw1')
  })

  test('without a majority takes over at a person’s word alone', async () => {
    sender!.send('stop')
    ;[sent] = await once(sender!, 'message')
    await kill('kw2')
    await until('kw1', ({ replication }) => replication?.together === false)
    for (const number of onOneAlone) expect(await add('kw1', number)).toBe(true)
    await collector!.stop()
    await kill('kw1')
    startServer('kw2')
    const alone = await until('kw2', ({ replication }) =>
      /nobody can become active/.test(replication?.votersMean ?? ''),
    )
    expect(alone.active).not.toBe('kw2')
    const asked = await keepwatch(['failover', 'promote', ...operator.at('kw2')])
    expect(asked.code).toBe(1)
    expect(asked.said).toMatch(/two active ones/)
    const promoted = await operator.told<Pair>(
      ...['failover', 'promote', '--yes', ...operator.at('kw2')],
    )
    expect(promoted).toMatchObject({ self: 'kw2', role: 'active', active: 'kw2' })
    expect(promoted.sentence).toMatch(/has made it active, without a majority/)
    expect(promoted.replication?.voters.map(({ name }) => name)).toEqual(['kw2'])
  })

  test('and comes together again, of itself, when the others are back', async () => {
    collector = await startCollector({
      ...{ dir: folder, name: 'site', identity: join(folder, 'kw1', 'pki') },
      servers: [{ name: 'kw1', url: `https://127.0.0.1:${links.get('kw1')}` }],
    })
    startServer('kw1')
    const pair = await untilWhole('kw2')
    expect(rolesOf(pair)).toEqual({ kw1: 'standby', kw2: 'active' })
  })

  test('lists the changes that one had alone, and has kept them', async () => {
    const [left] = await operator.told<LeftBehind[]>(
      ...['failover', 'left-behind', ...operator.at('kw2')],
    )
    const names = onOneAlone.map(number => `n-${number}`)
    expect(left).toMatchObject({ server: 'kw1', unread: null, seenAt: null })
    expect(left!.changes.map(({ action, subject }) => `${action} ${subject}`)).toEqual(
      names.map(name => `add device ${name}`),
    )
    const kept = readFileSync(left!.kept, 'utf8').trimEnd().split('\n')
    const devices = kept.map(line => JSON.parse(line)).filter(({ table }) => table === 'devices')
    expect(devices.map(({ row }) => row.name)).toEqual(names)
    const there = await storedChanges('kw2')
    expect(onOneAlone.filter(number => there.has(number))).toEqual([])
    const { said } = await keepwatch(['failover', 'status', ...operator.at('kw2')])
    expect(said).toMatch(/LEFT BEHIND by kw1: 3 changes/)
    const client = openClient({ settings: operator.settingsOf('kw2') })
    const wrong = async () => {
      const query = { open: 'true' }
      const { alarms } = await client.call(watchEndpoints.listAlarms, { query })
      return alarms.some(({ text }) => /^3 changes that kw1 had made are not in force/.test(text))
    }
    await vi.waitUntil(wrong, { timeout: 30_000 })
    await operator.told('failover', 'left-behind', '--seen', `${left!.id}`, ...operator.at('kw2'))
    await vi.waitUntil(async () => !(await wrong()), { timeout: 30_000 })
  })

  test('has every flow and message that was sent, once, in both engines', async () => {
    await vi.waitUntil(
      async () => (await collector!.state()).deliveries.every(({ waiting }) => waiting === 0),
      { timeout: 60_000 },
    )
    // What the first had before there was a second, that one copies from it.
    for (const name of ['kw1', 'kw2'] as const) {
      await until(name, ({ self, telemetry }) => {
        const own = telemetry.find(({ server }) => server === self)
        return own?.lacks?.length === 0
      })
    }
    for (const name of ['kw2', 'kw1'] as const) await operator.end(servers.get(name)!.child)
    const stored = {
      'kw1-data': await storedNumbers(folder, 'kw1-data'),
      'kw2-data': await storedNumbers(folder, 'kw2-data'),
    }
    const each = { flows: eachOnce(sent.flows), messages: eachOnce(sent.messages) }
    expect(stored).toEqual({ 'kw1-data': each, 'kw2-data': each })
    console.log(`${sent.flows} flows and ${sent.messages} messages: each once in both engines`)
  })
})
