/** Writing in a folder of another machine so that a file there is the old one or the new one. */
import { type FileHandle, mkdir, open, readFile, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { temporaryName } from './place.ts'

let written = 0

/**
 * Temp in the same folder, fsync, rename, fsync of the folder.
 *
 * @param writer names the temporary file: no two writers alive share it
 */
export async function writeDurably(file: string, bytes: Uint8Array, writer: string): Promise<void> {
  const folder = dirname(file)
  const temporary = join(folder, temporaryName(basename(file), `${writer}-${written++}`))
  try {
    const handle = await openNew(temporary)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    // What was written of it may be all that fills the disk.
    await unlink(temporary).catch(() => {})
    throw error
  }
  await syncFolder(folder)
}

async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx', 0o640)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await mkdir(dirname(file), { recursive: true, mode: 0o750 })
    return open(file, 'wx', 0o640)
  }
}

/** Of folders some file systems know no fsync: sshfs and SMB say so with one of these. */
const noFolderSync = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EISDIR', 'EBADF'])

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } catch (error) {
    if (!noFolderSync.has((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    await handle.close()
  }
}

/** Null if there is none. */
export async function readIfThere(file: string): Promise<Buffer | null> {
  try {
    return await readFile(file)
  } catch (error) {
    if (isAbsent(error)) return null
    throw error
  }
}

export async function removeIfThere(file: string): Promise<void> {
  await unlink(file).catch(error => {
    if (!isAbsent(error)) throw error
  })
}

export function isAbsent(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR'
}
