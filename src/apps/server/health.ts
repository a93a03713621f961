import { open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'

/** A disk that takes longer for a few bytes is of no use to an active server. */
const writeDeadlineMs = 5000
const leastFreeBytes = 64 * 1024 * 1024
/** An engine that restarts is back in seconds; longer than this it is a fault. */
const enginePatienceMs = 20_000

/** Watches what a server needs to be of use as the active one, and reports what it lacks. */
export function createHealthWatch(
  deps: {
    clock: Clock
    engineReady(): boolean
    /** Undefined: nothing is lacking. */
    report(fault: string | undefined): void
  },
  config: { dataDir: string; everyMs?: number },
): Component {
  const { everyMs = 2000 } = config
  const file = join(config.dataDir, 'health')
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let engineSince: number | undefined

  async function look() {
    deps.report((await diskFault()) ?? engineFault())
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

  function engineFault(): string | undefined {
    const now = deps.clock.monotonic()
    if (deps.engineReady()) engineSince = undefined
    else engineSince ??= now
    const down = engineSince !== undefined && now - engineSince > enginePatienceMs
    return down ? 'its telemetry engine does not answer' : undefined
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
      await rm(file, { force: true })
    },
  }
}
