import type { Queries, Tx } from './database.ts'
import { hashOf, newSecret } from './secrets.ts'
import type { Role } from './users.ts'

/** The right of a program to use the API. */
export interface Token {
  id: string
  name: string
  role: Role
  createdBy: string
  created: Date
  /** Null: never. */
  expires: Date | null
}

export interface Tokens {
  list(): Promise<Token[]>
  /** The token with this secret, unless it has expired. */
  find(secret: string): Promise<Token | null>
  /** @returns the secret `kw_…` too, this once @throws Conflict if the name is taken */
  create(
    tx: Tx,
    token: { name: string; role: Role; expires: Date | null },
  ): Promise<{ token: Token; secret: string }>
  /** A token without an end whose secret was made elsewhere. @throws Conflict if the name is taken */
  adopt(tx: Tx, token: { name: string; role: Role; secret: string }): Promise<Token>
  remove(tx: Tx, id: string): Promise<boolean>
}

const columns = 'id, name, role, created_by AS "createdBy", created, expires'

export function createTokens(deps: { database: Queries }): Tokens {
  const { database } = deps

  async function insert(
    tx: Tx,
    { name, role, expires }: { name: string; role: Role; expires: Date | null },
    secret: string,
  ): Promise<Token> {
    const [token] = await tx.query<Token>(
      `INSERT INTO tokens (name, token_hash, role, created_by, expires)
       VALUES ($1, $2, $3, $4, $5) RETURNING ${columns}`,
      [name, hashOf(secret), role, tx.who, expires],
    )
    return token!
  }

  return {
    list: () => database.query<Token>(`SELECT ${columns} FROM tokens ORDER BY name`),

    async find(secret) {
      const [token] = await database.query<Token>(
        `SELECT ${columns} FROM tokens
         WHERE token_hash = $1 AND (expires IS NULL OR expires > clock_timestamp())`,
        [hashOf(secret)],
      )
      return token ?? null
    },

    async create(tx, token) {
      const secret = newSecret('kw_')
      return { token: await insert(tx, token, secret), secret }
    },

    adopt: (tx, { secret, ...token }) => insert(tx, { ...token, expires: null }, secret),

    async remove(tx, id) {
      return (await tx.query('DELETE FROM tokens WHERE id = $1 RETURNING id', [id])).length > 0
    },
  }
}
