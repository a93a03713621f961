/**
 * Voters and two servers as one value, and every move that can change it. The voters and the counting
 * of votes are the program's own; a server is what `machine.ts` makes of it, in short: it claims when
 * that one may, by what it has read, and works for as long after its last heartbeat as that one does.
 * Times are ages in ticks, so that states that differ only in when they are reached are the same.
 *
 * A round is one question to all voters. Messages of a round arrive one by one, in any order that makes
 * a difference; one that is slow may arrive at any time, also after its sender has given up or died.
 */
import type { Claim } from '../../src/failover/lease/lease.ts'
import type { Row } from '../../src/failover/states.ts'
import {
  type Ballot as Answered,
  highestTermIn,
  majorityOf,
  readingOf,
  rollIn,
  verdictOf,
} from '../../src/failover/vote/quorum.ts'
import { objectionToRoll, type Roll } from '../../src/failover/vote/roll.ts'
import {
  type Answer,
  answer,
  type Claimant,
  type Request,
  startedVoter,
  type Voter,
  type VoterRules,
} from '../../src/failover/vote/voter.ts'
import { Violation } from './breadth-first.ts'

export const voteFaults = [
  'request lost',
  'answer lost',
  'request slow',
  'answer slow',
  'server killed',
  'server frozen',
  'server cut off',
  'link cut',
  'voter restarted',
  'voter down',
  'voter frozen',
  'handed over',
  'voters changed',
] as const
export type VoteFault = (typeof voteFaults)[number]

/** What the program decides, so that each of it can be broken on purpose. */
export interface Decisions {
  answer: typeof answer
  readingOf: typeof readingOf
  verdictOf: typeof verdictOf
  rollIn: typeof rollIn
  objectionToRoll: typeof objectionToRoll
  startedVoter: typeof startedVoter
  /** The age of a server's right when its heartbeat went out `sentAge` ago. */
  rightAge(sentAge: number): number
  /** Ticks of silence after which a server that does not answer is taken for gone. */
  silence: number
  /** Ticks for which a server works after a heartbeat went out. */
  working: number
}

export interface VoteRules extends Decisions {
  voters: number
  /** The first so many vote in the beginning; default all. */
  enrolled?: number
  faults: ReadonlySet<VoteFault>
  /** Claims that fail one after the other: two servers may split the votes for ever. */
  failedClaims: number
}

/** What a heartbeat is worth, in ticks. */
export const lease = 3
/** Ticks for which a server waits for slow answers. */
const patience = 2

export const decisions: Decisions = {
  ...{ answer, readingOf, verdictOf, startedVoter, rollIn, objectionToRoll },
  rightAge: sentAge => sentAge,
  silence: lease,
  working: lease - 1,
}

const voterRules: VoterRules = { leaseMs: lease, limit: { most: 100, withinMs: 0 } }
const pair = 'pair'
/** What is longer ago is all the same. */
const longAgo = -lease - 2

export interface Message {
  from: 0 | 1
  incarnation: string
  to: number
  request: Request
  /** The voter has heard it; its answer is under way. */
  said?: Answer | undefined
}

export interface Round {
  request: Exclude<Request, { ask: 'look' | 'sound' }>
  sentAt: number
  /** Voters to which it is under way, and from which an answer may still come. */
  pending: readonly number[]
  slow: readonly number[]
  answers: readonly Answered[]
}

export interface Server {
  up: boolean
  frozen: boolean
  /** From every voter but its own. */
  cutOff: boolean
  incarnation: string
  mode: 'watches' | 'claims' | 'works'
  seen: { row: Row; since: number; readAt: number } | undefined
  /** It has no majority. */
  away: boolean
  highest: number
  term: number
  /** Of its last heartbeat. */
  counter: number
  /** When the last heartbeat that succeeded was sent. */
  renewedAt: number
  /** When the other last proved that it could not take over. */
  promisedAt: number
  /** Who votes, as far as it knows. */
  roll: Roll
  /** A majority has heard that by a heartbeat of this term. */
  settled: boolean
  beatDue: boolean
  lookDue: boolean
  round: Round | undefined
}

export interface Ballot {
  voter: Voter
  up: boolean
  frozen: boolean
}

