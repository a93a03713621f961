import { appendFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Writes a file so that it is there whole or as it was, also if the host crashes. */
export function writeWhole(file: string, content: string | Uint8Array, mode: number): void {
  const temporary = `${file}.new`
  writeFileSync(temporary, content, { mode, flush: true })
  renameSync(temporary, file)
}

/**
 * The same without making the main loop wait for a slow disk. Resolves when it would survive a crash of
 * the host; the folder is made if missing. Two at the same time for one file are the caller's mistake.
 */
export async function writeDurably(file: string, content: string, mode: number): Promise<void> {
  const temporary = `${file}.new`
  await mkdir(dirname(file), { recursive: true })
  const handle = await open(temporary, 'w', mode)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
  const folder = await open(dirname(file), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/**
 * Appends to a file, which is made if there is none; what a full disk took of it is taken back.
 *
 * @param flush survives a crash of the host
 * @throws the file system's error
 */
export function appendWhole(
  file: string,
  content: Uint8Array,
  { flush, mode }: { flush: boolean; mode: number },
): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  try {
    appendFileSync(file, content, { flush, mode })
  } catch (error) {
    cutTo(file, size)
    throw error
  }
}

/** Takes off what is behind so many bytes: the end of a file that a crash left half written. */
export function cutTo(file: string, bytes: number): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  if (size > bytes) truncateSync(file, bytes)
}
