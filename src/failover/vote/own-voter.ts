/** The voter of this host: what it grants is on its disk before anybody hears of it. */
import { readFileSync } from 'node:fs'
import type { Clock } from '../../lib/clock.ts'
import { writeDurably } from '../../lib/files.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { createTally } from '../../lib/tally.ts'
import {
  type Answer,
  answer,
  type Grant,
  type Request,
  startedVoter,
  type VoterRules,
} from './voter.ts'
import { grantForm } from './words.ts'

export interface OwnVoter {
  /** @throws Error that names the file, if it is there and cannot be read */
  start(): Promise<void>
  /** Answers what it has been asked. */
  stop(): Promise<void>
  /** One after the other. @throws Error if it cannot be written down: it has then said nothing */
  ask(request: Request): Promise<Answer>
  /** What it has granted last. */
  grant(): Grant | undefined
}

/** @param config.file JSON: the only thing that must outlive a crash of the host */
export function createOwnVoter(
  deps: { clock: Clock; log: Log; metrics: Metrics },
  config: { file: string; rules: VoterRules },
): OwnVoter {
  const { clock } = deps
  const { file, rules } = config
  const tally = createTally<'not-written'>(deps, {
    name: 'failover_voter_problems',
    help: 'Votes that could not be given, by reason',
  })
  let voter = startedVoter(undefined, rules, clock.monotonic())
  let tail: Promise<unknown> = Promise.resolve()
  let running = false

  async function give(request: Request): Promise<Answer> {
    if (!running) throw new Error('the voter has stopped')
    const given = answer(voter, request, rules, clock.monotonic())
    if (given.voter.grant !== voter.grant && !sameOnDisk(given.voter.grant, voter.grant)) {
      try {
        await writeDurably(file, `${JSON.stringify(given.voter.grant)}\n`, 0o600)
      } catch (error) {
        tally.count('not-written', () => ({ file, error }))
        throw error
      }
    }
    voter = given.voter
    return given.answer
  }

  return {
    start() {
      voter = startedVoter(readGrant(file), rules, clock.monotonic())
      running = true
      return Promise.resolve()
    },
    async stop() {
      running = false
      await tail
    },
    ask(request) {
      const asked = tail.then(() => give(request))
      tail = asked.catch(() => {})
      return asked
    },
    grant: () => voter.grant,
  }
}

/** A heartbeat that says what the one before it said need not be written down. */
function sameOnDisk(a: Grant | undefined, b: Grant | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function readGrant(file: string): Grant | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const parsed = grantForm.safeParse(parsedJson(text))
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