export interface VoteWorld {
  servers: readonly [Server, Server]
  ballots: readonly Ballot[]
  late: readonly Message[]
  /** The servers do not reach each other. */
  linkCut: boolean
  begun: number
  starts: number
  faultsLeft: number
}

type Draft = VoteWorld & { servers: [Server, Server]; ballots: Ballot[]; late: Message[] }

export interface VoteMove {
  label: string
  fault: VoteFault | undefined
  make(draft: Draft): void
}

type Index = 0 | 1
const indices = [0, 1] as const
const name = (index: number) => 'abcde'[index]!

/** All are there, nobody has ever been active, and every voter has waited. */
export function newVoteWorld(rules: VoteRules, faultsLeft: number): VoteWorld {
  const all = Array.from({ length: rules.voters }, (_, each) => name(each))
  const roll = { term: 0, version: 0, voters: all.slice(0, rules.enrolled) }
  return {
    servers: [newServer('a1', roll), newServer('b2', roll)],
    ballots: all.map(() => ({
      voter: startedVoter({ grant: undefined, roll }, voterRules, longAgo - lease),
      ...{ up: true, frozen: false },
    })),
    ...{ late: [], linkCut: false, begun: 0, starts: 2, faultsLeft },
  }
}

function newServer(incarnation: string, roll: Roll): Server {
  return {
    ...{ up: true, frozen: false, cutOff: false, incarnation, mode: 'watches' as const },
    ...{ seen: undefined, away: true, highest: 0, term: 0, counter: 0, renewedAt: longAgo },
    promisedAt: longAgo,
    ...{ roll, settled: false },
    ...{ beatDue: false, lookDue: true, round: undefined },
  }
}

export function applyVote(world: VoteWorld, move: VoteMove, rules: VoteRules): VoteWorld {
  const [a, b] = world.servers
  const draft: Draft = {
    ...world,
    servers: [{ ...a }, { ...b }],
    ballots: world.ballots.map(each => ({ ...each })),
    late: [...world.late],
  }
  if (move.fault !== undefined) draft.faultsLeft--
  move.make(draft)
  audit(draft, rules)
  return draft
}

function audit({ servers }: VoteWorld, rules: VoteRules) {
  const may = servers.filter(each => each.up && mayWork(each, rules))
  if (may.length > 1) throw new Violation('both may work')
}

function mayWork({ mode, promisedAt, renewedAt }: Server, { working }: VoteRules): boolean {
  return mode === 'works' && -Math.max(renewedAt, promisedAt) < working
}

/** It has no majority, or is dead: it counts silence anew, so it does not take over within a lease. */
function promises(world: VoteWorld, index: Index): boolean {
  const { cutOff } = world.servers[index]
  const { away, cutOff: otherCutOff, frozen, mode, up } = world.servers[1 - index]!
  if (cutOff || otherCutOff || world.linkCut) return false
  return !up || (!frozen && mode === 'watches' && away)
}

// What a server does.

function reaches(world: VoteWorld, index: Index, voter: number): boolean {
  const { cutOff } = world.servers[index]
  const { frozen, up } = world.ballots[voter]!
  if (voter === index) return up && !frozen
  const other = voter < 2 && (world.linkCut || world.servers[voter as Index].cutOff)
  return up && !frozen && !cutOff && !other
}

/** Asks everybody on the roll, and learns who votes. */
function polled(draft: Draft, index: Index, request: Request, rules: VoteRules, deaf?: number) {
  const server = draft.servers[index]
  const answers = draft.ballots.flatMap(({ voter }, each): Answered[] =>
    each !== deaf && server.roll.voters.includes(name(each)) && reaches(draft, index, each)
      ? [{ voter: name(each), answer: rules.answer(voter, request, voterRules, 0).answer }]
      : [],
  )
  server.roll = rules.rollIn(server.roll, answers)
  return answers
}

