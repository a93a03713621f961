import { diffLines } from '../../devices/diff.ts'
import { type Driver, maskSecrets } from '../../devices/drivers/driver.ts'
import { comparedText } from '../../devices/versions.ts'
import { ApiError, type Caller, type Handlers } from '../handler.ts'
import { type Wire, wire } from '../wire.ts'
import type { Page, PageRequest, Write } from '../write.ts'

type Cause = 'schedule' | 'request' | 'change'

export interface JobRow {
  id: number
  deviceId: string
  device: string
  kind: 'backup'
  state: 'queued' | 'running' | 'succeeded' | 'failed' | 'unknown'
  cause: Cause
  requestedBy: string | null
  attempts: number
  created: Date
  started: Date | null
  finished: Date | null
  failure: string | null
  evidence: string | null
}

export interface VersionRow {
  id: number
  deviceId: string
  device: string
  artefact: string
  hash: string
  size: number
  takenAt: Date
  author: string | null
  cause: Cause
  added: number
  removed: number
}

export interface DeviceFields {
  name: string
  address: string
  port: number
  driver: string
  credentialId: string | null
  schedule: string | null
  enabled: boolean
  note: string
}

export interface DeviceRow extends DeviceFields {
  id: string
  versions: number
  lastVersion: Date | null
  lastJob: JobRow | null
}

interface CredentialRow {
  id: string
  name: string
  username: string
  created: Date
}

type Secrets = {
  password?: string | undefined
  enable?: string | undefined
  privateKey?: string | undefined
}

export interface DeviceStores<Tx> {
  devices: {
    list(): Promise<DeviceRow[]>
    find(id: string): Promise<DeviceRow | null>
    create(tx: Tx, fields: DeviceFields): Promise<string>
    /** False if there is no such device. */
    update(tx: Tx, id: string, fields: Partial<DeviceFields>): Promise<boolean>
    remove(tx: Tx, id: string): Promise<boolean>
  }
  versions: {
    list(request: PageRequest & { device?: string | undefined }): Promise<Page<VersionRow>>
    find(id: number): Promise<(VersionRow & { content: string; driver: string }) | null>
    /** The one before it of the same device and artefact. */
    before(id: number): Promise<number | null>
  }
  jobs: {
    list(
      request: PageRequest & {
        device?: string | undefined
        state?: JobRow['state'] | undefined
      },
    ): Promise<Page<JobRow>>
    find(id: number): Promise<JobRow | null>
  }
  credentials: {
    list(): Promise<CredentialRow[]>
    create(tx: Tx, credential: { name: string; username: string } & Secrets): Promise<CredentialRow>
    remove(tx: Tx, id: string): Promise<boolean>
  }
}

export function deviceRoutes<Tx>(deps: {
  stores: DeviceStores<Tx>
  write: Write<Tx>
  drivers: ReadonlyMap<string, Driver>
  /** Undefined for an expression that never comes. @throws Error for one that is none */
  nextRun(schedule: string, after: Date): Date | undefined
  /** Queues a backup; answers with the job's id. */
  requestBackup(deviceId: string, by: string): Promise<number>
  now(): number
}): Handlers<
  | 'listDevices'
  | 'getDevice'
  | 'createDevice'
  | 'updateDevice'
  | 'deleteDevice'
  | 'backUpDevice'
  | 'listVersions'
  | 'getVersion'
  | 'getDiff'
  | 'listJobs'
  | 'listDrivers'
  | 'listCredentials'
  | 'createCredential'
  | 'deleteCredential'
