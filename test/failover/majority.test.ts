/** A lease by majority: two servers and a voter as processes, killed, frozen and started anew. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Timings } from '../../src/failover/timings.ts'
import { freePort } from '../../src/lib/ports.ts'
import { type Authority, openAuthority } from '../../src/lib/tls.ts'
import { createMember, type Member } from './lab.ts'
import type { VoteMemberSettings } from './vote-member.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const program = fileURLToPath(new URL('./vote-member.ts', import.meta.url))
const timings: Timings = {
  ...{ heartbeatIntervalMs: 250, leaseMs: 2500, stepDownMs: 500, heartbeatTimeoutMs: 6000 },
  peerTimeoutMs: 800,
}
/** For a machine that others use too. */
const slackMs = 10_000

let folder: string
let authority: Authority
let ports: { a: number; b: number }
let complete: string[]
const members: Member[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-majority-'))
  authority = await openAuthority(join(folder, 'authority'))
})

afterEach(async () => {
  await Promise.all(members.splice(0).map(member => member.kill()))
  await rm(join(folder, 'data'), { recursive: true, force: true })
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

type Name = 'a' | 'b' | 'witness'

/** Its node starts by the command `start`. */
async function begin(name: Name): Promise<Member> {
  const identity = await authority.issue({
    role: name === 'witness' ? 'collector' : 'server',
    ...{ name, hosts: ['127.0.0.1'] },
  })
  const servers = (['a', 'b'] as const)
    .filter(each => each !== name)
    .map(each => ({ name: each, host: '127.0.0.1', port: ports[each] }))
  const member = createMember<VoteMemberSettings>(program, {
    ...{ name, servers, identity, timings, complete, dataDir: join(folder, 'data', name) },
    linkPort: name === 'witness' ? undefined : ports[name],
    voters: ['a', 'b', 'witness'],
  })
  members.push(member)
  await member.said('ready', { withinMs: 60_000 })
  return member
}

/** `a` is active, `b` stands by, and all of them vote. */
async function pair(everyChange = ['a', 'b']) {
  complete = everyChange
  ports = { a: await freePort(), b: await freePort() }
  const [a, b, witness] = await Promise.all([begin('a'), begin('b'), begin('witness')])
  a.tell('start')
  await a.is('active', timings.leaseMs + slackMs)
  b.tell('start')
  await b.said('change', { where: ({ sentence }) => sentence.includes('a is active') })
  return { a, b, witness }
}

describe('with two servers and a voter', () => {
  test('the standby takes over at once when the active is killed', async () => {
    const { a, b } = await pair()
    const before = a.now()!
    await a.kill()
    const killed = Date.now()
    const active = await b.is('active', timings.leaseMs + slackMs)
    expect(active.sentence).toContain('a is dead: its host refuses the connection')
    expect(active.term).toBeGreaterThan(before.term)
    console.log(`active ${active.at - killed} ms after the kill`)
  })

  test('and after a lease when the active is frozen, which then works no more', async () => {
    const { a, b } = await pair()
    const { term } = a.now()!
    a.signal('SIGSTOP')
    const frozen = Date.now()
    const active = await b.is('active', timings.leaseMs + slackMs)
    expect(active.at - frozen).toBeGreaterThan(timings.leaseMs - 2 * timings.heartbeatIntervalMs)
    expect(active.sentence).toContain('no heartbeat of a for')
    a.signal('SIGCONT')
    const standby = await a.is('standby', slackMs)
    expect(standby.term).toBeGreaterThanOrEqual(term)
    expect(b.now()!.state).toBe('active')
  })

  test('roles are handed over on demand', async () => {
    const { a, b } = await pair()
    await b.said('change', { where: ({ state }) => state === 'standby' })
    // The active has to have heard that the other is well.
    await vi.waitUntil(
      async () => {
        const from = a.heard.length
        a.tell('switchover')
        return (await a.said('switchover', { from })).accepted
      },
      { timeout: slackMs, interval: 200 },
    )
    await b.is('active', slackMs)
    await a.is('standby', slackMs)
  })

  test('a voter that is away is not missed, and neither is one that was', async () => {
    const { a, witness } = await pair()
    const { term } = a.now()!
    await witness.kill()
    await new Promise(resolve => setTimeout(resolve, 2 * timings.leaseMs))
    expect(a.now()).toMatchObject({ state: 'active', term })
    await begin('witness')
    await new Promise(resolve => setTimeout(resolve, 2 * timings.leaseMs))
    expect(a.now()).toMatchObject({ state: 'active', term })
  })

  test('without a majority nobody works, and says so; with one again somebody does', async () => {
    const { a, b, witness } = await pair()
    await witness.kill()
    await a.kill()
    await new Promise(resolve => setTimeout(resolve, 2 * timings.leaseMs))
    expect(b.now()!.state).toBe('standby')
    expect(b.now()!.sentence).toContain('does not answer')
    await begin('witness')
    const active = await b.is('active', 2 * timings.leaseMs + slackMs)
    expect(active.term).toBeGreaterThan(1)
  })

  test('a standby that lacks acknowledged changes does not take over', async () => {
    const { a, b } = await pair(['a'])
    await a.kill()
    await new Promise(resolve => setTimeout(resolve, 2 * timings.leaseMs))
    expect(b.now()!.state).not.toBe('active')
    expect(b.heard.some(said => said.said === 'change' && said.state === 'active')).toBe(false)
    const again = await begin('a')
    again.tell('start')
    await again.is('active', 2 * timings.leaseMs + slackMs)
  })

  test('what all of them knew before they were killed is known after', async () => {
    const { a, b, witness } = await pair()
    await a.kill()
    const { term } = await b.is('active', timings.leaseMs + slackMs)
    await Promise.all([b.kill(), witness.kill()])
    const [again, other] = await Promise.all([begin('a'), begin('b'), begin('witness')])
    again.tell('start')
    other.tell('start')
    const active = await Promise.any([
      again.is('active', timings.leaseMs + slackMs),
      other.is('active', timings.leaseMs + slackMs),
    ])
    expect(active.term).toBeGreaterThan(term)
  })
})
