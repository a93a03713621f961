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
  /**
   * A code with which the person of the session can begin one more, under another host name.
   * @returns null if the session has ended
   */
  createHandOver(secret: string, seconds: number): Promise<{ code: string; expires: Date } | null>
  /**
   * Begins a session that ends when the one ends of which the code was made. Works once.
   * @returns null if the code is not good, or no longer
   */
  takeOver(code: string): Promise<(Session & { secret: string }) | null>
  /** At most 1,000. @returns how many */
  removeExpired(): Promise<number>
}

/** Of one user at once; the oldest go. */
const maxOfUser = 50
/** Codes of one session at once, as of many windows; the oldest go. */
const maxOfSession = 20

export function createSessions(deps: { database: Queries }): Sessions {
  const { database } = deps

  async function removeSurplus(userId: string) {
    await database.query(
      `DELETE FROM sessions WHERE expires <= clock_timestamp() OR token_hash IN (
         SELECT token_hash FROM sessions WHERE user_id = $1
         ORDER BY created DESC, token_hash OFFSET $2
       )`,
      [userId, maxOfUser],
    )
  }

  return {
    async create(userId, seconds) {
      const secret = newSecret('')
      const [created] = await database.query<{ expires: Date }>(
        `INSERT INTO sessions (token_hash, user_id, expires)
         VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
         RETURNING expires`,
        [hashOf(secret), userId, seconds],
      )
      await removeSurplus(userId)
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

    async createHandOver(secret, seconds) {
      const code = newSecret('')
      const [created] = await database.query<{ expires: Date }>(
        `INSERT INTO hand_overs (code_hash, session_hash, expires)
         SELECT $1, token_hash, clock_timestamp() + make_interval(secs => $3)
         FROM sessions WHERE token_hash = $2 AND expires > clock_timestamp()
         RETURNING expires`,
        [hashOf(code), hashOf(secret), seconds],
      )
      if (!created) return null
      await database.query(
        `DELETE FROM hand_overs WHERE expires <= clock_timestamp() OR code_hash IN (
           SELECT code_hash FROM hand_overs WHERE session_hash = $1
           ORDER BY expires DESC, code_hash OFFSET $2
         )`,
        [hashOf(secret), maxOfSession],
      )
      return { code, expires: created.expires }
    },

    async takeOver(code) {
      const secret = newSecret('')
      const [begun] = await database.query<User & { expires: Date }>(
        `WITH taken AS (
           DELETE FROM hand_overs WHERE code_hash = $1 AND expires > clock_timestamp()
           RETURNING session_hash
         ), begun AS (
           INSERT INTO sessions (token_hash, user_id, expires)
           SELECT $2, s.user_id, s.expires
           FROM sessions s JOIN taken ON s.token_hash = taken.session_hash
           WHERE s.expires > clock_timestamp()
           RETURNING user_id, expires
         )
         SELECT u.id, u.name, u.role, u.must_change AS "mustChange", u.created, b.expires
         FROM begun b JOIN users u ON u.id = b.user_id`,
        [hashOf(code), hashOf(secret)],
      )
      if (!begun) return null
      const { expires, ...user } = begun
      await removeSurplus(user.id)
      return { secret, user, expires }
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
