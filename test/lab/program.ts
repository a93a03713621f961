/** A program in a host of the lab, started again when it ends, as a service manager would. */
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Host } from './network.ts'

const readyDeadlineMs = 120_000
const stopDeadlineMs = 30_000
/** As `RestartSec` of the service file. */
const restartMs = 1000

export interface Program {
  /** Undefined while it does not run. */
  readonly pid: number | undefined
  readonly logFile: string
  /** How often it ended without being asked. */
  readonly ends: number
  /** Resolves when it has said that it is ready. */
  start(): Promise<void>
  /** Ends it as `kill -9`; it comes again after a second unless it is `off`. */
  kill(): void
  /** Kills it and leaves it so until `start`. */
  off(): Promise<void>
  /** Asks it to stop, and leaves it so. @throws if it does not */
  stop(): Promise<void>
  freeze(): void
  thaw(): void
  /** Resolves when it is ready, also after it was started again. */
  ready(): Promise<void>
  logLines(): string[]
}

/** @param options.command says that it is ready by a message over the channel of Node */
export function createProgram(
  host: Host,
  options: {
    name: string
    logFile: string
    command(): { file: string; args: string[]; env?: NodeJS.ProcessEnv }
    /** Milliseconds until it is started again; never if undefined. */
    restartMs?: number | undefined
  },
): Program {
  const { name, logFile } = options
  const again = 'restartMs' in options ? options.restartMs : restartMs
  let child: ChildProcess | undefined
  let ready = Promise.withResolvers<void>()
  ready.promise.catch(() => {})
  let settled = false
  let wanted = false
  let ends = 0
  let timer: NodeJS.Timeout | undefined
  let ended: Promise<void> = Promise.resolve()

  function launch() {
    const { file, args, env } = options.command()
    const log = openSync(logFile, 'a')
    const started = host.spawn(file, args, {
      stdio: ['ignore', log, log, 'ipc'],
      env: { ...process.env, ...env },
    })
    closeSync(log)
    child = started
    started.once('message', () => {
      settled = true
      ready.resolve()
    })
    ended = new Promise(resolve => {
      started.once('error', fail)
      started.once('exit', () => {
        if (child === started) child = undefined
        resolve()
        if (!wanted) return
        ends++
        if (again === undefined) {
          fail(new Error(`${name} ended\n${tail()}`))
          return
        }
        renew()
        timer = setTimeout(launch, again)
      })
    })
  }

  function fail(error: Error) {
    settled = true
    ready.reject(error)
  }

  /** Who waits already, waits for the next start. */
  function renew() {
    if (!settled) return
    settled = false
    ready = Promise.withResolvers<void>()
    ready.promise.catch(() => {})
  }

  function tail(): string {
    return readFileSync(logFile, 'utf8').split('\n').slice(-40).join('\n')
  }

  async function untilReady() {
    const late = new AbortController()
    try {
      await Promise.race([
        ready.promise,
        sleep(readyDeadlineMs, undefined, { signal: late.signal }).then(() => {
          throw new Error(`${name} was not ready within ${readyDeadlineMs / 1000} s\n${tail()}`)
        }),
      ])
    } finally {
      late.abort()
    }
  }

  async function endBy(signal: NodeJS.Signals) {
    wanted = false
    clearTimeout(timer)
    const running = child
    renew()
    if (!running) return
    running.kill('SIGCONT')
    running.kill(signal)
    const late = new AbortController()
    const inTime = await Promise.race([
      ended.then(() => true),
      sleep(stopDeadlineMs, false, { signal: late.signal }).catch(() => true),
    ])
    late.abort()
    if (inTime) return
    running.kill('SIGKILL')
    await ended
    throw new Error(`${name} did not stop\n${tail()}`)
  }

  return {
    logFile,
    get pid() {
      return child?.pid
    },
    get ends() {
      return ends
    },
    async start() {
      if (wanted) return untilReady()
      wanted = true
      launch()
      await untilReady()
    },
    kill: () => void child?.kill('SIGKILL'),
    off: () => endBy('SIGKILL'),
    stop: () => endBy('SIGTERM'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    ready: untilReady,
    logLines: () => readFileSync(logFile, 'utf8').split('\n').slice(0, -1),
  }
}
