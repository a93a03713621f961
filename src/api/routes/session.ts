import type { Role } from '../contract/endpoint.ts'
import { ApiError, type Caller, type Handlers } from '../handler.ts'
import { createLogInLimit } from '../log-in-limit.ts'
import { wire } from '../wire.ts'
import type { Write } from '../write.ts'

interface User {
  id: string
  name: string
  role: Role
  mustChange: boolean
}

interface Token {
  id: string
  name: string
  role: Role
  createdBy: string
  created: Date
  expires: Date | null
}

export interface SessionStores<Tx> {
  users: {
    find(name: string): Promise<User | null>
    verify(name: string, password: string): Promise<User | null>
    hashPassword(password: string): Promise<string>
    changePassword(tx: Tx, id: string, passwordHash: string, keep?: string): Promise<boolean>
  }
  sessions: {
    create(userId: string, seconds: number): Promise<{ secret: string; expires: Date }>
    find(secret: string): Promise<{ user: User; expires: Date } | null>
    remove(secret: string): Promise<void>
    /** Null: the session has ended. */
    createHandOver(secret: string, seconds: number): Promise<{ code: string; expires: Date } | null>
    /** Works once; null: the code is not good, or no longer. */
    takeOver(code: string): Promise<{ secret: string; user: User; expires: Date } | null>
  }
  tokens: {
    list(): Promise<Token[]>
    find(secret: string): Promise<Token | null>
    create(
      tx: Tx,
      token: { name: string; role: Role; expires: Date | null },
    ): Promise<{ token: Token; secret: string }>
    remove(tx: Tx, id: string): Promise<boolean>
  }
}

const sessionSeconds = 12 * 3600
const handOverSeconds = 600

/** Who a secret belongs to, for the HTTP edge. */
export function createAuthenticate<Tx>(stores: SessionStores<Tx>) {
  return async (secret: string, via: 'session' | 'token'): Promise<Caller | undefined> => {
    if (via === 'token') {
      const token = await stores.tokens.find(secret)
      if (!token) return undefined
      const { name, role, expires } = token
      return { name: `token ${name}`, role, via, mustChangePassword: false, expires }
    }
    const session = await stores.sessions.find(secret)
    if (!session) return undefined
    const { user, expires } = session
    return {
      name: user.name,
      role: user.role,
      via,
      mustChangePassword: user.mustChange,
      expires,
      session: secret,
    }
  }
}

export function sessionRoutes<Tx>(deps: {
  stores: SessionStores<Tx>
  write: Write<Tx>
  now(): number
  /** Called when a first password was replaced by one that a person chose. */
  onPasswordChosen(name: string): void
}): Handlers<
  | 'logIn'
  | 'getSession'
  | 'logOut'
  | 'handOverSession'
  | 'takeOverSession'
  | 'changePassword'
  | 'listTokens'
  | 'createToken'
  | 'deleteToken'
> {
  const { stores, write } = deps
  const limit = createLogInLimit(deps.now)
  const codeLimit = createLogInLimit(deps.now)

  /** The user, if the password is his. @throws ApiError if too many were wrong */
  async function verify(name: string, password: string, address: string): Promise<User | null> {
    const attempt = limit.begin(name, address)
    if (!attempt) throw new ApiError('too-many-requests', 'too many wrong passwords; wait a minute')
    let user: User | null
    try {
      user = await stores.users.verify(name, password)
    } catch (error) {
      attempt.forgive()
      throw error
    }
    if (user) attempt.forgive()
    return user
  }

  return {
    async logIn({ body, address, setSession }) {
      const user = await verify(body.user, body.password, address)
      if (!user) throw new ApiError('not-logged-in', 'the user name or the password is wrong')
      const session = await stores.sessions.create(user.id, sessionSeconds)
      setSession(session)
      return sessionOf(user, session.expires)
    },

    async getSession({ caller }) {
      return {
        user: caller.name,
        role: caller.role,
        mustChangePassword: caller.mustChangePassword,
        expires: caller.expires?.toISOString() ?? null,
      }
    },

    async logOut({ caller, setSession }) {
      // The browser forgets it also when the database cannot.
      setSession(undefined)
      if (caller?.session !== undefined) await stores.sessions.remove(caller.session)
      return {}
    },

    async handOverSession({ caller }) {
      if (caller.session === undefined) {
        throw new ApiError('not-allowed', 'only a session can be handed over, a token cannot')
      }
      const made = await stores.sessions.createHandOver(caller.session, handOverSeconds)
      if (!made) throw new ApiError('not-logged-in', 'the session has ended; log in')
      return wire(made)
    },

    async takeOverSession({ body, address, setSession }) {
      const attempt = codeLimit.begin('', address)
      if (!attempt) throw new ApiError('too-many-requests', 'too many wrong codes; wait a minute')
      const session = await stores.sessions.takeOver(body.code).catch((error: unknown) => {
        attempt.forgive()
        throw error
      })
      if (!session) {
        throw new ApiError('not-logged-in', 'the code was used, or is too old; log in')
      }
      attempt.forgive()
      setSession(session)
      return sessionOf(session.user, session.expires)
    },

    async changePassword({ body, caller, address }) {
      if (caller.via !== 'session') throw new ApiError('not-allowed', 'a token has no password')
      const user = await verify(caller.name, body.current, address)
      if (!user) throw new ApiError('bad-request', 'current: this is not the current password')
      if (body.next === body.current) {
        throw new ApiError('bad-request', 'next: the new password has to be another one')
      }
      const hash = await stores.users.hashPassword(body.next)
      await write(caller, { action: 'change password', subject: user.name }, tx =>
        stores.users.changePassword(tx, user.id, hash, caller.session),
      )
      deps.onPasswordChosen(user.name)
      return sessionOf({ ...user, mustChange: false }, caller.expires)
    },

    async listTokens() {
      return { tokens: wire(await stores.tokens.list()) }
    },

    async createToken({ body, caller }) {
      const line = { action: 'create token', subject: body.name, detail: { role: body.role } }
      const expires = body.expires === null ? null : new Date(body.expires)
      if (expires && expires.getTime() <= deps.now()) {
        throw new ApiError('bad-request', 'expires: lies in the past')
      }
      const { token, secret } = await write(caller, line, tx =>
        stores.tokens.create(tx, { ...body, expires }),
      )
      return { token: wire(token), secret }
    },

    async deleteToken({ params, caller }) {
      const token = (await stores.tokens.list()).find(({ id }) => id === params.id)
      const line = { action: 'revoke token', subject: token?.name ?? params.id }
      await write(caller, line, async tx => {
        if (await stores.tokens.remove(tx, params.id)) return
        throw new ApiError('not-found', 'there is no such token')
      })
      return {}
    },
  }
}

function sessionOf(user: User, expires: Date | null) {
  return {
    user: user.name,
    role: user.role,
    mustChangePassword: user.mustChange,
    expires: expires?.toISOString() ?? null,
  }
}
