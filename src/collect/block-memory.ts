/**
 * Memory for Native blocks, used again: a busy collector fills hundreds of megabytes a second, and
 * to have them zeroed and collected as garbage costs more than to decode the flows in them.
 */
export interface BlockMemory {
  /** At least so many bytes, which hold anything. */
  take(length: number): Uint8Array
  /** What `take` gave, or a part of it from its beginning; nobody may use it any more. */
  giveBack(block: Uint8Array): void
}

/** Smaller blocks are left to the garbage collector. */
const worthwhile = 1024 * 1024

/** @param config.keep blocks kept for use again, of at most `mostBytes` each */
export function createBlockMemory(config: { keep: number; mostBytes?: number }): BlockMemory {
  const { keep, mostBytes = Number.POSITIVE_INFINITY } = config
  const free: ArrayBufferLike[] = []
  return {
    take(length) {
      const index = free.findIndex(({ byteLength }) => byteLength >= length)
      if (index >= 0) return new Uint8Array(free.splice(index, 1)[0]!)
      // Whole megabytes, so that blocks of nearly the same size can take each other's place.
      return new Uint8Array(
        length < worthwhile ? length : Math.ceil(length / worthwhile) * worthwhile,
      )
    },
    giveBack({ buffer }) {
      if (buffer.byteLength < worthwhile || buffer.byteLength > mostBytes) return
      free.push(buffer)
      // The smallest fits least.
      free.sort((a, b) => a.byteLength - b.byteLength)
      if (free.length > keep) free.shift()
    },
  }
}
