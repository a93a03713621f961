/** A folder and processes that do not outlive the bench, however it ends. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Workshop {
  readonly dir: string
  /** What is started goes before other programs of this machine: only root may ask for it. */
  readonly preferred: boolean
  start(command: string, args: string[], options?: SpawnOptions): ChildProcess
  /** Before everything else that was started, if that is allowed. */
  preferMost(child: ChildProcess): void
}

/** As nice(2) counts. */
const niceness = { all: -10, most: -15 }

/** Kept until the process exits; then everything that was started is killed and the folder removed. */
export function openWorkshop(): Workshop {
  const dir = mkdtempSync(join(tmpdir(), 'keepwatch-bench-'))
  const running = new Set<ChildProcess>()
  const preferred = prefer(0, niceness.all)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130))
  }
  process.on('disconnect', () => process.exit(1))
  process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  })
  return {
    dir,
    preferred,
    preferMost(child) {
      if (!preferred) return
      prefer(child.pid!, niceness.most)
      preferSession(child.pid, niceness.most)
    },
    start(command, args, options = {}) {
      // A session of its own, since Linux weighs sessions against each other (sched(7), autogroup).
      const child = spawn(command, args, { ...options, detached: true })
      if (preferred) preferSession(child.pid, niceness.all)
      running.add(child)
      child.once('exit', () => running.delete(child))
      child.once('error', () => running.delete(child))
      return child
    },
  }
}

function prefer(pid: number, nice: number): boolean {
  try {
    setPriority(pid, nice)
    return true
  } catch {
    return false
  }
}

function preferSession(pid: number | undefined, nice: number) {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice))
  } catch {
    // A kernel without sessions' groups needs nothing more than the processes' own niceness.
  }
}

const stopDeadlineMs = 30_000

/** Asks a process to end. @throws if it does not in time, and then it is killed */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  const killer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs)
  child.kill('SIGTERM')
  await exited
  clearTimeout(killer)
  if (child.signalCode === 'SIGKILL') throw new Error(`${child.spawnfile} did not stop when asked`)
}

/** The next message of a child. @throws if it ends or stays silent for too long */
export async function messageFrom<T>(child: ChildProcess, deadlineMs: number): Promise<T> {
  const done = new AbortController()
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(deadlineMs)])
  try {
    return await Promise.race([
      once(child, 'message', { signal }).then(([message]) => message as T),
      once(child, 'exit', { signal }).then(() => {
        throw new Error(`${child.spawnargs.join(' ')} ended`)
      }),
    ])
  } finally {
    done.abort()
  }
}
