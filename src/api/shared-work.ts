/** Work that several callers want at the same time, done once. */

export interface SharedWork<T> {
  /**
   * The result of the work of that key: of the one under way, or of one that has just ended. It is
   * aborted when nobody waits for it any more.
   */
  get(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>
}

interface Shared<T> {
  result: Promise<T>
  waiting: number
  settled: boolean
  abort: AbortController
}

/** @param config.keepMs how long a result is still given after it came */
export function createSharedWork<T>(config: { keepMs: number; most: number }): SharedWork<T> {
  const under = new Map<string, Shared<T>>()

  function begin(key: string, work: (signal: AbortSignal) => Promise<T>): Shared<T> {
    const abort = new AbortController()
    const shared = { result: work(abort.signal), waiting: 0, settled: false, abort }
    const forget = () => {
      shared.settled = true
      if (under.get(key) === shared) under.delete(key)
    }
    shared.result.then(() => {
      shared.settled = true
      setTimeout(forget, config.keepMs).unref()
    }, forget)
    if (under.size < config.most) under.set(key, shared)
    return shared
  }

  return {
    async get(key, signal, work) {
      signal.throwIfAborted()
      const known = under.get(key)
      const shared = known === undefined || known.abort.signal.aborted ? begin(key, work) : known
      shared.waiting++
      const gone = Promise.withResolvers<never>()
      const leave = () => gone.reject(signal.reason)
      signal.addEventListener('abort', leave, { once: true })
      try {
        return await Promise.race([shared.result, gone.promise])
      } finally {
        signal.removeEventListener('abort', leave)
        if (--shared.waiting === 0 && !shared.settled) shared.abort.abort(signal.reason)
      }
    },
  }
}
