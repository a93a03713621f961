/** Asks both servers all the time what they are, past everything that is broken in the network. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Active, LabServer } from '../server.ts'

/** A server was active in a term from at least `from` to at least `to`, in milliseconds of this process. */
export interface Reign {
  server: string
  term: number
  from: number
  to: number
}

export interface RolesWitness {
  readonly reigns: readonly Reign[]
  start(): void
  stop(): Promise<void>
  /** What a server said last, undefined if it did not answer. */
  last(server: string): Active | undefined
  /** Sentences about two that were active at once for longer than `graceMs`, or one term of two. */
  violations(graceMs?: number): string[]
  /** What was seen so far is no longer looked at for violations. */
  forget(): void
  /** The longest time, from `since`, in which nobody said that it was active. */
  longestWithout(since?: number): number
}

const everyMs = 40
/** A gap that is no longer comes from how often is asked. */
const noticeableMs = 200

export function createRolesWitness(servers: readonly LabServer[]): RolesWitness {
  const reigns: Reign[] = []
  const last = new Map<string, Active | undefined>()
  /** Times in which nobody said that it was active. */
  const gaps: { from: number; to: number }[] = []
  let lastActiveAt = 0
  let running = false
  let loops: Promise<void>[] = []
  let startedAt = 0

  async function watch(server: LabServer) {
    let reign: Reign | undefined
    while (running) {
      const askedAt = performance.now()
      const said = await server.role()
      last.set(server.name, said)
      if (said?.role === 'active') {
        const answeredAt = performance.now()
        if (reign?.term === said.term) {
          // It was active when it was asked, at least: it answered so later, and no term comes again.
          reign.to = Math.max(reign.to, askedAt)
        } else {
          reign = { server: server.name, term: said.term, from: answeredAt, to: answeredAt }
          reigns.push(reign)
        }
        if (answeredAt - lastActiveAt > noticeableMs)
          gaps.push({ from: lastActiveAt, to: answeredAt })
        lastActiveAt = answeredAt
      } else reign = undefined
      await sleep(everyMs)
    }
  }

  return {
    reigns,
    start() {
      running = true
      startedAt = performance.now()
      lastActiveAt = startedAt
      loops = servers.map(watch)
    },
    async stop() {
      running = false
      await Promise.all(loops)
    },
    last: server => last.get(server),
    violations(graceMs = 0) {
      const found: string[] = []
      const sorted = reigns.toSorted((a, b) => a.from - b.from)
      for (const [index, reign] of sorted.entries()) {
        for (const other of sorted.slice(index + 1)) {
          if (other.server === reign.server) continue
          const overlapMs = Math.min(reign.to, other.to) - other.from
          if (overlapMs > graceMs) {
            found.push(
              `${reign.server} (term ${reign.term}) and ${other.server} (term ${other.term}) ` +
                `were active at once for at least ${overlapMs.toFixed(0)} ms`,
            )
          }
          if (other.term === reign.term) {
            found.push(`${reign.server} and ${other.server} were active in term ${reign.term}`)
          }
        }
      }
      return found
    },
    forget: () => void reigns.splice(0, reigns.length),
    longestWithout(since = startedAt) {
      const open = { from: lastActiveAt, to: performance.now() }
      const lengths = [...gaps, open].map(({ from, to }) => to - Math.max(from, since))
      return Math.max(0, ...lengths)
    },
  }
}
