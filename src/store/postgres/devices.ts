import type { Queries, Tx } from './database.ts'
import { type Job, jobColumns } from './jobs.ts'

export interface Device {
  id: string
  name: string
  /** Host name or IP address. */
  address: string
  port: number
  driver: string
  credentialId: string | null
  /** Cron expression; null: the default. */
  schedule: string | null
  enabled: boolean
  note: string
  /** The SSH host key that it showed first. */
  hostKey: string | null
  created: Date
}

/** With what became of its backups. */
export interface DeviceListing extends Device {
  versions: number
  lastVersion: Date | null
  lastJob: Job | null
}

export type DeviceFields = Omit<Device, 'id' | 'hostKey' | 'created'>

export interface Devices {
  /** For people: with versions and last backup, which takes a look at each device's jobs. */
  list(): Promise<DeviceListing[]>
  /** The devices themselves, for those who ask every few seconds. */
  all(): Promise<Device[]>
  find(id: string): Promise<DeviceListing | null>
  /** @throws Conflict if the name is taken, or the credential does not exist */
  create(tx: Tx, device: DeviceFields): Promise<Device>
  /** @returns null if there is no such device @throws Conflict */
  update(tx: Tx, id: string, change: Partial<DeviceFields>): Promise<Device | null>
  /** Null forgets it, so that the next key shown is taken. */
  setHostKey(tx: Tx, id: string, hostKey: string | null): Promise<boolean>
  /** With its versions and jobs. */
  remove(tx: Tx, id: string): Promise<boolean>
}

const columnOf: Record<keyof DeviceFields, string> = {
  name: 'name',
  address: 'address',
  port: 'port',
  driver: 'driver',
  credentialId: 'credential_id',
  schedule: 'schedule',
  enabled: 'enabled',
  note: 'note',
}

const columns = `d.id, d.name, d.address, d.port, d.driver, d.credential_id AS "credentialId",
  d.schedule, d.enabled, d.note, d.host_key AS "hostKey", d.created`

export function createDevices(deps: { database: Queries }): Devices {
  const { database } = deps

  async function listings(condition: string, params: readonly unknown[]) {
    const devices = await database.query<Omit<DeviceListing, 'lastJob'>>(
      `SELECT ${columns}, v.count AS versions, v.last AS "lastVersion"
       FROM devices d CROSS JOIN LATERAL (
         SELECT count(*), max(taken_at) AS last FROM versions WHERE device_id = d.id
       ) v
       WHERE ${condition} ORDER BY d.name`,
      params,
    )
    const jobs = await database.query<Job>(
      `SELECT ${jobColumns} FROM devices d CROSS JOIN LATERAL (
         SELECT * FROM jobs WHERE device_id = d.id ORDER BY id DESC LIMIT 1
       ) j WHERE ${condition}`,
      params,
    )
    const lastJobs = new Map(jobs.map(job => [job.deviceId, job]))
    return devices.map(device => ({ ...device, lastJob: lastJobs.get(device.id) ?? null }))
  }

  return {
    list: () => listings('true', []),

    all: () => database.query<Device>(`SELECT ${columns} FROM devices d ORDER BY d.name`),

    async find(id) {
      return (await listings('d.id = $1', [id]))[0] ?? null
    },

    async create(tx, device) {
      const [created] = await tx.query<Device>(
        `INSERT INTO devices AS d
           (name, address, port, driver, credential_id, schedule, enabled, note, term)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ${columns}`,
        [
          device.name,
          device.address,
          device.port,
          device.driver,
          device.credentialId,
          device.schedule,
          device.enabled,
          device.note,
          tx.term,
        ],
      )
      return created!
    },

    async update(tx, id, change) {
      const keys = (Object.keys(columnOf) as (keyof DeviceFields)[]).filter(
        key => change[key] !== undefined,
      )
      const sets = keys.map((key, index) => `${columnOf[key]} = $${index + 3}`)
      const [updated] = await tx.query<Device>(
        `UPDATE devices AS d SET ${['term = $2', ...sets].join(', ')} WHERE id = $1
         RETURNING ${columns}`,
        [id, tx.term, ...keys.map(key => change[key])],
      )
      return updated ?? null
    },

    async setHostKey(tx, id, hostKey) {
      const updated = await tx.query(
        'UPDATE devices SET host_key = $2, term = $3 WHERE id = $1 RETURNING id',
        [id, hostKey, tx.term],
      )
      return updated.length > 0
    },

    async remove(tx, id) {
      return (await tx.query('DELETE FROM devices WHERE id = $1 RETURNING id', [id])).length > 0
    },
  }
}
