import type { Job, JobStore } from '../../devices/store.ts'
import type { Database, Tx } from './database.ts'
import type { Versions } from './versions.ts'

const who = { name: 'backups' }

/** Candidates that another claimer may snatch away before one is given up for this time. */
const claimTries = 10

/** What the backups need of the state; every write is a fenced transaction of its own. */
export function createJobStore(deps: { database: Database; versions: Versions }): JobStore {
  const { database, versions } = deps

  return {
    enqueue(term, { deviceId, cause, causeKey, requestedBy, notBefore }) {
      return database.fenced(term, who, async tx => {
        const [queued] = await tx.query<{ id: number }>(
          `INSERT INTO jobs (device_id, cause, cause_key, requested_by, not_before, term)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (cause_key) DO NOTHING RETURNING id`,
          [deviceId, cause, causeKey, requestedBy ?? null, notBefore, tx.term],
        )
        if (queued) return { id: `${queued.id}`, isNew: true }
        const [known] = await tx.query<{ id: number }>('SELECT id FROM jobs WHERE cause_key = $1', [
          causeKey,
        ])
        return { id: `${known!.id}`, isNew: false }
      })
    },

    claim(term, now) {
      return database.fenced(term, who, async tx => {
        for (let tries = 0; tries < claimTries; tries++) {
          const candidate = await lockCandidate(tx, now)
          if (!candidate) return undefined
          // A statement of its own, so that it sees what was committed before the device was locked.
          const [claimed] = await tx.query<ClaimedRow>(
            `UPDATE jobs SET state = 'running', started = $3, attempts = attempts + 1, term = $4
             WHERE id = $1 AND NOT EXISTS (
               SELECT FROM jobs WHERE device_id = $2 AND state = 'running'
             )
             RETURNING id, device_id AS "deviceId", cause, cause_key AS "causeKey",
               requested_by AS "requestedBy", attempts`,
            [candidate.id, candidate.deviceId, now, tx.term],
          )
          if (claimed) {
            const { id, requestedBy, ...job } = claimed
            return { ...job, id: `${id}`, requestedBy: requestedBy ?? undefined }
          }
        }
        return undefined
      })
    },

    succeed(term, jobId, { finished, versions: found }) {
      return database.fenced(term, who, async tx => {
        const [job] = await tx.query<{ deviceId: string }>(
          `UPDATE jobs SET state = 'succeeded', finished = $2, failure = NULL, evidence = NULL
           WHERE id = $1 AND state = 'running' RETURNING device_id AS "deviceId"`,
          [jobId, finished],
        )
        if (!job) return
        for (const version of found) {
          await versions.store(tx, {
            ...version,
            deviceId: job.deviceId,
            author: version.author ?? null,
          })
        }
      })
    },

    fail(term, jobId, { finished, message, evidence, retryAt }) {
      return database.fenced(term, who, async tx => {
        await tx.query(
          `UPDATE jobs SET state = $2, finished = $3, failure = $4, evidence = $5,
             not_before = coalesce($6, not_before)
           WHERE id = $1 AND state = 'running'`,
          [jobId, retryAt ? 'queued' : 'failed', finished, message, evidence, retryAt ?? null],
        )
      })
    },

    recover(term, startedBefore) {
      return database.fenced(term, who, async tx => {
        const lost = await tx.query<{ id: number }>(
          `UPDATE jobs SET state = 'unknown', finished = clock_timestamp(),
             failure = 'it was running when its server ended; it is done again'
           WHERE state = 'running' AND (term < $1 OR started < $2) RETURNING id`,
          [tx.term, startedBefore],
        )
        // The attempts are inherited: a job that ends its server must not do so for ever.
        await tx.query(
          `INSERT INTO jobs (device_id, kind, cause, cause_key, requested_by, attempts, term)
           SELECT device_id, kind, cause, regexp_replace(cause_key, '/after-\\d+$', '') || '/after-' || id,
             requested_by, attempts, $2
           FROM jobs WHERE id = ANY($1::bigint[])`,
          [lost.map(({ id }) => id), tx.term],
        )
        return lost.length
      })
    },

    async latestVersion(deviceId, artefact) {
      const version = await versions.latest(deviceId, artefact)
      if (!version) return undefined
      return { hash: version.hash, content: await versions.text(version) }
    },
  }
}

type ClaimedRow = Omit<Job, 'id' | 'requestedBy'> & { id: number; requestedBy: string | null }

/** The oldest job that could run; it and its device stay locked until the transaction ends. */
async function lockCandidate(
  tx: Tx,
  now: Date,
): Promise<{ id: number; deviceId: string } | undefined> {
  const [candidate] = await tx.query<{ id: number; deviceId: string }>(
    `SELECT j.id, j.device_id AS "deviceId" FROM jobs j JOIN devices d ON d.id = j.device_id
     WHERE j.state = 'queued' AND j.not_before <= $1 AND NOT EXISTS (
       SELECT FROM jobs WHERE device_id = j.device_id AND state = 'running'
     )
     ORDER BY j.not_before, j.id LIMIT 1
     FOR UPDATE OF j SKIP LOCKED FOR NO KEY UPDATE OF d SKIP LOCKED`,
    [now],
  )
  return candidate
}
