/**
 * The standby's side on disk: contents come into a folder of the root that nobody else looks at,
 * are verified and synced there, and then all take their places in one go. Whenever the process is
 * killed, a file is the old one or the new one.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from 'node:fs'
import { copyFile, open, readdir, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type FileEntry, foldersOf, incomingFolder, type Plan } from './manifest.ts'

/** Content that is not what its hash says. */
export class ContentWrong extends Error {
  override name = 'ContentWrong'
}

export interface Staging {
  /** Bytes that are there of a content that is on its way. */
  begun(sha256: string): Promise<number>
  /** Whether it is there, whole. */
  has(sha256: string): Promise<boolean>
  /** Appends to what is on its way, and finishes it. @throws ContentWrong, then it begins anew */
  receive(file: FileEntry, from: number, chunks: AsyncIterable<Buffer>): Promise<void>
  /** Takes a content from a file of the root that has it. @returns false if it no longer does */
  borrow(file: FileEntry, path: string): Promise<boolean>
  /**
   * Puts everything in its place; nothing else of this process runs meanwhile. What is staged and
   * not in the plan is removed.
   *
   * @param mayGoOn asked before anything is touched
   */
  apply(plan: Plan, mayGoOn: () => boolean): Promise<boolean>
}

/** Folders hold keys as well. */
const folderMode = 0o700
const fileMode = 0o600

export function createStaging(folder: string): Staging {
  const incoming = join(folder, incomingFolder)
  const whole = (sha256: string) => join(incoming, sha256)
  const part = (sha256: string) => join(incoming, `${sha256}.part`)

  async function finish(sha256: string) {
    const handle = await open(part(sha256), 'r')
    try {
      await handle.sync()
      const digest = createHash('sha256')
      for await (const chunk of handle.createReadStream({ autoClose: false, start: 0 })) {
        digest.update(chunk as Buffer)
      }
      if (digest.digest('hex') !== sha256) {
        await unlink(part(sha256))
        throw new ContentWrong(`the content that came is not ${sha256}`)
      }
    } finally {
      await handle.close()
    }
    renameSync(part(sha256), whole(sha256))
  }

  return {
    async begun(sha256) {
      return (await stat(part(sha256)).catch(() => undefined))?.size ?? 0
    },

    async has(sha256) {
      return (await stat(whole(sha256)).catch(() => undefined)) !== undefined
    },

    async receive({ sha256, size }, from, chunks) {
      mkdirSync(incoming, { recursive: true, mode: folderMode })
      const handle = await open(part(sha256), from === 0 ? 'w' : 'a', fileMode)
      let bytes = from
      try {
        for await (const chunk of chunks) {
          bytes += chunk.length
          if (bytes > size) break
          await handle.writeFile(chunk)
        }
      } finally {
        await handle.close()
      }
      if (bytes > size) {
        await unlink(part(sha256))
        throw new ContentWrong(`more came than the ${size} bytes of ${sha256}`)
      }
      if (bytes < size) throw new Error(`only ${bytes} of ${size} bytes came`)
      await finish(sha256)
    },

    async borrow({ sha256 }, path) {
      mkdirSync(incoming, { recursive: true, mode: folderMode })
      try {
        await copyFile(join(folder, path), part(sha256))
        chmodSync(part(sha256), fileMode)
        await finish(sha256)
        return true
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (error instanceof ContentWrong || code === 'ENOENT') return false
        throw error
      }
    },

    async apply(plan, mayGoOn) {
      const staged = await stage(plan.place)
      if (!mayGoOn()) return false
      const touched = new Set([folder])
      putInPlace(plan, staged, touched)
      for (const one of touched) await syncFolder(one)
      return true
    },
  }

  /** From its beginning to its end nothing waits: the role cannot change in between. */
  function putInPlace(plan: Plan, staged: ReadonlyMap<FileEntry, string>, touched: Set<string>) {
    for (const path of plan.clear) drop(path, touched)
    for (const [file, source] of staged) {
      makeWay(file.path, touched)
      renameSync(source, join(folder, file.path))
      touched.add(dirname(join(folder, file.path)))
    }
    for (const { path, mode } of plan.change) chmodSync(join(folder, path), mode)
    for (const path of plan.remove) drop(path, touched)
    rmSync(incoming, { recursive: true, force: true })
  }

  /** A file for each place: a content that has several is copied for all but the last. */
  async function stage(place: readonly FileEntry[]): Promise<Map<FileEntry, string>> {
    const staged = new Map<FileEntry, string>()
    const last = new Map(place.map((file, index) => [file.sha256, index]))
    for (const [index, file] of place.entries()) {
      let source = whole(file.sha256)
      if (last.get(file.sha256) !== index) {
        source = join(incoming, `${file.sha256}.${index}`)
        await copyFile(whole(file.sha256), source)
      }
      const handle = await open(source, 'r+')
      try {
        await handle.chmod(file.mode)
        await handle.sync()
      } finally {
        await handle.close()
      }
      staged.set(file, source)
    }
    return staged
  }

  /** Folders for a file; what is in their place and no folder, a link for instance, goes. */
  function makeWay(path: string, touched: Set<string>) {
    for (const one of foldersOf(path)) {
      const at = join(folder, one)
      if (isFolder(at)) continue
      rmSync(at, { force: true })
      mkdirSync(at, { mode: folderMode })
      touched.add(dirname(at))
    }
    const at = join(folder, path)
    // Its files were removed before; what is left in it was never the active's.
    if (isFolder(at)) rmSync(at, { recursive: true })
  }

  /** A file, and the folders that are empty without it. */
  function drop(path: string, touched: Set<string>) {
    const file = join(folder, path)
    // Not through a link that somebody has put there.
    const inside = foldersOf(path).every(one => isFolder(join(folder, one)))
    const found = inside ? lstatSync(file, { throwIfNoEntry: false }) : undefined
    if (found === undefined || found.isDirectory()) return
    unlinkSync(file)
    touched.add(dirname(file))
    for (const one of foldersOf(path).toReversed()) {
      const at = join(folder, one)
      if (readdirSync(at).length > 0) return
      rmdirSync(at)
      touched.delete(at)
      touched.add(dirname(at))
    }
  }
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

async function syncFolder(path: string) {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Contents that nobody wants any more. */
export async function clearStaging(folder: string, wanted: ReadonlySet<string>): Promise<void> {
  const incoming = join(folder, incomingFolder)
  const names = await readdir(incoming).catch(() => [])
  for (const name of names) {
    const sha256 = name.replace(/\.(part|\d+)$/, '')
    if (!wanted.has(sha256)) await unlink(join(incoming, name)).catch(() => {})
  }
}
