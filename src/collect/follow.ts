/**
 * Servers that a collector learns of: told of one in its settings, it is told by that one who the
 * other is. What it learnt is remembered beside its spool. Servers in the settings are always kept.
 */
import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Clock } from '../lib/clock.ts'
import { writeWhole } from '../lib/files.ts'
import type { Log } from '../lib/log.ts'
import type { CollectorAnswer } from './link.ts'

export interface NamedServer {
  name: string
  url: string
}

export interface Follower {
  /** Those of the settings, and those learnt. */
  servers(): NamedServer[]
  /**
   * What a server answered to a report.
   * @param to the name by which this collector knows it
   * @returns true if `servers` has changed
   */
  heard(to: string, answer: CollectorAnswer): boolean
}

const remembered = z.array(z.strictObject({ name: z.string(), url: z.url() })).max(16)

/** What a server said is believed for so long after it was last heard. */
const believedMs = 60_000

export function createFollower(
  deps: { log: Log; clock: Clock },
  config: { file: string; servers: readonly NamedServer[]; follow: boolean },
): Follower {
  const { log, clock } = deps
  /** What each server of the settings is called by itself. */
  const calledBy = new Map<string, string>()
  /** Who each says that there are. */
  const told = new Map<string, { servers: NamedServer[]; until: number }>()
  let learnt = config.follow ? load() : []

  function load(): NamedServer[] {
    if (!existsSync(config.file)) return []
    try {
      return strangers(remembered.parse(JSON.parse(readFileSync(config.file, 'utf8'))))
    } catch (error) {
      log.warn({ file: config.file, error }, 'learnt servers cannot be read, learning them again')
      return []
    }
  }

  /** Without those that the settings name, by whatever name or URL. */
  function strangers(servers: readonly NamedServer[]): NamedServer[] {
    const names = new Set([...config.servers.map(({ name }) => name), ...calledBy.values()])
    const urls = new Set(config.servers.map(({ url }) => hostOf(url)))
    return servers.filter(({ name, url }) => !names.has(name) && !urls.has(hostOf(url)))
  }

  return {
    servers: () => [...config.servers, ...learnt],
    heard(to, { server, servers }) {
      // One that does not name itself has not read its own state yet.
      if (!config.follow || server === undefined || servers === undefined) return false
      if (!servers.some(({ name }) => name === server)) return false
      if (config.servers.some(({ name }) => name === to)) calledBy.set(to, server)
      const now = clock.monotonic()
      told.set(to, { servers, until: now + believedMs })
      for (const [name, { until }] of told) if (until < now) told.delete(name)
      const named = [...told.values()].flatMap(answer => answer.servers)
      const all = new Map(named.map(one => [one.name, one]))
      const next = strangers([...all.values()])
      if (JSON.stringify(next) === JSON.stringify(learnt)) return false
      log.info({ servers: next.map(({ name }) => name), from: server }, 'learnt of other servers')
      learnt = next
      try {
        writeWhole(config.file, JSON.stringify(learnt), 0o640)
      } catch (error) {
        log.warn({ file: config.file, error }, 'learnt servers are not remembered')
      }
      return true
    },
  }
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? url
}
