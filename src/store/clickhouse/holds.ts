/** Inserts of rows that were received at certain times, and work during which there must be none of those. */
import type { Kind } from '../../telemetry/table.ts'

/** Rows of a kind by when they were received, milliseconds since 1970, both ends included. */
export interface Span {
  kind: Kind
  fromMs: number
  toMs: number
}

export interface Holds {
  /** Waits while its times are held. */
  insert<T>(span: Span, work: () => Promise<T>): Promise<T>
  /** Waits until inserts of these times that run have ended; others wait for the work. */
  hold<T>(span: Span, work: () => Promise<T>): Promise<T>
  /** A moment, for `changed`. */
  now(): number
  /** Whether rows of these times were inserted since, or may have been: only so many are remembered. */
  changed(span: Span, since: number): boolean
}

const remembered = 10_000

/** @param begin of the moments: above those of an earlier run, which are not remembered */
export function createHolds(begin = 0): Holds {
  const inserting = new Map<Promise<unknown>, Span>()
  const held = new Map<Promise<unknown>, Span>()
  const inserted: Span[] = []
  let count = begin

  /** Keeps the work in the map while it runs. */
  function running<T>(among: Map<Promise<unknown>, Span>, span: Span, work: () => Promise<T>) {
    const done = work()
    const quiet: Promise<unknown> = done.catch(() => {}).then(() => among.delete(quiet))
    among.set(quiet, span)
    return done
  }

  const overlapping = (among: ReadonlyMap<Promise<unknown>, Span>, span: Span) =>
    [...among].filter(([, other]) => overlap(other, span)).map(([promise]) => promise)

  return {
    async insert(span, work) {
      for (;;) {
        const before = overlapping(held, span)
        if (before.length === 0) break
        await Promise.all(before)
      }
      return running(inserting, span, async () => {
        try {
          return await work()
        } finally {
          // Also one that failed: the engine may have it all the same.
          inserted[count++ % remembered] = span
        }
      })
    },

    hold: (span, work) =>
      running(held, span, async () => {
        await Promise.all(overlapping(inserting, span))
        return work()
      }),

    now: () => count,

    changed(span, since) {
      if (since < begin || since > count || count - since > remembered) return true
      for (let at = since; at < count; at++) {
        if (overlap(inserted[at % remembered]!, span)) return true
      }
      return overlapping(inserting, span).length > 0
    },
  }
}

function overlap(one: Span, other: Span): boolean {
  return one.kind === other.kind && one.fromMs <= other.toMs && other.fromMs <= one.toMs
}
