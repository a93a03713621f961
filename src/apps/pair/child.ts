import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, renameSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Component } from '../../lib/component.ts'

/** What a part says over its channel once it serves. */
export interface ReadyMessage {
  ready: Record<string, unknown>
}

/** A part of the deployment in a process of its own, started again when it ends by itself. */
export interface Child extends Component {
  readonly name: string
  /** Of the process that serves now. */
  readonly pid: number | undefined
  /** What it said when it was ready. */
  readonly ready: Record<string, unknown> | undefined
}

const startDeadlineMs = 60_000
const stopDeadlineMs = 15_000
const firstRestartMs = 1000
const slowestRestartMs = 30_000
/** Having run so long, it starts again without growing delay. */
const steadyMs = 60_000
const largestLog = 20 * 1024 * 1024

/** @param config.args of the program itself; its output goes to `logFile` */
export function createChild(
  deps: { say(line: string): void; onPid(): void },
  config: { name: string; args: string[]; logFile: string },
): Child {
  let child: ChildProcess | undefined
  let ready: Record<string, unknown> | undefined
  let stopped = true
  let restartMs = firstRestartMs
  let ended: Promise<void> = Promise.resolve()
  const restarts = new AbortController()

  /** Resolves when it serves, rejects when it ends before. */
  function launch(): Promise<void> {
    rotate(config.logFile)
    const log = openSync(config.logFile, 'a')
    const began = performance.now()
    // A group of its own: Ctrl-C in the terminal is for the pair, which stops its parts in order.
    const started = spawn(
      process.execPath,
      [...process.execArgv, process.argv[1]!, ...config.args],
      {
        stdio: ['ignore', log, log, 'ipc'],
        detached: true,
      },
    )
    closeSync(log)
    child = started
    ready = undefined
    deps.onPid()
    const serving = Promise.withResolvers<void>()
    started.on('message', message => {
      ready = (message as ReadyMessage).ready
      serving.resolve()
    })
    started.on('error', serving.reject)
    ended = new Promise(resolve => {
      started.on('exit', (code, signal) => {
        const how = signal ?? `exit code ${code}`
        serving.reject(new Error(`${config.name} ended (${how}); see ${config.logFile}`))
        if (child === started) child = undefined
        resolve()
        if (!stopped) {
          if (performance.now() - began > steadyMs) restartMs = firstRestartMs
          void restart(how)
        }
      })
    })
    return serving.promise
  }

  async function restart(how: string) {
    deps.say(`${config.name} ended (${how}); starting it again in ${restartMs / 1000} s`)
    await sleep(restartMs, undefined, { signal: restarts.signal }).catch(() => {})
    restartMs = Math.min(2 * restartMs, slowestRestartMs)
    if (stopped) return
    await launch().then(
      () => deps.say(`${config.name} runs again (pid ${child?.pid})`),
      () => {},
    )
  }

  return {
    name: config.name,
    get pid() {
      return child?.pid
    },
    get ready() {
      return ready
    },
    async start() {
      stopped = false
      const late = new AbortController()
      try {
        await Promise.race([
          launch(),
          sleep(startDeadlineMs, undefined, { signal: late.signal }).then(() => {
            throw new Error(`${config.name} did not start within a minute; see ${config.logFile}`)
          }),
        ])
      } finally {
        late.abort()
      }
    },
    async stop() {
      stopped = true
      restarts.abort()
      const stopping = child
      if (!stopping) return
      stopping.kill('SIGTERM')
      // One that was frozen has to run to hear it.
      stopping.kill('SIGCONT')
      const killer = setTimeout(() => {
        deps.say(`${config.name} does not stop; killing it`)
        stopping.kill('SIGKILL')
      }, stopDeadlineMs)
      await ended
      clearTimeout(killer)
    },
  }
}

function rotate(file: string) {
  if (existsSync(file) && statSync(file).size > largestLog) renameSync(file, `${file}.1`)
}