function look(draft: Draft, index: Index, rules: VoteRules, deaf?: number) {
  const server = draft.servers[index]
  server.lookDue = false
  const answers = polled(draft, index, { ask: 'look' }, rules, deaf)
  const row = rules.readingOf(answers, server.roll, pair)
  server.away = row === undefined
  if (row === undefined) {
    server.seen = undefined
    return
  }
  const before = server.seen
  const still =
    before !== undefined &&
    before.row.term === row.term &&
    before.row.counter === row.counter &&
    before.row.incarnation === row.incarnation &&
    before.row.released === row.released
  server.seen = { row, since: still ? before.since : 0, readAt: 0 }
  server.highest = Math.max(server.highest, row.term)
}

/** Why it may claim; as `takeover.ts` has it, but without its patience. */
function causeOf(world: VoteWorld, index: Index, rules: VoteRules): 'known' | 'silent' | undefined {
  const server = world.servers[index]
  const other = world.servers[1 - index]!
  const { incarnation, seen } = server
  if (seen === undefined || seen.readAt !== 0) return undefined
  const { row } = seen
  if (row.released || row.holder === name(index)) return 'known'
  // Its host refuses the connection, or another process answers, or it answers that it has let go.
  const heard = !server.cutOff && !other.cutOff && !world.linkCut
  if (heard && (!other.up || (!other.frozen && other.incarnation !== row.incarnation)))
    return 'known'
  if (heard && !other.frozen && other.mode === 'watches' && incarnation !== row.incarnation) {
    return 'known'
  }
  return seen.readAt - seen.since >= rules.silence ? 'silent' : undefined
}

function claim(draft: Draft, index: Index, cause: 'known' | 'silent', rules: VoteRules) {
  const server = draft.servers[index]
  const { row } = server.seen!
  const term = server.highest + 1
  const asked: Claim = { term, over: row, whileSilent: cause === 'silent', reason: cause }
  const by: Claimant = { server: name(index), incarnation: server.incarnation, leaseMs: lease }
  const answers = polled(draft, index, { ask: 'sound', claim: asked, by }, rules)
  server.seen = undefined
  if (rules.verdictOf(answers, server.roll) !== true) return
  server.mode = 'claims'
  server.term = term
  server.highest = term
  send(draft, index, { ask: 'vote', claim: asked, by })
}

function send(draft: Draft, index: Index, request: Round['request']) {
  const { voters } = draft.servers[index].roll
  const pending = [...draft.ballots.keys()].filter(each => voters.includes(name(each)))
  draft.servers[index].round = { request, sentAt: 0, pending, slow: [], answers: [] }
}

function beat(draft: Draft, index: Index) {
  const server = draft.servers[index]
  server.beatDue = false
  server.counter++
  const { counter, incarnation, roll, term } = server
  send(draft, index, {
    ask: 'renew',
    heartbeat: {
      ...{ server: name(index), incarnation, leaseMs: lease, term, counter, complete: [] },
      roll,
    },
  })
}

/** A voter hears it; what it keeps on its disk it keeps. */
function deliver(draft: Draft, message: Message, rules: VoteRules): Answer | undefined {
  const ballot = draft.ballots[message.to]!
  if (!ballot.up || ballot.frozen) return undefined
  const { answer: said, voter } = rules.answer(ballot.voter, message.request, voterRules, 0)
  ballot.voter = voter
  return said
}

/** @param said undefined: no answer; 'slow': it may still come */
function settle(
  draft: Draft,
  index: Index,
  to: number,
  said: Answer | 'slow' | undefined,
  rules: VoteRules,
) {
  const server = draft.servers[index]
  const round = server.round!
  const slow = round.slow.filter(each => each !== to)
  server.round = {
    ...round,
    pending: round.pending.filter(each => each !== to),
    slow: said === 'slow' ? [...slow, to] : slow,
    answers:
      said === undefined || said === 'slow'
        ? round.answers
        : [...round.answers, { voter: name(to), answer: said }],
  }
  const { pending, slow: awaited } = server.round
  if (pending.length > 0) return
  const open = awaited.length > 0 && verdict(server, rules) === undefined
  if (!open) conclude(draft, index, rules)
}

/** On what it has asked; a heartbeat counts by the roll that it has said. */
function verdict({ roll, round }: Server, rules: VoteRules): boolean | undefined {
  const { answers, request } = round!
  const its = request.ask === 'renew' ? request.heartbeat.roll : rules.rollIn(roll, answers)
  return rules.verdictOf(answers, its)
}

