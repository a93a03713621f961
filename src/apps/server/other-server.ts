/** Where the other server is, also before any database can be asked. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { writeWhole } from '../../lib/files.ts'
import type { ServerAddress } from '../../lib/upgraded.ts'

const form = z.object({ name: z.string().min(1), host: z.string().min(1), port: z.number().int() })
const fileIn = (dataDir: string) => join(dataDir, 'other-server.json')

/** Kept for the next start. */
export function rememberOther(dataDir: string, { host, name, port }: ServerAddress): void {
  writeWhole(fileIn(dataDir), `${JSON.stringify({ name, host, port })}\n`, 0o600)
}

/** @returns undefined: none was ever known, or what was written cannot be read */
export function recallOther(dataDir: string): ServerAddress | undefined {
  try {
    return form.parse(JSON.parse(readFileSync(fileIn(dataDir), 'utf8')))
  } catch {
    return undefined
  }
}
