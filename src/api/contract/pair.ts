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

/** How the servers' own databases stand to each other, as the answering one knows. */
const replication = z.object({
  /** Who votes on which server is active, whether it is there, and whom in which term it has voted for. */
  voters: z.array(
    z.object({
      name: z.string(),
      present: z.boolean(),
      votedFor: z.string().nullable(),
      term: z.number().int().nullable(),
    }),
  ),
  /** What that many voters mean. */
  votersMean: z.string(),
  /** What this server's database does. */
  doing: z.enum(['nothing', 'leads', 'follows', 'copies']),
  /** How far its copy of the other is; `totalBytes` as estimated. */
  copied: z
    .object({
      bytes: z.number(),
      totalBytes: z.number().nullable(),
      bytesPerSecond: z.number(),
    })
    .nullable(),
  /** Why the last attempt to copy failed. */
  copyError: z.string().nullable(),
  /** The server that follows this one. */
  follower: z
    .object({
      name: z.string(),
      /** A change is acknowledged only when it is there too. */
      synchronous: z.boolean(),
      behindBytes: z.number(),
      behindMs: z.number().nullable(),
    })
    .nullable(),
  /** Whether every change is on both disks before it is acknowledged; null unless this server is active. */
  together: z.boolean().nullable(),
  /** Whose disk changes wait for, and why; null unless this server is active. */
  changes: z.string().nullable(),
})

/** How much of the telemetry that the other server has one lacks, as the answering one knows. */
const completeness = z.object({
  server: z.string(),
  /** By kind of telemetry; empty: nothing; null: not known. */
  lacks: z
    .array(
      z.object({
        kind: z.string(),
        segments: z.number().int(),
        rows: z.number().int(),
        /** When they were received. */
        from: moment,
        to: moment,
      }),
    )
    .nullable(),
  /** When that was found. */
  foundAt: moment.nullable(),
  /** What it copies from the other at the moment, as far as that is known. */
  copying: z
    .object({ kind: z.string(), rows: z.number().int(), from: moment, to: moment })
    .nullable(),
  /** Since the last time that it lacked nothing. */
  copiedRows: z.number().int(),
  error: z.string().nullable(),
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
  /** Null: the servers share a database. */
  replication: replication.nullable().default(null),
  /** Both servers, as soon as each has asked. */
  telemetry: z.array(completeness).default([]),
  /** Nobody takes over until a person resumes, or until that moment; null: not paused. */
  paused: z.object({ by: z.string(), reason: z.string(), until: moment.nullable() }).nullable(),
  /** How the network finds the active server, and whether it finds the answering one so. */
  address: z.object({
    type: z.enum(['none', 'virtual-ip', 'virtual-name']),
    what: z.array(z.string()),
    held: z.boolean(),
    fault: z.string().nullable(),
  }),
  /** The drill, upgrade or check that is under way. */
  operation: z.uuid().nullable(),
})

/** What takes a while and can be watched. */
export const operation = z.object({
  id: z.uuid(),
  kind: z.enum(['switchover', 'drill', 'preflight', 'upgrade']),
  by: z.string(),
  started: moment,
  finished: moment.nullable(),
  /** Null while it runs. */
  ok: z.boolean().nullable(),
  steps: z.array(
    z.object({ at: moment, server: z.string(), text: z.string(), ok: z.boolean().nullable() }),
  ),
  /** Its result; the keys depend on the kind. */
  report: z.record(z.string(), z.unknown()).nullable(),
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

/** What a server had that the active one lacks: it is kept there, and in force nowhere. */
const leftBehind = z.object({
  id: z.number().int(),
  found: moment,
  server: z.string(),
  /** On that server: a file with all rows, or the database itself where that could not be read. */
  kept: z.string(),
  /** Why it could not be read. */
  unread: z.string().nullable(),
  /** In the file, by table. */
  rows: z.record(z.string(), z.number().int()),
  /** Oldest first; not all of them, if there are many. */
  changes: z.array(
    z.object({
      at: moment,
      who: z.string(),
      action: z.string(),
      subject: z.string(),
      term: z.number().int(),
    }),
  ),
  changeCount: z.number().int(),
  /** When and by whom it was said that this was seen. */
  seenAt: moment.nullable(),
  seenBy: z.string().nullable(),
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
  listLeftBehind: endpoint({
    method: 'GET',
    path: '/pair/left-behind',
    summary: 'What servers had that is in force nowhere, newest first',
    tag: 'pair',
    role: 'viewer',
    write: false,
    query: z.object(paging),
    response: z.object({ leftBehind: z.array(leftBehind), next: z.string().nullable() }),
  }),
  seeLeftBehind: endpoint({
    method: 'POST',
    path: '/pair/left-behind/:id/seen',
    summary: 'Somebody has looked at it: its alarm ends',
    tag: 'pair',
    role: 'operator',
    write: true,
    params: z.object({ id: z.coerce.number().int() }),
    response: leftBehind,
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
  watchPair: endpoint({
    method: 'GET',
    path: '/pair/live',
    summary: 'The same as it changes, and at each heartbeat',
    tag: 'pair',
    role: 'viewer',
    write: false,
    stream: true,
    response: pairState,
  }),
  pausePair: endpoint({
    method: 'POST',
    path: '/pair/pause',
    summary: 'Maintenance: nobody takes over until it is resumed',
    tag: 'pair',
    role: 'administrator',
    write: true,
    body: z.strictObject({
      reason: z.string().trim().min(1).max(200),
      /** Null: until a person resumes. */
      until: moment.nullable().default(null),
    }),
    response: z.object({ paused: z.literal(true) }),
  }),
  resumePair: endpoint({
    method: 'POST',
    path: '/pair/resume',
    summary: 'Takeovers are possible again; those so far are forgotten',
    tag: 'pair',
    role: 'administrator',
    write: true,
    response: z.object({ paused: z.literal(false) }),
  }),
  promotePair: endpoint({
    method: 'POST',
    path: '/pair/promote',
    summary: 'Make the server that is asked active without a majority: by hand, at a person’s risk',
    tag: 'pair',
    role: 'administrator',
    // The one that is asked is a standby.
    write: false,
    response: z.object({ accepted: z.literal(true) }),
  }),
  startDrill: endpoint({
    method: 'POST',
    path: '/pair/drill',
    summary: 'A switchover there and back, with a report',
    tag: 'pair',
    role: 'administrator',
    write: true,
    response: z.object({ id: z.uuid() }),
  }),
  getOperation: endpoint({
    method: 'GET',
    path: '/pair/operations/:id',
    summary: 'How far a drill, an upgrade or a check is, and what it found',
    tag: 'pair',
    role: 'viewer',
    write: false,
    params: z.object({ id: z.uuid() }),
    response: operation,
  }),
  listOperations: endpoint({
    method: 'GET',
    path: '/pair/operations',
    summary: 'Drills, upgrades and checks, newest first',
    tag: 'pair',
    role: 'viewer',
    write: false,
    query: z.object(paging),
    response: z.object({ operations: z.array(operation), next: z.string().nullable() }),
  }),
  startUpgrade: endpoint({
    method: 'POST',
    path: '/pair/upgrade',
    summary: 'Both servers change to a version that is installed on one of them',
    tag: 'pair',
    role: 'administrator',
    write: true,
    body: z.strictObject({
      version: z.string().regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/),
      /** The server on which it is installed. */
      holder: z.string(),
    }),
    response: z.object({ id: z.uuid() }),
  }),
}
