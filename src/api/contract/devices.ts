import { z } from 'zod'
import { endpoint, moment, paging } from './endpoint.ts'

const jobState = z.enum(['queued', 'running', 'succeeded', 'failed', 'unknown'])
const cause = z.enum(['schedule', 'request', 'change'])

const job = z.object({
  id: z.number().int(),
  deviceId: z.uuid(),
  device: z.string(),
  kind: z.literal('backup'),
  state: jobState,
  cause,
  requestedBy: z.string().nullable(),
  attempts: z.number().int(),
  created: moment,
  started: moment.nullable(),
  finished: moment.nullable(),
  /** One sentence: what failed. */
  failure: z.string().nullable(),
  /** The end of the session's transcript, secrets removed. */
  evidence: z.string().nullable(),
})

const version = z.object({
  id: z.number().int(),
  deviceId: z.uuid(),
  device: z.string(),
  artefact: z.string(),
  hash: z.string(),
  size: z.number().int(),
  takenAt: moment,
  author: z.string().nullable(),
  cause,
  added: z.number().int(),
  removed: z.number().int(),
})

const device = z.object({
  id: z.uuid(),
  name: z.string(),
  address: z.string(),
  port: z.number().int(),
  driver: z.string(),
  credentialId: z.uuid().nullable(),
  schedule: z.string().nullable(),
  enabled: z.boolean(),
  note: z.string(),
  versions: z.number().int(),
  lastVersion: moment.nullable(),
  lastJob: job.nullable(),
})

const deviceFields = {
  name: z.string().trim().min(1).max(100),
  address: z.string().trim().min(1).max(253).describe('Host name or IP address'),
  port: z.number().int().min(1).max(65_535),
  driver: z.string().min(1).max(50).describe('One of GET /drivers'),
  credentialId: z.uuid().nullable(),
  schedule: z.string().max(100).nullable().describe('Cron expression; null: daily'),
  enabled: z.boolean(),
  note: z.string().max(10_000),
}

const byId = z.object({ id: z.uuid() })

const diffHunk = z.object({
  oldStart: z.number().int(),
  newStart: z.number().int(),
  lines: z.array(z.object({ kind: z.enum(['same', 'added', 'removed']), text: z.string() })),
})

const credential = z.object({
  id: z.uuid(),
  name: z.string(),
  username: z.string(),
  created: moment,
})

export const deviceEndpoints = {
  listDevices: endpoint({
    method: 'GET',
    path: '/devices',
    summary: 'All devices with their last backup',
    tag: 'devices',
    role: 'viewer',
    write: false,
    response: z.object({ devices: z.array(device) }),
  }),
  getDevice: endpoint({
    method: 'GET',
    path: '/devices/:id',
    summary: 'One device',
    tag: 'devices',
    role: 'viewer',
    write: false,
    params: byId,
    response: device,
  }),
  createDevice: endpoint({
    method: 'POST',
    path: '/devices',
    summary: 'Add a device',
    tag: 'devices',
    role: 'operator',
    write: true,
    body: z.object({
      ...deviceFields,
      port: deviceFields.port.default(22),
      credentialId: deviceFields.credentialId.default(null),
      schedule: deviceFields.schedule.default(null),
      enabled: deviceFields.enabled.default(true),
      note: deviceFields.note.default(''),
    }),
    response: device,
  }),
  updateDevice: endpoint({
    method: 'PATCH',
    path: '/devices/:id',
    summary: 'Change a device',
    tag: 'devices',
    role: 'operator',
    write: true,
    params: byId,
    body: z.object(deviceFields).partial(),
    response: device,
  }),
  deleteDevice: endpoint({
    method: 'DELETE',
    path: '/devices/:id',
    summary: 'Remove a device with its versions',
    tag: 'devices',
    role: 'operator',
    write: true,
    params: byId,
    response: z.object({}),
  }),
  backUpDevice: endpoint({
    method: 'POST',
    path: '/devices/:id/backups',
    summary: 'Back up the configuration now',
    tag: 'devices',
    role: 'operator',
    write: true,
    params: byId,
    response: job,
  }),
  listVersions: endpoint({
    method: 'GET',
    path: '/versions',
    summary: 'Configuration versions, newest first, of one device or of all',
    tag: 'devices',
    role: 'viewer',
    write: false,
    query: z.object({ ...paging, device: z.uuid().optional() }),
    response: z.object({ versions: z.array(version), next: z.string().nullable() }),
  }),
  getVersion: endpoint({
    method: 'GET',
    path: '/versions/:id',
    summary: 'One version with its text; secrets masked unless an administrator asks otherwise',
    tag: 'devices',
    role: 'viewer',
    write: false,
    params: z.object({ id: z.coerce.number().int() }),
    query: z.object({ secrets: z.enum(['masked', 'plain']).default('masked') }),
    response: z.object({ version, text: z.string() }),
  }),
  getDiff: endpoint({
    method: 'GET',
    path: '/versions/:id/diff',
    summary: 'What a version changed; against the one before it by default',
    tag: 'devices',
    role: 'viewer',
    write: false,
    params: z.object({ id: z.coerce.number().int() }),
    query: z.object({
      against: z.coerce.number().int().optional(),
      context: z.coerce.number().int().min(0).max(10_000).default(3),
    }),
    response: z.object({
      version,
      against: version.nullable(),
      added: z.number().int(),
      removed: z.number().int(),
      hunks: z.array(diffHunk),
    }),
  }),
  listJobs: endpoint({
    method: 'GET',
    path: '/jobs',
    summary: 'Backup jobs, newest first',
    tag: 'devices',
    role: 'viewer',
    write: false,
    query: z.object({ ...paging, device: z.uuid().optional(), state: jobState.optional() }),
    response: z.object({ jobs: z.array(job), next: z.string().nullable() }),
  }),
  listDrivers: endpoint({
    method: 'GET',
    path: '/drivers',
    summary: 'Device drivers',
    tag: 'devices',
    role: 'viewer',
    write: false,
    response: z.object({
      drivers: z.array(z.object({ id: z.string(), vendor: z.string(), system: z.string() })),
    }),
  }),
  listCredentials: endpoint({
    method: 'GET',
    path: '/credentials',
    summary: 'Credentials for devices (never their secrets)',
    tag: 'devices',
    role: 'operator',
    write: false,
    response: z.object({ credentials: z.array(credential) }),
  }),
  createCredential: endpoint({
    method: 'POST',
    path: '/credentials',
    summary: 'Add a credential',
    tag: 'devices',
    role: 'operator',
    write: true,
    body: z.object({
      name: z.string().trim().min(1).max(100),
      username: z.string().min(1).max(100),
      password: z.string().max(1000).optional(),
      enable: z.string().max(1000).optional(),
      privateKey: z.string().max(20_000).optional(),
    }),
    response: credential,
  }),
  deleteCredential: endpoint({
    method: 'DELETE',
    path: '/credentials/:id',
    summary: 'Remove a credential that no device uses',
    tag: 'devices',
    role: 'operator',
    write: true,
    params: byId,
    response: z.object({}),
  }),
}
