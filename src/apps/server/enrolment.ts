import type { MajorityLease } from '../../failover/lease/majority.ts'
import { type Candidate, nextVoters } from '../../failover/vote/enrolling.ts'
import type { VoterLines } from '../../failover/vote/voter-lines.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'

/** Has whoever is there, and stays, vote; looked at again and again while this server is active. */
export interface Enrolment {
  look(): void
}

/** Beside the two servers; one that has come stays after so long, and one that is away is gone. */
const rules = { most: 3, settledMs: 3000, goneMs: 600_000 }

export function createEnrolment(
  deps: {
    clock: Clock
    log: Log
    lines: Pick<VoterLines, 'present'>
    lease: Pick<MajorityLease, 'roll' | 'changeVoters'>
    /** Name of the other server. */
    other(): string | undefined
  },
  config: { self: string },
): Enrolment {
  const { clock, lease, lines, log } = deps
  let candidates: Candidate[] = []

  /** Whoever votes or was there once, and since when it is there, or is not. */
  function seen(voters: readonly string[], now: number): Candidate[] {
    const there = new Map(lines.present().map(({ name, role }) => [name, role]))
    const before = new Map(candidates.map(each => [each.name, each]))
    return [...new Set([...there.keys(), ...before.keys(), ...voters])].map(name => {
      const known = before.get(name)
      const present = there.has(name)
      const role = name === deps.other() ? 'server' : (there.get(name) ?? known?.role)
      const since = known?.present === present ? known.since : now
      return { name, role: role ?? 'collector', present, since }
    })
  }

  return {
    look() {
      const now = clock.monotonic()
      const { voters } = lease.roll()
      candidates = seen(voters, now)
      const next = nextVoters(voters, candidates, { ...rules, self: config.self }, now)
      if (next !== undefined && lease.changeVoters(next) === undefined) {
        log.info({ voters: next }, 'the voters have changed')
      }
    },
  }
}
