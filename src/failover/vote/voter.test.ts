import { describe, expect, test } from 'vitest'
import type { TakeoverLimit } from '../lease/grant.ts'
import type { Claim } from '../lease/lease.ts'
import type { Row } from '../states.ts'
import { type Ballot, readingOf, rollIn, verdictOf } from './quorum.ts'
import { newestRoll, noRoll, objectionToRoll, type Roll } from './roll.ts'
import {
  type Answer,
  answer,
  type Claimant,
  type Grant,
  type Heartbeat,
  overruled,
  type Request,
  startedVoter,
  type Voter,
  type VoterRules,
} from './voter.ts'

const rules: VoterRules = { leaseMs: 10_000, limit: { most: 3, withinMs: 600_000 } }
const a: Claimant = { server: 'a', incarnation: 'a-1', leaseMs: 10_000 }
const b: Claimant = { server: 'b', incarnation: 'b-1', leaseMs: 10_000 }

const roll: Roll = { term: 5, version: 2, voters: ['a', 'b', 'c'] }

/** One that has waited since its start, and heard a heartbeat at 0. */
function voterWith(change: Partial<Grant> = {}, counter = 7): Voter {
  const grant: Grant = {
    ...{ term: 5, holder: 'a', incarnation: 'a-1', released: false, leaseMs: 10_000, won: true },
    ...{ complete: ['a', 'b'], ...change },
  }
  return { ...startedVoter({ grant, roll }, rules, -60_000), counter, heardAt: 0 }
}

const over: Row = {
  ...{ term: 5, holder: 'a', incarnation: 'a-1', released: false, counter: 7, leaseMs: 10_000 },
  ...{ intended: undefined, paused: undefined, database: 'pair' },
}
const claim = (change: Partial<Claim> = {}, row: Partial<Row> = {}): Claim => ({
  ...{ term: 6, over: { ...over, ...row }, whileSilent: false, reason: 'a is dead', ...change },
})
const vote = (by: Claimant, asked = claim()): Request => ({ ask: 'vote', claim: asked, by })
const beat = (change: Partial<Heartbeat> = {}): Request => ({
  ask: 'renew',
  heartbeat: { ...a, term: 5, counter: 8, complete: ['a', 'b'], roll, ...change },
})
const why = (voter: Voter, request: Request, now = 1000) =>
  answer(voter, request, rules, now).answer.because

describe('a voter that a person has overruled', () => {
  const overruledBy = overruled(voterWith(), 'b', 'ada')

  test('is the only one, of a roll above every one that it knew', () => {
    expect(overruledBy.roll).toEqual({ term: 6, version: 0, voters: ['b'] })
  })
  test('is above every roll that others have told its server of', () => {
    expect(overruled(voterWith(), 'b', 'ada', 9).roll).toMatchObject({ term: 10, voters: ['b'] })
  })
  test('votes for its server at once, whatever it has heard of the active', () => {
    const silent = startedVoter(voterWith(), rules, 0)
    const asked = vote(b, claim({}, { released: true }))
    expect(answer(silent, asked, rules, 1).answer.yes).toBe(false)
    expect(answer(overruled(silent, 'b', 'ada'), asked, rules, 1).answer.yes).toBe(true)
  })
  test('keeps the term, so that no older one is granted again', () => {
    expect(overruledBy.grant).toMatchObject({ term: 5, released: true, complete: [] })
    const ballots = [{ voter: 'b', answer: answer(overruledBy, { ask: 'look' }, rules, 1).answer }]
    expect(readingOf(ballots, overruledBy.roll!, 'pair')).toMatchObject({ overruledBy: 'ada' })
  })
})

