/**
 * Sealing: a batch's Native block is compressed off the main thread and appended to the spool, in
 * order per kind. What waits is bounded in bytes; beyond the bound a block is given up and counted,
 * and before that `congested` asks those who can wait to wait.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import { createTally } from '../lib/tally.ts'
import type { Kind } from '../telemetry/table.ts'
import type { Compressor } from './compressor.ts'
import type { Manifest } from './manifest.ts'
import type { Sealed } from './segment.ts'
import type { Spool } from './spool.ts'

export interface SealerConfig {
  /** Bytes that may wait for the disk. */
  maxWaitingBytes: number
}

export interface Block {
  kind: Kind
  native: Uint8Array
  rows: number
  firstMs: number
  lastMs: number
  manifest?: Manifest | undefined
}

export interface Sealer {
  /**
   * Takes a block; `onSealed` is called with its sequence when it is on disk, and never if it is
   * given up.
   */
  seal(block: Block, onSealed?: (sequence: number) => void): void
  /** More than half of the bound waits; `onRelief` is called when it is less than a quarter. */
  readonly congested: boolean
  /** Rows given up by kind: the disk refused them for too long. */
  readonly lostRows: ReadonlyMap<Kind, number>
  readonly problems: ReadonlyMap<string, number>
  /** Resolves when nothing waits any more, or after `deadlineMs`, when what waits is given up. */
  drain(deadlineMs: number): Promise<void>
}

type SealProblem = 'write-failed' | 'memory-full' | 'not-compressed' | 'not-sealed-at-stop'

const retryMs = { first: 100, most: 2000 }

export function createSealer(
  deps: {
    spool: Pick<Spool, 'append'>
    compressor: Pick<Compressor, 'compress' | 'giveBack'>
    log: Log
    metrics: Metrics
    clock: Clock
    onRelief: () => void
    /** Told when a block's memory is no longer needed. */
    onCompressed?: (native: Uint8Array) => void
  },
  config: SealerConfig,
): Sealer {
  const tally = createTally<SealProblem>(deps, {
    name: 'seal_problems',
    help: 'Batches that could not be sealed at once, by reason.',
  })
  const tails = new Map<Kind, Promise<void>>()
  const lostRows = new Map<Kind, number>()
  const givingUp = new AbortController()
  let waitingBytes = 0
  let congested = false

  async function compress(native: Uint8Array): Promise<Uint8Array> {
    try {
      return await deps.compressor.compress(native)
    } finally {
      deps.onCompressed?.(native)
    }
  }

  async function append(kind: Kind, sealed: Sealed): Promise<number | undefined> {
    for (let wait = retryMs.first; ; wait = Math.min(2 * wait, retryMs.most)) {
      if (givingUp.signal.aborted) return undefined
      try {
        return await deps.spool.append(kind, sealed)
      } catch (error) {
        tally.count('write-failed', () => ({ kind, error: (error as Error).message }))
      }
      await sleep(wait, undefined, { signal: givingUp.signal }).catch(() => {})
    }
  }

  /** Does not hold on to the block itself, which is many times larger than its body. */
  async function sealInTurn(
    { kind, ...facts }: Omit<Block, 'native'> & { nativeBytes: number },
    compressed: Promise<Uint8Array>,
    before: Promise<void>,
    onSealed?: (sequence: number) => void,
  ) {
    let held = facts.nativeBytes
    try {
      const body = await compressed
      release(held - body.length)
      held = body.length
      await before
      const sequence = await append(kind, { ...facts, body })
      deps.compressor.giveBack(body)
      if (sequence !== undefined) onSealed?.(sequence)
      else giveUp(kind, facts.rows, 'not-sealed-at-stop')
    } catch (error) {
      deps.log.error({ kind, error }, 'a batch could not be compressed')
      giveUp(kind, facts.rows, 'not-compressed')
    }
    release(held)
  }

  function release(bytes: number) {
    waitingBytes -= bytes
    if (!congested || waitingBytes > config.maxWaitingBytes / 4) return
    congested = false
    deps.onRelief()
  }

  function giveUp(kind: Kind, rows: number, reason: SealProblem) {
    lostRows.set(kind, (lostRows.get(kind) ?? 0) + rows)
    tally.count(reason, () => ({ kind, rows }))
  }

  return {
    lostRows,
    problems: tally.totals,
    get congested() {
      return congested
    },
    seal({ native, ...facts }, onSealed) {
      const { kind } = facts
      const { length } = native
      if (waitingBytes + length > config.maxWaitingBytes || givingUp.signal.aborted) {
        giveUp(kind, facts.rows, 'memory-full')
        return
      }
      waitingBytes += length
      if (waitingBytes > config.maxWaitingBytes / 2) congested = true
      const before = tails.get(kind) ?? Promise.resolve()
      tails.set(
        kind,
        sealInTurn({ ...facts, nativeBytes: length }, compress(native), before, onSealed),
      )
    },
    async drain(deadlineMs) {
      const timer = setTimeout(() => givingUp.abort(), deadlineMs)
      // A file system that never answers must not keep the process: half a second more, then leave.
      const left = new AbortController()
      await Promise.race([
        Promise.all(tails.values()),
        sleep(deadlineMs + 500, undefined, { signal: left.signal }).catch(() => {}),
      ])
      left.abort()
      clearTimeout(timer)
    },
  }
}
