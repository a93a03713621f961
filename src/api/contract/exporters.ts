import { z } from 'zod'
import { endpoint, moment, timeRange } from './endpoint.ts'

const exporterSettings = z.object({
  address: z.string(),
  /** Packets of which one is looked at, by a person's word; null: what the exporter says holds. */
  sampling: z.number().int().nullable(),
  changedAt: moment.nullable(),
  changedBy: z.string().nullable(),
})

/** How an observation domain of an exporter is, as one collector sees it. */
const heard = z.object({
  exporter: z.string(),
  /** Of the device with that address; null: there is none. */
  device: z.string().nullable(),
  collector: z.string(),
  /** Whether that collector reports at present. */
  online: z.boolean(),
  /** 5, 7, 9, 10 (IPFIX), 105 (sFlow 5). */
  version: z.number().int(),
  /** Source id, observation domain, sub-agent or engine. */
  domain: z.number().int(),
  datagrams: z.number(),
  records: z.number(),
  /** By the sequence numbers: flows (5, 7), records (IPFIX) or datagrams (9, sFlow). */
  lost: z.number(),
  /** What would have come in that unit. */
  expected: z.number(),
  lastReceived: moment,
  /** Its clock minus ours; null where the format has no clock. */
  skewMs: z.number().nullable(),
  /** By what its counters are multiplied, and who says so. */
  sampling: z.object({ rate: z.number(), rule: z.string() }),
  /** The rate that a person has set; it goes before. */
  set: z.number().int().nullable(),
  /** Data sets that wait for their template, and that were decoded when it came. */
  held: z.number(),
  replayed: z.number(),
  templates: z.number(),
  /** What was wrong, by reason; of the exporter as a whole. */
  problems: z.record(z.string(), z.number()),
})

/** Bits per second over the range; null: nobody says. */
const bits = z.number().nullable()
const rates = z.object({ in: bits, out: bits })

const exporterInterface = z.object({
  /** ifIndex. */
  index: z.number().int(),
  /** Empty: nobody has named it. */
  name: z.string(),
  alias: z.string(),
  /** Bits per second, 0: not said. */
  speed: z.number(),
  /** ifOperStatus: 1 up, 2 down, 0: not said. */
  oper: z.number().int(),
  /** By the flows, scaled. */
  flows: rates,
  /** By its own counters, with the link layer's headers. */
  counters: rates,
  /** Who told the counters. */
  by: z.enum(['sflow', 'snmp']).nullable(),
  discards: z.number(),
  errors: z.number(),
})

export const exporterEndpoints = {
  listHeardExporters: endpoint({
    method: 'GET',
    path: '/exporters/heard',
    summary: 'How every exporter of flows is, by collector and observation domain',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    response: z.object({
      exporters: z.array(heard),
      /** What the kernel dropped before anybody could look at it. */
      sockets: z.array(
        z.object({
          collector: z.string(),
          listener: z.string(),
          datagrams: z.number(),
          kernelDrops: z.number().nullable(),
        }),
      ),
    }),
  }),
  compareExporters: endpoint({
    method: 'GET',
    path: '/exporters/compared',
    summary: 'Flows of the last hour beside what the interfaces have counted themselves',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    response: z.object({
      exporters: z.array(
        z.object({
          exporter: z.string(),
          interfaces: z.number().int(),
          /** Bits per second into the interfaces that both speak of. */
          flows: z.number(),
          counters: z.number(),
        }),
      ),
    }),
  }),
  getExporterInterfaces: endpoint({
    method: 'GET',
    path: '/exporters/:address/interfaces',
    summary: 'The interfaces of an exporter: names, speed, and traffic by flows and by counters',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    params: z.object({ address: z.string().max(45) }),
    query: z.object(timeRange),
    response: z.object({
      from: moment,
      to: moment,
      interfaces: z.array(exporterInterface),
      /** Which table answered for the flows. */
      table: z.string(),
    }),
  }),
  listExporters: endpoint({
    method: 'GET',
    path: '/exporters',
    summary: 'What was set for exporters of flows; how they are is under /exporters/heard',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    response: z.object({ exporters: z.array(exporterSettings) }),
  }),
  setExporter: endpoint({
    method: 'PUT',
    path: '/exporters/:address',
    summary: 'Say at which rate an exporter samples, for what is stored already too',
    tag: 'traffic',
    role: 'operator',
    write: true,
    params: z.object({ address: z.string().max(45) }),
    body: z.object({ sampling: z.number().int().min(1).max(4_294_967_295).nullable() }),
    response: exporterSettings,
  }),
}
