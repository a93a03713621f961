import { renameSync, writeFileSync } from 'node:fs'

/** Writes a file so that it is either the old one or the new one, also after a crash. */
export function writeWhole(file: string, text: string, mode: number): void {
  const temporary = `${file}.new`
  writeFileSync(temporary, text, { mode, flush: true })
  renameSync(temporary, file)
}
