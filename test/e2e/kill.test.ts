/** The collector and both servers of a deployment are killed again and again while numbers flow. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRandom } from '../fixtures/mutate.ts'
import { type CollectorState, until } from './collector.ts'
import { startDeployment, type TestDeployment } from './deployment.ts'
import { type Ports, saidNumber, sources } from './numbered.ts'
import { startSteadySender } from './steady-sender.ts'
import { openStored } from './stored-numbers.ts'

const kills = 12
const pauseMs = { least: 1500, more: 5000 }
/** A batch is closed each second; compressing and fsync take a while on a busy machine. */
const sealedWithinMs = 6000
/** From the first connection that is taken to the first datagram that is. */
const acceptingWithinMs = 2000

let deployment: TestDeployment
beforeAll(async () => {
  deployment = await startDeployment()
}, 180_000)
afterAll(async () => {
  await deployment?.stop()
  deployment?.remove()
}, 120_000)

interface Kill {
  name: string
  at: number
}

/** Kills a process that serves; undefined while its part is being started again. */
async function killPart(name: string, killed: Set<number>): Promise<Kill | undefined> {
  const pid = await deployment.pidOf(name).catch(() => undefined)
  // The file of pids still has the old one until the part is started again.
  if (pid === undefined || killed.has(pid)) return undefined
  if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(deployment.dataDir)) return undefined
  killed.add(pid)
  process.kill(pid, 'SIGKILL')
  return { name, at: performance.now() }
}

async function killAround(): Promise<Kill[]> {
  const random = createRandom(20_261_105)
  const parts = ['collector-1', 'server-a', 'server-b']
  const deck = Array.from({ length: kills }, (_, i) => parts[i % parts.length]!)
  for (let i = deck.length - 1; i > 0; i--) {
    const j = random(i + 1)
    ;[deck[i], deck[j]] = [deck[j]!, deck[i]!]
  }
  const killed = new Set<number>()
  const done: Kill[] = []
  for (const name of deck) {
    await sleep(pauseMs.least + random(pauseMs.more))
    const kill = await until(
      `${name} runs again`,
      () => killPart(name, killed),
      done => done !== undefined,
      60_000,
    )
    done.push(kill!)
  }
  return done
}

async function state(): Promise<{ state: CollectorState; online: boolean } | undefined> {
  const { url } = await deployment.untilActive()
  const answer = await deployment
    .call<{ collectors: { state: CollectorState; online: boolean }[] }>(url, 'GET', '/collectors')
    .catch(() => undefined)
  return answer?.collectors[0]
}

interface Range {
  first: number
  last: number
}

interface Stored {
  /** Sequences of the segments by kind, in order. */
  segments: Record<string, number[]>
  /** Rows that the ledger says, and that the tables have. */
  rows: Record<string, { ledger: number; table: number }>
  flows: { rows: number; distinct: number; ranges: Range[] }
  messages: { rows: number; distinct: number; ranges: Range[] }
}

async function readStored(server: string): Promise<Stored> {
  const stored = await openStored(deployment.dataDir, server)
  try {
    const ledger = await stored.query<{ kind: string; sequences: string[]; rows: string }>(
      `SELECT kind, arraySort(groupArray(sequence)) AS sequences, sum(rows) AS rows
       FROM (SELECT kind, sequence, any(rows) AS rows FROM segments GROUP BY kind, sequence)
       GROUP BY kind`,
    )
    const numbers = async (table: string, value: string, condition: string) => {
      const all = `SELECT ${value} AS n FROM ${table} WHERE ${condition}`
      const [count] = await stored.query<{ rows: string; distinct: string }>(
        `SELECT count() AS rows, uniqExact(n) AS distinct FROM (${all})`,
      )
      const ranges = await stored.query<{ first: string; last: string }>(
        `SELECT min(n) AS first, max(n) AS last
         FROM (SELECT n, toInt64(n) - row_number() OVER (ORDER BY n) AS island FROM (SELECT DISTINCT n FROM (${all})))
         GROUP BY island ORDER BY first`,
      )
      return {
        rows: Number(count!.rows),
        distinct: Number(count!.distinct),
        ranges: ranges.map(({ first, last }) => ({ first: Number(first), last: Number(last) })),
      }
    }
    const rows: Stored['rows'] = {}
    for (const { kind, rows: said } of ledger) {
      const [table] = await stored.query<{ count: string }>(`SELECT count() AS count FROM ${kind}`)
      rows[kind] = { ledger: Number(said), table: Number(table!.count) }
    }
    const { netflow5, syslog_tcp } = sources
    return {
      segments: Object.fromEntries(
        ledger.map(({ kind, sequences }) => [kind, sequences.map(Number)]),
      ),
      rows,
      flows: await numbers('flow', 'packets', `exporter = toIPv6('${netflow5.address}')`),
      messages: await numbers('syslog', saidNumber, `sender = toIPv6('${syslog_tcp.address}')`),
    }
  } finally {
    await stored.close()
  }
}

