import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Timings, timingsOf } from '../../src/failover/timings.ts'
import { createLab, type Lab, type Member } from './lab.ts'
import type { MemberSettings } from './member.ts'
import { deadline } from './waits.ts'

let lab: Lab
let members: Member[] = []

beforeAll(async () => {
  lab = await createLab()
}, 90_000)
afterAll(() => lab?.stop(), 30_000)
afterEach(async () => {
  await Promise.all(members.map(member => member.kill()))
  members = []
  await resume()
})

const slow = { timeout: 120_000 }
const quick = timingsOf({ heartbeatMs: 400, leaseMs: 2000, timeoutMs: 10_000 })

async function begin(name: 'a' | 'b', timings: Timings, change?: Partial<MemberSettings>) {
  const member = await lab.member(name, timings, change)
  members.push(member)
  member.tell('start')
  return member
}

/** `a` is active, `b` stands by and is known to `a`. */
async function pair(
  timings: [Timings, Timings] = [quick, quick],
  change?: Partial<MemberSettings>,
) {
  const a = await begin('a', timings[0], change)
  await a.is('active', 20_000)
  const b = await begin('b', timings[1], change)
  await says(b, 'a is active')
  return { a, b }
}

function says(member: Member, words: string, withinMs = 20_000) {
  return member.said('change', { where: said => said.sentence.includes(words), withinMs })
}

/** As `pause` in the store does. */
async function pause(until: string | null = null) {
  await lab.query(
    `UPDATE leadership SET paused_by = 'anna', paused_reason = 'a new switch',
       paused_until = clock_timestamp() + $1::interval`,
    [until],
  )
}

async function resume() {
  await lab.query(
    `UPDATE leadership
     SET paused_by = NULL, paused_reason = NULL, paused_until = NULL, takeovers = '{}'`,
  )
}

const wait = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

describe('while a person has paused takeovers', () => {
  test('nobody takes over from a dead active, until it is resumed', slow, async () => {
    const { a, b } = await pair()
    await pause()
    await a.kill()
    const { sentence } = await says(b, 'paused by anna')
    expect(sentence).toBe(
      'standby: takeovers are paused by anna until somebody resumes: a new switch',
    )
    // Longer than every other reason would have taken.
    await wait(2 * quick.leaseMs)
    expect(b.now()?.role).toBe('standby')
    await resume()
    await b.is('active')
  })

  test('the pause ends by the clock of the database', slow, async () => {
    const { a, b } = await pair()
    await pause('4 seconds')
    await a.kill()
    await says(b, 'paused by anna until')
    const { sentence } = await b.is('active', 20_000)
    expect(sentence).toContain('a is dead')
  })

  test('an active that is stopped takes its lease again when it starts', slow, async () => {
    const { a, b } = await pair()
    const { term } = a.now()!
    await pause()
    // A heartbeat later the active knows.
    await wait(2 * quick.heartbeatIntervalMs)
    a.tell('stop')
    await a.said('stopped')
    await says(b, 'paused')
    const from = a.heard.length
    a.tell('start')
    const again = await a.said('change', { from, where: said => said.state === 'active' })
    expect(again.term).toBe(term + 1)
    expect(b.heard.some(said => said.said === 'change' && said.state === 'active')).toBe(false)
  })

  test('a person can hand over all the same', slow, async () => {
    const { a, b } = await pair()
    await pause()
    await deadline(async () => {
      const from = a.heard.length
      a.tell('switchover')
      return (await a.said('switchover', { from })).accepted
    })
    await b.is('active')
    await a.is('standby')
    const [row] = await lab.query<{ takeovers: Date[]; intended: string | null }>(
      'SELECT takeovers, intended FROM leadership',
    )
    expect(row).toEqual({ takeovers: [], intended: null })
  })
})

test('after too many takeovers the pair stops, and calls for a person', slow, async () => {
  const change = { takeovers: { most: 3, withinMs: 600_000 } }
  const { a, b } = await pair([quick, quick], change)
  await resume()
  let [active, standby] = [a, b]
  for (let takeover = 1; takeover <= 3; takeover++) {
    await active.kill()
    await standby.is('active', 20_000)
    const again = await begin(takeover % 2 === 1 ? 'a' : 'b', quick, change)
    await again.said('change', { where: said => said.role === 'standby', withinMs: 20_000 })
    ;[active, standby] = [standby, again]
  }
  const { sentence } = await says(standby, 'paused')
  expect(sentence).toContain(
    'takeovers are paused by keepwatch until somebody resumes: ' +
      '3 takeovers within 10 minutes: a person has to look and resume',
  )
  await active.kill()
  await wait(2 * quick.leaseMs)
  expect(standby.now()?.role).toBe('standby')
  await resume()
  await standby.is('active')
})

test('a standby with a shorter lease waits for that of the active', slow, async () => {
  const long = timingsOf({ heartbeatMs: 400, leaseMs: 6000, timeoutMs: 20_000 })
  const { a, b } = await pair([long, quick])
  const before = Date.now()
  a.signal('SIGSTOP')
  const { at, sentence } = await b.is('active', 30_000)
  console.log(`SIGSTOP → active (leases of 6 s and 2 s): ${(at - before) / 1000} s`)
  expect(sentence).toContain('no heartbeat of a for 6 s')
  expect(at - before).toBeGreaterThan(5000)
  a.signal('SIGCONT')
  await a.is('standby')
})

test('with a lease of 2 s a silent active is replaced within 3 s', slow, async () => {
  const { a, b } = await pair()
  const before = Date.now()
  a.signal('SIGSTOP')
  const { at } = await b.is('active', 30_000)
  console.log(`SIGSTOP → active (lease 2 s): ${(at - before) / 1000} s`)
  expect(at - before).toBeGreaterThan(1500)
  expect(at - before).toBeLessThan(6000)
})
