/** The lease as a majority of voters grants it, see `vote/voter.ts`. */
import type { Clock } from '../../lib/clock.ts'
import type { Pause } from '../states.ts'
import { answerMs, type Moment, type Timings } from '../timings.ts'
import {
  type Ballot,
  completeIn,
  highestTermIn,
  majorityOf,
  readingOf,
  rollIn,
  verdictOf,
} from '../vote/quorum.ts'
import { newestRoll, noRoll, objectionToRoll, type Roll } from '../vote/roll.ts'
import type { Answer, Request } from '../vote/voter.ts'
import type { TakeoverLimit } from './grant.ts'
import { createGuard } from './guard.ts'
import type { Claim, Lease, LeaseEvent, Release } from './lease.ts'

/** How voters are asked. */
export interface Electorate {
  /** Who can be asked, whether it votes or not. */
  present(): readonly { name: string }[]
  /** @throws Error if there is no answer in time */
  ask(voter: string, request: Request, withinMs: number): Promise<Answer>
}

export interface MajorityLeaseConfig {
  /** Of the server. */
  name: string
  incarnation: string
  /** Which replicated pair it is. */
  pair: string
  timings: Timings
  /** So many takeovers are too many; undefined: as each voter thinks. */
  takeovers?: TakeoverLimit
  /** The servers that have every change that was acknowledged to a person. */
  complete(): readonly string[]
  /** A majority has heard so, by a heartbeat of that term. */
  told?(complete: readonly string[], term: number): void
  /** What the voters know of that, while another holds the lease; empty: nobody has ever said. */
  read?(complete: readonly string[]): void
  /** Who votes, as this server’s own voter has heard. */
  heard(): Roll | undefined
}

export interface MajorityLease extends Lease {
  /** Who votes, as far as is known here. */
  roll(): Roll
  /**
   * From the next heartbeat on these are the voters: one more or one less than before.
   * @returns why not; undefined: they are
   */
  changeVoters(voters: readonly string[]): string | undefined
  /** Who has stopped takeovers: as the voters said when the lease was won, until another is said. */
  paused(): Pause | undefined
  pause(pause: Pause | undefined): void
}

/**
 * Asks on the main loop, whose life a renewal is to prove: one that hangs for longer than its lease
 * sends no heartbeat. Its deadline is watched by a thread of its own all the same.
 */
