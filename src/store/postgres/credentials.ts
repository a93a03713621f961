import { randomUUID } from 'node:crypto'
import type { Queries, Tx } from './database.ts'
import { checkKey, open, seal } from './sealed.ts'

/** How to log in to devices; without its secrets. */
export interface Credential {
  id: string
  name: string
  username: string
  created: Date
}

export interface CredentialSecret {
  password?: string | undefined
  /** For privileged mode. */
  enable?: string | undefined
  /** PEM or OpenSSH. */
  privateKey?: string | undefined
}

export interface Credentials {
  list(): Promise<Credential[]>
  find(id: string): Promise<Credential | null>
  /** With the secrets, for a session with a device. @throws if the key is not the one it was stored under */
  reveal(id: string): Promise<({ username: string } & CredentialSecret) | null>
  /** @throws Conflict if the name is taken */
  create(
    tx: Tx,
    credential: { name: string; username: string } & CredentialSecret,
  ): Promise<Credential>
  /** @throws Conflict if a device uses it */
  remove(tx: Tx, id: string): Promise<boolean>
}

const columns = 'id, name, username, created'

/** @param config.key the deployment's key, 32 bytes: the same on both servers, not in the database */
export function createCredentials(
  deps: { database: Queries },
  config: { key: Buffer },
): Credentials {
  const { database } = deps
  checkKey(config.key)

  return {
    list: () => database.query<Credential>(`SELECT ${columns} FROM credentials ORDER BY name`),

    async find(id) {
      const [found] = await database.query<Credential>(
        `SELECT ${columns} FROM credentials WHERE id = $1`,
        [id],
      )
      return found ?? null
    },

    async reveal(id) {
      const [found] = await database.query<{ username: string; secret: Buffer }>(
        'SELECT username, secret FROM credentials WHERE id = $1',
        [id],
      )
      if (!found) return null
      const secret = open(config.key, id, found.secret, `credential ${id}`)
      return { username: found.username, ...JSON.parse(secret.toString()) }
    },

    async create(tx, { name, username, ...secret }) {
      const id = randomUUID()
      const [created] = await tx.query<Credential>(
        `INSERT INTO credentials (id, name, username, secret) VALUES ($1, $2, $3, $4)
         RETURNING ${columns}`,
        [id, name, username, seal(config.key, id, Buffer.from(JSON.stringify(secret)))],
      )
      return created!
    },

    async remove(tx, id) {
      return (await tx.query('DELETE FROM credentials WHERE id = $1 RETURNING id', [id])).length > 0
    },
  }
}
