import type { MirroredVersion, VersionSource } from '../../devices/mirror.ts'
import type { Contents } from './contents.ts'
import type { Queries } from './database.ts'

/** What the configuration mirror reads of the state. */
export function createMirrorSource(deps: {
  database: Queries
  contents: Pick<Contents, 'read'>
}): VersionSource {
  const { database } = deps
  return {
    after: (id, limit) =>
      database.query<MirroredVersion>(
        `SELECT id, device_id AS "deviceId", artefact, taken_at AS "takenAt", author, cause, added, removed
         FROM versions WHERE id > $1 ORDER BY id LIMIT $2`,
        [id, limit],
      ),
    async countAfter(id) {
      const [row] = await database.query<{ count: number }>(
        'SELECT count(*) FROM versions WHERE id > $1',
        [id],
      )
      return Number(row!.count)
    },
    async newest() {
      const [row] = await database.query<{ newest: number | null }>(
        'SELECT max(id) AS newest FROM versions',
      )
      return Number(row!.newest ?? 0)
    },
    async text(id) {
      const [row] = await database.query<{ hash: string }>(
        'SELECT content_hash AS hash FROM versions WHERE id = $1',
        [id],
      )
      return row === undefined ? null : deps.contents.read(row.hash)
    },
    devices: () =>
      database.query<{ id: string; name: string; driver: string }>(
        'SELECT id, name, driver FROM devices',
      ),
  }
}