function conclude(draft: Draft, index: Index, rules: VoteRules) {
  const server = draft.servers[index]
  const { answers, request, sentAt } = server.round!
  const decided = verdict(server, rules)
  const said = server.roll
  server.roll = rules.rollIn(server.roll, answers)
  server.round = undefined
  server.highest = Math.max(server.highest, highestTermIn(answers))
  switch (request.ask) {
    case 'vote':
      if (decided !== true || -sentAt >= rules.working) {
        server.mode = 'watches'
        server.lookDue = true
        return
      }
      if (server.term <= draft.begun) {
        throw new Violation(`term ${server.term} is begun after term ${draft.begun}`)
      }
      draft.begun = server.term
      server.mode = 'works'
      server.roll = { term: server.term, version: 0, voters: server.roll.voters }
      server.settled = false
      server.counter = 0
      server.renewedAt = -rules.rightAge(-sentAt)
      server.beatDue = true
      return
    case 'renew':
      if (decided === true) {
        server.renewedAt = Math.max(server.renewedAt, -rules.rightAge(-sentAt))
        if (request.heartbeat.roll === said && server.roll === said) server.settled = true
      }
      if (decided === false) stand(server)
      return
    case 'release':
      server.lookDue = true
  }
}

function stand(server: Server) {
  server.mode = 'watches'
  server.beatDue = false
  server.lookDue = true
  server.seen = undefined
}

// Everything that may happen next.

