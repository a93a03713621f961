/** The highest term that this server ever saw, on its own disk: the database may lose what it knew. */
import { readFileSync } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import type { Memory } from './states.ts'

export interface TermMemory {
  /** Undefined on the first start. @throws Error that names the file and what to do with it */
  read(): Memory | undefined
  /** Resolves when it is on the disk. */
  write(memory: Memory): Promise<void>
}

const fileShape = z.object({
  term: z.number().int().nonnegative(),
  database: z.string().optional(),
  leaseMs: z.number().nonnegative().catch(0),
})

/** @param file JSON, written as a whole; its folder is made if missing */
export function createTermFile(file: string): TermMemory {
  return {
    read() {
      let text: string
      try {
        text = readFileSync(file, 'utf8')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
      try {
        const { term, database, leaseMs } = fileShape.parse(JSON.parse(text))
        return { term, database, leaseMs }
      } catch {
        throw new Error(
          `${file} cannot be read: it must hold {"term": <the highest term seen>}; without the file ` +
            'the term in the database is believed',
        )
      }
    },

    // Not `writeWhole`: the main loop must not wait for a slow disk.
    async write(memory) {
      const fresh = `${file}.new`
      await mkdir(dirname(file), { recursive: true })
      const handle = await open(fresh, 'w', 0o600)
      try {
        await handle.writeFile(`${JSON.stringify(memory)}\n`)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(fresh, file)
    },
  }
}
