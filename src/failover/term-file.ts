/** The highest term that this server ever saw, on its own disk: the database may lose what it knew. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { writeDurably } from '../lib/files.ts'
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

    write: memory => writeDurably(file, `${JSON.stringify(memory)}\n`, 0o600),
  }
}
