/**
 * The process that works in the shared folder. A folder on another machine can hang so that the
 * thread that asks it sleeps until the machine comes back, deaf to signals: here that costs this
 * process, and its parent puts another one in its place. It ends at once when its parent does.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { FolderUnusable, faultKindOf } from './fault.ts'
import type { FailureReport, FolderOrder, FolderReport } from './protocol.ts'
import { createFolderWork } from './work.ts'

/** The state of the spool's copy is told so often while it changes. */
const spoolEveryMs = 200

/** With what it has started: a git that writes on would be a writer nobody knows of. */
process.once('disconnect', () => process.kill(-process.pid, 'SIGKILL'))

const opened = Promise.withResolvers<ReturnType<typeof createFolderWork>>()
process.on('message', (order: FolderOrder) => {
  if (order.type === 'ask') return void carryOut(order)
  const writer = `${order.opening.server}-${randomBytes(6).toString('hex')}`
  const hung = () => report({ type: 'hung' })
  opened.resolve(createFolderWork({ hung }, { ...order.opening, writer }))
})

const work = await opened.promise
report({ type: 'ready' })
let told = ''
for (;;) {
  const spool = work.spool()
  const text = JSON.stringify(spool)
  if (spool !== undefined && text !== told) report({ type: 'spool', spool })
  told = text
  await sleep(spoolEveryMs)
}

async function carryOut({ id, what, ask }: FolderOrder & { type: 'ask' }) {
  try {
    const { does } = await opened.promise
    // Each name has its own form of question; the compiler has checked it where it was asked.
    const answer = await (does[what] as (ask: unknown) => Promise<unknown>)(ask)
    report({ type: 'answer', id, answer })
  } catch (error) {
    report({ type: 'failure', id, failure: failureOf(error as NodeJS.ErrnoException) })
  }
}

function failureOf(error: NodeJS.ErrnoException): FailureReport {
  const { message } = error
  if (!(error instanceof FolderUnusable)) {
    // An error without a code is a defect, or git's; it says nothing about the folder.
    const fault = error.code === undefined ? undefined : faultKindOf(error.code)
    return { fault, kind: 'failed', message }
  }
  switch (error.kind) {
    case 'absent':
    case 'superseded':
    case 'damaged':
      return { fault: undefined, kind: error.kind, message }
    case 'busy':
    case 'off':
      return { fault: undefined, kind: 'failed', message }
    default:
      return { fault: error.kind, kind: 'failed', message }
  }
}

function report(message: FolderReport) {
  // A parent that is gone is noticed by `disconnect`.
  process.send?.(message, () => {})
}
