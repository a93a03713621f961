/** What goes wrong around a collector: servers away, strangers, damaged files, full disks, bad input. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openAuthority, writeIdentity } from '../../src/lib/tls.ts'
import { decodeNative } from '../../src/telemetry/native.ts'
import { tables } from '../../src/telemetry/tables.ts'
import { createInformer } from './informer.ts'
import {
  createLab,
  createSender,
  type Lab,
  numbered,
  numbersIn,
  segmentFiles,
  settingsOf,
  until,
} from './lab.ts'
import { createPair } from './pair-lab.ts'

let lab: Lab
let spool: string
const sender = createSender
beforeEach(async () => {
  lab = await createLab()
  spool = join(lab.dir, 'spool')
})
afterEach(() => lab.close())

async function sendNumbers(port: number, from: number, to: number, pad = '') {
  const socket = sender()
  for (let number = from; number < to; number++) {
    await socket.send(numbered(number) + pad, port)
    // The socket's buffer is the only thing between this loop and a loss.
    if (number % 100 === 99) await sleep(5)
  }
  await socket.close()
}
const range = (to: number) => Array.from({ length: to }, (_, i) => i)
const sorted = (numbers: number[]) => numbers.toSorted((a, b) => a - b)
const has = (name: string, count: number) => () => numbersIn(lab.stored(name)).length >= count
/** A port at which nobody listens. */
const nowhere = 9

test('a collector that was told of one server learns of the other, and delivers to both', async () => {
  const pair = createPair(lab)
  await (await pair.start('a')).program.kill('SIGKILL')
  const { program, ports, state } = await lab.collector(
    settingsOf(spool, { a: pair.linkPort('a') }),
  )
  const sealed = async () => (await state()).kinds.find(({ kind }) => kind === 'syslog')!.sealed
  for (let part = 0; part < 2; part++) {
    await sendNumbers(ports.syslog_udp, 50 * part, 50 * (part + 1))
    await until('it is sealed', async () => (await sealed()) > part)
  }
  const a = await pair.start('a')
  await until('it has learnt', async () => (await state()).deliveries.length === 2)
  const b = await pair.start('b')
  await sendNumbers(ports.syslog_udp, 100, 200)
  await until('b has everything, also what came before it was known', has('b', 200))
  await until('a has everything', has('a', 200))
  await program.kill('SIGKILL')
  const again = await lab.collector(settingsOf(spool, { a: pair.linkPort('a') }))
  expect((await again.state()).deliveries).toHaveLength(2)
  // The second server leaves the pair, and dies.
  await b.program.kill('SIGKILL')
  await a.servers(['a'])
  await sendNumbers(again.ports.syslog_udp, 200, 300)
  await until('it is forgotten', async () => (await again.state()).deliveries.length === 1)
  await until('a has everything', has('a', 300))
  await until('nothing waits for it', async () =>
    (await again.state()).kinds.every(({ backlog }) => backlog === 0),
  )
  expect(sorted(numbersIn(lab.stored('a')))).toEqual(range(300))
}, 60_000)

test('a server that was away is fed what it missed, but for a segment that rotted meanwhile', async () => {
  const a = await lab.receiver('a')
  const b = await lab.receiver('b')
  await b.program.kill('SIGKILL')
  const { program, ports, state } = await lab.collector(settingsOf(spool, { a: a.port, b: b.port }))
  for (let part = 0; part < 4; part++) {
    await sendNumbers(ports.syslog_udp, 100 * part, 100 * (part + 1))
    await until('a has it', has('a', 100 * (part + 1)))
  }
  const files = segmentFiles(spool, 'syslog')
  expect(files.length).toBeGreaterThan(2)
  const rotten = join(spool, 'syslog', files[1]!)
  const bytes = readFileSync(rotten)
  bytes[bytes.length - 1]! ^= 0xff
  writeFileSync(rotten, bytes)

  await lab.receiver('b', b.port)
  await until('b has caught up', async () => (await state()).deliveries[1]!.waiting === 0)
  const missing = numbersIn(lab.stored('a').filter(({ sequence }) => sequence === 1))
  expect(missing.length).toBeGreaterThan(0)
  expect(sorted([...numbersIn(lab.stored('b')), ...missing])).toEqual(range(400))
  expect(readdirSync(join(spool, 'quarantine'))).toHaveLength(1)
  expect(await state()).toMatchObject({ problems: { 'spool.damaged': 1 } })
  await program.kill('SIGTERM')
  expect(segmentFiles(spool, 'syslog')).toHaveLength(1)
}, 60_000)

