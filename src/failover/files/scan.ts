/** The files of a root as they are, by content; each is read again only when it has changed. */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, readdir, readlink, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { type FileEntry, incomingFolder, limits, pathFault } from './manifest.ts'

/** A folder whose files the standby has too. Both servers name it in their own settings. */
export interface Root {
  /** `certificates`; small letters, digits and hyphens. */
  name: string
  /** Where the active has it. */
  folder: string
  /** Where the standby puts it, if not in the same place. */
  received?: string
  /** Only these files, as paths in the folder. */
  only?: readonly string[]
}

/** A root that could not be read whole: it is left out, which is not the same as empty. */
export class RootUnreadable extends Error {
  override name = 'RootUnreadable'
}

export interface Scanner {
  /**
   * Files in order of their paths. Links and what is no file are passed over.
   *
   * @throws RootUnreadable
   */
  scan(): Promise<FileEntry[]>
}

interface Known {
  /** Of the file's size, times and number on its disk. */
  signature: string
  sha256: string
}

/** A change within the same tick of the disk's clock could go unseen: so young a file is not trusted. */
const settledMs = 2000
const chunkBytes = 256 * 1024

/** @param config.create whether a folder that is not there counts as empty */
export function createScanner(config: {
  name: string
  folder: string
  only?: readonly string[] | undefined
  missing: 'empty' | 'error'
}): Scanner {
  let known = new Map<string, Known>()

  async function scan(): Promise<FileEntry[]> {
    const { name, folder, only } = config
    const files: FileEntry[] = []
    const now = new Map<string, Known>()
    try {
      const root = await realpath(folder).catch(error => {
        if (error.code === 'ENOENT' && config.missing === 'empty') return undefined
        throw error
      })
      if (root === undefined) return []
      const paths = only ?? (await pathsIn(root))
      for (const path of paths.toSorted()) {
        const entry = await entryOf(root, path, now)
        if (entry !== undefined) files.push(entry)
        if (files.length > limits.files) {
          throw new Error(`it has more than ${limits.files} files`)
        }
      }
    } catch (error) {
      throw new RootUnreadable(`${name} (${folder}): ${(error as Error).message}`)
    }
    known = now
    return files
  }

  async function entryOf(
    root: string,
    path: string,
    now: Map<string, Known>,
  ): Promise<FileEntry | undefined> {
    const fault = pathFault(path)
    if (fault !== undefined) throw new Error(`the path ${JSON.stringify(path)} ${fault}`)
    const handle = await openInside(root, path)
    if (handle === undefined) return undefined
    try {
      const { size, mode, ino, mtimeNs, ctimeNs, mtimeMs } = await handle.stat({ bigint: true })
      if (size > BigInt(limits.fileBytes)) throw new Error(`${path} has ${size} bytes`)
      const signature = `${size} ${ino} ${mtimeNs} ${ctimeNs}`
      const before = known.get(path)
      const sha256 = before?.signature === signature ? before.sha256 : await hashOf(handle)
      if (Date.now() - Number(mtimeMs) > settledMs) now.set(path, { signature, sha256 })
      return { path, size: Number(size), sha256, mode: Number(mode) & 0o777 }
    } finally {
      await handle.close()
    }
  }

  return { scan }
}

/** Regular files under a folder; what is hidden in names that are no text is an error. */
async function pathsIn(root: string): Promise<string[]> {
  const paths: string[] = []
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      if (entry.name === incomingFolder) continue
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) folders.push(path)
      else if (entry.isFile()) paths.push(path)
      if (paths.length + folders.length > limits.files) {
        throw new Error(`it has more than ${limits.files} files`)
      }
    }
  }
  return paths
}

/**
 * Opens a regular file of a root without following a link out of it, also if somebody puts one
 * there at this moment.
 *
 * @returns undefined if there is no such file
 */
export async function openInside(root: string, path: string): Promise<FileHandle | undefined> {
  const file = join(root, path)
  const found = await lstat(file).catch(error => {
    if (['ENOENT', 'ENOTDIR'].includes(error.code)) return undefined
    throw error
  })
  if (found === undefined || !found.isFile()) return undefined
  let handle: FileHandle
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined
    throw error
  }
  const place = await readlink(`/proc/self/fd/${handle.fd}`).catch(() => file)
  if (place === file && (await handle.stat()).isFile()) return handle
  await handle.close()
  return undefined
}

async function hashOf(handle: FileHandle): Promise<string> {
  const sha256 = createHash('sha256')
  const buffer = Buffer.allocUnsafe(chunkBytes)
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, chunkBytes, at)
    if (bytesRead === 0) return sha256.digest('hex')
    sha256.update(buffer.subarray(0, bytesRead))
    at += bytesRead
  }
}
