import { createHash } from 'node:crypto'
import type { z } from 'zod'
import { formatJoinToken, sealJoin, unsealJoin } from '../../lib/join-token.ts'
import {
  type finding,
  type JoinAnswer,
  type JoinRequest,
  joinRequest,
  type PairSettings,
  pairSettings,
  type StoredPairSettings,
  type setupEndpoints,
} from '../contract/setup.ts'
import { ApiError, type Caller, type Handler } from '../handler.ts'
import { parse } from '../input.ts'
import { createLogInLimit } from '../log-in-limit.ts'
import type { Write } from '../write.ts'

export type SetupHandlers = {
  [K in keyof typeof setupEndpoints]: Handler<(typeof setupEndpoints)[K]>
}

/** As the state keeps them; `secrets` in the clear. */
export interface KeptPairSettings {
  settings: unknown
  secrets: { [Name in PairSecret]?: string | undefined }
  version: number
  changedAt: Date
  changedBy: string
}

export type PairSecret = 'smtpPassword' | 'tsigSecret' | 'webhookSecret'

export interface SetupStores<Tx> {
  pairSettings: {
    /** Undefined: nobody has set anything yet. */
    read(): Promise<KeptPairSettings | undefined>
    /**
     * @param change.secrets what is not named stays; null removes
     * @throws Conflict if they do not have `version` any more (0: there were none)
     */
    write(
      tx: Tx,
      change: {
        settings: PairSettings
        secrets: { [Name in PairSecret]?: string | null | undefined }
        version: number
      },
    ): Promise<unknown>
  }
  joinTokens: {
    /** @returns the secret, 32 bytes in base64url, too */
    create(tx: Tx, seconds: number): Promise<{ id: string; secret: string; expires: Date }>
    /** Also one that was used or has expired, for the reason. */
    find(id: string): Promise<KeptJoinToken | null>
    /** From now on it is for this one only; false if it is for another, or has expired. */
    use(tx: Tx, id: string, by: string): Promise<boolean>
  }
  /** A pair has two: who joins takes the place of one that is gone. */
  servers: { keepOnly(tx: Tx, names: readonly string[]): Promise<void> }
}

export interface KeptJoinToken {
  secret: string
  createdBy: string
  expires: Date
  /** Judged by the database's clock. */
  expired: boolean
  usedAt: Date | null
  usedBy: string | null
}

export interface LastPreflight {
  id: string
  by: string
  started: Date
  finished: Date | null
  ok: boolean | null
  findings: z.output<typeof finding>[]
}

const tokenSeconds = 3600
const rememberedNonces = 1000

