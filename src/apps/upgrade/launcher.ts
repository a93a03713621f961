/**
 * The process that a machine's service manager starts: runs the current version of the program,
 * starts it again when it ends, changes to another version when it asks for it, and goes back when
 * that one does not prove itself. Small and slow to change, because it outlives the versions it runs.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Component } from '../../lib/component.ts'
import type { Home } from './home.ts'

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
    let restartMs = firstRestartMs
    while (!stopping.signal.aborted) {
      const version = home.current()
      if (version === undefined) throw new Error(`${home.path}/current names no version`)
      const began = performance.now()
      const trial = home.trial()
      const onTrial = trial?.version === version ? trial : undefined
      const { how, again } = await runOnce(version, onTrial !== undefined)
      if (stopping.signal.aborted) return
      if (onTrial !== undefined && home.trial() !== undefined && !again) {
        say(`version ${version} did not prove itself (${how}); going back to ${onTrial.previous}`)
        home.rollBack(onTrial, how)
        continue
      }
      if (again) continue
      if (performance.now() - began > steadyMs) restartMs = firstRestartMs
      say(`keepwatch ${version} ended (${how}); starting it again in ${restartMs / 1000} s`)
      await sleep(restartMs, undefined, { signal: stopping.signal }).catch(() => {})
      restartMs = Math.min(2 * restartMs, slowestRestartMs)
    }
  }

  /** @returns how it ended, and whether it asked to be started again */
  async function runOnce(version: string, onTrial: boolean) {
    const { node, main } = home.program(version)
    let last = ''
    const started = spawn(node, ['--disable-warning=ExperimentalWarning', main, ...config.args], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      env: { ...process.env, KEEPWATCH_HOME: home.path },
    })
    child = started
    started.stderr!.on('data', (chunk: Buffer) => {
      process.stderr.write(chunk)
      last = (last + chunk).slice(-keptOutput)
    })
    let late: NodeJS.Timeout | undefined
    let overdue = false
    if (onTrial) {
      late = setTimeout(() => {
        overdue = true
        started.kill('SIGKILL')
      }, config.trialMs)
    }
    started.on('message', message => {
      if ((message as Partial<ProvenMessage>).proven !== version) return
      clearTimeout(late)
      home.confirm()
    })
    const code = await new Promise<number | string>(resolve => {
      started.once('error', error => resolve(error.message))
      started.once('exit', (code, signal) => resolve(signal ?? code ?? 'unknown'))
    })
    clearTimeout(late)
    child = undefined
    const said = lastLine(last)
    const why = overdue
      ? `not ready within ${config.trialMs / 1000} s`
      : typeof code === 'number'
        ? `exit code ${code}`
        : code
    return { how: said ? `${why}: ${said}` : why, again: code === startAgain }
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

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 500) ?? ''
}