test('the quota forces the oldest out and says how many', async () => {
  const { ports, state } = await lab.collector(
    settingsOf(spool, { a: nowhere }, { quotaBytes: 16 * 1024 * 1024 }),
  )
  const socket = sender()
  for (let i = 0; i < 30_000; i++) {
    await socket.send(randomBytes(1200), ports.syslog_udp)
    if (i % 100 === 99) await sleep(10)
  }
  await socket.close()
  await until('segments are lost', async () => (await state()).kinds[1]!.lost > 0)
  const { kinds, problems } = await state()
  expect(kinds[1]!.backlogBytes).toBeLessThanOrEqual(16 * 1024 * 1024)
  expect(problems['spool.quota']).toBe(kinds[1]!.lost)
  expect(readFileSync(lab.logs, 'utf8')).toContain('"reason":"quota"')
}, 60_000)

const mounted: string[] = []
afterEach(() => {
  for (const folder of mounted.splice(0)) spawnSync('umount', [folder])
})
/** A small file system of its own; undefined where that is not allowed. */
function mountSmall(folder: string): boolean {
  mkdirSync(folder)
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder])
  if (status === 0) mounted.push(folder)
  return status === 0
}

function fillUp(file: string) {
  for (const size of [65_536, 4096]) {
    try {
      for (;;) appendFileSync(file, Buffer.alloc(size))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
}

test('a full disk stops nothing: what does not fit waits in memory until there is room', async ({
  skip,
}) => {
  skip(!mountSmall(spool), 'mounting a small file system needs root')
  const a = await lab.receiver('a')
  await a.program.kill('SIGKILL')
  const { program, ports, state } = await lab.collector(settingsOf(spool, { a: a.port }))
  const noise = randomBytes(600).toString('base64')
  const inform = await createInformer(ports.traps)
  await sendNumbers(ports.syslog_udp, 0, 3000, noise)
  const random = sender()
  for (let i = 0; i < 3000; i++) {
    await random.send(randomBytes(1000), ports.syslog_udp)
    if (i % 100 === 99) await sleep(200)
  }
  await random.close()
  await until('the disk is full', async () => (await state()).problems['seal.write-failed']! > 0)
  const filler = join(spool, 'filler')
  fillUp(filler)
  const answer = inform.send(77)
  await sleep(1500)
  expect(inform.answered).toEqual([])

  rmSync(filler)
  await lab.receiver('a', a.port)
  await until('there is room again', has('a', 3000))
  await until('the inform is answered', () => inform.answered.includes(77))
  await answer
  expect(sorted(numbersIn(lab.stored('a')))).toEqual(range(3000))
  expect((await state()).problems['seal.memory-full']).toBeUndefined()
  await inform.close()
  await program.kill('SIGTERM')
}, 60_000)

test('an INFORM is answered when its segment is on disk, and within a second', async () => {
  const { ports } = await lab.collector(settingsOf(spool, { a: nowhere }))
  const inform = await createInformer(ports.traps)
  expect(segmentFiles(spool, 'trap')).toEqual([])
  const began = performance.now()
  await inform.send(4711)
  expect(performance.now() - began).toBeLessThan(1000)
  expect(segmentFiles(spool, 'trap')).toHaveLength(1)
  await inform.close()
}, 30_000)

test('flow templates survive a kill: data alone is understood after it', async () => {
  const a = await lab.receiver('a')
  const first = await lab.collector(settingsOf(spool, { a: a.port }))
  const socket = sender()
  await socket.send(netflow9(template), first.ports.netflow)
  await until('the template is on disk', () => existsSync(join(spool, 'templates.json')))
  await first.program.kill('SIGKILL')
  const second = await lab.collector(settingsOf(spool, { a: a.port }))
  await socket.send(netflow9(dataOf(4242)), second.ports.netflow)
  await until('the flow arrives', () => lab.stored('a').length === 1)
  const { kind, native } = lab.stored('a')[0]!
  expect(kind).toBe('flow')
  expect(decodeNative(native, tables.flow).toRows()).toMatchObject([{ bytes: 4242 }])
  await socket.close()
}, 30_000)

/** A NetFlow v9 datagram (RFC 3954 §5.1) around one FlowSet. */
function netflow9(flowSet: number[]): Uint8Array {
  const header = Buffer.alloc(20)
  header.writeUInt16BE(9, 0)
  header.writeUInt16BE(1, 2)
  header.writeUInt32BE(Math.floor(Date.now() / 1000), 8)
  return Buffer.concat([header, Uint8Array.from(flowSet)])
}
/** Template 256: IN_BYTES and IN_PKTS, 4 bytes each. */
const template = [0, 0, 0, 16, 1, 0, 0, 2, 0, 1, 0, 4, 0, 2, 0, 4]
const dataOf = (bytes: number) => [1, 0, 0, 12, 0, 0, bytes >> 8, bytes & 0xff, 0, 0, 0, 1]

test('a collector of another deployment is let in nowhere and keeps what it has', async () => {
  const a = await lab.receiver('a')
  const strangers = join(lab.dir, 'strangers')
  const stranger = await openAuthority(join(lab.dir, 'other-authority'))
  writeIdentity(
    strangers,
    'collector',
    await stranger.issue({ role: 'collector', name: 'x', hosts: [] }),
  )
  const { ports, state } = await lab.collector(settingsOf(spool, { a: a.port }), strangers)
  await sendNumbers(ports.syslog_udp, 0, 10)
  await until('a segment waits', async () => (await state()).deliveries[0]!.waiting > 0)
  await until('it is refused', async () => (await state()).deliveries[0]!.lastError !== null)
  expect((await state()).deliveries[0]!.reachable).toBe(false)
  expect(lab.stored('a')).toEqual([])
}, 30_000)

test('bad input at every port is counted and harms no other', async () => {
  const a = await lab.receiver('a')
  const { program, ports, state } = await lab.collector(settingsOf(spool, { a: a.port }))
  const bad = sender()
  const tcp = connect(ports.syslog_tcp, '127.0.0.1')
  for (let i = 0; i < 2000; i++) {
    const bytes = randomBytes(1 + Math.floor(1400 * Math.random()))
    // Half of them begin like what they are not.
    if (i % 2 === 0)
      bytes.set(
        [
          [0, 5],
          [0, 9],
          [0, 10],
          [0, 0, 0, 5],
          [0x30, 0x82],
        ][i % 5]!.slice(0, bytes.length),
      )
    for (const name of ['netflow', 'ipfix', 'sflow', 'traps'] as const) {
      await bad.send(bytes, ports[name])
    }
    if (i % 20 === 0) tcp.write(bytes)
    await bad.send(numbered(i), ports.syslog_udp)
    if (i % 50 === 49) await sleep(5)
  }
  tcp.end()
  await bad.close()
  await until('all numbers arrived', has('a', 2000))
  expect(sorted(numbersIn(lab.stored('a')))).toEqual(range(2000))
  const { problems } = await state()
  expect(problems['listen.decoder-failed']).toBeUndefined()
  expect(Object.keys(problems).some(reason => reason.startsWith('flow.'))).toBe(true)
  expect(Object.keys(problems).some(reason => reason.startsWith('trap.'))).toBe(true)
  await program.kill('SIGTERM')
}, 60_000)

test('syslog over TCP arrives whole, however it is cut', async () => {
  const a = await lab.receiver('a')
  const { ports } = await lab.collector(settingsOf(spool, { a: a.port }))
  const tcp = connect(ports.syslog_tcp, '127.0.0.1')
  let stream = ''
  for (let number = 0; number < 500; number++) {
    const message = numbered(number)
    stream += number % 2 === 0 ? `${message}\n` : `${message.length} ${message}`
  }
  for (let at = 0; at < stream.length; at += 333) {
    await new Promise(resolve => tcp.write(stream.slice(at, at + 333), resolve))
  }
  tcp.end()
  await until('all numbers arrived', has('a', 500))
  expect(sorted(numbersIn(lab.stored('a')))).toEqual(range(500))
}, 30_000)
