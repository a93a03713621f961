import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeWhole } from '../../lib/files.ts'
import type { Ports } from './ports.ts'

/** What a pair on this machine leaves for `keepwatch status` and for its own next start. */
export interface PairFile {
  pid: number
  ports: Partial<Ports>
  servers: { name: string; url: string }[]
  tokenFile: string
}

const name = 'pair.json'

export function readPairFile(dataDir: string): PairFile | undefined {
  const file = join(dataDir, name)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as PairFile) : undefined
}

export function writePairFile(dataDir: string, content: PairFile): void {
  writeWhole(join(dataDir, name), `${JSON.stringify(content, null, 2)}\n`, 0o644)
}
