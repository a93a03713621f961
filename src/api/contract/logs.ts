import { z } from 'zod'
import { endpoint, moment, paging, timeRange } from './endpoint.ts'

export const severities = [
  'emergency',
  'alert',
  'critical',
  'error',
  'warning',
  'notice',
  'informational',
  'debug',
] as const

export const logRow = z.object({
  time: moment,
  received: moment,
  sender: z.string(),
  /** Name of the device whose address sent it, null if none is known. */
  device: z.string().nullable(),
  host: z.string(),
  app: z.string(),
  msgId: z.string(),
  /** 0 emergency … 7 debug; null if the message carries none. */
  severity: z.number().int().min(0).max(7).nullable(),
  facility: z.number().int().min(0).max(23).nullable(),
  message: z.string(),
  raw: z.string(),
})

export const trapRow = z.object({
  received: moment,
  sender: z.string(),
  agent: z.string(),
  device: z.string().nullable(),
  version: z.number().int(),
  oid: z.string(),
  /** Empty if the notification is not known by name. */
  name: z.string(),
  varbinds: z.array(z.object({ oid: z.string(), type: z.string(), value: z.string() })),
})

const logFilter = {
  text: z.string().max(500).optional().describe('Words that the raw text must contain, any case'),
  severity: z.coerce.number().int().min(0).max(7).optional().describe('This severity or worse'),
  sender: z.string().max(100).optional().describe('Address of the sender'),
}

export const logEndpoints = {
  listLogs: endpoint({
    method: 'GET',
    path: '/logs',
    summary: 'Syslog messages, newest first',
    tag: 'logs',
    role: 'viewer',
    write: false,
    query: z.object({ ...timeRange, ...paging, ...logFilter }),
    response: z.object({ rows: z.array(logRow), next: z.string().nullable() }),
  }),
  tailLogs: endpoint({
    method: 'GET',
    path: '/logs/tail',
    summary: 'Syslog messages as they come (server-sent events)',
    tag: 'logs',
    role: 'viewer',
    write: false,
    stream: true,
    query: z.object(logFilter),
    /** `dropped`: messages that matched but came faster than this reader takes them. */
    response: z.object({ rows: z.array(logRow), dropped: z.number().int() }),
  }),
  getLogHistogram: endpoint({
    method: 'GET',
    path: '/logs/histogram',
    summary: 'How many messages over time, by severity',
    tag: 'logs',
    role: 'viewer',
    write: false,
    query: z.object({ ...timeRange, ...logFilter }),
    response: z.object({
      step: z.number().int(),
      times: z.array(moment),
      series: z.array(z.object({ key: z.string(), values: z.array(z.number()) })),
    }),
  }),
  listTraps: endpoint({
    method: 'GET',
    path: '/traps',
    summary: 'SNMP notifications, newest first',
    tag: 'logs',
    role: 'viewer',
    write: false,
    query: z.object({
      ...timeRange,
      ...paging,
      text: logFilter.text,
      sender: logFilter.sender,
    }),
    response: z.object({ rows: z.array(trapRow), next: z.string().nullable() }),
  }),
}
