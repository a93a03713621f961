/** A command of the operator's own that is told when an address is taken and dropped: for clouds. */
import { spawn } from 'node:child_process'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { AddressAdapter } from './address.ts'
import type { AddressMeter } from './meter.ts'

export interface HookDeps {
  clock: Clock
  log: Log
  meter: AddressMeter
  /** What goes into KEEPWATCH_ADDRESSES, as people write it. */
  addresses(): readonly string[]
}

export interface HookConfig {
  /** Program and arguments; `take` or `drop` is added as the last one. */
  command: readonly string[]
  /** After it the command, and what it has started, is ended. */
  deadlineMs: number
  /** This server's name. */
  server: string
}

type HookEvent = 'take' | 'drop'

/** So long a take or a drop waits for the command at most; it may then go on until its deadline. */
const patienceMs = 1000
const keptBytes = 4096
const firstRetryMs = 5000
const lastRetryMs = 60_000

export interface HookedAdapter extends AddressAdapter {
  /** Calls it with `take` once more if it was the last call: the addresses have changed. */
  again(): Promise<void>
}

/**
 * Calls the command with `take` once the adapter has taken, and with `drop` once it has dropped; each
 * change once, one call after another. It is given KEEPWATCH_EVENT, KEEPWATCH_SERVER, KEEPWATCH_TERM
 * and KEEPWATCH_ADDRESSES, and must change only what concerns its own server: its `drop` may come to
 * an end after the other server's `take`. A `take` that fails is called again; a `drop` is not.
 */
export function withHook(
  adapter: AddressAdapter,
  config: HookConfig,
  deps: HookDeps,
): HookedAdapter {
  const { clock, log, meter } = deps
  /** What the command was last told. */
  let told: { event: HookEvent; term: number } | undefined
  let turn: Promise<void> = Promise.resolve()
  let fault: string | undefined
  let retrying: NodeJS.Timeout | undefined
  let retryMs = firstRetryMs

  /** Calls it after what was called before, and waits for it a little. */
  async function tell(event: HookEvent, term: number, mostMs = patienceMs): Promise<void> {
    const mine = { event, term }
    told = mine
    clearTimeout(retrying)
    const called = turn.then(async () => {
      // What was overtaken before it began is of no use any more.
      if (told === mine) await callOnce(mine)
    })
    turn = called
    let late: NodeJS.Timeout | undefined
    const enough = new Promise<void>(resolve => {
      late = setTimeout(resolve, mostMs)
    })
    await Promise.race([called, enough])
    clearTimeout(late)
  }

  async function callOnce(mine: { event: HookEvent; term: number }) {
    const { event, term } = mine
    const began = clock.monotonic()
    const failure = await call(event, term)
    const ms = Math.round(clock.monotonic() - began)
    if (failure === undefined) {
      log.info({ event, term, ms }, 'the hook was called')
      if (told === mine) fault = undefined
      retryMs = firstRetryMs
      return
    }
    meter.tally.count('hook', () => ({ event, term, ms, ...failure }))
    if (told !== mine) return
    fault = `the hook failed at ${event}: ${failure.reason}`
    if (event === 'drop') return
    retrying = setTimeout(() => void tell(event, term), retryMs)
    retryMs = Math.min(2 * retryMs, lastRetryMs)
  }

  /** @returns why it failed and what it said, undefined if it did not */
  function call(
    event: HookEvent,
    term: number,
  ): Promise<{ reason: string; output: string } | undefined> {
    const [program, ...args] = config.command
    return new Promise(resolve => {
      const child = spawn(program!, [...args, event], {
        // A group of its own, so that what it starts ends with it.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...process.env,
          KEEPWATCH_EVENT: event,
          KEEPWATCH_SERVER: config.server,
          KEEPWATCH_TERM: String(term),
          KEEPWATCH_ADDRESSES: deps.addresses().join(' '),
        },
      })
      let output = ''
      let hung = false
      const keep = (chunk: Buffer) => {
        output = `${output}${chunk}`.slice(-keptBytes)
      }
      child.stdout.on('data', keep)
      child.stderr.on('data', keep)
      const late = setTimeout(() => {
        hung = true
        // Pipes that a stray grandchild keeps open are not waited for.
        child.stdout.destroy()
        child.stderr.destroy()
        try {
          process.kill(-child.pid!, 'SIGKILL')
        } catch {
          // It has just ended.
        }
      }, config.deadlineMs)
      child.once('error', error => {
        clearTimeout(late)
        resolve({ reason: `${program} cannot be started: ${error.message}`, output })
      })
      child.once('close', (code, signal) => {
        clearTimeout(late)
        if (hung) resolve({ reason: `not finished in ${config.deadlineMs} ms`, output })
        else if (code === 0) resolve(undefined)
        else
          resolve({ reason: `${signal ?? `exit code ${code}`} ${lastLine(output)}`.trim(), output })
      })
    })
  }

  async function dropped(): Promise<void> {
    if (told?.event === 'take') await tell('drop', told.term)
  }

  return {
    start: () => adapter.start(),

    async stop() {
      try {
        await adapter.stop()
      } finally {
        await dropped()
        clearTimeout(retrying)
        // Bounded by the command's deadline.
        await turn
        told = undefined
      }
    },

    async take(term) {
      const began = clock.monotonic()
      await adapter.take(term)
      if (told?.event === 'take' && told.term === term) return
      await tell('take', term, Math.max(0, patienceMs - (clock.monotonic() - began)))
    },

    async again() {
      if (told?.event === 'take') await tell('take', told.term)
    },

    async drop() {
      try {
        await adapter.drop()
      } finally {
        await dropped()
      }
    },

    hold: hold => adapter.hold(hold),

    status() {
      const status = adapter.status()
      const both = [status.fault, fault].filter(one => one !== undefined)
      return { ...status, fault: both.length > 0 ? both.join('; ') : undefined }
    },
  }
}

function lastLine(output: string): string {
  const line = output.trim().split('\n').at(-1) ?? ''
  return line === '' ? '' : `(${line.slice(0, 200)})`
}
