/**
 * Who ought to vote, decided by who is active. Pure.
 *
 * One alone, or an odd number with both servers among them: with two voters, or any even number, more of
 * them would have to be there than with one less. So a pair without a third voter goes on with the vote
 * of its active alone: whatever happens to the standby, the work does not stop, and a takeover is by hand.
 */
import { majorityOf } from './quorum.ts'

/** Who could vote, and since when it is there, or is not. */
export interface Candidate {
  name: string
  role: 'server' | 'collector' | 'witness'
  present: boolean
  /** Milliseconds, monotonic. */
  since: number
}

export interface EnrollingConfig {
  self: string
  /** Of collectors and witnesses together; even. */
  most: number
  /** One that has come is believed to stay after so long, and one that has gone to stay away. */
  settledMs: number
  goneMs: number
}

/** What so many voters mean, for people; the first is the server that says it. */
export function meaningOf(voters: readonly { name: string; present: boolean }[]): string {
  const { length } = voters
  const needed = majorityOf(length)
  const there = voters.filter(({ present }) => present).length
  const missing = voters.flatMap(({ name, present }) => (present ? [] : [name])).join(', ')
  if (length === 0) return 'it is not known yet who votes'
  if (there < needed) {
    return `${there} of ${length} voters are there, and it takes ${needed}: nobody can become active, or stay so; missing: ${missing}`
  }
  if (length === 1) {
    return `${voters[0]!.name} alone votes: it goes on whatever becomes of the other server, and a takeover is by hand; with a collector or a witness it would be automatic`
  }
  const spare = there - needed
  const may = spare === 0 ? 'none of them may be away' : `${spare} of them may be away`
  const even = length % 2 === 0 ? ', no more than with one voter less' : ''
  return missing === ''
    ? `${length} voters: ${may}${even}`
    : `${there} of ${length} voters are there, ${spare === 0 ? 'as many as it takes' : `${spare} more than it takes`}; missing: ${missing}`
}

/**
 * The next step, one voter more or less, of which the active is always one.
 *
 * @param now milliseconds, monotonic
 * @returns undefined: nobody has to come or go
 */
export function nextVoters(
  voters: readonly string[],
  candidates: readonly Candidate[],
  config: EnrollingConfig,
  now: number,
): string[] | undefined {
  const wanted = wantedVoters(voters, candidates, config, now)
  const isThere = (name: string) =>
    name === config.self || candidates.some(each => each.name === name && each.present)
  const come = wanted.filter(each => !voters.includes(each)).map(each => [...voters, each])
  const gone = voters
    .filter(each => !wanted.includes(each))
    .toSorted((a, b) => Number(isThere(a)) - Number(isThere(b)))
    .map(each => voters.filter(one => one !== each))
  // Without a majority of it that is there the work would stop.
  return [...come, ...gone].find(next => next.filter(isThere).length >= majorityOf(next.length))
}

function wantedVoters(
  voters: readonly string[],
  candidates: readonly Candidate[],
  { goneMs, most, self, settledMs }: EnrollingConfig,
  now: number,
): string[] {
  const known = (name: string) => candidates.find(each => each.name === name)
  /** Whoever votes goes on with it until it has been away for long. */
  const stays = (name: string) => {
    const voter = known(name)
    return voter !== undefined && (voter.present || now - voter.since < goneMs)
  }
  const comes = ({ present, since }: Candidate) => present && now - since >= settledMs
  const fit = candidates.filter(each =>
    voters.includes(each.name) ? stays(each.name) : comes(each),
  )
  const peer = fit.find(({ name, role }) => role === 'server' && name !== self)
  const others = fit
    .filter(({ role }) => role !== 'server')
    .toSorted((a, b) => rank(a, voters) - rank(b, voters) || a.name.localeCompare(b.name))
    .slice(0, most)
  if (peer === undefined || others.length === 0) return [self]
  const odd = others.length % 2 === 1 ? others : others.slice(0, -1)
  return [self, peer.name, ...odd.map(({ name }) => name)]
}

/** Those that vote already, then witnesses, which are there for it; one that is away comes last. */
function rank({ name, present, role }: Candidate, voters: readonly string[]): number {
  const votes = voters.includes(name) ? 0 : 1
  return (present ? 0 : 4) + 2 * votes + (role === 'witness' ? 0 : 1)
}
