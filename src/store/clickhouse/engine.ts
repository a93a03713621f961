/**
 * The embedded engine: ClickHouse in a child process. Restarted when it crashes; callers wait for
 * it with a deadline, and its data and its password stay the same.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Counter, Gauge } from 'prom-client'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Connection } from './connection.ts'
import type { EngineOrder, EngineReport } from './engine-protocol.ts'

export interface EmbeddedEngine extends Component, Required<Connection> {
  /** The engine's process, while it runs. */
  readonly pid: number | undefined
}

export interface EmbeddedEngineConfig {
  /** Made if missing; one engine a directory. */
  dataDir: string
  /** Queries that run at the same time. */
  sessions?: number
  /** Queries that may wait for a session. */
  queue?: number
  /** Between a crash and the next start at most, after many in a row. */
  lastDelayMs?: number
  /** What the engine may use of the machine's memory. */
  maxMemoryBytes?: number
}

/** From the order to open until the first query may come: many parts take their time to load. */
const openDeadlineMs = 120_000
const stopDeadlineMs = 10_000
const firstDelayMs = 100
const usualLastDelayMs = 10_000
/** An engine that ran this long crashed for a new reason. */
const settledMs = 60_000
const keptLines = 20

export function createEmbeddedEngine(
  deps: { log: Log; metrics: Metrics },
  config: EmbeddedEngineConfig,
): EmbeddedEngine {
  const dataDir = resolve(config.dataDir)
  const sessions = config.sessions ?? 4
  const username = 'keepwatch'
  const password = randomBytes(24).toString('hex')
  const waiting = new Set<(ready: boolean) => void>()
  let child: ChildProcess | undefined
  let state: 'stopped' | 'starting' | 'ready' | 'stopping' = 'stopped'
  let port = 0
  let delayMs = firstDelayMs
  let restart: NodeJS.Timeout | undefined
  let stopped: Promise<void> | undefined

  const crashes = new Counter({
    name: 'keepwatch_engine_crashes_total',
    help: 'How often the process of the embedded engine ended by itself.',
    registers: [deps.metrics],
  })
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `keepwatch_engine_${name}`, help, registers: [deps.metrics] })
  const running = gauge('running_queries', 'Queries that the embedded engine works on.')
  const queued = gauge('queued_queries', 'Queries that wait for a session of the embedded engine.')
  const memory = gauge('memory_bytes', 'Resident memory of the embedded engine.')

  /** Resolves when the engine serves. @throws if it ends before, in its own words */
  async function launch() {
    const started = spawn(process.execPath, [processFile()], {
      // In a session of its own Ctrl-C in a terminal does not reach it.
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
      // A thread for each session, one for control, and some for files.
      env: { PATH: process.env.PATH, TZ: 'UTC', UV_THREADPOOL_SIZE: String(sessions + 5) },
    } as Parameters<typeof spawn>[2] & object)
    child = started
    yieldToOthers(started)
    const lastLines: string[] = []
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      lastLines.push(...text.split('\n').filter(line => line !== ''))
      lastLines.splice(0, lastLines.length - keptLines)
    })
    const startedAt = performance.now()
    await new Promise<void>((resolve, reject) => {
      let settled = false
      const late = setTimeout(() => started.kill('SIGKILL'), openDeadlineMs)
      started.on('error', () => {})
      started.on('message', (message: EngineReport) => {
        if (message.type === 'load') {
          running.set(message.running)
          queued.set(message.queued)
          memory.set(message.memoryBytes)
          return
        }
        clearTimeout(late)
        settled = true
        port = message.port
        if (state === 'starting') becomeReady()
        resolve()
      })
      started.once('close', (code, signal) => {
        clearTimeout(late)
        child = undefined
        for (const value of [running, queued, memory]) value.set(0)
        const reason = lastLines.join('\n')
        if (!settled) {
          reject(new Error(`the embedded engine ended (${signal ?? code}): ${reason}`))
          return
        }
        if (state === 'stopping' || state === 'stopped') return
        if (performance.now() - startedAt > settledMs) delayMs = firstDelayMs
        crashed({ code, signal, lastLines })
      })
      tell(started, {
        type: 'open',
        dataDir,
        sessions,
        queue: config.queue ?? 64,
        maxMemoryBytes: config.maxMemoryBytes ?? 1024 ** 3,
        port,
        username,
        password,
      })
    })
  }

  function becomeReady() {
    state = 'ready'
    for (const resume of waiting) resume(true)
    waiting.clear()
  }

  function crashed(detail: Record<string, unknown>) {
    state = 'starting'
    crashes.inc()
    deps.log.warn({ ...detail, againInMs: delayMs }, 'the embedded engine ended by itself')
    restart = setTimeout(() => {
      launch().catch((error: Error) => {
        if (state === 'starting') crashed({ error: error.message })
      })
    }, delayMs)
    delayMs = Math.min(2 * delayMs, config.lastDelayMs ?? usualLastDelayMs)
  }

  function tell(to: ChildProcess, order: EngineOrder) {
    // A process that has ended by now says so by `close`.
    to.send(order, () => {})
  }

  async function end() {
    state = 'stopping'
    clearTimeout(restart)
    for (const resume of waiting) resume(false)
    waiting.clear()
    const ending = child
    if (ending) {
      const closed = new Promise<void>(resolve => ending.once('close', () => resolve()))
      tell(ending, { type: 'stop' })
      const late = setTimeout(() => ending.kill('SIGKILL'), stopDeadlineMs)
      await closed
      clearTimeout(late)
    }
    state = 'stopped'
  }

  return {
    username,
    password,
    get url() {
      return `http://127.0.0.1:${port}`
    },
    get pid() {
      return child?.pid
    },
    async start() {
      if (state !== 'stopped') throw new Error('the embedded engine has been started already')
      state = 'starting'
      delayMs = firstDelayMs
      mkdirSync(dataDir, { recursive: true, mode: 0o700 })
      try {
        await launch()
      } catch (error) {
        state = 'stopped'
        throw error
      }
      deps.log.info({ pid: child?.pid, dataDir, sessions }, 'the embedded engine serves')
    },
    async stop() {
      stopped ??= end().finally(() => {
        stopped = undefined
      })
      await stopped
    },
    available(withinMs) {
      if (state === 'ready') return Promise.resolve(true)
      if (state !== 'starting') return Promise.resolve(false)
      return new Promise(resolve => {
        const resume = (ready: boolean) => {
          clearTimeout(late)
          waiting.delete(resume)
          resolve(ready)
        }
        const late = setTimeout(resume, withinMs, false)
        waiting.add(resume)
      })
    },
  }
}

/** On a busy machine, receiving and taking over come before merging and searching. */
function yieldToOthers({ pid }: ChildProcess) {
  if (pid === undefined) return
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // It has ended already, which is said elsewhere.
  }
}

/** The process's file beside this one: `.ts` as it is, `.js` when compiled. */
function processFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fileURLToPath(new URL(`./engine-process.${extension}`, import.meta.url))
}
