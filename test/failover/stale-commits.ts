/**
 * Freezes the active in the middle of its writes, lets the other take over and write, wakes the first,
 * and counts writes of an old term that were committed after the new term's first.
 *
 *     node test/failover/stale-commits.ts --trials 1000 --pairs 4 --json
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { timingsOf } from '../../src/failover/timings.ts'
import { createLab, type Lab, type Member } from './lab.ts'

export interface StaleCommits {
  /** Freezes after which the other server wrote, and the woken one tried to. */
  trials: number
  /** Writes of an old term, committed after the first one of a newer term. */
  staleCommits: number
  writes: number
  /** Terms in which something was written. */
  terms: number
  /** Processes that ended themselves when they woke, because letting go took them too long. */
  ended: number
}

export interface Config {
  trials: number
  /** At once, each on a PostgreSQL of its own. */
  pairs: number
  /** Writes without a fence, to see that they are noticed. */
  unfenced?: boolean
  /** Ends it after the trials under way. */
  signal?: AbortSignal
}

/** As short as a busy machine bears: most of a trial is the wait for it. */
const timings = timingsOf({ heartbeatMs: 300, leaseMs: 1500, timeoutMs: 1500 })
/** Writers in each process, so that the freeze always meets some under way. */
const writers = 3
const patienceMs = 60_000
const takeoverMs = 20_000

export async function countStaleCommits(config: Config): Promise<StaleCommits> {
  const { pairs, trials } = config
  const share = Math.ceil(trials / pairs)
  const runs = Array.from({ length: Math.ceil(trials / share) }, () =>
    runPair({ ...config, trials: share }),
  )
  // Each cleans up before anything is thrown.
  await Promise.allSettled(runs)
  const outcomes = await Promise.all(runs)
  const sum = (key: keyof StaleCommits) => outcomes.reduce((all, one) => all + one[key], 0)
  return {
    trials: sum('trials'),
    staleCommits: sum('staleCommits'),
    writes: sum('writes'),
    terms: sum('terms'),
    ended: sum('ended'),
  }
}

async function runPair(config: Config): Promise<StaleCommits> {
  const { trials } = config
  const lab = await createLab({ quiet: true })
  const command = config.unfenced === true ? 'hammer-unfenced' : 'hammer'
  let frozenTrials = 0
  let ended = 0
  let missed = 0

  async function begin(name: 'a' | 'b'): Promise<Member> {
    const member = await lab.member(name, timings)
    member.tell('start')
    await member.said('begun', { withinMs: patienceMs })
    for (let writer = 0; writer < writers; writer++) member.tell(command)
    return member
  }

  try {
    const members = { a: await begin('a'), b: await begin('b') }
    if (config.unfenced === true) await lab.query('ALTER TABLE audit DISABLE TRIGGER fence')
    for (let left = trials; left > 0 && !config.signal?.aborted; left--) {
      const frozen = await activeOf(members)
      const other = frozen === 'a' ? 'b' : 'a'
      const old = members[frozen]
      const from = { old: old.heard.length, other: members[other].heard.length }
      await sleep(50 * Math.random())
      old.signal('SIGSTOP')
      const taken = await members[other]
        .said('first-write', { from: from.other, withinMs: takeoverMs })
        .catch(() => undefined)
      old.signal('SIGCONT')
      if (taken === undefined) {
        // A busy machine: it was no longer the active one, or the other had ended itself.
        left++
        if (++missed > trials) throw new Error(`no takeover for the ${missed}th time`)
        if (hasEnded(members[other])) members[other] = await begin(other)
      } else if (await triesToWrite(old, from.old, config)) frozenTrials++
      else {
        ended++
        members[frozen] = await begin(frozen)
      }
    }
    await Promise.all([members.a.kill(), members.b.kill()])
    return { trials: frozenTrials, ended, ...(await count(lab)) }
  } finally {
    await lab.stop()
  }
}

function hasEnded({ process: { exitCode, signalCode } }: Member): boolean {
  return exitCode !== null || signalCode !== null
}

async function activeOf(members: Record<'a' | 'b', Member>): Promise<'a' | 'b'> {
  const end = Date.now() + patienceMs
  for (;;) {
    const found = (['a', 'b'] as const).filter(name => members[name].now()?.state === 'active')
    const [name] = found
    const writes = name && members[name].heard.some(said => said.said === 'first-write')
    if (found.length === 1 && name && writes) return name
    if (Date.now() > end) throw new Error(`active: ${found.join(' and ') || 'nobody'}`)
    await sleep(10)
  }
}

/** @returns false if it ended itself instead: it could not let go in the time that it has */
async function triesToWrite(member: Member, from: number, config: Config): Promise<boolean> {
  const end = Date.now() + patienceMs
  for (;;) {
    const said = member.heard.slice(from)
    const stands = said.some(one => one.said === 'change' && one.state === 'standby')
    const tried = config.unfenced === true || said.some(one => one.said === 'first-refusal')
    if (stands && tried) return true
    if (hasEnded(member)) return false
    if (Date.now() > end) {
      const heard = said.map(one => JSON.stringify(one)).join('\n')
      throw new Error(`the woken server neither lets go nor ends:\n${heard}`)
    }
    await sleep(5)
  }
}

/** By the order of the commits, not of the statements. */
async function count(lab: Lab) {
  const [row] = await lab.query<{ stale: number; writes: number; terms: number }>(
    `SELECT count(*) FILTER (WHERE term < newest)::int AS stale, count(*)::int AS writes,
       count(DISTINCT term)::int AS terms
     FROM (
       SELECT term, max(term) OVER (ORDER BY pg_xact_commit_timestamp(xmin)) AS newest
       FROM audit WHERE action = 'hammer'
     ) AS written`,
  )
  const { stale, terms, writes } = row!
  return { staleCommits: stale, writes, terms }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      trials: { type: 'string', default: '100' },
      pairs: { type: 'string', default: '2' },
      json: { type: 'boolean', default: false },
    },
  })
  const begun = Date.now()
  const interruption = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => interruption.abort())
  }
  const found = await countStaleCommits({
    trials: Number(values.trials),
    pairs: Number(values.pairs),
    signal: interruption.signal,
  })
  const { ended, staleCommits, terms, trials, writes } = found
  console.log(
    `${trials} servers frozen in the middle of their writes and woken after the takeover ` +
      `(${ended} more ended themselves on waking), ${writes} writes in ${terms} terms, ` +
      `${staleCommits} stale commits; ${Math.round((Date.now() - begun) / 1000)} s`,
  )
  if (values.json) {
    const report = { freezes: trials, stale_commits: staleCommits, writes, terms, ended }
    console.log(JSON.stringify(report))
  }
  process.exit(staleCommits === 0 ? 0 : 1)
}
