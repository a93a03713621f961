/** Many may read at once; who changes what they read waits for them, and they for it. */
export interface Gate {
  read<T>(work: () => Promise<T>): Promise<T>
  /** False if the readers were not through in time: nothing was done. */
  change(work: () => Promise<void>, patienceMs: number): Promise<boolean>
}

export function createGate(): Gate {
  let readers = 0
  let quiet: (() => void) | undefined
  /** Resolves when the change is over. */
  let changing: Promise<void> | undefined

  return {
    async read(work) {
      while (changing !== undefined) await changing
      readers++
      try {
        return await work()
      } finally {
        if (--readers === 0) quiet?.()
      }
    },
    async change(work, patienceMs) {
      while (changing !== undefined) await changing
      const { promise, resolve } = Promise.withResolvers<void>()
      changing = promise
      try {
        if (readers > 0 && !(await untilQuiet(patienceMs))) return false
        await work()
        return true
      } finally {
        changing = undefined
        resolve()
      }
    },
  }

  function untilQuiet(patienceMs: number): Promise<boolean> {
    return new Promise(resolve => {
      const timer = setTimeout(() => end(false), patienceMs)
      quiet = () => end(true)
      function end(isQuiet: boolean) {
        clearTimeout(timer)
        quiet = undefined
        resolve(isQuiet)
      }
    })
  }
}