export function voteMovesOf(world: VoteWorld, rules: VoteRules): VoteMove[] {
  const moves: VoteMove[] = []
  const add = (label: string, make: VoteMove['make']) =>
    void moves.push({ label, fault: undefined, make })
  const fail = (fault: VoteFault, label: string, make: VoteMove['make']) => {
    if (world.faultsLeft > 0 && rules.faults.has(fault)) moves.push({ label, fault, make })
  }
  const awake = indices.filter(index => world.servers[index].up && !world.servers[index].frozen)
  let waits = false
  const rounds = awake.filter(index => world.servers[index].round?.pending.length).length
  for (const index of awake) waits = roundOf(index) || waits
  for (const index of awake) waits = ownStep(index) || waits
  for (const index of indices) befalls(index)
  for (const [at, message] of world.late.entries()) comesLate(at, message)
  if (waits) return moves
  for (const index of world.ballots.keys()) voterBefalls(index)
  if (world.linkCut) {
    add('the servers reach each other again', draft => {
      draft.linkCut = false
    })
  } else {
    fail('link cut', 'the servers do not reach each other', draft => {
      draft.linkCut = true
    })
  }
  add('a tick', draft => pass(draft, rules))
  return moves

  function comesLate(at: number, message: Message) {
    const { from, incarnation, request, to } = message
    const sender = world.servers[from]
    const { frozen, up } = world.ballots[to]!
    if (message.said === undefined && (!up || frozen)) return
    if (message.said !== undefined && sender.frozen) return
    add(`late ${request.ask} of ${incarnation} to ${to}`, draft => {
      draft.late.splice(at, 1)
      const said = message.said ?? deliver(draft, message, rules)
      const { round } = draft.servers[from]
      const awaited = sender.incarnation === incarnation && round?.request === request
      if (awaited && round.slow.includes(to) && !sender.frozen) settle(draft, from, to, said, rules)
    })
  }

  function roundOf(index: Index): boolean {
    const { incarnation, round } = world.servers[index]
    if (round === undefined || round.pending.length === 0) return false
    const { pending, request } = round
    // The order matters only where another round comes between.
    for (const to of rounds > 1 ? pending : pending.slice(0, 1)) {
      const message: Message = { from: index, incarnation, to, request }
      const what = `${request.ask} of ${name(index)} to ${to}`
      if (!reaches(world, index, to)) {
        add(`${what} fails`, draft => settle(draft, index, to, undefined, rules))
        continue
      }
      add(what, draft => settle(draft, index, to, deliver(draft, message, rules), rules))
      fail('request lost', `${what} is lost`, draft => settle(draft, index, to, undefined, rules))
      fail('answer lost', `the answer to ${what} is lost`, draft => {
        deliver(draft, message, rules)
        settle(draft, index, to, undefined, rules)
      })
      fail('request slow', `${what} takes its time`, draft => {
        draft.late.push(message)
        settle(draft, index, to, 'slow', rules)
      })
      fail('answer slow', `the answer to ${what} takes its time`, draft => {
        draft.late.push({ ...message, said: deliver(draft, message, rules) })
        settle(draft, index, to, 'slow', rules)
      })
    }
    return true
  }

  function ownStep(index: Index): boolean {
    const { beatDue, lookDue, mode, round } = world.servers[index]
    if (round !== undefined) return false
    if (mode === 'works' && beatDue) {
      add(`${name(index)} sends its heartbeat`, draft => beat(draft, index))
      return true
    }
    if (mode !== 'watches') return false
    if (lookDue) {
      add(`${name(index)} reads`, draft => look(draft, index, rules))
      for (const each of world.ballots.keys()) {
        if (!reaches(world, index, each) || each === index) continue
        fail('answer lost', `${name(index)} reads, but not of ${each}`, draft =>
          look(draft, index, rules, each),
        )
      }
      return true
    }
    const cause = causeOf(world, index, rules)
    const failed = world.servers[index].highest - world.begun
    if (cause !== undefined && failed < rules.failedClaims) {
      add(`${name(index)} claims: ${cause}`, draft => claim(draft, index, cause, rules))
      return true
    }
    return false
  }

  function befalls(index: Index) {
    const { cutOff, frozen, mode, round, term, up } = world.servers[index]
    const who = name(index)
    if (!up) {
      if (!waits) add(`${who} starts`, draft => start(draft, index, rules))
      return
    }
    fail('server killed', `${who} is killed`, draft => {
      draft.servers[index] = { ...newServer('', draft.servers[index].roll), up: false, cutOff }
      draft.ballots[index]!.up = false
      draft.ballots[index]!.frozen = false
    })
    if (frozen) {
      if (!waits) {
        add(`${who} runs again`, draft => {
          draft.servers[index].frozen = false
          draft.ballots[index]!.frozen = false
          judge(draft.servers[index], rules)
        })
      }
      return
    }
    fail('server frozen', `${who} is frozen`, draft => {
      draft.servers[index].frozen = true
      draft.ballots[index]!.frozen = true
    })
    if (waits) return
    if (cutOff) {
      add(`${who} is connected again`, draft => {
        draft.servers[index].cutOff = false
      })
    } else {
      fail('server cut off', `${who} is cut off`, draft => {
        draft.servers[index].cutOff = true
      })
    }
    if (mode === 'works' && round === undefined) {
      for (const voters of rollsAfter(world, index, rules)) {
        fail('voters changed', `${who} has ${voters.join('')} vote`, draft => {
          const server = draft.servers[index]
          server.roll = { term, version: server.roll.version + 1, voters }
          server.settled = false
          server.beatDue = true
        })
      }
      fail('handed over', `${who} lets go and releases`, draft => {
        const server = draft.servers[index]
        stand(server)
        server.lookDue = false
        send(draft, index, {
          ...{ ask: 'release', term, incarnation: server.incarnation, intended: undefined },
        })
      })
    }
  }

  /** Voters on the servers live and die with them; one of the others stands for all. */
  function voterBefalls(index: number) {
    if (index < 2) return
    const { frozen, up } = world.ballots[index]!
    if (!up) {
      add(`voter ${index} starts`, draft => restart(draft, index, rules))
      return
    }
    if (frozen) {
      add(`voter ${index} runs again`, draft => {
        draft.ballots[index]!.frozen = false
      })
      return
    }
    fail('voter restarted', `voter ${index} restarts`, draft => restart(draft, index, rules))
    fail('voter down', `voter ${index} is down`, draft => {
      draft.ballots[index]!.up = false
    })
    fail('voter frozen', `voter ${index} is frozen`, draft => {
      draft.ballots[index]!.frozen = true
    })
  }
}

function start(draft: Draft, index: Index, rules: VoteRules) {
  draft.starts++
  const { cutOff } = draft.servers[index]
  const { roll } = draft.ballots[index]!.voter
  draft.servers[index] = { ...newServer(`${name(index)}${draft.starts}`, roll!), cutOff }
  restart(draft, index, rules)
}

