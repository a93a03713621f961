import { appendFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs'

/** Writes a file so that it is there whole or as it was, also if the host crashes. */
export function writeWhole(file: string, content: string | Uint8Array, mode: number): void {
  const temporary = `${file}.new`
  writeFileSync(temporary, content, { mode, flush: true })
  renameSync(temporary, file)
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