> {
  const { stores, write } = deps

  async function deviceOf(id: string): Promise<Wire<DeviceRow>> {
    return wire(await existing(stores.devices.find(id), 'device'))
  }

  async function versionAndDriver(id: number) {
    const found = await existing(stores.versions.find(id), 'version')
    const driver = deps.drivers.get(found.driver)
    if (driver) return { found, driver }
    throw new ApiError(
      'unavailable',
      `the driver "${found.driver}" is not installed, so nobody knows what is secret in the text`,
    )
  }

  function comes(schedule: string): boolean {
    // A sixth field would be of seconds.
    if (schedule.trim().split(/\s+/).length !== 5) return false
    try {
      return deps.nextRun(schedule, new Date(deps.now())) !== undefined
    } catch {
      return false
    }
  }

  function check(fields: Partial<DeviceFields>) {
    if (fields.driver !== undefined && !deps.drivers.has(fields.driver)) {
      const known = [...deps.drivers.keys()].join(', ')
      throw new ApiError('bad-request', `driver: "${fields.driver}" is none of ${known}`)
    }
    const { schedule } = fields
    if (schedule != null && !comes(schedule)) {
      throw new ApiError(
        'bad-request',
        `schedule: "${schedule}" is not a cron expression of five fields, like "30 2 * * *"`,
      )
    }
  }

  return {
    async listDevices() {
      return { devices: wire(await stores.devices.list()) }
    },

    getDevice: ({ params }) => deviceOf(params.id),

    async createDevice({ body, caller }) {
      check(body)
      const line = { action: 'add device', subject: body.name, detail: { address: body.address } }
      return deviceOf(await write(caller, line, tx => stores.devices.create(tx, body)))
    },

    async updateDevice({ params, body, caller }) {
      const fields = Object.fromEntries(
        Object.entries(body).filter(([, value]) => value !== undefined),
      ) as Partial<DeviceFields>
      check(fields)
      const { name } = await existing(stores.devices.find(params.id), 'device')
      const line = { action: 'change device', subject: name, detail: fields }
      await write(caller, line, tx =>
        existing(stores.devices.update(tx, params.id, fields), 'device'),
      )
      return deviceOf(params.id)
    },

    async deleteDevice({ params, caller }) {
      const { name } = await existing(stores.devices.find(params.id), 'device')
      const line = { action: 'remove device', subject: name }
      await write(caller, line, tx => existing(stores.devices.remove(tx, params.id), 'device'))
      return {}
    },

    async backUpDevice({ params, caller }) {
      const { name, enabled } = await existing(stores.devices.find(params.id), 'device')
      if (!enabled) throw new ApiError('conflict', `${name} is not enabled`)
      await write(caller, { action: 'back up', subject: name }, async () => {})
      const id = await deps.requestBackup(params.id, caller.name)
      return wire(await existing(stores.jobs.find(id), 'job'))
    },

    async listVersions({ query }) {
      const { rows, next } = await stores.versions.list(query)
      return { versions: wire(rows), next }
    },

    async getVersion({ params, query, caller }) {
      if (query.secrets === 'plain') {
        allowSecrets(caller)
        const found = await existing(stores.versions.find(params.id), 'version')
        return { version: versionOf(found), text: found.content }
      }
      const { found, driver } = await versionAndDriver(params.id)
      return { version: versionOf(found), text: maskSecrets(driver, found.content) }
    },

    async getDiff({ params, query }) {
      const { found, driver } = await versionAndDriver(params.id)
      const againstId = query.against ?? (await stores.versions.before(params.id))
      const before =
        againstId === null ? null : await existing(stores.versions.find(againstId), 'version')
      const { added, removed, hunks } = diffLines(
        before ? comparedText(driver, before.content) : '',
        comparedText(driver, found.content),
        query.context,
      )
      // Masked only now: two secrets that differ are a change, though neither is shown.
      const mask = (line: { kind: 'same' | 'added' | 'removed'; text: string }) => ({
        kind: line.kind,
        text: maskSecrets(driver, line.text),
      })
      return {
        version: versionOf(found),
        against: before ? versionOf(before) : null,
        added,
        removed,
        hunks: hunks.map(hunk => ({ ...hunk, lines: hunk.lines.map(mask) })),
      }
    },

    async listJobs({ query }) {
      const { rows, next } = await stores.jobs.list(query)
      return { jobs: wire(rows), next }
    },

    async listDrivers() {
      const list = [...deps.drivers.values()]
      return {
        drivers: list.map(({ id, vendor, system }) => ({ id, vendor, system })),
      }
    },

    async listCredentials() {
      return { credentials: wire(await stores.credentials.list()) }
    },

    async createCredential({ body, caller }) {
      if (body.password === undefined && body.privateKey === undefined) {
        throw new ApiError('bad-request', 'a credential has a password, a private key, or both')
      }
      const line = { action: 'add credential', subject: body.name }
      return wire(await write(caller, line, tx => stores.credentials.create(tx, body)))
    },

    async deleteCredential({ params, caller }) {
      const credential = (await stores.credentials.list()).find(({ id }) => id === params.id)
      const line = { action: 'remove credential', subject: credential?.name ?? params.id }
      await write(caller, line, tx =>
        existing(stores.credentials.remove(tx, params.id), 'credential'),
      )
      return {}
    },
  }
}

/** @throws ApiError; inside a write, nothing of it remains then */
async function existing<T>(found: Promise<T | null | false>, noun: string): Promise<T> {
  const value = await found
  if (value === null || value === false) throw new ApiError('not-found', `there is no such ${noun}`)
  return value
}

function versionOf({
  content: _,
  driver: __,
  ...row
}: VersionRow & { content: string; driver: string }) {
  return wire(row)
}

function allowSecrets(caller: Caller) {
  if (caller.role !== 'administrator') {
    throw new ApiError('not-allowed', 'secrets are shown to administrators only')
  }
}
