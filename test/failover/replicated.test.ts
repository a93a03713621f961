/** A replicated pair: servers with a database each, a voter, and numbered changes; killed and rejoined. */
import { mkdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Timings } from '../../src/failover/timings.ts'
import { freePort } from '../../src/lib/ports.ts'
import { type Authority, openAuthority } from '../../src/lib/tls.ts'
import { createMember, type Member } from './lab.ts'
import type { ReplicatedSettings } from './replicated-member.ts'
import type { VoteMemberSettings } from './vote-member.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const timings: Timings = {
  ...{ heartbeatIntervalMs: 250, leaseMs: 2500, stepDownMs: 500, heartbeatTimeoutMs: 6000 },
  peerTimeoutMs: 800,
}
/** For a machine that others use too. */
const slackMs = 40_000
const password = 'of-the-test'
const voters = ['a', 'b', 'witness']
type Name = 'a' | 'b'

let folder: string
let authority: Authority
let ports: Record<Name, { link: number; database: number }>
const members = new Map<string, Member>()
/** Numbers that were acknowledged, by their term, as far as the test has read them. */
const acknowledged = new Map<number, number>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-replicated-'))
  authority = await openAuthority(join(folder, 'authority'))
  const both = async () => ({ link: await freePort(), database: await freePort() })
  ports = { a: await both(), b: await both() }
  await witness()
})

afterAll(async () => {
  await Promise.all([...members.values()].map(member => member.kill()))
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
})

const address = (name: Name) => ({ name, host: '127.0.0.1', port: ports[name].link })

async function witness() {
  const identity = await authority.issue({
    ...{ role: 'collector', name: 'witness', hosts: ['127.0.0.1'] },
  })
  const program = fileURLToPath(new URL('./vote-member.ts', import.meta.url))
  const member = createMember<VoteMemberSettings>(program, {
    ...{ name: 'witness', linkPort: undefined, servers: [address('a'), address('b')], voters },
    ...{ complete: [], identity, timings, dataDir: join(folder, 'witness') },
  })
  members.set('witness', member)
  await member.said('ready', { withinMs: 60_000 })
}

async function begin(name: Name): Promise<Member> {
  const identity = await authority.issue({ role: 'server', name, hosts: ['127.0.0.1'] })
  const dataDir = join(folder, name)
  mkdirSync(dataDir, { recursive: true })
  const program = fileURLToPath(new URL('./replicated-member.ts', import.meta.url))
  const member = createMember<ReplicatedSettings>(program, {
    ...{ name, linkPort: ports[name].link, databasePort: ports[name].database },
    ...{ other: address(name === 'a' ? 'b' : 'a'), voters, identity, timings, dataDir, password },
    ...{ patienceMs: 1500, first: name === 'a' },
  })
  members.set(name, member)
  await member.said('ready', { withinMs: 60_000 })
  member.tell('start')
  return member
}

function lastAcknowledged(member: Member) {
  for (const said of member.heard) {
    if (said.said === 'acknowledged') acknowledged.set(said.term, said.number)
  }
  return acknowledged
}

/** By term: how many numbers there are, and the highest. */
async function stored(name: Name) {
  const client = new pg.Client({
    connectionString: `postgresql://keepwatch:${password}@127.0.0.1:${ports[name].database}/keepwatch`,
  })
  client.on('error', () => {})
  await client.connect()
  try {
    const { rows } = await client.query<{ term: number; count: number; max: number }>(
      'SELECT term, count(*)::int AS count, max(number) AS max FROM numbers GROUP BY term',
    )
    return new Map(rows.map(({ count, max, term }) => [term, { count, max }]))
  } finally {
    await client.end()
  }
}

/** Every acknowledged number, once; the last of a term may have been on its way to be acknowledged. */
async function expectAll(name: Name) {
  const there = await stored(name)
  for (const [term, number] of acknowledged) {
    const { count, max } = there.get(term) ?? { count: 0, max: 0 }
    expect(max, `of term ${term}, ${number} were acknowledged`).toBeGreaterThanOrEqual(number)
    expect(count).toBe(max)
  }
}

/** From when changes wait for the other, which has everything, and the voters know. */
function together(active: Member) {
  const from = active.heard.length
  return () =>
    active.said('told', {
      ...{ withinMs: slackMs, from },
      where: ({ complete }) => complete.length === 2,
    })
}

describe('of a replicated pair', () => {
  test('the first becomes active, and the second copies it and follows', async () => {
    const a = await begin('a')
    await a.said('leads', { withinMs: slackMs })
    const isTogether = together(a)
    const b = await begin('b')
    await b.said('follows', { withinMs: slackMs })
    await isTogether()
    await a.said('acknowledged', { from: a.heard.length })
  })

  test('the standby takes over when the active is killed, with every acknowledged change', async () => {
    const [a, b] = [members.get('a')!, members.get('b')!]
    await a.kill()
    const killed = performance.now()
    const { ms } = await b.said('leads', { withinMs: slackMs })
    console.log(
      `leads ${(performance.now() - killed).toFixed(0)} ms after the kill, ${ms} of them for its database`,
    )
    lastAcknowledged(a)
    expect(acknowledged.size).toBe(1)
    await b.said('acknowledged', { withinMs: slackMs })
    await expectAll('b')
  })

  test('the old active copies the new one by itself when it is back, and follows', async () => {
    const b = members.get('b')!
    const isTogether = together(b)
    const a = await begin('a')
    await a.said('follows', { withinMs: slackMs })
    await isTogether()
    expect(a.now()!.state).toBe('standby')
  })

  test('roles are handed over on demand, and nothing is lost', async () => {
    const [a, b] = [members.get('a')!, members.get('b')!]
    const isTogether = together(a)
    await vi.waitUntil(
      async () => {
        const from = b.heard.length
        b.tell('switchover')
        return (await b.said('switchover', { from })).accepted
      },
      { timeout: slackMs, interval: 200 },
    )
    const asked = performance.now()
    const { ms } = await a.said('leads', { withinMs: slackMs })
    console.log(
      `leads ${(performance.now() - asked).toFixed(0)} ms after it was asked, ${ms} of them for its database`,
    )
    lastAcknowledged(b)
    expect(acknowledged.size).toBe(2)
    await a.said('acknowledged', { withinMs: slackMs })
    await expectAll('a')
    await isTogether()
  })

  test('changes go on without a standby that is away, which then does not take over', async () => {
    const [a, b] = [members.get('a')!, members.get('b')!]
    await b.kill()
    const from = a.heard.length
    await a.said('acknowledging', {
      from,
      withinMs: slackMs,
      where: ({ kind }) => kind === 'alone',
    })
    await a.said('acknowledged', { from: a.heard.length, withinMs: slackMs })
    await a.kill()
    lastAcknowledged(a)
    const back = await begin('b')
    await new Promise(resolve => setTimeout(resolve, 3 * timings.leaseMs))
    expect(back.heard.some(said => said.said === 'leads')).toBe(false)
    const again = await begin('a')
    await again.said('leads', { withinMs: slackMs })
    await expectAll('a')
  })
})
