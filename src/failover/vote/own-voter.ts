/** The voter of this host: what it grants is on its disk before anybody hears of it. */
import { existsSync, readFileSync } from 'node:fs'
import type { Clock } from '../../lib/clock.ts'
import { writeDurably } from '../../lib/files.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import type { Roll } from './roll.ts'
import {
  type Answer,
  answer,
  type Kept,
  overruled,
  type Request,
  startedVoter,
  type Voter,
  type VoterRules,
} from './voter.ts'
import { keptForm } from './words.ts'

export interface OwnVoter {
  /** @throws Error that names the file, if it is there and cannot be read */
  start(): Promise<void>
  /** Answers what it has been asked. */
  stop(): Promise<void>
  /** One after the other. @throws Error if it cannot be written down: it has then said nothing */
  ask(request: Request): Promise<Answer>
  /**
   * At a person's word: this server alone votes from now on, and what was granted to another has ended.
   * The other may go on working as long as it does not hear of it.
   * @param above the highest term that others have told of
   */
  overrule(server: string, by: string, above: number): Promise<void>
  /** What it has granted last, and who votes as far as it has heard. */
  kept(): Kept
}

/** In the data folder of a server, a collector or a witness. */
export const voteFile = 'vote.json'

/** The first server of a deployment, or who votes beside it: nobody has ever been active. Keeps what is there. */
export async function beginRoll(file: string, voters: readonly string[]): Promise<void> {
  if (existsSync(file)) return
  const kept: Kept = { grant: undefined, roll: { term: 0, version: 0, voters } }
  await writeDurably(file, `${JSON.stringify(kept)}\n`, 0o600)
}

/**
 * @param config.file JSON: the only thing that must outlive a crash of the host
 * @param config.roll who votes where there is no file yet; undefined: it hears of that from who is active
 */
export function createOwnVoter(
  deps: { clock: Clock; log: Log; metrics: Metrics },
  config: {
    file: string
    rules: VoterRules
    roll?: Roll | undefined
    /** That it lives and dies with, if it is part of one. */
    server?: string
  },
): OwnVoter {
  const { clock } = deps
  const { file, rules } = config
  const fresh: Kept = { grant: undefined, roll: config.roll }
  const tally = createTally<'not-written'>(deps, {
    name: 'failover_voter_problems',
    help: 'Votes that could not be given, by reason',
  })
  let voter = startedVoter(fresh, rules, clock.monotonic())
  let tail: Promise<unknown> = Promise.resolve()
  let running = false

  async function give(request: Request): Promise<Answer> {
    if (!running) throw new Error('the voter has stopped')
    const given = answer(voter, request, rules, clock.monotonic())
    await become(given.voter)
    return given.answer
  }

  /** On the disk before anybody hears of it. */
  async function become(next: Voter) {
    const text = written(next)
    if (text !== written(voter)) {
      try {
        await writeDurably(file, `${text}\n`, 0o600)
      } catch (error) {
        tally.count('not-written', () => ({ file, error }))
        throw error
      }
    }
    voter = next
  }

  /** One after the other. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = tail.then(work)
    tail = done.catch(() => {})
    return done
  }

  return {
    start() {
      voter = startedVoter(readKept(file) ?? fresh, rules, clock.monotonic(), config.server)
      running = true
      return Promise.resolve()
    },
    async stop() {
      running = false
      await tail
    },
    ask: request => inTurn(() => give(request)),
    overrule: (server, by, above) => inTurn(() => become(overruled(voter, server, by, above))),
    kept: () => voter,
  }
}

/** A heartbeat that says what the one before it said changes nothing in it. */
function written({ grant, roll }: Kept): string {
  return JSON.stringify({ grant, roll })
}

function readKept(file: string): Kept | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const parsed = keptForm.safeParse(parsedJson(text))
  if (parsed.success) return parsed.data
  throw new Error(
    `${file} cannot be read: it holds the lease that this voter granted last. Without the file it ` +
      'could vote twice: remove it only when neither server has been active for as long as a lease',
  )
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