export function createMajorityLease(
  deps: { clock: Clock; fatal(error: Error): void; electorate: Electorate },
  config: MajorityLeaseConfig,
): MajorityLease {
  const { clock, electorate } = deps
  const { incarnation, name, pair, timings } = config
  const { heartbeatIntervalMs, leaseMs, stepDownMs } = timings
  const by = { server: name, incarnation, leaseMs, limit: config.takeovers }
  const withinMs = answerMs(timings)
  const guard = createGuard(deps, { stepDownMs })
  const commands: (() => Promise<void>)[] = []
  let report: (event: LeaseEvent) => void = () => {}
  /** The term to renew; undefined: read. */
  let kept: number | undefined
  let counter = 0
  let paused: Pause | undefined
  let known: Roll = noRoll
  /** A majority of the roll has heard of it by a heartbeat of this term. */
  let settled = false
  let due = 0
  let wake = () => {}
  let stopped = true
  let running: Promise<void> = Promise.resolve()

  function moment(): Moment {
    return { monotonic: clock.monotonic(), wall: clock.wall() }
  }

  async function run() {
    while (!stopped) {
      const command = commands.shift()
      const wait = due - clock.monotonic()
      if (command !== undefined) await command()
      else if (wait > 0) await pause(wait)
      else {
        due =
          clock.monotonic() + (kept === undefined ? heartbeatIntervalMs / 2 : heartbeatIntervalMs)
        if (kept === undefined) await read()
        else await renew(kept)
      }
    }
  }

  async function pause(ms: number) {
    const woken = Promise.withResolvers<void>()
    wake = woken.resolve
    const timer = setTimeout(woken.resolve, ms)
    await woken.promise
    clearTimeout(timer)
    wake = () => {}
  }

  /** What was answered until that was enough, or until nothing more can come. */
  async function poll(
    request: Request,
    enough: (ballots: readonly Ballot[]) => boolean,
  ): Promise<Ballot[]> {
    known = newestRoll(known, [config.heard()])
    const ballots: Ballot[] = []
    // Who does not vote, or is not known to, may have heard who does; and must hear who has won, because
    // others may take it for a voter: after a person has overruled them.
    const tellsAll = request.ask === 'look' || request.ask === 'renew'
    const others = tellsAll ? electorate.present().map(({ name }) => name) : []
    const voters = new Set([...known.voters, ...others])
    const done = Promise.withResolvers<void>()
    let open = voters.size
    for (const voter of voters) {
      electorate
        .ask(voter, request, withinMs)
        .then(said => void ballots.push({ voter, answer: said }))
        .catch(() => {})
        .finally(() => {
          if (--open === 0 || enough(ballots)) done.resolve()
        })
    }
    if (open > 0) await done.promise
    known = rollIn(known, ballots)
    return [...ballots]
  }

  const decided = (ballots: readonly Ballot[]) =>
    verdictOf(ballots, rollIn(known, ballots)) !== undefined

  function tooFew(ballots: readonly Ballot[]): string {
    const { length } = known.voters
    if (length === 0) return 'it has not heard yet who votes'
    const silent = ballots.find(({ answer }) => !answer.yes)?.answer.because
    const why = silent === undefined ? '' : `: ${silent}`
    const yes = ballots.filter(({ answer }) => answer.yes).length
    return `${yes} of ${length} voters answer, and it takes ${majorityOf(length)}${why}`
  }

  async function read() {
    const sentAt = moment()
    const ballots = await poll(
      { ask: 'look' },
      said => readingOf(said, rollIn(known, said), pair) !== undefined,
    )
    const row = readingOf(ballots, known, pair)
    if (row === undefined) return report({ type: 'databaseAway', reason: tooFew(ballots) })
    config.read?.(completeIn(ballots))
    report({ type: 'observed', row, sentAt })
  }

  async function renew(term: number) {
    const sentAt = moment()
    counter++
    const roll = known
    const heartbeat = { ...by, term, counter, complete: config.complete(), paused, roll }
    const answers = await poll(
      { ask: 'renew', heartbeat },
      said => verdictOf(said, roll) !== undefined,
    )
    const verdict = verdictOf(answers, roll)
    if (verdict === true) {
      if (known === roll) settled = true
      config.told?.(heartbeat.complete, term)
      report({ type: 'renewed', term, sentAt, counter, paused, database: pair })
    } else if (verdict === false) {
      kept = undefined
      report({ type: 'renewalRefused', term: highestTermIn(answers) })
    } else report({ type: 'renewalUnknown', reason: tooFew(answers) })
  }

  async function claim(asked: Claim) {
    const sounded = await poll({ ask: 'sound', claim: asked, by }, decided)
    if (verdictOf(sounded, known) !== true) return lose(sounded)
    const sentAt = moment()
    const answers = await poll({ ask: 'vote', claim: asked, by }, decided)
    if (verdictOf(answers, known) !== true) {
      // Of two that have split the votes one should come first next time.
      await pause(Math.random() * heartbeatIntervalMs)
      return lose(answers)
    }
    kept = asked.term
    known = { term: asked.term, version: 0, voters: known.voters }
    settled = false
    counter = 0
    paused = answers.map(({ answer }) => answer.grant?.paused).find(each => each !== undefined)
    due = 0
    report({ type: 'claimWon', term: asked.term, sentAt })
  }

  function lose(answers: readonly Ballot[]) {
    const against = answers.filter(({ answer }) => !answer.yes)
    const lost = verdictOf(answers, known) === false
    const [reason = tooFew(answers)] = against.flatMap(({ answer }) => answer.because ?? [])
    if (lost) report({ type: 'claimLost', term: highestTermIn(answers), reason })
    else report({ type: 'claimUnknown', reason: tooFew(answers) })
  }

  async function release({ intended, term }: Release) {
    await poll({ ask: 'release', term, incarnation, intended }, decided)
    due = 0
    report({ type: 'released' })
  }

  function obey(command: () => Promise<void>) {
    commands.push(command)
    wake()
  }

  return {
    start(to) {
      if (!stopped) throw new Error('the lease has been started already')
      stopped = false
      report = event => {
        if (!stopped) to(event)
      }
      due = 0
      guard.start(() => report({ type: 'tick' }))
      running = run().catch(error => deps.fatal(error as Error))
      return Promise.resolve()
    },
    async stop() {
      stopped = true
      wake()
      await guard.stop()
      await running
      commands.length = 0
      kept = undefined
    },
    claim: asked => obey(() => claim(asked)),
    release: asked => {
      kept = undefined
      obey(() => release(asked))
    },
    watch() {
      kept = undefined
      due = 0
      wake()
    },
    // The main loop asks by itself.
    beat() {},
    guard: guard.watch,
    paused: () => paused,
    pause(pause) {
      if (JSON.stringify(pause) === JSON.stringify(paused)) return
      paused = pause
      due = 0
      wake()
    },
    roll: () => newestRoll(known, [config.heard()]),
    changeVoters(voters) {
      if (kept === undefined) return 'only who is active changes the voters'
      const objection = objectionToRoll(known, voters, settled)
      if (objection !== undefined) return objection
      known = { term: kept, version: known.version + 1, voters }
      settled = false
      due = 0
      wake()
      return undefined
    },
  }
}