/** The numbers from 1 to `last` that are in no range. */
function missingFrom(ranges: Range[], last: number): Range[] {
  const missing: Range[] = []
  let next = 1
  for (const range of [...ranges, { first: last + 1, last }]) {
    if (range.first > next) missing.push({ first: next, last: range.first - 1 })
    next = range.last + 1
  }
  return missing
}

/** Processes that have a file of the deployment open. */
function usersOf(folder: string): string[] {
  return readdirSync('/proc').filter(pid => {
    if (!/^\d+$/.test(pid)) return false
    try {
      const files = readdirSync(`/proc/${pid}/fd`)
      return files.some(fd => readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(folder))
    } catch {
      return false
    }
  })
}

/** A collector killed again before it has sealed anything leaves one gap, not two. */
function merged(spans: { from: number; to: number }[]): { from: number; to: number }[] {
  const joined: { from: number; to: number }[] = []
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const last = joined.at(-1)
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to)
    else joined.push({ ...span })
  }
  return joined
}

test('no sealed segment is lost or doubled, whoever is killed when', async () => {
  const sender = startSteadySender(deployment.summary.collector.ports as Ports)
  await sleep(2000)
  const done = await killAround()
  await sleep(2000)
  await until(
    'everybody is back',
    state,
    seen => {
      const deliveries = seen?.state.deliveries ?? []
      return seen?.online === true && deliveries.every(({ reachable }) => reachable)
    },
    90_000,
  )
  await sleep(sealedWithinMs / 2)
  await sender.stop()
  const { flowsAt, messagesAt, connectedAt } = sender
  const [flowsSent, messagesSent] = [flowsAt.length, messagesAt.length]
  await sleep(sealedWithinMs / 2)
  await until('everything is delivered', state, seen =>
    Boolean(
      seen?.state.kinds.every(({ backlog }) => backlog === 0) &&
        seen.state.deliveries.every(({ waiting }) => waiting === 0),
    ),
  )
  await deployment.stop()
  expect(usersOf(deployment.dataDir)).toEqual([])

  const atServers = {
    'server-a': await readStored('server-a'),
    'server-b': await readStored('server-b'),
  }
  const collectorKills = done.filter(({ name }) => name === 'collector-1')
  const lostWithCollector = merged(
    collectorKills.map(({ at }) => ({
      from: at - sealedWithinMs,
      to: (connectedAt.find(time => time > at) ?? Number.POSITIVE_INFINITY) + acceptingWithinMs,
    })),
  )
  for (const [name, stored] of Object.entries(atServers)) {
    const lost = {
      flows: missingFrom(stored.flows.ranges, flowsSent),
      messages: missingFrom(stored.messages.ranges, messagesSent),
    }
    const sum = (ranges: Range[]) =>
      ranges.reduce((total, { first, last }) => total + last - first + 1, 0)
    process.stdout.write(
      `${name}: ${done.length} kills, ${collectorKills.length} of them of the collector; ` +
        `${flowsSent} flows sent, ${sum(lost.flows)} not sealed in ${lost.flows.length} tails, ${stored.flows.rows - stored.flows.distinct} doubled; ` +
        `${messagesSent} messages sent, ${sum(lost.messages)} not sealed in ${lost.messages.length} tails, ${stored.messages.rows - stored.messages.distinct} doubled; ` +
        `${Object.values(stored.segments).flat().length} segments\n`,
    )
    expect(stored.flows.rows, `${name}: flows twice`).toBe(stored.flows.distinct)
    expect(stored.messages.rows, `${name}: messages twice`).toBe(stored.messages.distinct)
    for (const [kind, { ledger, table }] of Object.entries(stored.rows)) {
      expect(table, `${name}: rows of ${kind}`).toBe(ledger)
    }
    for (const kind of ['flow', 'syslog']) {
      // Delivered segments are removed, but the newest stays, so that its sequence is not used again.
      const files = readdirSync(join(deployment.dataDir, 'collector-1', kind)).sort()
      const newest = Number.parseInt(files.at(-1)!, 10)
      const every = Array.from({ length: newest + 1 }, (_, sequence) => sequence)
      expect(stored.segments[kind], `${name}: segments of ${kind}`).toEqual(every)
    }
    for (const [runs, sentAt] of [
      [lost.flows, flowsAt],
      [lost.messages, messagesAt],
    ] as const) {
      expect(runs.length, JSON.stringify(runs)).toBeLessThanOrEqual(collectorKills.length)
      for (const { first, last } of runs) {
        const [from, to] = [sentAt[first - 1]!, sentAt[last - 1]!]
        const explained = lostWithCollector.some(kill => from > kill.from && to < kill.to)
        expect(
          explained,
          `${name}: ${first} to ${last}, sent from ${from} to ${to}, killed ${JSON.stringify(done)}, connected ${JSON.stringify(connectedAt)}`,
        ).toBe(true)
      }
    }
  }
  expect(atServers['server-a'].flows).toEqual(atServers['server-b'].flows)
  expect(atServers['server-a'].messages).toEqual(atServers['server-b'].messages)
}, 240_000)
