import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import { obstacleBetween } from '../../lib/version.ts'
import type { Server, Servers } from '../../store/postgres/servers.ts'

/** One that has not said for so long that it lives is no partner to be compatible with. */
const goneMs = 600_000

/** Says in the state which server this is, and where; not beside one that it cannot be a pair with. */
export function createRegistration(
  deps: { clock: Clock; servers: Pick<Servers, 'list' | 'register'> },
  /** Asked at the start: the ports are bound by then. */
  self: () => Omit<Server, 'startedAt' | 'seenAt'>,
): Component {
  const { clock, servers } = deps
  return {
    async start() {
      const own = self()
      const other = (await servers.list()).find(server => server.name !== own.name)
      const lives = other && clock.wall() - other.seenAt.getTime() <= goneMs
      const obstacle = lives ? obstacleBetween(own.version, other.version) : undefined
      if (obstacle !== undefined) {
        throw new Error(`cannot be a pair with ${other!.name}: ${obstacle}`)
      }
      await servers.register(own)
    },
    stop: async () => {},
  }
}
