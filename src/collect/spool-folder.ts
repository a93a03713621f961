/** The spool on disk: its identity, what a start finds in it, and the writes that survive a crash. */
import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { open, rename, unlink } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { type Kind, kinds, ofEachKind } from '../telemetry/table.ts'
import { readRank } from './manifest.ts'
import {
  parseSegmentHeader,
  rankPlace,
  SegmentDamaged,
  type SegmentHeader,
  segmentHeaderBytes,
} from './segment.ts'

/** A spool that cannot be used; the message says why and what would help. */
export class SpoolError extends Error {
  override name = 'SpoolError'
}

export interface FoundSegment extends SegmentHeader {
  /** Of its manifest; undefined if it has none. */
  rank: number | undefined
}

/** What a start finds in a spool. */
export interface SpoolContents {
  collector: string
  /** Headers in order of their sequence. */
  segments: Record<Kind, FoundSegment[]>
  /** The next sequence of each kind. */
  next: Record<Kind, number>
  /** Kinds of which a segment was ever sealed. */
  begun: Set<Kind>
  /** Files that were not whole segments of this spool and lie in `quarantine/` now. */
  quarantined: { file: string; reason: string }[]
  /** Files in `quarantine/`. */
  aside: number
  /** Held as long as the spool is in use; to be closed. */
  lock: Server | undefined
}

export const segmentFile = (kind: Kind, sequence: number) =>
  join(kind, `${String(sequence).padStart(12, '0')}.seg`)

/** Where a segment lies that a person has to look at. */
export const quarantineFile = (kind: Kind, sequence: number) =>
  join('quarantine', `${kind}-${String(sequence).padStart(12, '0')}.seg`)

/**
 * Reads a spool, or makes it: removes what a crash left half written, puts damaged files aside.
 *
 * A sequence is never used twice, because a server would take the second for a duplicate. The
 * newest segment of each kind therefore stays as a tombstone, and a kind whose files somebody
 * deleted goes on at `now`: no spool has ever sealed as many segments as milliseconds have passed.
 *
 * @throws SpoolError if another process uses it
 */
export async function openSpoolFolder(dir: string, now: number): Promise<SpoolContents> {
  for (const folder of [...kinds, 'quarantine']) {
    mkdirSync(join(dir, folder), { recursive: true, mode: 0o750 })
  }
  const found = kinds.map(kind => ({ kind, ...scan(dir, kind) }))
  const identity = readIdentityFile(dir)
  const collector =
    identity?.collector ??
    found.flatMap(({ segments }) => segments).at(-1)?.collector ??
    randomUUID()
  const lock = await lockIdentity(collector)
  const contents: SpoolContents = {
    collector,
    segments: ofEachKind<FoundSegment[]>(() => []),
    next: ofEachKind(() => 0),
    begun: identity?.begun ?? new Set(),
    quarantined: [],
    aside: 0,
    lock,
  }
  const aside = readdirSync(join(dir, 'quarantine'))
  for (const { kind, segments, damaged, unfinished } of found) {
    for (const path of unfinished) rmSync(path, { force: true })
    let newest = -1
    for (const header of segments) {
      newest = Math.max(newest, header.sequence)
      if (header.collector === collector) contents.segments[kind].push(header)
      else damaged.push({ sequence: header.sequence, reason: 'of another collector' })
    }
    for (const { sequence, reason } of damaged) {
      newest = Math.max(newest, sequence)
      const file = quarantineFile(kind, sequence)
      renameSync(join(dir, segmentFile(kind, sequence)), join(dir, file))
      contents.quarantined.push({ file, reason })
    }
    for (const name of aside) {
      const match = /^([a-z]+)-(\d+)\.seg$/.exec(name)
      if (match?.[1] === kind) newest = Math.max(newest, Number(match[2]))
    }
    if (newest >= 0) contents.begun.add(kind)
    contents.next[kind] = newest < 0 && contents.begun.has(kind) ? now : newest + 1
  }
  contents.aside = aside.length + contents.quarantined.length
  writeIdentityFile(dir, contents)
  return contents
}

