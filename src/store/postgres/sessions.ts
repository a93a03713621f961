import type { Queries } from './database.ts'
import { hashOf, newSecret } from './secrets.ts'
import type { User } from './users.ts'

export interface Session {
  user: User
  expires: Date
}

/** Log-ins. Not fenced: one logs in to a standby too, as long as the database takes writes. */
export interface Sessions {
  /** @returns the secret for the cookie; only its hash is stored */
  create(userId: string, seconds: number): Promise<{ secret: string; expires: Date }>
  find(secret: string): Promise<Session | null>
  remove(secret: string): Promise<void>
  /** At most 1,000. @returns how many */
  removeExpired(): Promise<number>
}

/** Of one user at once; the oldest go. */
const maxOfUser = 50

export function createSessions(deps: { database: Queries }): Sessions {
  const { database } = deps
  return {
    async create(userId, seconds) {
      const secret = newSecret('')
      const [created] = await database.query<{ expires: Date }>(
        `INSERT INTO sessions (token_hash, user_id, expires)
         VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
         RETURNING expires`,
        [hashOf(secret), userId, seconds],
      )
      await database.query(
        `DELETE FROM sessions WHERE expires <= clock_timestamp() OR token_hash IN (
           SELECT token_hash FROM sessions WHERE user_id = $1
           ORDER BY created DESC, token_hash OFFSET $2
         )`,
        [userId, maxOfUser],
      )
      return { secret, expires: created!.expires }
    },

    async find(secret) {
      const [found] = await database.query<User & { expires: Date }>(
        `SELECT u.id, u.name, u.role, u.must_change AS "mustChange", u.created, s.expires
         FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.token_hash = $1 AND s.expires > clock_timestamp()`,
        [hashOf(secret)],
      )
      if (!found) return null
      const { expires, ...user } = found
      return { user, expires }
    },

    async remove(secret) {
      await database.query('DELETE FROM sessions WHERE token_hash = $1', [hashOf(secret)])
    },

    async removeExpired() {
      const removed = await database.query(
        `DELETE FROM sessions WHERE token_hash IN (
           SELECT token_hash FROM sessions WHERE expires <= clock_timestamp() LIMIT 1000
         ) RETURNING user_id`,
      )
      return removed.length
    },
  }
}
