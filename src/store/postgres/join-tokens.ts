import { randomUUID } from 'node:crypto'
import type { Queries, Tx } from './database.ts'
import { keyFor, open, seal } from './sealed.ts'
import { newSecret } from './secrets.ts'

/** Lets one machine join the pair, once, until it expires. */
export interface JoinToken {
  id: string
  /** 256 random bits, base64url: both sides derive from it what they encrypt with. */
  secret: string
  createdBy: string
  created: Date
  expires: Date
  /** By the database's clock. */
  expired: boolean
  usedAt: Date | null
  usedBy: string | null
}

export interface JoinTokens {
  create(tx: Tx, seconds: number): Promise<JoinToken>
  /** Also one that has expired or was used. @throws if the key is not the one it was stored under */
  find(id: string): Promise<JoinToken | null>
  /**
   * From now on it is for `by` alone, who may use it again: an answer may have been lost.
   * @returns false if somebody else has used it before, or it has expired: whoever asks may not join
   */
  use(tx: Tx, id: string, by: string): Promise<boolean>
}

interface Row extends Omit<JoinToken, 'secret'> {
  secret: Buffer
}

const columns = `id, secret, created_by AS "createdBy", created, expires,
  expires <= clock_timestamp() AS expired, used_at AS "usedAt", used_by AS "usedBy"`

/** @param config.key the deployment's key, 32 bytes */
export function createJoinTokens(deps: { database: Queries }, config: { key: Buffer }): JoinTokens {
  const key = keyFor('join-tokens', config.key)
  const opened = (row: Row): JoinToken => ({
    ...row,
    secret: open(key, row.id, row.secret, `join token ${row.id}`).toString(),
  })

  return {
    async create(tx, seconds) {
      // Used ones stay a while, for whoever asks how a machine came in.
      await tx.query(
        `DELETE FROM join_tokens WHERE expires < clock_timestamp() - interval '30 days'`,
      )
      const id = randomUUID()
      const [created] = await tx.query<Row>(
        `INSERT INTO join_tokens (id, secret, created_by, expires)
         VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) RETURNING ${columns}`,
        [id, seal(key, id, Buffer.from(newSecret(''))), tx.who, seconds],
      )
      return opened(created!)
    },

    async find(id) {
      if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return null
      const [found] = await deps.database.query<Row>(
        `SELECT ${columns} FROM join_tokens WHERE id = $1`,
        [id],
      )
      return found ? opened(found) : null
    },

    async use(tx, id, by) {
      const used = await tx.query(
        `UPDATE join_tokens SET used_at = coalesce(used_at, clock_timestamp()), used_by = $2
         WHERE id = $1 AND expires > clock_timestamp() AND (used_by IS NULL OR used_by = $2)
         RETURNING id`,
        [id, by],
      )
      return used.length > 0
    },
  }
}
