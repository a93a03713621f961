import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto'
import type { Queries, Tx } from './database.ts'

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

const keyLength = 32
const nonceLength = 12
const tagLength = 16
const form = 1
const columns = 'id, name, username, created'

/** @param config.key the deployment's key, 32 bytes: the same on both servers, not in the database */
export function createCredentials(
  deps: { database: Queries },
  config: { key: Buffer },
): Credentials {
  const { database } = deps
  if (config.key.length !== keyLength) throw new Error(`the key must have ${keyLength} bytes`)

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
      return found ? { username: found.username, ...open(config.key, id, found.secret) } : null
    },

    async create(tx, { name, username, ...secret }) {
      const id = randomUUID()
      const [created] = await tx.query<Credential>(
        `INSERT INTO credentials (id, name, username, secret) VALUES ($1, $2, $3, $4)
         RETURNING ${columns}`,
        [id, name, username, seal(config.key, id, secret)],
      )
      return created!
    },

    async remove(tx, id) {
      return (await tx.query('DELETE FROM credentials WHERE id = $1 RETURNING id', [id])).length > 0
    },
  }
}

/** form byte, nonce, tag, ciphertext; bound to the id, so that nobody can swap rows. */
function seal(key: Buffer, id: string, secret: CredentialSecret): Buffer {
  const nonce = randomBytes(nonceLength)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(id))
  const text = Buffer.concat([cipher.update(JSON.stringify(secret), 'utf8'), cipher.final()])
  return Buffer.concat([Buffer.of(form), nonce, cipher.getAuthTag(), text])
}

function open(key: Buffer, id: string, sealed: Buffer): CredentialSecret {
  if (sealed[0] !== form) throw new Error(`credential ${id} is stored in an unknown form`)
  const tagAt = 1 + nonceLength
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, tagAt))
  decipher.setAAD(Buffer.from(id))
  decipher.setAuthTag(sealed.subarray(tagAt, tagAt + tagLength))
  try {
    const text = Buffer.concat([
      decipher.update(sealed.subarray(tagAt + tagLength)),
      decipher.final(),
    ])
    return JSON.parse(text.toString('utf8'))
  } catch (cause) {
    throw new Error(`credential ${id} was stored under another key, or was changed`, { cause })
  }
}
