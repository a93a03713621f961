/**
 * Compression of Native blocks off the main thread: so many at a time, each into memory that is used
 * again.
 */
import { createBlockMemory } from './block-memory.ts'
import { bodyLevel, compressBody } from './segment.ts'
import type { Zstd, ZstdContext } from './zstd.ts'

export interface Compressor {
  /** Resolves with the body of a segment, in turn. */
  compress(native: Uint8Array): Promise<Uint8Array>
  /** What `compress` gave; nobody may use it any more. */
  giveBack(body: Uint8Array): void
  /** Nothing is given to it any more. */
  close(): void
}

/** Two fill a small machine; the disk and the file system need the thread pool too. */
const atOnce = 2
/** Bodies that may lie in memory larger than themselves; more of them wait for a slow disk. */
const mostLent = 4

/** @param deps.zstd else Node's own way is gone, which is slower */
export function createCompressor(deps: { zstd: Zstd | undefined }): Compressor {
  const { zstd } = deps
  const memory = createBlockMemory({ keep: mostLent })
  const idle: ZstdContext[] = []
  const turns: (() => void)[] = []
  const lent = new Set<Uint8Array>()
  let running = 0
  let closed = false

  async function compressWith(zstd: Zstd, native: Uint8Array): Promise<Uint8Array> {
    const context = idle.pop() ?? zstd.createContext(bodyLevel)
    const room = memory.take(zstd.bound(native.length))
    try {
      const body = room.subarray(0, await context.compress(native, room))
      if (lent.size < mostLent) {
        lent.add(body)
        return body
      }
      const own = body.slice()
      memory.giveBack(room)
      return own
    } finally {
      if (closed) context.free()
      else idle.push(context)
    }
  }

  return {
    async compress(native) {
      if (running >= atOnce) await new Promise<void>(resolve => turns.push(resolve))
      else running++
      try {
        return await (zstd === undefined ? compressBody(native) : compressWith(zstd, native))
      } finally {
        const next = turns.shift()
        if (next === undefined) running--
        else next()
      }
    },
    giveBack(body) {
      if (lent.delete(body)) memory.giveBack(body)
    },
    close() {
      closed = true
      for (const context of idle.splice(0)) context.free()
    },
  }
}
