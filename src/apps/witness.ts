/** The witness as a program: a vote for a replicated pair that has no collector, or wants another voter. */
import { mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { createOwnVoter, voteFile } from '../failover/vote/own-voter.ts'
import { createVoting, type Voting } from '../failover/vote/voting.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { createLog, type Log } from '../lib/log.ts'
import { createMetrics, type Metrics } from '../lib/metrics.ts'
import type { Identity } from '../lib/tls.ts'
import { identityIn } from './named-files.ts'

/** The settings file of `keepwatch witness`. Paths are relative to the file. */
export const witnessSettings = z.strictObject({
  name: z.string().regex(/^[\w.-]{1,64}$/),
  /** Folder with `<name>.key`, `<name>.crt` and `ca.crt`. */
  identity: z.string().min(1),
  /** Where it remembers what it has voted for. */
  dataDir: z.string().min(1),
  /** Both servers of the pair. */
  servers: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[\w.-]{1,64}$/),
        url: z.url({ protocol: /^https$/, error: 'must look like https://server:8450' }),
      }),
    )
    .min(1)
    .max(16),
  log: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
})

/** Until it has heard another: the longest lease of a server, and when too many takeovers call for a person. */
const rules = { leaseMs: 10_000, limit: { most: 6, withinMs: 600_000 } }

/** The vote of a host that is no server. */
export function createVotingOf(
  deps: { clock: Clock; log: Log; metrics: Metrics },
  config: {
    identity: Identity
    file: string
    servers(): readonly { name: string; url: string }[]
  },
): Voting {
  const { identity, file, servers } = config
  return createVoting({
    ...{ identity, servers },
    own: createOwnVoter(deps, { file, rules }),
    misunderstood: (server, error) =>
      deps.log.warn({ server, error }, 'a question of a server was not understood'),
  })
}

/**
 * @param file the settings file: relative paths start beside it
 * @throws SettingsError if the identity cannot be read
 */
export function createWitness(settings: z.output<typeof witnessSettings>, file: string): Voting {
  const at = (path: string) => resolve(dirname(file), path)
  const { dataDir, identity, log: level, name, servers } = settings
  const log = createLog({ level, part: name })
  mkdirSync(at(dataDir), { recursive: true, mode: 0o700 })
  return createVotingOf(
    { log, clock: systemClock, metrics: createMetrics({ witness: name }) },
    {
      identity: identityIn(at(identity), name, { file, key: 'identity' }),
      file: join(at(dataDir), voteFile),
      servers: () => servers,
    },
  )
}
