/** Measures what a server lives on: disk, memory, main loop, database, certificates, clocks. */
import { X509Certificate } from 'node:crypto'
import { statfs } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Gauge } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Tally } from '../../lib/tally.ts'

export interface Vitals {
  disks: { path: string; freeBytes: number; totalBytes: number }[]
  memory: { processBytes: number; availableBytes: number; totalBytes: number } | undefined
  /** How late the main loop was in its slowest hundredth, for at least a whole window. */
  loopLagMs: number | undefined
  /** Of an empty question, the median of the last ones. */
  databaseMs: number | undefined
  certificates: { name: string; expires: Date }[]
  /** Positive: that clock is ahead of ours. */
  skews: { to: string; ms: number }[]
}

export interface VitalsWatch extends Component {
  /** As last measured; empty before the first time. */
  now(): Vitals
}

const everyMs = 5000
const lagResolutionMs = 20
/** Measurements of the loop make one window; the better of the last two counts. */
const lookupsAWindow = 6
const keptLatencies = 15
/** A disk that hangs must not stop the rest. */
const statDeadlineMs = 2000

export function createVitals(
  deps: {
    clock: Clock
    metrics: Metrics
    tally: Pick<Tally<'vitals'>, 'count'>
    /** Milliseconds of the last question; null if there was no answer. */
    databaseLatencyMs(): number | null
    /** Name and offset of the other server's clock; undefined while it is not known. */
    peerClock(): { name: string; skewMs: number } | undefined
    /** The database's own clock. */
    databaseTime(): Promise<Date>
  },
  config: {
    /** Folders whose disks are watched. */
    folders: readonly string[]
    /** Certificates by the name that a person knows them by, PEM. */
    certificates: readonly { name: string; pem: string }[]
  },
): VitalsWatch {
  const certificates = config.certificates.map(({ name, pem }) => ({
    name,
    expires: new X509Certificate(pem).validToDate,
  }))
  let vitals: Vitals = {
    ...{ disks: [], memory: undefined, loopLagMs: undefined, databaseMs: undefined },
    ...{ certificates, skews: [] },
  }
  let loop: ReturnType<typeof monitorEventLoopDelay> | undefined
  let lookups = 0
  let windows: number[] = []
  let latencies: number[] = []
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined

  expose()

  async function look() {
    vitals = {
      disks: await disks(),
      memory: {
        processBytes: process.memoryUsage.rss(),
        availableBytes: process.availableMemory(),
        totalBytes: Math.min(totalmem(), process.constrainedMemory() || Infinity),
      },
      loopLagMs: lag(),
      databaseMs: latency(),
      certificates,
      skews: await skews(),
    }
  }

  async function disks(): Promise<Vitals['disks']> {
    const found = await Promise.all(
      config.folders.map(async path => {
        const stats = await within(statDeadlineMs, statfs(path)).catch(failed)
        if (stats === undefined) return []
        const { bavail, bsize, blocks } = stats
        return [{ path, freeBytes: bavail * bsize, totalBytes: blocks * bsize }]
      }),
    )
    return found.flat()
  }

  function lag(): number | undefined {
    if (loop === undefined) return undefined
    lookups++
    if (lookups % lookupsAWindow === 0) {
      const late = Math.max(0, loop.percentile(99) / 1e6 - lagResolutionMs)
      windows = [...windows.slice(-1), late]
      loop.reset()
    }
    return windows.length < 2 ? undefined : Math.min(...windows)
  }

  function latency(): number | undefined {
    const last = deps.databaseLatencyMs()
    if (last !== null) latencies = [...latencies.slice(1 - keptLatencies), last]
    if (latencies.length < keptLatencies) return undefined
    return latencies.toSorted((a, b) => a - b)[Math.floor(keptLatencies / 2)]
  }

  async function skews(): Promise<Vitals['skews']> {
    const peer = deps.peerClock()
    const found = peer ? [{ to: peer.name, ms: peer.skewMs }] : []
    if (deps.databaseLatencyMs() === null) return found
    const before = deps.clock.wall()
    const theirs = await deps.databaseTime().catch(failed)
    if (theirs === undefined) return found
    const middle = (before + deps.clock.wall()) / 2
    return [...found, { to: 'the database', ms: theirs.getTime() - middle }]
  }

  function failed(error: unknown): undefined {
    deps.tally.count('vitals', () => ({ error: (error as Error).message }))
  }

  function expose() {
    const registers = [deps.metrics]
    new Gauge({
      name: 'keepwatch_disk_free_bytes',
      help: 'Free space of the disk under a folder',
      labelNames: ['path'],
      registers,
      collect() {
        for (const { path, freeBytes } of vitals.disks) this.set({ path }, freeBytes)
      },
    })
    new Gauge({
      name: 'keepwatch_memory_bytes',
      help: 'Memory: what the main process uses, and what the system has left',
      labelNames: ['of'],
      registers,
      collect() {
        if (!vitals.memory) return
        this.set({ of: 'process' }, vitals.memory.processBytes)
        this.set({ of: 'available' }, vitals.memory.availableBytes)
      },
    })
    new Gauge({
      name: 'keepwatch_loop_lag_seconds',
      help: 'How late the main loop was in its slowest hundredth, for at least half a minute',
      registers,
      collect() {
        this.set((vitals.loopLagMs ?? 0) / 1000)
      },
    })
    new Gauge({
      name: 'keepwatch_certificate_expires_timestamp_seconds',
      help: 'When a certificate of this server expires, since 1970',
      labelNames: ['name'],
      registers,
      collect() {
        for (const { name, expires } of certificates) this.set({ name }, expires.getTime() / 1000)
      },
    })
    new Gauge({
      name: 'keepwatch_clock_skew_seconds',
      help: 'How far another clock is ahead of this server’s',
      labelNames: ['to'],
      registers,
      collect() {
        for (const { to, ms } of vitals.skews) this.set({ to }, ms / 1000)
      },
    })
  }

  return {
    now: () => vitals,
    async start() {
      loop = monitorEventLoopDelay({ resolution: lagResolutionMs })
      loop.enable()
      const tick = () => {
        looking ??= look()
          .catch(failed)
          .finally(() => {
            looking = undefined
          })
      }
      tick()
      timer = setInterval(tick, everyMs)
    },
    async stop() {
      clearInterval(timer)
      loop?.disable()
      loop = undefined
      await looking
    },
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
