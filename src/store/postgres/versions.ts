import type { Contents } from './contents.ts'
import type { Queries, Tx } from './database.ts'
import { idBefore, type Page, type PageRequest, pageOf } from './paging.ts'

export type Cause = 'schedule' | 'request' | 'change'

/** One state of one artefact of a device; its text apart. */
export interface Version {
  id: number
  deviceId: string
  /** The device's name. */
  device: string
  artefact: string
  /** Of the text that is compared (noise dropped). */
  hash: string
  /** Of the text that is stored. */
  contentHash: string
  /** Bytes of the text. */
  size: number
  takenAt: Date
  author: string | null
  cause: Cause
  /** Lines against the version before. */
  added: number
  removed: number
}

export interface NewVersion {
  deviceId: string
  artefact: string
  hash: string
  content: string
  takenAt: Date
  author: string | null
  cause: Cause
  added: number
  removed: number
}

export interface Versions {
  /** Newest first; of one device or of all. */
  list(request: PageRequest & { deviceId?: string | undefined }): Promise<Page<Version>>
  find(id: number): Promise<Version | null>
  latest(deviceId: string, artefact: string): Promise<Version | null>
  /** The one before it of the same device and artefact. */
  before(version: Version): Promise<Version | null>
  text(version: Version): Promise<string>
  /** @returns null if the latest has the same hash: then it is not a new version */
  store(tx: Tx, version: NewVersion): Promise<Version | null>
}

const select = `SELECT v.id, v.device_id AS "deviceId", d.name AS device, v.artefact, v.hash,
    v.content_hash AS "contentHash", c.size, v.taken_at AS "takenAt", v.author, v.cause,
    v.added, v.removed
  FROM versions v JOIN devices d ON d.id = v.device_id JOIN contents c ON c.hash = v.content_hash`

export function createVersions(deps: { database: Queries; contents: Contents }): Versions {
  const { database, contents } = deps

  async function one(from: Queries, condition: string, params: readonly unknown[]) {
    const [version] = await from.query<Version>(
      `${select} WHERE ${condition} ORDER BY v.id DESC LIMIT 1`,
      params,
    )
    return version ?? null
  }

  return {
    async list({ limit, cursor, deviceId }) {
      const rows = await database.query<Version>(
        `${select} WHERE ($1::uuid IS NULL OR v.device_id = $1) AND ($2::bigint IS NULL OR v.id < $2)
         ORDER BY v.id DESC LIMIT $3`,
        [deviceId ?? null, idBefore(cursor), limit + 1],
      )
      return pageOf(rows, limit, last => `${last.id}`)
    },

    find: id => one(database, 'v.id = $1', [id]),

    latest: (deviceId, artefact) =>
      one(database, 'v.device_id = $1 AND v.artefact = $2', [deviceId, artefact]),

    before: ({ id, deviceId, artefact }) =>
      one(database, 'v.device_id = $1 AND v.artefact = $2 AND v.id < $3', [deviceId, artefact, id]),

    async text(version) {
      const text = await contents.read(version.contentHash)
      if (text === null) throw new Error(`the content of version ${version.id} is missing`)
      return text
    },

    async store(tx, { deviceId, artefact, hash, content, takenAt, author, cause, added, removed }) {
      // Two backups of one device at once: the second must see the first's version.
      await tx.query('SELECT FROM devices WHERE id = $1 FOR NO KEY UPDATE', [deviceId])
      const latest = await one(tx, 'v.device_id = $1 AND v.artefact = $2', [deviceId, artefact])
      if (latest?.hash === hash) return null
      const { hash: contentHash } = await contents.store(tx, content)
      const [stored] = await tx.query<{ id: number }>(
        `INSERT INTO versions
           (device_id, artefact, hash, content_hash, taken_at, author, cause, added, removed, term)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
        [deviceId, artefact, hash, contentHash, takenAt, author, cause, added, removed, tx.term],
      )
      return one(tx, 'v.id = $1', [stored!.id])
    },
  }
}