describe('a voter', () => {
  test('gives its vote over the lease that was read', () => {
    const { answer: said, voter } = answer(voterWith(), vote(b), rules, 1000)
    expect(said.yes).toBe(true)
    expect(voter.grant).toMatchObject({ term: 6, holder: 'b', won: false, complete: ['a', 'b'] })
    expect(voter).toMatchObject({ counter: 0, heardAt: 1000 })
  })

  test('says whether it would, and changes nothing', () => {
    const before = voterWith()
    const { answer: said, voter } = answer(
      before,
      { ask: 'sound', claim: claim(), by: b },
      rules,
      1000,
    )
    expect(said.yes).toBe(true)
    expect(voter).toBe(before)
  })

  test('gives one vote a term, and says so again to who has it', () => {
    const { voter } = answer(voterWith(), vote(b), rules, 1000)
    expect(answer(voter, vote(b), rules, 1100).answer.yes).toBe(true)
    expect(why(voter, vote({ ...a, incarnation: 'a-2' }))).toBe('it has voted for b in term 6')
  })

  test.for<[string, Voter, Request, string]>([
    [
      'a later heartbeat than the claimant has read of',
      voterWith({}, 8),
      vote(b, claim({ whileSilent: true })),
      'a has renewed its lease',
    ],
    ['another lease than was read', voterWith(), vote(b, claim({}, { term: 4 })), 'a holds term 5'],
    [
      'a claimant that lacks acknowledged changes',
      voterWith({ complete: ['a'] }),
      vote(b),
      'b lacks changes that were acknowledged',
    ],
    [
      'a pause',
      voterWith({ paused: { by: 'anna', reason: 'a new switch', until: undefined } }),
      vote(b),
      'takeovers are paused',
    ],
  ])('does not vote over %s', ([, voter, request, because]) => {
    expect(why(voter, request)).toBe(because)
  })

  test('votes over any reading when the lease has ended by its own clock', () => {
    const stale = vote(b, claim({}, { term: 4 }))
    expect(why(voterWith(), stale, 9999)).toBe('a holds term 5')
    expect(answer(voterWith(), stale, rules, 10_000).answer.yes).toBe(true)
  })

  test('votes at once over a release that it has not heard of itself', () => {
    const freed = vote(b, claim({}, { released: true }))
    expect(answer(voterWith(), freed, rules, 1000).answer.yes).toBe(true)
  })

  test('keeps silent for a lease after its start, and hears heartbeats all the while', () => {
    const started = startedVoter(voterWith(), rules, 0)
    expect(why(started, vote(b), 9999)).toContain('it has just started')
    expect(why(started, { ask: 'look' }, 9999)).toContain('it has just started')
    const { answer: heard, voter } = answer(started, beat(), rules, 9000)
    expect(heard.yes).toBe(true)
    expect(voter).toMatchObject({ counter: 8, heardAt: 9000 })
  })

  test('keeps silent for nothing when it has granted nothing, or to the server that died with it', () => {
    const fresh = startedVoter({ grant: undefined, roll }, rules, 0)
    expect(fresh.silentUntil).toBe(0)
    expect(startedVoter(voterWith(), rules, 0, 'a').silentUntil).toBe(0)
    expect(startedVoter(voterWith(), rules, 0, 'b').silentUntil).toBe(10_000)
  })

  test('waits for as long as the longest lease that it knows of', () => {
    const grant: Grant = { ...voterWith().grant!, leaseMs: 30_000 }
    expect(startedVoter({ grant, roll }, rules, 0).silentUntil).toBe(30_000)
  })

  test('follows who has won a term that it did not vote in, and leaves older ones', () => {
    const ahead = answer(voterWith(), beat({ ...b, term: 7, counter: 1 }), rules, 1000)
    expect(ahead.voter.grant).toMatchObject({ term: 7, holder: 'b', won: true })
    expect(why(ahead.voter, beat())).toBe('it has voted for b in term 7')
  })

  test('keeps who votes, as the holder has said last, and says so', () => {
    const more: Roll = { term: 5, version: 3, voters: ['a', 'b', 'c', 'd'] }
    const { voter } = answer(voterWith(), beat({ roll: more }), rules, 1000)
    expect(answer(voter, vote(b), rules, 2000).answer.roll).toBe(more)
    const stale = answer(voter, beat({ counter: 3 }), rules, 2000)
    expect(stale.answer.roll).toBe(more)
  })

  test('a late heartbeat does not prolong what a later one has said', () => {
    const { voter } = answer(voterWith({}, 9), beat(), rules, 5000)
    expect(voter).toMatchObject({ counter: 9, heardAt: 0 })
  })

  test('hears no heartbeat of what is released', () => {
    const request: Request = { ask: 'release', term: 5, incarnation: 'a-1', intended: 'b' }
    const { voter } = answer(voterWith(), request, rules, 1000)
    expect(voter.grant).toMatchObject({ released: true, intended: 'b' })
    expect(why(voter, beat())).toBe('term 5 is released')
    expect(why(voter, { ...request, incarnation: 'x' })).toBe('term 5 is not what it granted')
  })

  test('heeds how many takeovers are too many by the settings of the server that asks', () => {
    const asked = (limit: TakeoverLimit) => {
      const request = vote({ ...b, limit }, claim({}, { counter: 7 }))
      const busy = { ...voterWith(), takeovers: [900, 950] }
      return answer(busy, request, rules, 1000).voter.grant
    }
    expect(asked({ most: 2, withinMs: 600_000 })).toMatchObject({
      ...{ holder: 'b', paused: { by: 'keepwatch' } },
    })
    expect(asked({ most: 2, withinMs: 20 })?.paused).toBeUndefined()
    expect(asked({ most: 100, withinMs: 600_000 })?.paused).toBeUndefined()
  })

  test('calls for a person after too many takeovers that nobody wished', () => {
    let voter = voterWith()
    for (let each = 0; each < rules.limit.most; each++) {
      const { term, holder, incarnation } = voter.grant!
      const by = holder === 'a' ? b : a
      const asked = claim({ term: term + 1 }, { term, holder, incarnation, counter: 0 })
      voter = answer(voter, vote(by, asked), rules, 1000).voter
    }
    expect(voter.grant?.paused).toMatchObject({ by: 'keepwatch' })
  })
})

