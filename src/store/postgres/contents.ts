import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import type { Queries, Tx } from './database.ts'

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
const level = 9

/** Of one configuration, uncompressed. */
const maxContentBytes = 64 * 1024 * 1024

/** Stores a text once, however often it occurs. @returns its SHA-256, hexadecimal, and its bytes */
export async function storeContent(tx: Tx, text: string): Promise<{ hash: string; size: number }> {
  const bytes = Buffer.from(text)
  if (bytes.length > maxContentBytes) {
    throw new Error(`a text of ${bytes.length} bytes is larger than the ${maxContentBytes} allowed`)
  }
  const hash = createHash('sha256').update(bytes).digest('hex')
  const [known] = await tx.query('SELECT FROM contents WHERE hash = $1', [hash])
  if (!known) {
    const compressed = await compress(bytes, {
      params: { [constants.ZSTD_c_compressionLevel]: level },
    })
    await tx.query(
      `INSERT INTO contents (hash, compressed, size) VALUES ($1, $2, $3)
       ON CONFLICT (hash) DO NOTHING`,
      [hash, compressed, bytes.length],
    )
  }
  return { hash, size: bytes.length }
}

/** @throws if it is damaged: the hash is checked */
export async function readContent(database: Queries, hash: string): Promise<string | null> {
  const [found] = await database.query<{ compressed: Buffer }>(
    'SELECT compressed FROM contents WHERE hash = $1',
    [hash],
  )
  if (!found) return null
  const bytes = await decompress(found.compressed, { maxOutputLength: maxContentBytes })
  if (createHash('sha256').update(bytes).digest('hex') !== hash) {
    throw new Error(`content ${hash} is damaged`)
  }
  return bytes.toString('utf8')
}

/** Removes what no version refers to any more. @returns how many */
export async function removeUnusedContents(tx: Tx): Promise<number> {
  const removed = await tx.query(
    `DELETE FROM contents c WHERE NOT EXISTS (SELECT FROM versions WHERE content_hash = c.hash)
     RETURNING hash`,
  )
  return removed.length
}
