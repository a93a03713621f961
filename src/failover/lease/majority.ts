/** The lease as a majority of voters grants it, see `vote/voter.ts`. */
import type { Clock } from '../../lib/clock.ts'
import type { Row } from '../states.ts'
import { answerMs, type Moment, type Timings } from '../timings.ts'
import { completeIn, highestTermIn, majorityOf, readingOf, verdictOf } from '../vote/quorum.ts'
import type { Answer, Request } from '../vote/voter.ts'
import { createGuard } from './guard.ts'
import type { Claim, Lease, LeaseEvent, Release } from './lease.ts'

/** Who votes. */
export interface Electorate {
  /** Names of all voters, there or not. */
  voters(): readonly string[]
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
  /** The servers that have every change that was acknowledged to a person. */
  complete(): readonly string[]
  /** A majority has heard so, by a heartbeat of that term. */
  told?(complete: readonly string[], term: number): void
  /** What the voters know of that, while another holds the lease; empty: nobody has ever said. */
  read?(complete: readonly string[]): void
}

/**
 * Asks on the main loop, whose life a renewal is to prove: one that hangs for longer than its lease
 * sends no heartbeat. Its deadline is watched by a thread of its own all the same.
 */
export function createMajorityLease(
  deps: { clock: Clock; fatal(error: Error): void; electorate: Electorate },
  config: MajorityLeaseConfig,
): Lease {
  const { clock, electorate } = deps
  const { incarnation, name, pair, timings } = config
  const { heartbeatIntervalMs, leaseMs, stepDownMs } = timings
  const by = { server: name, incarnation, leaseMs }
  const withinMs = answerMs(timings)
  const guard = createGuard(deps, { stepDownMs })
  const commands: (() => Promise<void>)[] = []
  let report: (event: LeaseEvent) => void = () => {}
  /** The term to renew; undefined: read. */
  let kept: number | undefined
  let counter = 0
  let paused: Row['paused']
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
    enough: (answers: readonly Answer[]) => boolean,
  ): Promise<Answer[]> {
    const answers: Answer[] = []
    const voters = electorate.voters()
    const done = Promise.withResolvers<void>()
    let open = voters.length
    for (const voter of voters) {
      electorate
        .ask(voter, request, withinMs)
        .then(said => void answers.push(said))
        .catch(() => {})
        .finally(() => {
          if (--open === 0 || enough(answers)) done.resolve()
        })
    }
    if (open > 0) await done.promise
    return [...answers]
  }

  const decided = (answers: readonly Answer[]) =>
    verdictOf(answers, electorate.voters().length) !== undefined

  function tooFew(answers: readonly Answer[]): string {
    const voters = electorate.voters().length
    const silent = answers.find(({ yes }) => !yes)?.because
    const why = silent === undefined ? '' : `: ${silent}`
    const yes = answers.filter(each => each.yes).length
    return `${yes} of ${voters} voters answer, and it takes ${majorityOf(voters)}${why}`
  }

  async function read() {
    const sentAt = moment()
    const { length } = electorate.voters()
    const answers = await poll({ ask: 'look' }, said => readingOf(said, length, pair) !== undefined)
    const row = readingOf(answers, length, pair)
    if (row === undefined) return report({ type: 'databaseAway', reason: tooFew(answers) })
    config.read?.(completeIn(answers))
    report({ type: 'observed', row, sentAt })
  }

  async function renew(term: number) {
    const sentAt = moment()
    counter++
    const heartbeat = { ...by, term, counter, complete: config.complete(), paused }
    const answers = await poll({ ask: 'renew', heartbeat }, decided)
    const verdict = verdictOf(answers, electorate.voters().length)
    if (verdict === true) {
      config.told?.(heartbeat.complete, term)
      report({ type: 'renewed', term, sentAt, counter, paused, database: pair })
    } else if (verdict === false) {
      kept = undefined
      report({ type: 'renewalRefused', term: highestTermIn(answers) })
    } else report({ type: 'renewalUnknown', reason: tooFew(answers) })
  }

  async function claim(asked: Claim) {
    const sounded = await poll({ ask: 'sound', claim: asked, by }, decided)
    if (verdictOf(sounded, electorate.voters().length) !== true) return lose(sounded)
    const sentAt = moment()
    const answers = await poll({ ask: 'vote', claim: asked, by }, decided)
    if (verdictOf(answers, electorate.voters().length) !== true) {
      // Of two that have split the votes one should come first next time.
      await pause(Math.random() * heartbeatIntervalMs)
      return lose(answers)
    }
    kept = asked.term
    counter = 0
    paused = answers.map(({ grant }) => grant?.paused).find(each => each !== undefined)
    due = 0
    report({ type: 'claimWon', term: asked.term, sentAt })
  }

  function lose(answers: readonly Answer[]) {
    const against = answers.filter(({ yes }) => !yes)
    const lost = verdictOf(answers, electorate.voters().length) === false
    const [reason = tooFew(answers)] = against.flatMap(({ because }) => because ?? [])
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
  }
}
