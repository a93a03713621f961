/**
 * A copy of a running PostgreSQL, by its own replication protocol (BASE_BACKUP, PostgreSQL 18, chapter
 * 54.4): files as they are sent, each verified by the manifest that comes last.
 */
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, open, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { type Extract, extract } from 'tar-stream'
import { z } from 'zod'
import { type ArchivePart, createBackupStream } from './backup-stream.ts'

export interface BackupProgress {
  bytes: number
  /** As the server estimates it before it begins; undefined: it has not said. */
  totalBytes: number | undefined
  bytesPerSecond: number
}

export interface BaseBackup {
  files: number
  bytes: number
  /** Where in the write-ahead log it begins. */
  start: string
  timeline: number
}

/** What has come is not what was sent, or not all of it. */
class BackupDamaged extends Error {
  override name = 'BackupDamaged'
}

const manifestForm = z.object({
  'PostgreSQL-Backup-Manifest-Version': z.number(),
  Files: z.array(
    z.object({
      Path: z.string(),
      Size: z.number(),
      'Checksum-Algorithm': z.string(),
      Checksum: z.string(),
    }),
  ),
  'Manifest-Checksum': z.string(),
})

const connectMs = 10_000
const progressEveryMs = 500
const flushesAtOnce = 16

/**
 * Copies the cluster behind `url` into `folder`, which is made anew. What an attempt that failed has
 * left there is removed first: a copy is whole or it is none.
 *
 * @param config.maxKilobytesPerSecond spares the primary's disk; undefined: as fast as it goes
 * @throws BackupDamaged, PostgreSQL's own errors, or the reason of the signal
 */
export async function takeBaseBackup(config: {
  /** Of a role that may replicate. */
  url: string
  folder: string
  signal: AbortSignal
  maxKilobytesPerSecond?: number
  onProgress?(progress: BackupProgress): void
}): Promise<BaseBackup> {
  const { signal } = config
  const folder = resolve(config.folder)
  signal.throwIfAborted()
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const client = new pg.Client({
    connectionString: config.url,
    // The walsender's own mode: it understands replication commands and nothing else.
    ...({ replication: 'true' } as object),
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
    application_name: 'keepwatch/join',
  })
  client.on('error', () => {})
  await client.connect()
  const stop = () => void client.end().catch(() => {})
  signal.addEventListener('abort', stop, { once: true })
  try {
    const rate =
      config.maxKilobytesPerSecond === undefined ? '' : `, MAX_RATE ${config.maxKilobytesPerSecond}`
    const stream = createBackupStream(
      `BASE_BACKUP (LABEL 'keepwatch', PROGRESS, CHECKPOINT 'fast', WAL, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256'${rate})`,
    )
    client.query(stream.query as unknown as pg.Submittable)
    return await receive(stream.parts(), stream, folder, config)
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    await client.end().catch(() => {})
  }
}

async function receive(
  parts: AsyncIterable<ArchivePart>,
  stream: { facts(): { start: string; timeline: number; totalBytes: number | undefined } },
  folder: string,
  { onProgress }: { onProgress?(progress: BackupProgress): void },
): Promise<BaseBackup> {
  const sums = new Map<string, { size: number; sha256: string }>()
  const manifest: Buffer[] = []
  const began = performance.now()
  let told = began
  let bytes = 0
  let archive: { write(chunk: Buffer): Promise<void>; end(): Promise<void> } | undefined

  for await (const part of parts) {
    switch (part.kind) {
      case 'archive':
        await archive?.end()
        if (part.name !== 'base.tar') {
          throw new BackupDamaged(`a table space of its own (${part.name}) cannot be copied`)
        }
        archive = unpackInto(folder, sums)
        break
      case 'manifest':
        await archive?.end()
        archive = undefined
        manifest.push(Buffer.alloc(0))
        break
      case 'data':
        if (archive === undefined) manifest.push(part.bytes)
        else {
          bytes += part.bytes.length
          await archive.write(part.bytes)
        }
    }
    const now = performance.now()
    if (now - told >= progressEveryMs) {
      told = now
      const { totalBytes } = stream.facts()
      onProgress?.({ bytes, totalBytes, bytesPerSecond: (1000 * bytes) / (now - began) })
    }
  }
  await archive?.end()
  const text = Buffer.concat(manifest)
  verify(text, sums)
  await writeFile(join(folder, 'backup_manifest'), text, { mode: 0o600, flush: true })
  await flush([...sums.keys()].map(path => join(folder, path)))
  const { start, timeline } = stream.facts()
  return { files: sums.size, bytes, start, timeline }
}

/** All at the end, when the disk has done most of it by itself. */
async function flush(files: string[]) {
  const rest = files.values()
  const lanes = Array.from({ length: flushesAtOnce }, async () => {
    for (const file of rest) {
      const handle = await open(file, 'r')
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    }
  })
  await Promise.all(lanes)
}

/** Writes what a tar archive says, beneath the folder and nowhere else. */
function unpackInto(folder: string, sums: Map<string, { size: number; sha256: string }>) {
  const tar = extract() as Extract & NodeJS.WritableStream
  const done = (async () => {
    for await (const entry of tar) {
      const { linkname, name, type } = entry.header
      const path = name.replace(/\/$/, '').replace(/^\.\//, '')
      const target = resolve(folder, path)
      if (relative(folder, target).startsWith('..')) {
        throw new BackupDamaged(`${name} is outside of the cluster`)
      }
      if (type === 'directory') {
        await mkdir(target, { recursive: true, mode: 0o700 })
        entry.resume()
      } else if (type === 'symlink') {
        await symlink(linkname!, target)
        entry.resume()
      } else {
        await mkdir(dirname(target), { recursive: true, mode: 0o700 })
        const hash = createHash('sha256')
        let size = 0
        const counted = new Transform({
          transform(chunk: Buffer, _encoding, next) {
            hash.update(chunk)
            size += chunk.length
            next(undefined, chunk)
          },
        })
        await pipeline(entry, counted, createWriteStream(target, { mode: 0o600 }))
        sums.set(path, { size, sha256: hash.digest('hex') })
      }
    }
  })()
  // Reported by whoever writes next, or ends it.
  done.catch(() => {})
  return {
    async write(chunk: Buffer) {
      if (tar.write(chunk)) return
      const drained = new Promise<void>(resolved => tar.once('drain', resolved))
      await Promise.race([drained, done])
    },
    async end() {
      tar.end()
      await done
    },
  }
}

/** @throws BackupDamaged */
function verify(text: Buffer, sums: ReadonlyMap<string, { size: number; sha256: string }>) {
  if (text.length === 0) throw new BackupDamaged('the manifest is missing')
  const manifest = manifestForm.parse(JSON.parse(text.toString('utf8')))
  const end = text.lastIndexOf('"Manifest-Checksum"')
  const own = createHash('sha256').update(text.subarray(0, end)).digest('hex')
  if (own !== manifest['Manifest-Checksum']) {
    throw new BackupDamaged('the manifest is not what was sent')
  }
  for (const file of manifest.Files) {
    const found = sums.get(file.Path)
    if (found === undefined) throw new BackupDamaged(`${file.Path} is missing`)
    if (found.size !== file.Size) {
      throw new BackupDamaged(`${file.Path} has ${found.size} bytes instead of ${file.Size}`)
    }
    if (found.sha256 !== file.Checksum) throw new BackupDamaged(`${file.Path} is not what was sent`)
  }
}
