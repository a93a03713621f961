import { open, rm, statfs } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { Agent as AgentTls, request as requestTls } from 'node:https'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Identity } from '../../lib/tls.ts'

/** A disk that takes longer for a few bytes is of no use to an active server. */
const writeDeadlineMs = 5000
const leastFreeBytes = 64 * 1024 * 1024
/** A process that restarts is back in seconds; longer than this it is a fault. */
const processPatienceMs = 20_000
const answerDeadlineMs = 5000

/** Where this server must answer itself. */
export interface Listener {
  what: string
  url: URL
  identity?: Identity
}

/** Of a machine's own listener, as it is bound. */
export function ownUrl(scheme: 'http' | 'https', host: string, port: number, path: string): URL {
  const at = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return new URL(`${scheme}://${at.includes(':') ? `[${at}]` : at}:${port}${path}`)
}

/** Watches what a server needs to be of use as the active one, and reports what it lacks. */
export function createHealthWatch(
  deps: {
    clock: Clock
    engineReady(): boolean
    /** Where this server must answer. */
    listeners(): readonly Listener[]
    /** Its own collector receives; true if it has none. */
    collects(): boolean
    /** Undefined: nothing is lacking. */
    report(fault: string | undefined): void
  },
  config: { dataDir: string; everyMs?: number },
): Component {
  const { everyMs = 2000 } = config
  const file = join(config.dataDir, 'health')
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  const downSince = new Map<string, number>()
  const agents: Record<string, Agent> = {
    'http:': new Agent({ keepAlive: true }),
    'https:': new AgentTls({ keepAlive: true }),
  }

  async function look() {
    deps.report((await diskFault()) ?? (await listenerFault()) ?? processFault())
  }

  async function diskFault(): Promise<string | undefined> {
    const late = new AbortController()
    try {
      return await Promise.race([
        writeSomething(),
        sleep(writeDeadlineMs, 'its disk does not answer', { signal: late.signal }),
      ])
    } catch (error) {
      return `its disk cannot be written: ${(error as Error).message}`
    } finally {
      late.abort()
    }
  }

  async function writeSomething(): Promise<string | undefined> {
    const handle = await open(file, 'w')
    try {
      await handle.write('alive\n')
      await handle.sync()
    } finally {
      await handle.close()
    }
    const { bavail, bsize } = await statfs(config.dataDir)
    return bavail * bsize < leastFreeBytes ? 'its disk is full' : undefined
  }

  async function listenerFault(): Promise<string | undefined> {
    const faults = await Promise.all(
      deps.listeners().map(async listener => {
        const fault = await answerFault(listener)
        return fault && `its ${listener.what} does not answer: ${fault}`
      }),
    )
    return faults.find(Boolean)
  }

  /** Undefined: it was answered, whatever the answer. */
  function answerFault({ url, identity }: Listener): Promise<string | undefined> {
    return new Promise(resolve => {
      const options = { timeout: answerDeadlineMs, agent: agents[url.protocol] }
      const asking =
        url.protocol === 'https:'
          ? // Its own certificate may be for other names; that is not asked here.
            requestTls(url, { ...options, ...identity, rejectUnauthorized: false })
          : request(url, options)
      const end = (fault: string | undefined) => {
        resolve(fault)
        if (fault !== undefined) asking.destroy()
      }
      asking.once('timeout', () => end(`not within ${answerDeadlineMs / 1000} s`))
      asking.once('error', error => end(error.message))
      asking.once('response', response => {
        response.resume()
        end(undefined)
      })
      asking.end()
    })
  }

  function processFault(): string | undefined {
    const now = deps.clock.monotonic()
    const isDown = (what: 'engine' | 'collector', works: boolean) => {
      if (works) downSince.delete(what)
      else if (!downSince.has(what)) downSince.set(what, now)
      const since = downSince.get(what)
      return since !== undefined && now - since > processPatienceMs
    }
    if (isDown('engine', deps.engineReady())) return 'its telemetry engine does not answer'
    return isDown('collector', deps.collects()) ? 'its collector does not run' : undefined
  }

  return {
    async start() {
      timer = setInterval(() => {
        looking ??= look().finally(() => {
          looking = undefined
        })
      }, everyMs)
    },
    async stop() {
      clearInterval(timer)
      await looking
      for (const agent of Object.values(agents)) agent.destroy()
      await rm(file, { force: true })
    },
  }
}