/** Writes `id`: the UUID, and the kinds of which a segment was ever sealed. */
export function writeIdentityFile(
  dir: string,
  contents: Pick<SpoolContents, 'collector' | 'begun'>,
) {
  const file = join(dir, 'id')
  writeFileSync(`${file}.tmp`, `${[contents.collector, ...contents.begun].join(' ')}\n`, {
    flush: true,
    mode: 0o640,
  })
  renameSync(`${file}.tmp`, file)
  const folder = openSync(dir, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

function readIdentityFile(dir: string): { collector: string; begun: Set<Kind> } | undefined {
  const file = join(dir, 'id')
  if (!existsSync(file)) return undefined
  const [collector, ...begun] = readFileSync(file, 'utf8').trim().split(' ')
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(collector ?? '')) return undefined
  return { collector: collector!, begun: new Set(kinds.filter(kind => begun.includes(kind))) }
}

/** The segments of one kind. Bodies are not read: their checksum is verified before delivery. */
function scan(dir: string, kind: Kind) {
  const segments: FoundSegment[] = []
  const damaged: { sequence: number; reason: string }[] = []
  const unfinished: string[] = []
  const header = Buffer.alloc(segmentHeaderBytes)
  for (const name of readdirSync(join(dir, kind)).sort()) {
    const path = join(dir, kind, name)
    const match = /^(\d{12,16})\.seg$/.exec(name)
    if (match === null) {
      if (name.endsWith('.tmp')) unfinished.push(path)
      continue
    }
    const sequence = Number(match[1])
    try {
      segments.push(readHeader(path, header, kind, sequence))
    } catch (error) {
      if (!(error instanceof SegmentDamaged)) throw error
      damaged.push({ sequence, reason: error.message })
    }
  }
  return { segments: segments.sort((a, b) => a.sequence - b.sequence), damaged, unfinished }
}

function readHeader(path: string, buffer: Buffer, kind: Kind, sequence: number): FoundSegment {
  const file = openSync(path, 'r')
  try {
    const read = readSync(file, buffer, 0, buffer.length, 0)
    const header = parseSegmentHeader(buffer.subarray(0, read), fstatSync(file).size)
    if (header.kind !== kind || header.sequence !== sequence) {
      throw new SegmentDamaged('the file’s name is not that of its header')
    }
    if (header.manifestBytes === 0) return { ...header, rank: undefined }
    readSync(file, buffer, 0, 8, rankPlace(header))
    return { ...header, rank: readRank(buffer) }
  } finally {
    closeSync(file)
  }
}

/** Writes a file so that it is there whole or not at all, whatever happens: temp, fsync, rename, fsync. */
export async function writeDurably(file: string, chunks: Uint8Array[]): Promise<void> {
  const temporary = `${file}.tmp`
  try {
    await writeSynced(temporary, chunks)
  } catch (error) {
    // What was written of it may be all that fills the disk.
    await unlink(temporary).catch(() => {})
    throw error
  }
  await rename(temporary, file)
  const folder = await open(dirname(file), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function writeSynced(file: string, chunks: Uint8Array[]) {
  const handle = await open(file, 'w', 0o640)
  try {
    // Not writev: on a nearly full disk it writes a part and says so only in its result.
    for (const chunk of chunks) await handle.writeFile(chunk)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Keeps a second process on this host from sealing under the same identity, also from a copy of the
 * folder: a name in Linux's abstract socket namespace, which ends with the process however it ends.
 */
async function lockIdentity(collector: string): Promise<Server | undefined> {
  if (process.platform !== 'linux') return undefined
  const lock = createServer(socket => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    lock.once('error', error => {
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      reject(
        taken
          ? new SpoolError(
              `another collector with the identity ${collector} runs on this host: stop it, or give this one a spool folder of its own (not a copy)`,
            )
          : error,
      )
    })
    lock.listen(`\0keepwatch-spool-${collector}`, resolve)
  })
  lock.unref()
  return lock
}
