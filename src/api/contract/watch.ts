import { z } from 'zod'
import { kinds } from '../../telemetry/table.ts'
import { endpoint, moment, paging } from './endpoint.ts'

const alarm = z.object({
  id: z.number().int(),
  key: z.string(),
  severity: z.enum(['warning', 'critical']),
  subject: z.string(),
  text: z.string(),
  raisedAt: moment,
  clearedAt: moment.nullable(),
  acknowledgedBy: z.string().nullable(),
})

const auditEntry = z.object({
  id: z.number().int(),
  at: moment,
  who: z.string(),
  action: z.string(),
  subject: z.string(),
  detail: z.record(z.string(), z.unknown()),
  /** The term in which it was written. */
  term: z.number().int(),
})

/** What a collector says of itself every few seconds. */
export const collectorState = z.object({
  /** Identity of its spool; a new spool is a new collector. */
  id: z.uuid(),
  name: z.string(),
  version: z.string(),
  startedAt: moment,
  listeners: z.array(
    z.object({
      name: z.enum([
        ...['netflow', 'ipfix', 'sflow', 'syslog_udp', 'syslog_tcp', 'traps'],
        ...['ipfix_tcp', 'ipfix_tls', 'syslog_tls'],
      ] as const),
      address: z.string(),
      port: z.number().int(),
      datagrams: z.number(),
      bytes: z.number(),
      /** Datagrams that the kernel dropped because the socket's buffer was full; null if unknown. */
      kernelDrops: z.number().nullable(),
      /** Bytes of receive buffer that the kernel granted; null where it does not apply. */
      buffer: z.number().nullable(),
    }),
  ),
  kinds: z.array(
    z.object({
      kind: z.enum(kinds),
      rows: z.number(),
      sealed: z.number(),
      /** Sealed segments that not every server has yet. */
      backlog: z.number(),
      backlogBytes: z.number(),
      /** Segments that were given up before any server had them. */
      lost: z.number(),
      /** Segments that were given up when some servers had them and others did not. */
      notEverywhere: z.number().default(0),
    }),
  ),
  deliveries: z.array(
    z.object({
      server: z.string(),
      reachable: z.boolean(),
      waiting: z.number(),
      /** How long ago the oldest of what waits was received. */
      behindMs: z.number().default(0),
      delivered: z.number(),
      lastError: z.string().nullable(),
    }),
  ),
  exporters: z.array(
    z.object({
      exporter: z.string(),
      version: z.number().int(),
      domain: z.number().int(),
      datagrams: z.number(),
      records: z.number(),
      lost: z.number(),
      lastReceived: moment,
      skewMs: z.number().nullable(),
      sampling: z.object({ rate: z.number(), rule: z.string() }),
      /** Data sets that wait for their template, and those that waited and were decoded then. */
      held: z.number(),
      replayed: z.number().default(0),
      /** That are known of the exporter as a whole. */
      templates: z.number().default(0),
      problems: z.record(z.string(), z.number()),
    }),
  ),
  problems: z.record(z.string(), z.number()),
  /** Of a collector inside a server of a pair. */
  pair: z
    .object({
      role: z.enum(['active', 'standby']),
      term: z.number().int(),
      /** Datagrams that a standby keeps for a takeover. */
      ring: z.object({
        datagrams: z.number(),
        bytes: z.number(),
        claimed: z.number(),
        overflown: z.number(),
        expired: z.number(),
      }),
      replayed: z.number(),
      rescued: z.number(),
      replayMs: z.number().nullable(),
      late: z.number(),
      disputed: z.number(),
    })
    .optional(),
})

export const watchEndpoints = {
  listAlarms: endpoint({
    method: 'GET',
    path: '/alarms',
    summary: 'Alarms, open ones first, then newest first',
    tag: 'watch',
    role: 'viewer',
    write: false,
    query: z.object({ ...paging, open: z.enum(['true', 'false']).optional() }),
    response: z.object({ alarms: z.array(alarm), next: z.string().nullable() }),
  }),
  acknowledgeAlarm: endpoint({
    method: 'POST',
    path: '/alarms/:id/acknowledge',
    summary: 'Say that one has seen an alarm',
    tag: 'watch',
    role: 'operator',
    write: true,
    params: z.object({ id: z.coerce.number().int() }),
    response: alarm,
  }),
  listAudit: endpoint({
    method: 'GET',
    path: '/audit',
    summary: 'Who changed what, newest first',
    tag: 'watch',
    role: 'administrator',
    write: false,
    query: z.object(paging),
    response: z.object({ entries: z.array(auditEntry), next: z.string().nullable() }),
  }),
  listCollectors: endpoint({
    method: 'GET',
    path: '/collectors',
    summary: 'Collectors, what they receive and what waits for delivery',
    tag: 'watch',
    role: 'viewer',
    write: false,
    response: z.object({
      collectors: z.array(z.object({ state: collectorState, seenAt: moment, online: z.boolean() })),
    }),
  }),
}
