/**
 * The process that a machine's service manager starts: runs the current version of the program,
 * starts it again when it ends, changes to another version when it asks for it, and goes back when
 * that one does not prove itself. Small and slow to change, because it outlives the versions it runs.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Component } from '../../lib/component.ts'
import type { Home, Trial } from './home.ts'

/** With this exit code the program asks to be started again, by then perhaps in another version. */
export const startAgain = 75

/** What a program says when it could do its work; with it a version on trial has proven itself. */
export interface ProvenMessage {
  proven: string
}

const firstRestartMs = 1000
const slowestRestartMs = 30_000
const steadyMs = 60_000
const stopDeadlineMs = 20_000
/** A version on trial that was killed may be without blame: it is started so often in all. */
const mostStarts = 2
const askEveryMs = 100
/** A launcher that was just killed is there for a moment longer. */
const dyingMs = 2000
const keptOutput = 4000

export function createLauncher(
  deps: { home: Home; say(line: string): void },
  config: { args: readonly string[]; trialMs: number },
): Component & { readonly ended: Promise<void> } {
  const { home, say } = deps
  const stopping = new AbortController()
  let child: ChildProcess | undefined
  let running: Promise<void> | undefined

  async function run() {
    await predecessorEnded()
    let restartMs = firstRestartMs
    while (!stopping.signal.aborted) {
      const version = home.current()
      if (version === undefined) throw new Error(`${home.path}/current names no version`)
      const began = performance.now()
      const noted = home.trial()
      const trial = noted?.version === version ? home.started(noted) : undefined
      const { how, ending } = await runOnce(version, trial)
      if (stopping.signal.aborted) return
      if (ending === 'again') continue
      if (trial !== undefined && home.trial() !== undefined) {
        if (ending === 'killed' && trial.starts < mostStarts) {
          say(`version ${version}, on trial, was killed (${how}); starting it once more`)
          continue
        }
        say(`version ${version} did not prove itself (${how}); going back to ${trial.previous}`)
        home.rollBack(trial, how)
        continue
      }
      if (performance.now() - began > steadyMs) restartMs = firstRestartMs
      say(`keepwatch ${version} ended (${how}); starting it again in ${restartMs / 1000} s`)
      await sleep(restartMs, undefined, { signal: stopping.signal }).catch(() => {})
      restartMs = Math.min(2 * restartMs, slowestRestartMs)
    }
  }

  /** @returns how it ended: by a request to be started again, killed by somebody, or by itself */
  async function runOnce(version: string, trial: Trial | undefined) {
    let last = ''
    let overdue = false
    let late: NodeJS.Timeout | undefined
    const ended = Promise.withResolvers<number | string>()
    try {
      const { node, main } = home.program(version)
      const started = spawn(node, ['--disable-warning=ExperimentalWarning', main, ...config.args], {
        stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
        env: { ...process.env, KEEPWATCH_HOME: home.path },
      })
      child = started
      started.once('error', error => ended.resolve(error.message))
      // Not `exit`: its last words come after that.
      started.once('close', (code, signal) => ended.resolve(signal ?? code ?? 'unknown'))
      started.stderr!.on('data', (chunk: Buffer) => {
        process.stderr.write(chunk)
        last = (last + chunk).slice(-keptOutput)
      })
      started.on('message', message => {
        if ((message as Partial<ProvenMessage>).proven !== version) return
        clearTimeout(late)
        home.confirm()
      })
      if (started.pid !== undefined) home.runs({ pid: started.pid, launcher: process.pid })
      if (trial !== undefined) {
        late = setTimeout(() => {
          overdue = true
          started.kill('SIGKILL')
        }, config.trialMs)
      }
    } catch (error) {
      ended.resolve((error as Error).message)
    }
    const code = await ended.promise
    clearTimeout(late)
    child = undefined
    const said = lastWords(last)
    const why = overdue
      ? `not ready within ${config.trialMs / 1000} s`
      : typeof code === 'number'
        ? `exit code ${code}`
        : code
    const how = said ? `${why}: ${said}` : why
    if (code === startAgain) return { how, ending: 'again' } as const
    return { how, ending: code === 'SIGKILL' && !overdue ? 'killed' : 'by itself' } as const
  }

  /** What a launcher that was killed had started stops by itself; it still has the ports and locks. */
  async function predecessorEnded() {
    const left = home.running()
    if (left === undefined || left.launcher === process.pid || !isOf(left.pid)) return
    say(`waiting for process ${left.pid}, which the launcher ${left.launcher} has started, to end`)
    const began = performance.now()
    while (isOf(left.pid) && !stopping.signal.aborted) {
      const waited = performance.now() - began
      if (parentOf(left.pid) !== left.launcher) {
        if (waited > stopDeadlineMs) kill(left.pid)
      } else if (waited > dyingMs) {
        throw new Error(`the launcher ${left.launcher} runs ${home.path} already`)
      }
      await sleep(askEveryMs)
    }
  }

  /** The number may have been given to another program since. */
  function isOf(pid: number): boolean {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${home.path}/versions/`)
    } catch {
      return false
    }
  }

  return {
    async start() {
      running = run()
      // What cannot even begin is told by `ended`.
      running.catch(() => {})
    },
    async stop() {
      stopping.abort()
      const ending = child
      ending?.kill('SIGTERM')
      const killer = setTimeout(() => ending?.kill('SIGKILL'), stopDeadlineMs)
      await running?.catch(() => {})
      clearTimeout(killer)
    },
    get ended() {
      return running ?? Promise.resolve()
    },
  }
}

/** The last line that is no note of what goes well: a log line says its level. */
function lastWords(text: string): string | undefined {
  const lines = text.split('\n').flatMap(line => {
    if (!line.startsWith('{')) return line.trim() === '' ? [] : [line.trim()]
    try {
      const { level, msg } = JSON.parse(line)
      return level === 'error' || level === 'fatal' ? [String(msg)] : []
    } catch {
      // The beginning of it was not kept.
      return []
    }
  })
  return lines.at(-1)?.slice(0, 500)
}

function parentOf(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/^PPid:\s*(\d+)$/m.exec(status)?.[1])
  } catch {
    return undefined
  }
}

function kill(pid: number) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}
