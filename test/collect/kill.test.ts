/** Collector and servers are killed at random instants while numbered messages flow. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
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

let lab: Lab
beforeEach(async () => {
  lab = await createLab()
})
afterEach(() => lab.close())

/** A message is sealed within a second; on a busy machine a little more. */
const sealedWithinMs = 3000
const runMs = 25_000
const perSecond = 1000

test('every sealed segment is at both servers exactly once, whoever is killed when', async () => {
  const spool = join(lab.dir, 'spool')
  const receivers: Record<string, Awaited<ReturnType<Lab['receiver']>>> = {
    a: await lab.receiver('a'),
    b: await lab.receiver('b'),
  }
  const servers = { a: receivers.a!.port, b: receivers.b!.port }
  let collector = await lab.collector(settingsOf(spool, servers))
  const { ports } = collector
  const settings = settingsOf(spool, servers, { listen: ports })
  const up: { from: number; to: number }[] = [{ from: performance.now(), to: Infinity }]

  const sentAt: number[] = []
  const sender = createSender()
  let sending = true
  const stream = (async () => {
    const began = performance.now()
    while (sending) {
      const due = ((performance.now() - began) / 1000) * perSecond
      while (sentAt.length < due) {
        const number = sentAt.length
        sentAt.push(performance.now())
        await sender.send(numbered(number), ports.syslog_udp)
      }
      await sleep(5)
    }
  })()

  const kills = { collector: 0, a: 0, b: 0 }
  const stop = performance.now() + runMs
  while (performance.now() < stop) {
    await sleep(300 + 2500 * Math.random())
    const victim = (['collector', 'a', 'b'] as const)[Math.floor(3 * Math.random())]!
    kills[victim]++
    if (victim === 'collector') {
      up.at(-1)!.to = performance.now()
      await collector.program.kill('SIGKILL')
      collector = await lab.collector(settings)
      up.push({ from: performance.now(), to: Infinity })
    } else {
      await receivers[victim]!.program.kill('SIGKILL')
      await sleep(1000 * Math.random())
      receivers[victim] = await lab.receiver(victim, servers[victim])
    }
  }
  sending = false
  await stream
  await sender.close()
  await until('everything is delivered', async () => {
    const { kinds, deliveries } = await collector.state()
    const open = kinds.some(({ rows, sealed }) => rows > 0 && sealed === 0)
    return !open && deliveries.every(({ waiting, reachable }) => reachable && waiting === 0)
  })
  await collector.program.kill('SIGTERM')

  const newest = Number.parseInt(segmentFiles(spool, 'syslog').at(-1)!, 10)
  const atServer = { a: lab.stored('a'), b: lab.stored('b') }
  for (const segments of Object.values(atServer)) {
    const sequences = segments.map(({ sequence }) => sequence).sort((x, y) => x - y)
    expect(sequences).toEqual(Array.from({ length: newest + 1 }, (_, i) => i))
  }
  const bySequence = (segments: typeof atServer.a) =>
    segments
      .toSorted((x, y) => x.sequence - y.sequence)
      .map(({ native }) => native.toString('base64'))
  expect(bySequence(atServer.a)).toEqual(bySequence(atServer.b))

  const numbers = numbersIn(atServer.a)
  const unique = new Set(numbers)
  expect(numbers.length).toBe(unique.size)
  const mustBe = sentAt.flatMap((at, number) =>
    up.some(({ from, to }) => at > from && at + sealedWithinMs < to) ? [number] : [],
  )
  expect(mustBe.length).toBeGreaterThan(0)
  expect(mustBe.filter(number => !unique.has(number))).toEqual([])
  console.log(
    `killed ${JSON.stringify(kills)}; ${newest + 1} segments, ${sentAt.length} messages sent, ${sentAt.length - unique.size} not yet sealed when the collector died or sent while it was down`,
  )
}, 120_000)
