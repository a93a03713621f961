/**
 * Keeps a copy of a local spool in the shared folder: what is sealed here is there a moment later,
 * what is gone here (delivered to everyone, or given up) is removed there. The local spool stays
 * the first; while the folder is away the copy waits.
 *
 * A segment may be replaced here by one of the same name with fewer rows. Then it is copied again.
 */
import { type FSWatcher, watch } from 'node:fs'
import { mkdir, open, readdir, readFile, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { isAbsent, removeIfThere, writeDurably } from './durable.ts'
import { type FaultKind, FolderUnusable, faultKindOf } from './fault.ts'
import { isCollector, isTemporary, segmentPath, segmentSequence } from './place.ts'
import type { SpoolCopyState } from './protocol.ts'

export interface SpoolCopy {
  /** Runs until the process ends. */
  start(): void
  state(): SpoolCopyState
}

/** Between a change in the spool and the look at it: several come together. */
const settleMs = 20
/** Also where no change was heard of. */
const sweepMs = 1000
/** One segment may take so long; then the folder counts as hung. */
const segmentMs = 60_000
/** So often everything is compared where not every change was heard of. */
const deafMs = 60_000
const maxChanged = 10_000
/** As many bytes as the header of a segment has. */
const headBytes = 108
const localForm = /^(\d{12,16})\.seg$/
const kindForm = /^(flow|syslog|trap)$/

export function createSpoolCopy(
  deps: {
    /** @throws FolderUnusable if the shared folder is not the one that it should be */
    verify(): Promise<void>
    hung(): void
  },
  config: {
    /** The local spool. */
    spool: string
    /** The shared folder. */
    folder: string
    writer: string
    /** Free bytes that the copy leaves to everybody else. */
    reserveBytes: number
  },
): SpoolCopy {
  let collector: string | undefined
  /** What the shared folder has, by kind and sequence: undefined until that was read. */
  let there: Map<string, Set<number>> | undefined
  /** Files of which something was heard since they were copied. */
  const changed = new Set<string>()
  /** When `there` was read (monotonic); files whose changes were not all heard make it old. */
  let readAt = 0
  let deaf = false
  let waiting = 0
  let oldestMs: number | undefined
  let copied = 0
  let copiedBytes = 0
  let removed = 0
  let fault: FaultKind | undefined
  let error: string | undefined
  let wake = () => {}
  const watchers = new Map<string, FSWatcher>()

  async function run(): Promise<never> {
    for (;;) {
      const woken = Promise.withResolvers<void>()
      wake = woken.resolve
      try {
        await pass()
        fault = undefined
        error = undefined
      } catch (cause) {
        const { code, message } = cause as NodeJS.ErrnoException
        fault =
          cause instanceof FolderUnusable
            ? (cause.kind as FaultKind)
            : isAbsent(cause)
              ? undefined
              : faultKindOf(code)
        error = message
        // Somebody may have removed something there: it is looked at anew.
        there = undefined
      }
      const timer = setTimeout(woken.resolve, sweepMs)
      await woken.promise
      clearTimeout(timer)
      await new Promise(resolve => setTimeout(resolve, settleMs))
    }
  }

  async function pass() {
    const identity = await identityOf(config.spool)
    if (identity === undefined) return
    if (identity !== collector) {
      collector = identity
      there = undefined
    }
    const kinds = (await readdir(config.spool)).filter(name => kindForm.test(name))
    const here = new Map<string, Set<number>>()
    for (const kind of kinds) {
      listen(kind)
      here.set(kind, await sequencesIn(join(config.spool, kind), localForm))
    }
    if (deaf && performance.now() - readAt > deafMs) there = undefined
    if (there === undefined) {
      await deps.verify()
      deaf = false
      readAt = performance.now()
      const known = new Map<string, Set<number>>()
      for (const kind of kinds) known.set(kind, await begin(identity, kind, here.get(kind)!))
      there = known
    }
    for (const path of changed) await compare(identity, path)
    changed.clear()
    const missing: { kind: string; sequence: number }[] = []
    for (const [kind, sequences] of here) {
      const has = there.get(kind) ?? new Set()
      there.set(kind, has)
      for (const sequence of sequences) if (!has.has(sequence)) missing.push({ kind, sequence })
    }
    waiting = missing.length
    oldestMs = await oldestOf(missing)
    const surplus = [...there].flatMap(([kind, sequences]) =>
      [...sequences]
        .filter(sequence => here.get(kind)?.has(sequence) !== true)
        .map(sequence => ({ kind, sequence })),
    )
    if (missing.length + surplus.length === 0) return
    await deps.verify()
    for (const { kind, sequence } of surplus) {
      await removeIfThere(join(config.folder, segmentPath({ collector: identity, kind, sequence })))
      there.get(kind)!.delete(sequence)
      removed++
    }
    // Each kind for itself: a large segment of flows does not hold up a trap.
    const copies = await Promise.allSettled(
      kinds.map(async kind => {
        for (const { sequence } of missing.filter(one => one.kind === kind)) {
          await copy(identity, kind, sequence)
        }
      }),
    )
    for (const one of copies) if (one.status === 'rejected') throw one.reason
  }

  /**
   * Makes the folder of a kind and reads what it has of what is here; what this writer left half
   * written goes.
   */
  async function begin(
    identity: string,
    kind: string,
    here: ReadonlySet<number>,
  ): Promise<Set<number>> {
    const folder = join(config.folder, 'spool', identity, kind)
    await mkdir(folder, { recursive: true, mode: 0o750 })
    const has = new Set<number>()
    for (const name of await readdir(folder)) {
      const sequence = segmentSequence(name)
      // Only this server writes here, and only this process of it.
      if (isTemporary(name)) await removeIfThere(join(folder, name))
      if (sequence === undefined) continue
      if (!here.has(sequence) || (await isSame(identity, kind, sequence))) has.add(sequence)
    }
    return has
  }

  /** What was replaced here is missing there. */
  async function compare(identity: string, path: string) {
    const [kind = '', name = ''] = path.split('/')
    const sequence = Number(localForm.exec(name)?.[1])
    if (there?.get(kind)?.has(sequence) !== true) return
    if (!(await isSame(identity, kind, sequence))) there.get(kind)!.delete(sequence)
  }

  /** By the headers, which have the checksum of what follows. What is gone here is the same. */
  async function isSame(identity: string, kind: string, sequence: number): Promise<boolean> {
    const remote = join(config.folder, segmentPath({ collector: identity, kind, sequence }))
    const [a, b] = await Promise.all([headOf(localFile(kind, sequence)), headOf(remote)])
    return a === undefined || (b !== undefined && a.equals(b))
  }

  async function copy(identity: string, kind: string, sequence: number) {
    let bytes: Buffer
    try {
      bytes = await readFile(localFile(kind, sequence))
    } catch (cause) {
      if (!isAbsent(cause)) throw cause
      // Delivered to everyone meanwhile.
      waiting--
      return
    }
    const late = setTimeout(deps.hung, segmentMs)
    try {
      const { bavail, bsize } = await statfs(config.folder)
      if (bavail * bsize < config.reserveBytes + bytes.length) {
        throw new FolderUnusable('full', `${Math.round((bavail * bsize) / 1024 ** 2)} MiB free`)
      }
      const place = segmentPath({ collector: identity, kind, sequence })
      await writeDurably(join(config.folder, place), bytes, config.writer)
    } finally {
      clearTimeout(late)
    }
    there?.get(kind)?.add(sequence)
    copied++
    copiedBytes += bytes.length
    waiting--
  }

  async function oldestOf(missing: { kind: string; sequence: number }[]) {
    const first = new Map<string, number>()
    for (const { kind, sequence } of missing) {
      first.set(kind, Math.min(sequence, first.get(kind) ?? sequence))
    }
    let oldest: number | undefined
    for (const [kind, sequence] of first) {
      const found = await stat(localFile(kind, sequence)).catch(() => undefined)
      if (found !== undefined) oldest = Math.min(found.mtimeMs, oldest ?? found.mtimeMs)
    }
    return oldest
  }

  function localFile(kind: string, sequence: number): string {
    return join(config.spool, kind, `${String(sequence).padStart(12, '0')}.seg`)
  }

  function listen(kind: string) {
    if (watchers.has(kind)) return
    try {
      const watcher = watch(join(config.spool, kind), (_event, name) => {
        if (name !== null && localForm.test(name)) {
          if (changed.size < maxChanged) changed.add(`${kind}/${name}`)
          else deaf = true
        }
        wake()
      })
      watcher.on('error', () => {
        watcher.close()
        watchers.delete(kind)
      })
      watchers.set(kind, watcher)
    } catch {
      // No more watches to be had: the sweep finds new segments, a second later.
      deaf = true
    }
  }

  return {
    start: () => void run(),
    state: () => ({
      collector,
      waiting,
      lagMs: waiting === 0 || oldestMs === undefined ? 0 : Math.max(0, Date.now() - oldestMs),
      copied,
      copiedBytes,
      removed,
      fault,
      error,
    }),
  }
}

/** The first word of the spool's file `id`. */
async function identityOf(spool: string): Promise<string | undefined> {
  try {
    const [identity = ''] = (await readFile(join(spool, 'id'), 'utf8')).split(/\s/, 1)
    return isCollector(identity) ? identity : undefined
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

/** The first bytes of a file, and its size; undefined if it is gone. */
async function headOf(file: string): Promise<Buffer | undefined> {
  const handle = await open(file, 'r').catch(error => {
    if (isAbsent(error)) return undefined
    throw error
  })
  if (handle === undefined) return undefined
  try {
    const { size } = await handle.stat()
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0)
    return Buffer.concat([buffer.subarray(0, bytesRead), Buffer.from(`${size}`)])
  } finally {
    await handle.close()
  }
}

async function sequencesIn(folder: string, form: RegExp): Promise<Set<number>> {
  const sequences = new Set<number>()
  for (const name of await readdir(folder)) {
    const match = form.exec(name)
    if (match !== null) sequences.add(Number(match[1]))
  }
  return sequences
}
