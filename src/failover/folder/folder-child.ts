/** One process that works in the shared folder, as its parent has it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type FaultKind, FolderUnusable } from './fault.ts'
import type {
  FolderOpening,
  FolderOrder,
  FolderReport,
  FolderWork,
  SpoolCopyState,
} from './protocol.ts'

export interface FolderChild {
  /**
   * @param withinMs then the folder counts as hung, and this process as lost
   * @throws FolderUnusable
   */
  request<Name extends keyof FolderWork>(
    what: Name,
    ask: FolderWork[Name]['ask'],
    withinMs: number,
  ): Promise<FolderWork[Name]['answer']>
  /** Kills it, and what it has started; does not wait. What it was asked rejects. */
  end(reason: FolderUnusable): void
  /** Resolves when the process is gone, which may be long after `end`. */
  readonly gone: Promise<void>
}

export interface FolderEvents {
  spool(state: SpoolCopyState): void
  /** A request has not come back within its time; the process is of no more use. */
  hung(): void
  /** It ended although nobody asked it to. */
  ended(reason: string): void
  /** What a request's failure says of the folder. */
  fault(kind: FaultKind, message: string): void
}

/** Requests under way; what comes beyond is refused at once. */
const maxRequests = 64
const keptComplaint = 1000
/** From the start of the process until it listens, on a machine that is busy. */
const startMs = 60_000

export function startFolderChild(events: FolderEvents, opening: FolderOpening): FolderChild {
  const waiting = new Map<
    number,
    { settle: (report: FolderReport) => void; fail(e: Error): void }
  >()
  let nextId = 0
  let over: FolderUnusable | undefined
  let complaint = ''
  const child: ChildProcess = spawn(process.execPath, [processFile()], {
    // A group of its own: it can be ended with the git that it started. And a working folder that
    // does not hang.
    detached: true,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced',
    env: { PATH: process.env.PATH, TZ: 'UTC', UV_THREADPOOL_SIZE: '16' },
  })
  const gone = new Promise<void>(resolve => {
    child.once('exit', () => resolve())
    child.once('error', () => child.pid === undefined && resolve())
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-keptComplaint)
  })
  child.on('error', error => finish(error.message))
  child.once('exit', (code, signal) => finish(`${signal ?? code} ${complaint.trim()}`))
  child.on('message', (report: FolderReport) => {
    if (over !== undefined) return
    clearTimeout(slow)
    if (report.type === 'spool') events.spool(report.spool)
    else if (report.type === 'hung') events.hung()
    else if (report.type === 'ready') ready.resolve()
    else waiting.get(report.id)?.settle(report)
  })
  /** Only what comes after it is the folder's time. */
  const ready = Promise.withResolvers<void>()
  const slow = setTimeout(() => finish('it did not start'), startMs)
  tell({ type: 'open', opening })

  function tell(order: FolderOrder) {
    // A process that has ended by now says so by `exit`.
    child.send(order, () => {})
  }

  function finish(reason: string) {
    if (over !== undefined) return
    end(new FolderUnusable('process-failed', `the folder’s process ended: ${reason}`))
    events.ended(reason)
  }

  function end(reason: FolderUnusable) {
    if (over !== undefined) return
    over = reason
    clearTimeout(slow)
    for (const { fail } of waiting.values()) fail(reason)
    waiting.clear()
    // In uninterruptible sleep it outlives this, and nobody waits for it.
    child.unref()
    child.stderr?.destroy()
    if (child.connected) child.disconnect()
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }

  return {
    gone,
    end,
    request(what, ask, withinMs) {
      if (over !== undefined) return Promise.reject(over)
      if (waiting.size >= maxRequests) {
        return Promise.reject(new FolderUnusable('busy', 'too much is asked of the shared folder'))
      }
      const id = nextId++
      return new Promise((resolve, reject) => {
        let late: NodeJS.Timeout | undefined
        void ready.promise.then(() => {
          if (waiting.has(id)) late = setTimeout(events.hung, withinMs)
        })
        const finished = () => {
          clearTimeout(late)
          waiting.delete(id)
        }
        waiting.set(id, {
          fail(error) {
            finished()
            reject(error)
          },
          settle(report) {
            finished()
            if (report.type === 'answer') {
              resolve(report.answer as FolderWork[typeof what]['answer'])
            } else if (report.type === 'failure') {
              const { fault, kind, message } = report.failure
              if (fault !== undefined) events.fault(fault, message)
              reject(new FolderUnusable(kind === 'failed' ? (fault ?? 'failed') : kind, message))
            }
          },
        })
        tell({ type: 'ask', id, what, ask } as FolderOrder)
      })
    },
  }
}

/** The process's file beside this one: `.ts` as it is, `.js` when compiled. */
function processFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fileURLToPath(new URL(`./folder-process.${extension}`, import.meta.url))
}