function restart(draft: Draft, index: number, rules: VoteRules) {
  const { voter } = draft.ballots[index]!
  const { grant, roll } = voter
  const host = index < 2 ? name(index) : undefined
  const fresh = rules.startedVoter({ grant, roll }, voterRules, 0, host)
  draft.ballots[index] = { voter: fresh, up: true, frozen: false }
}

/** Before a server does anything else it looks at the clock. */
function judge(server: Server, rules: VoteRules) {
  if (server.mode === 'works' && !mayWork(server, rules)) {
    server.round = undefined
    stand(server)
  }
}

function pass(draft: Draft, rules: VoteRules) {
  const older = (at: number) => Math.max(at - 1, longAgo)
  for (const ballot of draft.ballots) {
    const { heardAt, silentUntil } = ballot.voter
    ballot.voter = { ...ballot.voter, heardAt: older(heardAt), silentUntil: older(silentUntil) }
  }
  for (const server of draft.servers) {
    server.renewedAt = older(server.renewedAt)
    server.promisedAt = older(server.promisedAt)
    if (server.seen) {
      const { readAt, row, since } = server.seen
      server.seen = { row, since: older(since), readAt: older(readAt) }
    }
    if (server.round) server.round = { ...server.round, sentAt: older(server.round.sentAt) }
    if (!server.up || server.frozen) continue
    judge(server, rules)
    if (server.mode !== 'works') server.lookDue = true
  }
  for (const index of indices) {
    const server = draft.servers[index]
    if (!server.up || server.frozen || server.mode !== 'works') continue
    server.beatDue = true
    if (promises(draft, index)) server.promisedAt = 0
  }
  for (const index of indices) {
    const { frozen, round, up } = draft.servers[index]
    if (up && !frozen && round?.pending.length === 0 && -round.sentAt >= patience) {
      conclude(draft, index, rules)
    }
  }
}

/** With whom the voters may go on: one more or one less, and always the servers that work. */
function rollsAfter(world: VoteWorld, index: Index, rules: VoteRules): string[][] {
  const { roll, settled } = world.servers[index]
  const { voters } = roll
  return [...world.ballots.keys()]
    .map(name)
    .filter(each => each !== name(index))
    .map(each =>
      voters.includes(each) ? voters.filter(one => one !== each) : [...voters, each].sort(),
    )
    .filter(next => rules.objectionToRoll(roll, next, settled) === undefined)
}

// Recovery, and what makes two states the same.

/** Ends every fault. */
export function healVotes(world: VoteWorld, rules: VoteRules): VoteWorld {
  return applyVote(
    { ...world, faultsLeft: 0 },
    {
      ...{ label: 'all faults end', fault: undefined },
      make(draft) {
        draft.late = []
        draft.linkCut = false
        for (const index of indices) {
          const server = draft.servers[index]
          server.cutOff = false
          if (server.frozen) {
            server.frozen = false
            draft.ballots[index]!.frozen = false
            judge(server, rules)
          }
          if (!server.up) start(draft, index, rules)
          if (server.round) server.round = { ...server.round, slow: [] }
        }
        for (const [index, ballot] of draft.ballots.entries()) {
          ballot.frozen = false
          if (!ballot.up) restart(draft, index, rules)
        }
      },
    },
    rules,
  )
}

export function isServed({ ballots, servers }: VoteWorld, rules: VoteRules): boolean {
  const holder = servers.find(each => mayWork(each, rules))
  if (holder === undefined) return false
  const { voters } = holder.roll
  const behind = [...ballots.keys()].filter(
    each => voters.includes(name(each)) && ballots[each]!.voter.grant?.term === holder.term,
  )
  return behind.length >= majorityOf(voters.length)
}

/** Whether it matters who knows which roll: while there are several, or may come to be. */
function isRollOpen({ ballots, faultsLeft, late, servers }: VoteWorld, rules: VoteRules): boolean {
  if (!rules.faults.has('voters changed')) return false
  if (faultsLeft > 0) return true
  const asked = servers.flatMap(({ round }) => round?.request ?? [])
  const known = [
    ...servers.map(({ roll }) => roll),
    ...ballots.map(({ voter }) => voter.roll),
    ...[...asked, ...late.map(({ request }) => request)].map(it =>
      it.ask === 'renew' ? it.heartbeat.roll : undefined,
    ),
  ]
  return new Set(known.flatMap(roll => roll?.voters.join('') ?? [])).size > 1
}

