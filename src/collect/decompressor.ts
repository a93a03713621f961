/** Bodies of segments unpacked off the main thread, into memory that is used again. */
import { createBlockMemory } from './block-memory.ts'
import { decompressBody } from './segment.ts'
import type { Zstd } from './zstd.ts'

export interface Decompressor {
  /** Rejects on what is not zstd, and on what unpacks to more bytes. */
  decompress(body: Uint8Array, nativeBytes: number): Promise<Uint8Array>
  /** What `decompress` gave; nobody may use it any more. */
  giveBack(native: Uint8Array): void
}

/** As many as may be stored at once, and some that are just coming. */
const keep = 6
const mostBytes = 32 * 1024 * 1024

/** @param deps.zstd else Node's own way is gone, which is slower */
export function createDecompressor(deps: { zstd: Zstd | undefined }): Decompressor {
  const { zstd } = deps
  const memory = createBlockMemory({ keep, mostBytes })
  return {
    async decompress(body, nativeBytes) {
      if (zstd === undefined) return decompressBody(body, nativeBytes)
      const room = memory.take(nativeBytes).subarray(0, nativeBytes)
      return room.subarray(0, await zstd.decompress(body, room))
    },
    giveBack(native) {
      if (zstd !== undefined) memory.giveBack(native)
    },
  }
}
