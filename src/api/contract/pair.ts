import { z } from 'zod'
import { endpoint, moment, paging } from './endpoint.ts'

const serverRole = z.enum(['active', 'standby', 'stopped', 'unknown'])

/** One server of the pair as the answering one sees it. */
const pairServer = z.object({
  name: z.string(),
  installed: z.enum(['primary', 'secondary']),
  /** `unknown`: it does not answer. */
  role: serverRole,
  self: z.boolean(),
  version: z.string(),
  console: z.url(),
  startedAt: moment,
  seenAt: moment,
  /** Whether its telemetry engine takes segments; null where unknown. */
  engine: z.boolean().nullable(),
})

export const pairState = z.object({
  /** The server that answers. */
  self: z.string(),
  role: serverRole,
  term: z.number().int(),
  /** Name of the active server, null if nobody is. */
  active: z.string().nullable(),
  activeConsole: z.url().nullable(),
  since: moment,
  /** One sentence: who is active and why. */
  sentence: z.string(),
  servers: z.array(pairServer),
  heartbeat: z.object({
    counter: z.number().int(),
    /** Milliseconds since the counter was last seen to change, by the answering server's clock. */
    ageMs: z.number().nullable(),
    /** The last minute of ages at which each heartbeat came, newest last, for the picture. */
    recentMs: z.array(z.number()),
  }),
  timings: z.object({
    heartbeatMs: z.number(),
    leaseMs: z.number(),
    timeoutMs: z.number(),
  }),
  database: z.object({ reachable: z.boolean(), latencyMs: z.number().nullable() }),
})

const roleChange = z.object({
  id: z.number().int(),
  at: moment,
  server: z.string(),
  role: z.enum(['active', 'standby', 'stopped']),
  term: z.number().int(),
  cause: z.string(),
  sentence: z.string(),
})

export const pairEndpoints = {
  getPair: endpoint({
    method: 'GET',
    path: '/pair',
    summary: 'Who is active, in which term, since when and why',
    tag: 'pair',
    role: 'viewer',
    write: false,
    response: pairState,
  }),
  listRoleChanges: endpoint({
    method: 'GET',
    path: '/pair/history',
    summary: 'Every change of role, newest first',
    tag: 'pair',
    role: 'viewer',
    write: false,
    query: z.object(paging),
    response: z.object({ changes: z.array(roleChange), next: z.string().nullable() }),
  }),
  switchOver: endpoint({
    method: 'POST',
    path: '/pair/switchover',
    summary: 'Hand over to the standby, planned',
    tag: 'pair',
    role: 'administrator',
    write: true,
    response: z.object({ accepted: z.literal(true) }),
  }),
}