export function voteKeyOf(world: VoteWorld, rules: VoteRules): string {
  const open = isRollOpen(world, rules)
  const { ballots, begun, faultsLeft, late, linkCut, servers } = world
  const incarnations: string[] = []
  const who = (incarnation: string | undefined) => {
    if (incarnation === undefined || incarnation === '') return '-'
    const index = incarnations.indexOf(incarnation)
    return index >= 0 ? index : incarnations.push(incarnation) - 1
  }
  const top = Math.max(...servers.map(({ counter, mode }) => (mode === 'works' ? counter : 0)))
  const term = (value: number) => value - begun
  const counter = (value: number) => Math.max(-3, Math.min(3, value - top))
  const claimed = ({ over, term: wanted, whileSilent }: Claim) =>
    `${term(wanted)}${term(over.term)}${who(over.incarnation)}${over.released}${counter(over.counter)}${whileSilent}`
  const rollText = (roll: Roll | undefined) =>
    open && roll ? `${term(roll.term)}.${roll.version}${roll.voters.join('')}` : ''
  const request = (it: Request) => {
    switch (it.ask) {
      case 'vote':
      case 'sound':
        return `${it.ask}${who(it.by.incarnation)}${claimed(it.claim)}`
      case 'renew':
        return `r${who(it.heartbeat.incarnation)}${term(it.heartbeat.term)}${counter(it.heartbeat.counter)}${rollText(it.heartbeat.roll)}`
      case 'release':
        return `f${who(it.incarnation)}${term(it.term)}`
      default:
        return 'l'
    }
  }
  const server = (it: Server) => {
    const { row, readAt, since } = it.seen ?? {}
    const waits = it.mode === 'watches'
    const read =
      row && waits
        ? `${term(row.term)}${who(row.incarnation)}${row.holder}${row.released}${counter(row.counter)}@${since}/${readAt}`
        : '-'
    const round = it.round
      ? `${request(it.round.request)}@${it.round.sentAt}:${it.round.answers
          .map(({ answer: said, voter }) =>
            open ? `${voter}${said.yes}${rollText(said.roll)}` : `${said.yes}`,
          )
          .sort()}`
      : '-'
    return [
      ...[
        it.up,
        it.frozen,
        it.cutOff,
        who(it.incarnation),
        it.mode,
        it.away,
        read,
        term(it.highest),
      ],
      ...[
        it.mode === 'watches' ? '' : term(it.term),
        it.mode === 'works' ? counter(it.counter) : '',
      ],
      ...[
        it.mode === 'works' ? `${it.renewedAt}/${it.promisedAt}` : '',
        it.beatDue,
        it.lookDue,
        round,
        rollText(it.roll),
        open && it.settled,
      ],
    ].join()
  }
  const both = servers.map(server)
  const ballot = ({ frozen, up, voter }: Ballot, index: number) => {
    const { grant } = voter
    const granted = grant
      ? `${term(grant.term)}${who(grant.incarnation)}${grant.holder}${grant.released}${grant.won}`
      : '-'
    const pending = servers
      .map(({ round }) =>
        round?.pending.includes(index) ? 1 : round?.slow.includes(index) ? 2 : 0,
      )
      .join('')
    const waiting = late.filter(({ to }) => to === index)
    const silent = Math.max(0, voter.silentUntil)
    return `${rollText(voter.roll)}${up}${frozen}${granted}${counter(voter.counter)}@${voter.heardAt}s${silent}p${pending}l${waiting.map(
      each => `${who(each.incarnation)}${request(each.request)}${each.said?.yes ?? ''}`,
    )}`
  }
  const each = ballots.map(ballot)
  // Voters that are on no server are all the same, where all vote.
  const others = open ? each.slice(2) : each.slice(2).sort()
  return [faultsLeft, linkCut, ...both, each[0], each[1], ...others].join('|')
}
