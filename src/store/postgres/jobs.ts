import type { Queries } from './database.ts'
import { idBefore, type Page, type PageRequest, pageOf } from './paging.ts'
import type { Cause } from './versions.ts'

export interface Job {
  id: number
  deviceId: string
  /** The device's name. */
  device: string
  kind: 'backup'
  /** `unknown`: it was running when its active ended; what became of it nobody knows. */
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

/** What people see of the jobs; who carries them out has `createJobStore`. */
export interface Jobs {
  /** Newest first. */
  list(
    request: PageRequest & { deviceId?: string | undefined; state?: Job['state'] | undefined },
  ): Promise<Page<Job>>
  find(id: number): Promise<Job | null>
}

/** Of `jobs j` joined with `devices d`. */
export const jobColumns = `j.id, j.device_id AS "deviceId", d.name AS device, j.kind, j.state, j.cause,
  j.requested_by AS "requestedBy", j.attempts, j.created, j.started, j.finished, j.failure, j.evidence`

export function createJobs(deps: { database: Queries }): Jobs {
  const from = `SELECT ${jobColumns} FROM jobs j JOIN devices d ON d.id = j.device_id`
  return {
    async list({ limit, cursor, deviceId, state }) {
      const rows = await deps.database.query<Job>(
        `${from} WHERE ($1::uuid IS NULL OR j.device_id = $1) AND ($2::text IS NULL OR j.state = $2)
           AND ($3::bigint IS NULL OR j.id < $3)
         ORDER BY j.id DESC LIMIT $4`,
        [deviceId ?? null, state ?? null, idBefore(cursor), limit + 1],
      )
      return pageOf(rows, limit, last => `${last.id}`)
    },

    async find(id) {
      return (await deps.database.query<Job>(`${from} WHERE j.id = $1`, [id]))[0] ?? null
    },
  }
}
