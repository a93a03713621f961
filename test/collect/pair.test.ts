/** Devices send to both servers of a pair, and one of them dies: each datagram is stored once. */
import { copyFileSync, existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createInformer } from './informer.ts'
import { createLab, type Lab, until } from './lab.ts'
import {
  compare,
  createDevices,
  createPair,
  type Devices,
  type Name,
  nothingAmiss,
  type Pair,
  type PairMember,
  type Source,
  settled,
  sources,
  storedNumbers,
} from './pair-lab.ts'

let lab: Lab
let pair: Pair
let devices: Devices
beforeEach(async () => {
  lab = await createLab()
  pair = createPair(lab)
})
afterEach(async () => {
  await devices?.close()
  await lab.close()
})

const perSecond = 1500

async function bothUpWithout() {
  const [a, b] = [await pair.start('a'), await pair.start('b')]
  devices = await createDevices([a.ports, b.ports])
  await a.active(1)
  return { a, b }
}

/** With the templates, which are sent this once. */
async function bothUp() {
  const members = await bothUpWithout()
  await devices.templates()
  return members
}

function sum(sent: Record<Source, number>): number {
  return sources.reduce((total, source) => total + sent[source], 0)
}

/** Both stores have each number once, and say otherwise what is amiss. */
function expectEachOnce(names: readonly Name[] = ['a', 'b']) {
  for (const name of names) {
    expect({ [name]: compare(devices.sent, lab.stored(name)) }).toEqual({ [name]: nothingAmiss })
  }
}

async function report(what: string, members: readonly PairMember[]) {
  const states = await Promise.all(members.map(async member => (await member.state()).pair))
  const words = states.map(
    ({ replayed, replayMs, disputed, late, rescued }) =>
      `replayed ${replayed} in ${replayMs} ms, disputed ${disputed}, late ${late}, rescued ${rescued}`,
  )
  console.log(`${what}: ${sum(devices.sent)} numbers; ${words.join('; ')}`)
}

test('the active is killed: what it had not stored comes out of the other’s ring', async () => {
  const { a, b } = await bothUp()
  devices.start(perSecond)
  await sleep(4000)
  await a.program.kill('SIGKILL')
  await sleep(1500)
  const ms = await b.active(2)
  await sleep(3000)
  await devices.stop()
  await settled([b])
  expectEachOnce(['b'])

  const again = await pair.start('a')
  await settled([b, again])
  expectEachOnce()
  await report(`killed, role taken on in ${ms.toFixed(1)} ms`, [b])
}, 120_000)

test('a standby that has just come back takes over: what was stored without it is not stored again', async () => {
  const { a, b } = await bothUp()
  devices.start(perSecond)
  await sleep(1500)
  await b.program.kill('SIGKILL')
  // Long enough for the active to try it less and less often.
  await sleep(5000)
  const back = await pair.start('b')
  await sleep(1200)
  for (const pid of [a.collectorPid, a.program.pid]) process.kill(pid, 'SIGKILL')
  await sleep(1000)
  await back.active(2)
  await sleep(2000)
  await devices.stop()
  const again = await pair.start('a')
  await settled([back, again])
  for (const name of ['a', 'b'] as const) {
    for (const { doubled } of Object.values(compare(devices.sent, lab.stored(name)))) {
      expect({ [name]: doubled }).toEqual({ [name]: '' })
    }
  }
}, 60_000)

test('the whole active is frozen and wakes up in its old role', async () => {
  const { a, b } = await bothUp()
  devices.start(perSecond)
  await sleep(3000)
  for (const pid of [a.program.pid, a.collectorPid]) process.kill(pid, 'SIGSTOP')
  await sleep(6000)
  await b.active(2)
  await sleep(2000)
  for (const pid of [a.program.pid, a.collectorPid]) process.kill(pid, 'SIGCONT')
  // A server learns only after a while that it is not active any more.
  await sleep(1500)
  await a.standby(2)
  await sleep(1000)
  await devices.stop()
  await settled([a, b])
  expectEachOnce()
  await report('frozen', [a, b])
}, 120_000)

test('the server is frozen, and its collector goes on', async () => {
  const { a, b } = await bothUp()
  devices.start(perSecond)
  await sleep(2000)
  process.kill(a.program.pid, 'SIGSTOP')
  await sleep(1500)
  await b.active(2)
  await sleep(5000)
  process.kill(a.program.pid, 'SIGCONT')
  await a.standby(2)
  await sleep(1000)
  await devices.stop()
  await settled([a, b])
  expectEachOnce()
  await report('half frozen', [a, b])
}, 120_000)

test('a planned switchover there and back, with a gap and with an overlap', async () => {
  const { a, b } = await bothUp()
  devices.start(perSecond)
  await sleep(2000)
  const times = [await a.standby(1)]
  await sleep(400)
  times.push(await b.active(2))
  await sleep(2000)
  // For a while both believe that they are active.
  times.push(await a.active(3))
  await sleep(700)
  times.push(await b.standby(3))
  await sleep(2000)
  await devices.stop()
  await settled([a, b])
  expectEachOnce()
  await report(`switched over in ${times.map(ms => ms.toFixed(1)).join(', ')} ms`, [a, b])
  expect(Math.max(...times)).toBeLessThan(1000)
}, 120_000)

test('a collector that is killed is started again, and the standby has what it had not sealed', async () => {
  pair = createPair(lab, { ring: { seconds: 12 } })
  const { a, b } = await bothUp()
  devices.start(perSecond)
  await sleep(2000)
  process.kill(a.collectorPid, 'SIGKILL')
  await until('another one runs', async () => {
    const { deliveries } = await a.state()
    return deliveries.some(({ reachable }) => reachable)
  })
  await sleep(3000)
  await devices.stop()
  // Half the ring's time, and a little more.
  await sleep(9000)
  await settled([a, b])
  expectEachOnce()
  expect((await b.state()).pair.rescued).toBeGreaterThan(0)
  await report('collector killed', [b])
}, 120_000)

