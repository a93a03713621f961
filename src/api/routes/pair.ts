import type { z } from 'zod'
import type { operation, pairEndpoints, pairState } from '../contract/pair.ts'
import { ApiError, type Handlers } from '../handler.ts'
import { wire } from '../wire.ts'
import type { Page, PageRequest, Write } from '../write.ts'

type PairState = z.output<typeof pairState>

interface RoleChange {
  id: number
  at: Date
  server: string
  role: 'active' | 'standby' | 'stopped'
  term: number
  cause: string
  sentence: string
}

interface Operation {
  id: string
  kind: z.output<typeof operation>['kind']
  by: string
  started: Date
  finished: Date | null
  ok: boolean | null
  steps: { at: Date; server: string; text: string; ok: boolean | null }[]
  report: Record<string, unknown> | null
}

type LeftBehindSaid = z.output<typeof pairEndpoints.seeLeftBehind.response>

interface LeftBehind extends Omit<LeftBehindSaid, 'found' | 'seenAt'> {
  found: Date
  seenAt: Date | null
}

export function pairRoutes<Tx>(deps: {
  /** The pair as this server sees it now. */
  view(): PairState
  /** Each time that it has changed, and at each heartbeat, until aborted. */
  changes(signal: AbortSignal): AsyncIterable<PairState>
  roleChanges: { list(request: PageRequest): Promise<Page<RoleChange>> }
  operations: {
    list(request: PageRequest): Promise<Page<Operation>>
    find(id: string): Promise<Operation | null>
  }
  leftBehinds: {
    list(request: PageRequest): Promise<Page<LeftBehind>>
    see(tx: Tx, id: number): Promise<LeftBehind | null>
  }
  leadership: {
    pause(tx: Tx, pause: { by: string; reason: string; until: Date | null }): Promise<unknown>
    resume(tx: Tx): Promise<unknown>
  }
  write: Write<Tx>
  /** Hands over; the sentence says why not, if not. */
  switchover(): Promise<{ accepted: boolean; sentence: string }>
  /** Makes this server active, whatever the voters say. @throws Error in words if it must not be */
  promote(by: string): Promise<void>
  /** @throws Error in words if it cannot begin */
  drill(by: string): Promise<{ id: string }>
  /** @throws Error in words if it cannot begin */
  upgrade(request: { version: string; holder: string; by: string }): Promise<{ id: string }>
  now(): number
}): Handlers<
  | 'getPair'
  | 'watchPair'
  | 'listRoleChanges'
  | 'listLeftBehind'
  | 'seeLeftBehind'
  | 'switchOver'
  | 'pausePair'
  | 'resumePair'
  | 'promotePair'
  | 'startDrill'
  | 'startUpgrade'
  | 'getOperation'
  | 'listOperations'
> {
  const { write } = deps

  function demandStandby() {
    if (!deps.view().servers.some(server => !server.self && server.role === 'standby')) {
      throw new ApiError('conflict', 'there is no standby that could take over')
    }
  }

  return {
    getPair: async () => deps.view(),
    watchPair: ({ signal }) => deps.changes(signal),

    async listRoleChanges({ query }) {
      const { rows, next } = await deps.roleChanges.list(query)
      return { changes: wire(rows), next }
    },

    async listLeftBehind({ query }) {
      const { rows, next } = await deps.leftBehinds.list(query)
      return { leftBehind: wire(rows), next }
    },

    async seeLeftBehind({ caller, params }) {
      const line = { action: 'see what was left behind', subject: `${params.id}` }
      return write(caller, line, async tx => {
        const seen = await deps.leftBehinds.see(tx, params.id)
        if (seen !== null) return wire(seen)
        throw new ApiError('not-found', `nothing that was left behind has the number ${params.id}`)
      })
    },

    async switchOver({ caller }) {
      demandStandby()
      await write(caller, { action: 'switch over', subject: deps.view().self }, async () => {})
      const { accepted, sentence } = await deps.switchover()
      if (!accepted) throw new ApiError('conflict', sentence)
      return { accepted: true }
    },

    async pausePair({ caller, body }) {
      const { reason } = body
      const until = body.until === null ? null : new Date(body.until)
      if (until !== null && until.getTime() <= deps.now()) {
        throw new ApiError('bad-request', 'until: must be in the future')
      }
      const line = { action: 'pause takeovers', subject: 'pair', detail: { reason, until } }
      await write(caller, line, tx => deps.leadership.pause(tx, { by: caller.name, reason, until }))
      return { paused: true }
    },

    async resumePair({ caller }) {
      const line = { action: 'resume takeovers', subject: 'pair' }
      await write(caller, line, tx => deps.leadership.resume(tx))
      return { paused: false }
    },

    async promotePair({ caller }) {
      await orConflict(deps.promote(caller.name))
      return { accepted: true }
    },

    async startDrill({ caller }) {
      demandStandby()
      await write(caller, { action: 'drill', subject: deps.view().self }, async () => {})
      return orConflict(deps.drill(caller.name))
    },

    async startUpgrade({ caller, body }) {
      await write(caller, { action: 'upgrade', subject: 'pair', detail: body }, async () => {})
      return orConflict(deps.upgrade({ ...body, by: caller.name }))
    },

    async getOperation({ params }) {
      const found = await deps.operations.find(params.id)
      if (found === null) throw new ApiError('not-found', `there is no operation ${params.id}`)
      return wire(found)
    },

    async listOperations({ query }) {
      const { rows, next } = await deps.operations.list(query)
      return { operations: wire(rows), next }
    },
  }
}

async function orConflict<T>(beginning: Promise<T>): Promise<T> {
  try {
    return await beginning
  } catch (error) {
    throw new ApiError('conflict', (error as Error).message)
  }
}
