import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import type { Queries, Tx } from './database.ts'
import { keyFor, open, seal } from './sealed.ts'

/** Texts by their hash: the same is stored once, compressed, and encrypted under the deployment's key. */
export interface Contents {
  /** @returns its SHA-256, hexadecimal, and its bytes */
  store(tx: Tx, text: string): Promise<{ hash: string; size: number }>
  /** @throws if it is damaged, or was stored under another key */
  read(hash: string): Promise<string | null>
  /** Removes what no version refers to any more, at most 1,000. @returns how many */
  removeUnused(tx: Tx): Promise<number>
  /** Encrypts what a program before 0.2.0 has stored, at most 100. @returns how many */
  sealOlder(tx: Tx): Promise<number>
}

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
const level = 9

/** Of one configuration, uncompressed. */
const maxContentBytes = 64 * 1024 * 1024

/** @param config.key the deployment's key, 32 bytes */
export function createContents(deps: { database: Queries }, config: { key: Buffer }): Contents {
  const key = keyFor('contents', config.key)

  return {
    async store(tx, text) {
      const bytes = Buffer.from(text)
      if (bytes.length > maxContentBytes) {
        throw new Error(
          `a text of ${bytes.length} bytes is larger than the ${maxContentBytes} allowed`,
        )
      }
      const hash = hashOf(bytes)
      // Locked, so that nobody removes it as unused before the version is there.
      const [known] = await tx.query('SELECT FROM contents WHERE hash = $1 FOR KEY SHARE', [hash])
      if (!known) {
        const compressed = await compress(bytes, {
          params: { [constants.ZSTD_c_compressionLevel]: level },
        })
        await tx.query(
          `INSERT INTO contents (hash, compressed, size, sealed) VALUES ($1, $2, $3, true)
           ON CONFLICT (hash) DO NOTHING`,
          [hash, seal(key, hash, compressed), bytes.length],
        )
      }
      return { hash, size: bytes.length }
    },

    async read(hash) {
      const [found] = await deps.database.query<{ compressed: Buffer; sealed: boolean }>(
        'SELECT compressed, sealed FROM contents WHERE hash = $1',
        [hash],
        'long',
      )
      if (!found) return null
      const compressed = found.sealed
        ? open(key, hash, found.compressed, `content ${hash}`)
        : found.compressed
      const bytes = await decompress(compressed, { maxOutputLength: maxContentBytes })
      if (hashOf(bytes) !== hash) throw new Error(`content ${hash} is damaged`)
      return bytes.toString('utf8')
    },

    async removeUnused(tx) {
      const removed = await tx.query(
        `DELETE FROM contents WHERE hash IN (
           SELECT hash FROM contents c
           WHERE NOT EXISTS (SELECT FROM versions WHERE content_hash = c.hash)
           LIMIT 1000 FOR UPDATE SKIP LOCKED
         ) RETURNING hash`,
      )
      return removed.length
    },

    async sealOlder(tx) {
      const plain = await tx.query<{ hash: string; compressed: Buffer }>(
        'SELECT hash, compressed FROM contents WHERE NOT sealed LIMIT 100 FOR UPDATE SKIP LOCKED',
      )
      for (const { hash, compressed } of plain) {
        await tx.query('UPDATE contents SET compressed = $2, sealed = true WHERE hash = $1', [
          hash,
          seal(key, hash, compressed),
        ])
      }
      return plain.length
    },
  }
}

function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
