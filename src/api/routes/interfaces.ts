import type { SnmpAccessBody } from '../contract/interfaces.ts'
import { ApiError, type Handlers } from '../handler.ts'
import { wire } from '../wire.ts'
import type { Write } from '../write.ts'

interface AccessRow {
  id: string
  name: string
  version: '2c' | '3'
  created: Date
}

interface Interface {
  index: number
  name: string
  alias: string
  speed: number
}

interface Polled {
  exporter: string
  at: Date
  by: string | null
  interfaces: number
  error: string | null
}

export function interfaceRoutes<Tx>(deps: {
  interfaces: {
    list(): Promise<{ exporter: string; interfaces: Interface[]; changedAt: Date }[]>
  }
  accesses: {
    list(): Promise<AccessRow[]>
    create(tx: Tx, access: { name: string; access: SnmpAccessBody }): Promise<AccessRow>
    remove(tx: Tx, id: string): Promise<boolean>
  }
  poller: { state(): Polled[]; nudge(): void }
  write: Write<Tx>
}): Handlers<'listInterfaces' | 'listSnmpAccesses' | 'createSnmpAccess' | 'deleteSnmpAccess'> {
  const { accesses, interfaces, poller, write } = deps
  return {
    async listInterfaces() {
      return { exporters: wire(await interfaces.list()), polled: wire(poller.state()) }
    },

    async listSnmpAccesses() {
      return { accesses: wire(await accesses.list()) }
    },

    async createSnmpAccess({ body, caller }) {
      const { name, access } = body
      const line = { action: 'add SNMP access', subject: name, detail: { version: access.version } }
      const created = await write(caller, line, tx => accesses.create(tx, body))
      poller.nudge()
      return wire(created)
    },

    async deleteSnmpAccess({ params, caller }) {
      const found = (await accesses.list()).find(({ id }) => id === params.id)
      const line = { action: 'remove SNMP access', subject: found?.name ?? params.id }
      await write(caller, line, async tx => {
        if (await accesses.remove(tx, params.id)) return
        throw new ApiError('not-found', 'there is no such SNMP access')
      })
      return {}
    },
  }
}
