import { z } from 'zod'
import { endpoint, moment } from './endpoint.ts'

const name = z.string().trim().min(1).max(64)

const prefix = z
  .union([z.cidrv4(), z.cidrv6()], { error: 'must look like 10.0.0.0/8 or 2001:db8::/32' })
  .describe('Bits behind the length are ignored')

const networks = z.array(
  z.strictObject({
    prefix,
    name,
    /** Where it is; empty: nowhere in particular. */
    site: z.string().trim().max(64).default(''),
  }),
)

const applications = z.array(
  z.strictObject({
    /** Of IP: 6 TCP, 17 UDP, 132 SCTP. */
    protocol: z.number().int().min(0).max(255),
    port: z.number().int().min(0).max(65_535),
    name,
  }),
)

const most = 20_000
const change = {
  version: z.number().int().min(0).describe('That was read; 0 if nobody has changed it yet'),
}
const changed = {
  /** Rises by one with each change. */
  version: z.number().int(),
  changedAt: moment.nullable(),
  changedBy: z.string().nullable(),
}

export const nameEndpoints = {
  getNetworks: endpoint({
    method: 'GET',
    path: '/networks',
    summary: 'Networks that have names, and their sites',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    response: z.object({ networks, ...changed }),
  }),
  setNetworks: endpoint({
    method: 'PUT',
    path: '/networks',
    summary: 'Replace the names of networks; the smallest network that has an address names it',
    tag: 'traffic',
    role: 'operator',
    write: true,
    body: z.object({ networks: networks.max(most), ...change }),
    response: z.object({ networks, ...changed }),
  }),
  getApplications: endpoint({
    method: 'GET',
    path: '/applications',
    summary:
      'Applications by protocol and port: those that people have named, over well-known ones',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    response: z.object({ applications, ...changed }),
  }),
  setApplications: endpoint({
    method: 'PUT',
    path: '/applications',
    summary: 'Replace the applications that people have named',
    tag: 'traffic',
    role: 'operator',
    write: true,
    body: z.object({ applications: applications.max(most), ...change }),
    response: z.object({ applications, ...changed }),
  }),
}

export type NamedNetwork = z.output<typeof networks>[number]
export type NamedApplication = z.output<typeof applications>[number]
