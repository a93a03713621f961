import type { z } from 'zod'
import type { pairState } from '../contract/pair.ts'
import { ApiError, type Handlers } from '../handler.ts'
import { wire } from '../wire.ts'
import type { Page, PageRequest, Write } from '../write.ts'

interface RoleChange {
  id: number
  at: Date
  server: string
  role: 'active' | 'standby' | 'stopped'
  term: number
  cause: string
  sentence: string
}

export function pairRoutes<Tx>(deps: {
  /** The pair as this server sees it now. */
  view(): Promise<z.output<typeof pairState>>
  roleChanges: { list(request: PageRequest): Promise<Page<RoleChange>> }
  write: Write<Tx>
  /** Hands over; rejects in words if there is nobody to hand over to. */
  switchOver(by: string): Promise<void>
}): Handlers<'getPair' | 'listRoleChanges' | 'switchOver'> {
  return {
    getPair: () => deps.view(),

    async listRoleChanges({ query }) {
      const { rows, next } = await deps.roleChanges.list(query)
      return { changes: wire(rows), next }
    },

    async switchOver({ caller }) {
      const pair = await deps.view()
      if (!pair.servers.some(server => !server.self && server.role === 'standby')) {
        throw new ApiError('conflict', 'there is no standby that could take over')
      }
      await deps.write(caller, { action: 'switch over', subject: pair.self }, async () => {})
      await deps.switchOver(caller.name)
      return { accepted: true }
    },
  }
}