test('a server that is killed leaves no collector behind', async () => {
  const { a } = await bothUp()
  devices.start(perSecond)
  await sleep(1000)
  await a.program.kill('SIGKILL')
  await until('the collector is gone', () => !isAlive(a.collectorPid), 5000)
}, 60_000)

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('syslog over TCP is refused by the standby and taken by the active', async () => {
  const { a, b } = await bothUp()
  const opens = (port: number) =>
    new Promise<boolean>(resolve => {
      const socket = connect(port, '127.0.0.1')
      socket.on('connect', () => socket.destroy())
      socket.on('error', () => {})
      socket.on('close', hadError => resolve(!hadError))
    })
  await until('the active takes it', () => opens(a.ports.syslog_tcp))
  expect(await opens(b.ports.syslog_tcp)).toBe(false)
  await a.standby(1)
  await b.active(2)
  await until('the other one takes it', () => opens(b.ports.syslog_tcp))
  await until('the old active refuses it', async () => !(await opens(a.ports.syslog_tcp)))
}, 60_000)

test('more than the ring holds is counted, and what it holds is stored', async () => {
  pair = createPair(lab, { ring: { bytes: 1024 * 1024 } })
  const { a, b } = await bothUp()
  await sleep(2000)
  await a.program.kill('SIGKILL')
  devices.start(perSecond)
  await sleep(8000)
  await devices.stop()
  // It says each second how it is.
  await sleep(1500)
  const { pair: before } = await b.state()
  expect(before.ring.overflown).toBeGreaterThan(0)
  expect(before.ring.bytes).toBeLessThanOrEqual(1024 * 1024)
  await b.active(2)
  await settled([b])
  const { pair: after } = await b.state()
  expect(after.replayed).toBe(before.ring.datagrams)
  for (const { lost, doubled } of Object.values(compare(devices.sent, lab.stored('b')))) {
    expect(doubled).toBe('')
    // The oldest went.
    expect(lost).toMatch(/^1-\d+$/)
  }
}, 60_000)

test('a server that is named later is delivered what waits, one that is named no more holds nothing back', async () => {
  const a = await pair.start('a', ['a'])
  devices = await createDevices([a.ports])
  await a.active(1)
  await devices.templates()
  devices.round()
  await settled([a])
  await a.failing(true)
  for (let round = 0; round < 3; round++) {
    devices.round()
    await sleep(1100)
  }
  const b = await pair.start('b')
  await a.servers(['a', 'b'])
  await until('b has what waited', () => {
    const { netflow5, syslog } = storedNumbers(lab.stored('b'))
    return netflow5.length >= 15 && syslog.length >= 3
  })
  await b.program.kill('SIGKILL')
  await a.failing(false)
  devices.round()
  await until('a has all of it', () => compare(devices.sent, lab.stored('a')).traps.lost === '')
  expect((await a.state()).kinds.some(({ backlog }) => backlog > 0)).toBe(true)
  await a.servers(['a'])
  await until('nothing waits', async () =>
    (await a.state()).kinds.every(({ backlog }) => backlog === 0),
  )
  expectEachOnce(['a'])
}, 60_000)

test('what the other server does not take is kept by the own one, and is not taken in twice', async () => {
  const { a, b } = await bothUp()
  await b.failing(true)
  devices.start(300)
  await until('a stores alone', () => storedNumbers(lab.stored('a')).syslog.length > 100, 20_000)
  await devices.stop()
  await sleep(4000)
  await a.program.kill('SIGKILL')
  await b.failing(false)
  await b.active(2)
  const again = await pair.start('a')
  await settled([again, b])
  expectEachOnce()
}, 60_000)

test('templates that only the active heard are known to the standby from the copy of its file', async () => {
  const { a, b } = await bothUpWithout()
  await devices.templates([a.ports])
  const file = (name: Name) => join(pair.dataDir(name), 'flow', 'templates.json')
  await until('the active has written them', () => existsSync(file('a')))
  copyFileSync(file('a'), file('b'))
  devices.start(perSecond)
  await sleep(2500)
  await a.program.kill('SIGKILL')
  await sleep(1000)
  await b.active(2)
  await sleep(1500)
  await devices.stop()
  await settled([b])
  expectEachOnce(['b'])
}, 60_000)

test('an INFORM that both servers hear is one row and is answered, also when the active dies of it', async () => {
  const { a, b } = await bothUp()
  const toA = await createInformer(a.ports.traps)
  const toB = await createInformer(b.ports.traps)
  const informs = () =>
    lab
      .stored('b')
      .filter(({ kind }) => kind === 'trap')
      .reduce((sum, { rows }) => sum + rows, 0)
  void toB.send(1)
  await toA.send(1)
  await until('it is stored', () => informs() === 1)
  process.kill(a.program.pid, 'SIGSTOP')
  process.kill(a.collectorPid, 'SIGSTOP')
  void toA.send(2)
  void toB.send(2)
  // Senders repeat what is not answered.
  await sleep(1000)
  void toB.send(2)
  process.kill(a.collectorPid, 'SIGKILL')
  await a.program.kill('SIGKILL')
  await b.active(2)
  await until('it is answered', () => toB.answered.includes(2))
  void toB.send(1)
  await until('the first is answered again', () => toB.answered.includes(1))
  await settled([b])
  expect(informs()).toBe(2)
  await toA.close()
  await toB.close()
}, 60_000)
