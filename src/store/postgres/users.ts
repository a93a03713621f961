import { randomBytes } from 'node:crypto'
import type { Queries, Tx } from './database.ts'
import { createPasswords, hashOf } from './secrets.ts'

export type Role = 'viewer' | 'operator' | 'administrator'

export interface User {
  id: string
  name: string
  role: Role
  /** True until the user has chosen a password himself. */
  mustChange: boolean
  created: Date
}

export interface Users {
  list(): Promise<User[]>
  find(name: string): Promise<User | null>
  /** The user, if the password is his. Takes as long for a name that nobody has. @throws Overloaded */
  verify(name: string, password: string): Promise<User | null>
  /** For `create` and `changePassword`: takes too long to be done inside a transaction. @throws Overloaded */
  hashPassword(password: string): Promise<string>
  /** @throws Conflict if the name is taken */
  create(tx: Tx, user: NewUser): Promise<User>
  /** The user `admin` with a password made here, if there is no user at all; it must be changed. */
  createFirst(tx: Tx): Promise<{ user: User; password: string } | null>
  /**
   * Sets a password that the user chose, and ends his sessions but the one whose secret is `keep`.
   *
   * @returns false if there is no such user
   */
  changePassword(tx: Tx, id: string, passwordHash: string, keep?: string): Promise<boolean>
  remove(tx: Tx, id: string): Promise<boolean>
}

export interface NewUser {
  name: string
  role: Role
  passwordHash: string
  mustChange: boolean
}

const columns = 'id, name, role, must_change AS "mustChange", created'

export function createUsers(deps: { database: Queries }): Users {
  const { database } = deps
  const passwords = createPasswords()
  let nobodysHash: Promise<string> | undefined

  async function create(tx: Tx, user: NewUser): Promise<User> {
    const [created] = await tx.query<User>(
      `INSERT INTO users (name, role, password_hash, must_change) VALUES ($1, $2, $3, $4)
       RETURNING ${columns}`,
      [user.name, user.role, user.passwordHash, user.mustChange],
    )
    return created!
  }

  return {
    list: () => database.query<User>(`SELECT ${columns} FROM users ORDER BY name`),

    async find(name) {
      const [user] = await database.query<User>(`SELECT ${columns} FROM users WHERE name = $1`, [
        name,
      ])
      return user ?? null
    },

    async verify(name, password) {
      const [found] = await database.query<User & { hash: string }>(
        `SELECT ${columns}, password_hash AS hash FROM users WHERE name = $1`,
        [name],
      )
      if (!found) {
        nobodysHash ??= passwords.hash(randomBytes(16).toString('hex'))
        await passwords.matches(password, await nobodysHash)
        return null
      }
      const { hash, ...user } = found
      return (await passwords.matches(password, hash)) ? user : null
    },

    hashPassword: password => passwords.hash(password),

    create,

    async createFirst(tx) {
      const [count] = await tx.query<{ some: boolean }>('SELECT EXISTS (SELECT FROM users) AS some')
      if (count!.some) return null
      const password = randomBytes(15).toString('base64url')
      const user = await create(tx, {
        name: 'admin',
        role: 'administrator',
        passwordHash: await passwords.hash(password),
        mustChange: true,
      })
      return { user, password }
    },

    async changePassword(tx, id, passwordHash, keep) {
      const changed = await tx.query(
        'UPDATE users SET password_hash = $2, must_change = false WHERE id = $1 RETURNING id',
        [id, passwordHash],
      )
      await tx.query(
        'DELETE FROM sessions WHERE user_id = $1 AND token_hash IS DISTINCT FROM $2::bytea',
        [id, keep === undefined ? null : hashOf(keep)],
      )
      return changed.length > 0
    },

    async remove(tx, id) {
      return (await tx.query('DELETE FROM users WHERE id = $1 RETURNING id', [id])).length > 0
    },
  }
}
