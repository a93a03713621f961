import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { defaultTimings, type Timings } from '../../src/failover/timings.ts'
import { createLab, type Lab, type Member } from './lab.ts'
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
})

/** `a` is active, `b` stands by and is known to `a`. */
async function pair(timings = defaultTimings): Promise<{ a: Member; b: Member }> {
  const a = await lab.member('a', timings)
  members = [a]
  a.tell('start')
  await a.is('active', 20_000)
  const b = await lab.member('b', timings)
  members = [a, b]
  b.tell('start')
  await b.said('change', { where: said => said.sentence.includes('a is active') })
  return { a, b }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`
}

/** The writes of state in the order in which they were made, as the terms that made them. */
async function termsWritten(): Promise<number[]> {
  const rows = await lab.query<{ term: string }>(
    `SELECT term FROM audit WHERE action = 'hammer' ORDER BY id`,
  )
  return rows.map(row => Number(row.term))
}

function rises(terms: readonly number[]): boolean {
  return terms.every((term, index) => index === 0 || term >= terms[index - 1]!)
}

/** A lease of 3 s. */
const quick: Timings = {
  heartbeatIntervalMs: 300,
  leaseMs: 3000,
  stepDownMs: 800,
  heartbeatTimeoutMs: 12_000,
  peerTimeoutMs: 500,
}

describe('the standby takes over', () => {
  test('within a second and a half when the active is killed', { timeout: 60_000 }, async () => {
    const { a, b } = await pair()
    const before = Date.now()
    a.signal('SIGKILL')
    const { at, sentence } = await b.is('active')
    console.log(`kill -9 → active: ${seconds(at - before)}`)
    expect(sentence).toContain('its host refuses the connection')
    expect(at - before).toBeLessThan(1500)

    const again = await lab.member('a')
    members.push(again)
    again.tell('start')
    const { role } = await again.said('change', {
      where: said => said.sentence.includes('b is active'),
    })
    expect(role, 'a recovered primary stands by').toBe('standby')
    expect(b.now()?.state).toBe('active')
  })

  test('within the lease when the active is frozen, which then can write nothing', {
    timeout: 60_000,
  }, async () => {
    const { a, b } = await pair()
    a.tell('hammer')
    b.tell('hammer')
    await deadline(async () => (await termsWritten()).length > 50)
    const before = Date.now()
    a.signal('SIGSTOP')
    const { at, term, sentence } = await b.is('active', 15_000)
    console.log(`SIGSTOP → active (lease 10 s): ${seconds(at - before)}`)
    expect(sentence).toContain('no heartbeat of a for 10 s, and it does not answer')
    expect(at - before).toBeLessThan(12_000)
    await deadline(async () => (await termsWritten()).includes(term))

    a.signal('SIGCONT')
    await a.is('standby')
    const { refused } = await a.said('written')
    expect(refused, 'it did try').toBeGreaterThan(0)
    await deadline(async () => (await termsWritten()).filter(one => one === term).length > 100)
    expect(await termsWritten()).toSatisfy(rises)
    expect(b.now()?.state).toBe('active')
  })

  test('although the frozen active has a transaction open that holds the term', {
    timeout: 60_000,
  }, async () => {
    const { a, b } = await pair(quick)
    const before = Date.now()
    a.tell('freeze-in-transaction')
    const { at } = await b.is('active')
    console.log(`frozen in a transaction → active (lease 3 s): ${seconds(at - before)}`)
    expect(at - before).toBeLessThan(4500)
  })

  test('in less than half a second when it is asked', { timeout: 60_000 }, async () => {
    const { a, b } = await pair()
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const before = await handOver(from)
      const { at } = await to.is('active')
      console.log(`switchover → active: ${seconds(at - before)}`)
      expect(at - before).toBeLessThan(500)
      await from.is('standby')
    }
  })

  test('in less than half a second when the active is stopped', { timeout: 60_000 }, async () => {
    const { a, b } = await pair()
    const before = Date.now()
    a.tell('stop')
    const { at } = await b.is('active')
    console.log(`stop → active: ${seconds(at - before)}`)
    expect(at - before).toBeLessThan(500)
    await a.said('stopped')
  })

  test('when the active is unwell, which then waits until it is well', {
    timeout: 60_000,
  }, async () => {
    const { a, b } = await pair()
    a.tell('unwell')
    await b.is('active')
    const { sentence } = await a.said('change', {
      where: said => said.state === 'standby' && said.sentence.includes('could not take over'),
    })
    expect(sentence).toContain('its disk is full')
  })

  test('when the main loop of the active hangs, whose process then ends itself', {
    timeout: 60_000,
  }, async () => {
    const { a, b } = await pair(quick)
    const before = Date.now()
    a.tell('hang')
    const { at } = await b.is('active')
    console.log(`hung main loop → active (lease 3 s): ${seconds(at - before)}`)
    expect(at - before).toBeLessThan(5000)
    await deadline(async () => a.process.signalCode === 'SIGKILL')
  })
})

describe('nobody takes over', () => {
  test('while the database restarts', { timeout: 60_000 }, async () => {
    const { a, b } = await pair()
    const { term } = a.now()!
    await lab.postgres.stop()
    await a.said('change', { where: said => said.sentence.includes('does not answer') })
    await lab.postgres.start()
    await a.said('change', { where: said => said.sentence.includes('answers again') })
    expect(a.now()).toMatchObject({ state: 'active', term })
    expect(b.now()?.role).toBe('standby')
  })

  test('while the database is away for both for longer than a lease', {
    timeout: 60_000,
  }, async () => {
    const { a, b } = await pair(quick)
    const { term } = a.now()!
    await lab.postgres.stop()
    const held = await a.is('held', 5000)
    expect(held).toMatchObject({ role: 'active', term })
    await new Promise(resolve => setTimeout(resolve, quick.leaseMs))
    expect(a.now()?.state).toBe('held')
    await lab.postgres.start()
    expect(await a.is('active')).toMatchObject({ term })
    expect(b.now()?.role).toBe('standby')
  })
})

describe('start order does not matter', () => {
  test('a crashed active that restarts alone is not locked out by its former self', {
    timeout: 60_000,
  }, async () => {
    const a = await lab.member('a')
    members = [a]
    a.tell('start')
    const first = await a.is('active')
    await a.kill()
    const again = await lab.member('a')
    members = [again]
    again.tell('start')
    const begun = Date.now()
    const second = await again.is('active')
    expect(second.term).toBeGreaterThan(first.term)
    expect(second.at - begun).toBeLessThan(2000)
  })

  test('both started at once, a hundred times: one active, one standby, terms that rise', {
    timeout: 900_000,
  }, async () => {
    const a = await lab.member('a')
    const b = await lab.member('b')
    members = [a, b]
    const before = await lab.query<{ id: string }>('SELECT max(id) AS id FROM role_changes')
    const rounds = 100
    const winners = { a: 0, b: 0 }
    for (let round = 0; round < rounds; round++) {
      const from = { a: a.heard.length, b: b.heard.length }
      a.tell('start')
      b.tell('start')
      const settled = (member: Member, start: number) =>
        member.said('change', {
          from: start,
          where: said => said.state === 'active' || said.sentence.includes('is active in term'),
        })
      const [ofA, ofB] = await Promise.all([settled(a, from.a), settled(b, from.b)])
      expect([ofA.state, ofB.state].sort()).toEqual(['active', 'standby'])
      const winner = ofA.state === 'active' ? 'a' : 'b'
      winners[winner]++
      a.tell('stop')
      b.tell('stop')
      await Promise.all([a.said('stopped', { from: from.a }), b.said('stopped', { from: from.b })])
    }
    console.log(`both at once, ${rounds} times: a won ${winners.a}, b won ${winners.b}`)
    const history = await lab.query<{ term: string; server: string }>(
      `SELECT term, server FROM role_changes WHERE role = 'active' AND id > $1 ORDER BY term`,
      [before[0]?.id ?? 0],
    )
    const terms = history.map(line => Number(line.term))
    expect(new Set(terms).size, 'no term twice').toBe(terms.length)
    expect(terms.length).toBeGreaterThanOrEqual(rounds)
  })
})

/** Asks until the active knows that the other is ready. @returns when it was asked with success */
async function handOver(active: Member): Promise<number> {
  let asked = 0
  await deadline(async () => {
    const from = active.heard.length
    asked = Date.now()
    active.tell('switchover')
    return (await active.said('switchover', { from })).accepted
  })
  return asked
}
