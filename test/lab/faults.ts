/** What the soak breaks: each fault picks whom it hits, and knows how it is repaired. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { createRandom } from '../fixtures/mutate.ts'
import type { Lab } from './lab.ts'
import type { LabServer } from './server.ts'

export interface Broken {
  /** What was done to whom. */
  what: string
  heal(): Promise<unknown>
  /** How long two may both say that they are active, because one of them was lied to and nothing else is broken. */
  overlapMs?: number
}

export interface Fault {
  name: string
  /** How often, compared with the others. */
  weight: number
  /** What it hits: two faults of the same are never under way together. */
  hits: 'kw1' | 'kw2' | 'servers' | 'database' | 'folder' | 'collector' | 'server'
  leastMs: number
  mostMs: number
  /** Whether this lab can have it. */
  possible?(lab: Lab): boolean
  begin(lab: Lab, random: Random, server: LabServer): Promise<Broken>
}

export type Random = ReturnType<typeof createRandom>

const nothing = async () => {}
const hasSharedDatabase = (lab: Lab) => !lab.replicated

/** `server` is one of the two by chance, the active more often. */
export const faults: readonly Fault[] = [
  {
    ...{ name: 'kill', weight: 8, hits: 'server', leastMs: 0, mostMs: 5000 },
    async begin(_lab, _random, server) {
      server.kill()
      return { what: `killed ${server.name}`, heal: nothing }
    },
  },
  {
    ...{ name: 'kill both', weight: 2, hits: 'servers', leastMs: 0, mostMs: 3000 },
    async begin(lab, random) {
      lab.kw1.kill()
      await sleep(random(400))
      lab.kw2.kill()
      return { what: 'killed both', heal: nothing }
    },
  },
  {
    ...{ name: 'off', weight: 3, hits: 'server', leastMs: 1000, mostMs: 20_000 },
    async begin(_lab, _random, server) {
      await server.off()
      return { what: `${server.name} off`, heal: () => server.start() }
    },
  },
  {
    ...{ name: 'orderly stop', weight: 3, hits: 'server', leastMs: 500, mostMs: 10_000 },
    async begin(_lab, _random, server) {
      await server.stop()
      return { what: `stopped ${server.name}`, heal: () => server.start() }
    },
  },
  {
    ...{ name: 'freeze', weight: 8, hits: 'server', leastMs: 200, mostMs: 30_000 },
    async begin(_lab, _random, server) {
      server.freeze()
      return { what: `froze ${server.name}`, heal: async () => server.thaw() }
    },
  },
  {
    ...{ name: 'pause the host', weight: 5, hits: 'server', leastMs: 500, mostMs: 30_000 },
    async begin(_lab, _random, server) {
      await server.pause()
      return { what: `paused the host of ${server.name}`, heal: () => server.resume() }
    },
  },
  {
    ...{ name: 'power off', weight: 3, hits: 'server', leastMs: 1000, mostMs: 20_000 },
    async begin(_lab, _random, server) {
      await server.powerOff()
      return { what: `${server.name} without power`, heal: () => server.powerOn() }
    },
  },
  {
    ...{ name: 'hang', weight: 4, hits: 'server', leastMs: 0, mostMs: 1000 },
    async begin(_lab, random, server) {
      const ms = 200 + random(20_000)
      server.hang(ms)
      return { what: `main loop of ${server.name} hangs for ${ms} ms`, heal: nothing }
    },
  },
  {
    ...{ name: 'switchover', weight: 4, hits: 'servers', leastMs: 0, mostMs: 1000 },
    async begin(lab) {
      const active = await lab.active()
      await active.ask('/api/v1/pair/switchover', { method: 'POST' }).catch(() => {})
      return { what: `asked ${active.name} to hand over`, heal: nothing }
    },
  },
  {
    ...{ name: 'cable', weight: 6, hits: 'server', leastMs: 200, mostMs: 25_000 },
    async begin(_lab, _random, server) {
      await server.cut()
      return { what: `cut the cable of ${server.name}`, heal: () => server.heal() }
    },
  },
  {
    ...{ name: 'one-way partition', weight: 6, hits: 'server', leastMs: 500, mostMs: 25_000 },
    async begin(lab, random, server) {
      const third = lab.replicated ? lab.collector : lab.database
      const other = random(2) === 0 ? lab.other(server) : third
      const way = (['in', 'out', 'both'] as const)[random(3)]!
      await server.cutFrom(other, way)
      return {
        what: `${server.name} and ${other.host.name} cut from each other (${way})`,
        heal: () => server.heal(),
      }
    },
  },
  {
    ...{ name: 'reject', weight: 2, hits: 'server', leastMs: 500, mostMs: 15_000 },
    async begin(lab, _random, server) {
      await server.reject(lab.other(server))
      return {
        what: `${server.name} seems dead to ${lab.other(server).name}`,
        heal: () => server.heal(),
        overlapMs: 1500,
      }
    },
  },
  {
    ...{ name: 'loss', weight: 4, hits: 'server', leastMs: 1000, mostMs: 20_000 },
    async begin(_lab, random, server) {
      const percent = 5 + random(40)
      await server.lose(percent)
      return { what: `${server.name} loses ${percent} %`, heal: () => server.heal() }
    },
  },
  {
    ...{ name: 'latency', weight: 4, hits: 'server', leastMs: 1000, mostMs: 20_000 },
    async begin(_lab, random, server) {
      const ms = 20 + random(1000)
      await server.delay(ms)
      return { what: `${server.name} ${ms} ms away`, heal: () => server.heal() }
    },
  },
  {
    ...{ name: 'disk full', weight: 3, hits: 'server', leastMs: 1000, mostMs: 15_000 },
    async begin(_lab, random, server) {
      const leave = random(2) === 0 ? 0 : random(64 * 1024 * 1024)
      await server.fillDisk(leave)
      return { what: `disk of ${server.name} full`, heal: async () => server.freeDisk() }
    },
  },
  {
    ...{ name: 'clock', weight: 3, hits: 'server', leastMs: 1000, mostMs: 20_000 },
    possible: lab => lab.clocks,
    async begin(_lab, random, server) {
      const seconds = random(7200) - 3600
      server.setClock(seconds)
      return {
        what: `clock of ${server.name} set by ${seconds} s`,
        heal: async () => server.setClock(0),
      }
    },
  },
  {
    ...{ name: 'database restart', weight: 3, hits: 'database', leastMs: 0, mostMs: 1000 },
    possible: hasSharedDatabase,
    async begin(lab) {
      await lab.main.restart()
      return { what: 'database restarted', heal: nothing }
    },
  },
  {
    ...{ name: 'database stopped', weight: 3, hits: 'database', leastMs: 500, mostMs: 20_000 },
    possible: hasSharedDatabase,
    async begin(lab, random) {
      await (random(2) === 0 ? lab.main.stop() : lab.main.crash())
      return { what: 'database down', heal: () => lab.main.start() }
    },
  },
  {
    ...{ name: 'database frozen', weight: 4, hits: 'database', leastMs: 200, mostMs: 20_000 },
    possible: hasSharedDatabase,
    async begin(lab) {
      await lab.main.freeze()
      return { what: 'database frozen', heal: () => lab.main.thaw() }
    },
  },
  {
    ...{ name: 'database cut off', weight: 3, hits: 'database', leastMs: 200, mostMs: 20_000 },
    possible: hasSharedDatabase,
    async begin(lab) {
      const { host } = lab.main
      await host.cut()
      return { what: 'database cut off', heal: () => host.heal() }
    },
  },
  {
    ...{ name: 'database far away', weight: 2, hits: 'database', leastMs: 1000, mostMs: 15_000 },
    possible: hasSharedDatabase,
    async begin(lab, random) {
      const { host } = lab.main
      const ms = 20 + random(2000)
      await host.delay(ms)
      return { what: `database ${ms} ms away`, heal: () => host.heal() }
    },
  },
  {
    ...{ name: 'database read-only', weight: 2, hits: 'database', leastMs: 500, mostMs: 15_000 },
    possible: hasSharedDatabase,
    async begin(lab) {
      await lab.main.readOnly(true)
      return { what: 'database read-only', heal: () => lab.main.readOnly(false) }
    },
  },
  {
    ...{
      name: 'collector cut from a server',
      weight: 4,
      hits: 'collector',
      leastMs: 500,
      mostMs: 20_000,
    },
    async begin(lab, random) {
      const server = lab.servers[random(2)]!
      await lab.collector.host.cutFrom(server.host)
      return {
        what: `collector cut from ${server.name}`,
        heal: () => lab.collector.host.heal(),
      }
    },
  },
  {
    ...{ name: 'folder', weight: 4, hits: 'folder', leastMs: 1000, mostMs: 20_000 },
    possible: lab => lab.sharedFolder !== undefined,
    async begin(lab, random) {
      const folder = lab.sharedFolder!
      const server = lab.servers[random(2)]!
      const ways = [
        ['hangs', () => folder.hang()],
        ['full', () => folder.full()],
        ['read-only', () => folder.readOnly()],
        [`unmounted on ${server.name}`, () => folder.unmount(server.host)],
        ['cut off', () => folder.host.cut()],
      ] as const
      const [what, fault] = ways[random(ways.length)]!
      await fault()
      return { what: `shared folder ${what}`, heal: () => folder.heal() }
    },
  },
]
