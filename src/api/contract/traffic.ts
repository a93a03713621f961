import { z } from 'zod'
import { trafficDimensions } from '../../telemetry/traffic-dimensions.ts'
import { endpoint, moment, timeRange } from './endpoint.ts'

const trafficDimension = z.enum(
  trafficDimensions.map(dimension => dimension.name) as [string, ...string[]],
)

/** Counters are scaled by each record's sampling rate. */
const trafficMetric = z.enum(['bits', 'packets', 'flows'])

/** `dimension=value`, repeated; all must hold. */
const where = z
  .union([z.string(), z.array(z.string())])
  .optional()
  .transform(value => (value === undefined ? [] : Array.isArray(value) ? value : [value]))
  .describe('Conditions `dimension=value`, for example `src.addr=10.0.0.1`; all must hold')

/** Which table answered, and what it read. */
const source = z.object({
  table: z.string(),
  /** Groups are of the addresses that have the most traffic of each pair of interfaces; the rest is in none. */
  approximate: z.boolean(),
  /** What is before it is not kept as finely as the question asks; null: all of the range is there. */
  since: moment.nullable(),
  rowsRead: z.number(),
  elapsedMs: z.number(),
})

/** What every question may say of itself. */
const asking = {
  ask: z
    .uuid()
    .optional()
    .describe('A name for this question, under which `/traffic/progress/:ask` says how far it is'),
  anyway: z
    .literal('true')
    .optional()
    .describe('Ask it although it was refused with `too-large`; it may take ten minutes'),
  exact: z
    .literal('true')
    .optional()
    .describe(
      'Look at every flow, where the answer would be of the addresses alone that have the most traffic of each pair of interfaces',
    ),
}
const deadlineMs = 610_000

export const trafficEndpoints = {
  getTrafficProgress: endpoint({
    method: 'GET',
    path: '/traffic/progress/:ask',
    summary: 'How far a question about traffic is; to stop it, close its connection',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    params: z.object({ ask: z.uuid() }),
    response: z.object({
      /** Null: it is not being worked on. */
      progress: z
        .object({ rowsRead: z.number(), rowsTotal: z.number(), elapsedMs: z.number() })
        .nullable(),
    }),
  }),
  getTrafficSeries: endpoint({
    method: 'GET',
    path: '/traffic/series',
    summary: 'Traffic over time, the largest groups apart and the rest together',
    deadlineMs,
    tag: 'traffic',
    role: 'viewer',
    write: false,
    query: z.object({
      ...timeRange,
      ...asking,
      metric: trafficMetric.default('bits'),
      by: trafficDimension.optional(),
      groups: z.coerce.number().int().min(1).max(50).default(8),
      where,
    }),
    response: z.object({
      from: moment,
      to: moment,
      /** Seconds of a bucket. Bits and packets are per second, flows per bucket. */
      step: z.number().int(),
      /** Begin of each bucket. */
      times: z.array(moment),
      series: z.array(z.object({ key: z.string(), values: z.array(z.number()) })),
      source,
    }),
  }),
  getTrafficTop: endpoint({
    method: 'GET',
    path: '/traffic/top',
    summary: 'The largest groups by one or more dimensions',
    deadlineMs,
    tag: 'traffic',
    role: 'viewer',
    write: false,
    query: z.object({
      ...timeRange,
      ...asking,
      by: z
        .string()
        .describe('Dimensions separated by commas, for example `src.addr,dst.addr`')
        .transform(text => text.split(','))
        .pipe(z.array(trafficDimension).min(1).max(4)),
      metric: trafficMetric.default('bits'),
      limit: z.coerce.number().int().min(1).max(10_000).default(10),
      where,
    }),
    response: z.object({
      from: moment,
      to: moment,
      rows: z.array(
        z.object({
          keys: z.array(z.string()),
          bytes: z.number(),
          packets: z.number(),
          flows: z.number(),
        }),
      ),
      total: z.object({ bytes: z.number(), packets: z.number(), flows: z.number() }),
      source,
    }),
  }),
}
