/**
 * The zstd that is part of Node, called directly: node:zlib makes a context and an output buffer for
 * each block, and the garbage of a busy collector or server costs it more than the compression.
 */
import { createRequire } from 'node:module'

export interface Zstd {
  /** What a block of so many bytes may need at most. */
  bound(length: number): number
  createContext(level: number): ZstdContext
  /**
   * What whole frames hold, made in Node's thread pool; both arrays stay where they are until then.
   * @returns its length; rejects on what is not zstd, and if `to` is too short
   */
  decompress(from: Uint8Array, to: Uint8Array): Promise<number>
}

export interface ZstdContext {
  /**
   * One frame, made in Node's thread pool. One at a time; both arrays stay where they are until then.
   * @returns its length; rejects if `to` is too short
   */
  compress(from: Uint8Array, to: Uint8Array): Promise<number>
  free(): void
}

/** ZSTD_c_compressionLevel (zstd.h). */
const levelParameter = 100

/** Undefined where Node does not let it be called. */
export function loadZstd(): Zstd | undefined {
  try {
    return bindCalls(createRequire(import.meta.url)('koffi'))
  } catch {
    return undefined
  }
}

function bindCalls(koffi: typeof import('koffi')): Zstd {
  // What the process itself is linked with.
  const node = koffi.load(null)
  const createCCtx = node.func('void *ZSTD_createCCtx()')
  const freeCCtx = node.func('size_t ZSTD_freeCCtx(void *context)')
  const setParameter = node.func(
    'size_t ZSTD_CCtx_setParameter(void *context, int name, int value)',
  )
  const compressBound = node.func('size_t ZSTD_compressBound(size_t length)')
  const isError = node.func('unsigned int ZSTD_isError(size_t result)')
  const errorName = node.func('const char *ZSTD_getErrorName(size_t result)')
  const compress2 = node.func(
    'size_t ZSTD_compress2(void *context, void *to, size_t most, void *from, size_t length)',
  )

  const decompress = node.func(
    'size_t ZSTD_decompress(void *to, size_t most, void *from, size_t length)',
  )

  function check(result: number | bigint): number {
    if (isError(result) !== 0) throw new Error(`zstd: ${errorName(result)}`)
    return Number(result)
  }

  function inPool(call: typeof compress2, ...values: unknown[]): Promise<number> {
    return new Promise((resolve, reject) => {
      call.async(...values, (error: Error | null, result: number | bigint) => {
        try {
          if (error !== null) throw error
          resolve(check(result))
        } catch (reason) {
          reject(reason)
        }
      })
    })
  }

  return {
    bound: length => check(compressBound(length)),
    createContext(level) {
      const context = createCCtx()
      check(setParameter(context, levelParameter, level))
      return {
        compress: (from, to) => inPool(compress2, context, to, to.length, from, from.length),
        free: () => void freeCCtx(context),
      }
    },
    decompress: (from, to) => inPool(decompress, to, to.length, from, from.length),
  }
}