/** What sets a pair up: its settings, a second machine that joins, the check of the prerequisites. */
export function setupRoutes<Tx>(deps: {
  stores: SetupStores<Tx>
  write: Write<Tx>
  now(): number
  /** Makes an empty folder the pair's. @throws Error that says why it cannot be the shared one */
  prepareFolder(path: string): Promise<unknown>
  /** They were changed: from now on this server goes by them. */
  changed(): Promise<unknown>
  /** What the line for the second machine needs: console and fingerprint of the authority. */
  invitation(): { console: string; fingerprint: string }
  /** What a machine that may join is given. @throws ApiError with the reason if it may not */
  welcome(request: JoinRequest, settings: PairSettings): Promise<JoinAnswer>
  preflight: {
    /** Does not wait for its end. */
    start(by: string): Promise<{ id: string }>
    last(): Promise<LastPreflight | null>
  }
}): SetupHandlers {
  const { stores, write } = deps
  const limit = createLogInLimit(deps.now)
  const nonces = new Set<string>()

  async function read(): Promise<KeptPairSettings & { settings: PairSettings }> {
    const kept = await stores.pairSettings.read()
    const none = { secrets: {}, version: 0, changedAt: new Date(0), changedBy: '' }
    return { ...(kept ?? none), settings: pairSettings.parse(kept?.settings ?? {}) }
  }

  async function shown(): Promise<StoredPairSettings> {
    const { settings, secrets, version, changedAt, changedBy } = await read()
    return {
      settings,
      secrets: {
        smtpPassword: secrets.smtpPassword !== undefined,
        tsigSecret: secrets.tsigSecret !== undefined,
        webhookSecret: secrets.webhookSecret !== undefined,
      },
      version,
      changedAt: version === 0 ? null : changedAt.toISOString(),
      changedBy: version === 0 ? null : changedBy,
    }
  }

  /** The token and what was sealed with it. @throws ApiError with the reason */
  async function openRequest(id: string, nonce: string, sealed: string) {
    const token = await stores.joinTokens.find(id)
    if (token === null) {
      throw new ApiError(
        'not-found',
        'this deployment has made no such token; make one here with `keepwatch failover enable`',
      )
    }
    const secret = Buffer.from(token.secret, 'base64url')
    const content = unsealJoin({ id, secret }, 'request', nonce, sealed)
    if (content === undefined) {
      throw new ApiError('not-allowed', 'the token is not complete: copy the whole line once more')
    }
    const request = parse(joinRequest, content) as JoinRequest
    const by = `${request.name} ${createHash('sha256').update(request.publicKey).digest('hex')}`
    if (token.usedBy !== null && token.usedBy !== by) {
      const who = token.usedBy.split(' ')[0]
      throw new ApiError(
        'conflict',
        `the token was used by ${who} at ${token.usedAt?.toISOString()}; make another one`,
      )
    }
    if (token.expired) {
      throw new ApiError(
        'conflict',
        `the token was good until ${token.expires.toISOString()}; make another one`,
      )
    }
    if (nonces.has(nonce)) throw new ApiError('conflict', 'this request was made before')
    nonces.add(nonce)
    if (nonces.size > rememberedNonces) nonces.delete(nonces.values().next().value!)
    return { request, token: { ...token, secret }, by }
  }

  return {
    getPairSettings: shown,

    async changePairSettings({ caller, body }) {
      const before = await read()
      const { connection } = body.settings
      const { tsigSecret = before.secrets.tsigSecret } = body.secrets
      if (connection.type === 'virtual-name' && connection.tsig && !tsigSecret) {
        throw new ApiError(
          'bad-request',
          `secrets.tsigSecret: is missing; the key ${connection.tsig.name} needs its secret`,
        )
      }
      const { sharedFolder } = body.settings
      if (sharedFolder !== null && sharedFolder !== before.settings.sharedFolder) {
        await deps.prepareFolder(sharedFolder).catch(({ message }: Error) => {
          throw new ApiError('bad-request', `sharedFolder: ${message}`)
        })
      }
      const changed = Object.keys(body.settings).filter(
        key => textOf(body.settings, key) !== textOf(before.settings, key),
      )
      const detail = { changed, secrets: Object.keys(body.secrets) }
      const line = { action: 'change pair settings', subject: 'pair', detail }
      await write(caller, line, tx => stores.pairSettings.write(tx, body))
      await deps.changed()
      return shown()
    },

    async createJoinToken({ caller }) {
      const { console, fingerprint } = deps.invitation()
      const line = { action: 'create join token', subject: 'pair' }
      const { id, secret, expires } = await write(caller, line, tx =>
        stores.joinTokens.create(tx, tokenSeconds),
      )
      const token = formatJoinToken({ id, secret: Buffer.from(secret, 'base64url'), fingerprint })
      return {
        id,
        line: `keepwatch join ${console} --token ${token}`,
        expires: expires.toISOString(),
      }
    },

    async joinPair({ body, address }) {
      const { id, nonce, sealed } = body
      const attempt = limit.begin(`join ${id}`, address)
      if (!attempt) throw new ApiError('too-many-requests', 'too many attempts; wait a minute')
      const { request, token, by } = await openRequest(id, nonce, sealed)
      attempt.forgive()
      const { settings } = await read()
      const answer = await deps.welcome(request, settings)
      const caller: Caller = {
        name: `join token of ${token.createdBy}`,
        role: 'administrator',
        via: 'token',
        mustChangePassword: false,
        expires: token.expires,
      }
      const detail = { address: answer.address, from: address }
      await write(caller, { action: 'join', subject: request.name, detail }, async tx => {
        if (!(await stores.joinTokens.use(tx, id, by))) {
          throw new ApiError('conflict', 'the token was used at this moment, or has expired')
        }
        await stores.servers.keepOnly(tx, [answer.primary.name, request.name])
      })
      return { sealed: sealJoin({ id, secret: token.secret }, 'answer', nonce, answer) }
    },

    startPreflight: ({ caller }) => deps.preflight.start(caller.name),

    async getPreflight() {
      const last = await deps.preflight.last()
      if (last === null) return { preflight: null }
      return {
        preflight: {
          ...last,
          started: last.started.toISOString(),
          finished: last.finished?.toISOString() ?? null,
        },
      }
    },
  }
}

function textOf(settings: object, key: string): string {
  return JSON.stringify(settings[key as keyof typeof settings])
}