describe('several answers', () => {
  const said = (change: Partial<Answer>): Answer => ({
    ...{ yes: true, grant: voterWith().grant, roll, counter: 7, ...change },
  })
  const no = said({ yes: false })
  /** Of a, b, c and so on. */
  const of = (...answers: Answer[]): Ballot[] =>
    answers.map((each, index) => ({ voter: 'abcde'[index]!, answer: each }))
  const rollOf = (voters: number): Roll => ({ ...roll, voters: [...'abcde'].slice(0, voters) })

  test.for<[number, number, number, boolean | undefined]>([
    [3, 2, 0, true],
    [3, 1, 1, undefined],
    [3, 1, 2, false],
    [4, 2, 1, undefined],
    [4, 2, 2, false],
    [4, 3, 0, true],
    [2, 1, 0, undefined],
    [2, 1, 1, false],
  ])('of %i voters, %i for and %i against, are %s', ([voters, yes, against, verdict]) => {
    const answers = [...Array(yes).fill(said({})), ...Array(against).fill(no)]
    expect(verdictOf(of(...answers), rollOf(voters))).toBe(verdict)
  })

  test('count when they are of who votes, by the newest that one of them knows', () => {
    const more: Roll = { ...roll, version: 3, voters: ['a', 'b', 'c', 'd'] }
    const ballots = of(said({}), said({ roll: more }))
    expect(verdictOf(ballots, roll)).toBe(true)
    expect(rollIn(roll, ballots)).toBe(more)
    expect(verdictOf(ballots, more)).toBeUndefined()
    expect(verdictOf([...ballots, { voter: 'x', answer: said({}) }], more)).toBeUndefined()
    expect(verdictOf(ballots, noRoll)).toBeUndefined()
  })

  test('are a reading when they are a majority: the latest that one of them knows', () => {
    const late = said({ counter: 9 })
    expect(readingOf(of(said({}), no, no), roll, 'pair')).toBeUndefined()
    expect(readingOf(of(said({}), late, no), roll, 'pair')).toMatchObject({ term: 5, counter: 9 })
    const newer = said({ grant: { ...voterWith().grant!, term: 6, holder: 'b' }, counter: 0 })
    expect(readingOf(of(late, newer), roll, 'pair')).toMatchObject({ term: 6, holder: 'b' })
  })

  test('of voters that never granted anything leave the lease to who comes first', () => {
    const fresh = said({ grant: undefined, counter: 0 })
    expect(readingOf(of(fresh, fresh), roll, 'pair')).toMatchObject({ term: 0, released: true })
  })
})

describe('who votes', () => {
  test('is newer by its term, then by its version', () => {
    const of = (term: number, version: number): Roll => ({ term, version, voters: ['a'] })
    const newest = newestRoll(noRoll, [of(2, 9), undefined, of(3, 0), of(3, 1), of(2, 12)])
    expect(newest).toMatchObject({ term: 3, version: 1 })
  })

  test.for<[string[], boolean, string | undefined]>([
    [['a', 'b', 'c', 'd'], true, undefined],
    [['a', 'c'], true, undefined],
    [['a', 'b', 'd'], true, 'the voters change by one at a time'],
    [['a', 'b', 'c', 'd', 'e'], true, 'the voters change by one at a time'],
    [['a', 'b', 'c'], true, 'the voters change by one at a time'],
    [['a', 'b', 'c', 'c'], true, 'a voter is named twice'],
    [['a', 'b', 'c', 'd'], false, 'too few voters have heard of the last change'],
  ])('becomes %j (heard of before: %s): %s', ([voters, settled, objection]) => {
    expect(objectionToRoll(roll, voters, settled)).toBe(objection)
  })
})
