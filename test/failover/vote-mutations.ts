/** The rules of voting, broken on purpose one at a time: to see that the invariants notice. */
import { majorityOf, verdictOf } from '../../src/failover/vote/quorum.ts'
import { objectionToRoll } from '../../src/failover/vote/roll.ts'
import { answer, type Request, startedVoter, type Voter } from '../../src/failover/vote/voter.ts'
import type { Decisions } from './vote-world.ts'

type Rule<K extends keyof Decisions> = Decisions[K]

/** One vote of three, two of five. */
export const countsHalf: Rule<'verdictOf'> = (ballots, roll) => {
  const yes = ballots.filter(({ answer: said }) => said.yes).length
  return yes >= majorityOf(roll.voters.length - 2) ? true : verdictOf(ballots, roll)
}

export const forgetsGrants: Rule<'startedVoter'> = ({ roll }, rules, now) =>
  startedVoter({ grant: undefined, roll }, rules, now)

export const doesNotWait: Rule<'startedVoter'> = (kept, rules, now) => ({
  ...startedVoter(kept, rules, now),
  silentUntil: now,
})

/** What it granted before its start may have ended, for all it knows. */
export const takesStartForEnd: Rule<'startedVoter'> = (kept, rules, now) => ({
  ...startedVoter(kept, rules, now),
  ...{ silentUntil: now, heardAt: now - rules.leaseMs },
})

const voteAs =
  (change: (voter: Voter, request: Extract<Request, { ask: 'vote' | 'sound' }>) => Voter) =>
  (...[voter, request, rules, now]: Parameters<typeof answer>): ReturnType<typeof answer> => {
    if (request.ask !== 'vote' && request.ask !== 'sound') return answer(voter, request, rules, now)
    const said = answer(change(voter, request), request, rules, now)
    return said.answer.yes ? said : answer(voter, request, rules, now)
  }

/** As if its vote in this term had not been given. */
export const votesTwice: Rule<'answer'> = voteAs((voter, { claim }) =>
  voter.grant?.term === claim.term
    ? { ...voter, grant: { ...voter.grant, term: claim.term - 1 } }
    : voter,
)

/** As if each lease had ended. */
export const seesEveryLeaseEnded: Rule<'answer'> = voteAs(voter => ({
  ...voter,
  heardAt: Number.NEGATIVE_INFINITY,
}))

/** As if the lease that was read, whichever, were the one that it granted. */
export const takesAnyReading: Rule<'answer'> = (voter, request, rules, now) => {
  if (request.ask !== 'vote' && request.ask !== 'sound') return answer(voter, request, rules, now)
  const { counter, grant } = voter
  if (grant === undefined) return answer(voter, request, rules, now)
  const { incarnation, released, term } = grant
  const over = { ...request.claim.over, counter, incarnation, released, term }
  return answer(voter, { ...request, claim: { ...request.claim, over } }, rules, now)
}

/** Goes back to a lease that it has left. */
export const goesBack: Rule<'answer'> = (voter, request, rules, now) => {
  const { grant } = voter
  const older =
    request.ask === 'renew' && grant !== undefined && grant.term > request.heartbeat.term
  return answer(older ? { ...voter, grant: undefined } : voter, request, rules, now)
}

export const countsFromTheReply: Rule<'rightAge'> = () => 0

/** Whatever was read of who votes, it goes on with what it knew. */
export const keepsItsRoll: Rule<'rollIn'> = known => known

/** The next change before a majority has heard of the last, or of its term. */
export const changesUnheard: Rule<'objectionToRoll'> = (roll, voters) =>
  objectionToRoll(roll, voters, true)
