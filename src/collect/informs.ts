/**
 * INFORMs that were heard, so that one that is repeated (RFC 3416 §4.2.7: until it is answered) is
 * one row, whichever of two servers heard it first.
 */
import { expectElement, readElement } from '../wire/ber.ts'

export type InformState =
  /** Heard, and in nobody's batch here: the other server may have it. */
  | 'heard'
  /** In the open batch, or on its way to the disk: the answer will come. */
  | 'sealing'
  /** The answer, which may have been lost. */
  | Uint8Array

export interface InformMemory {
  state(key: string): InformState | undefined
  /** @param now monotonic milliseconds */
  note(key: string, state: InformState, now: number): void
}

export function createInformMemory(bounds: { informs: number; ms: number }): InformMemory {
  const known = new Map<string, { state: InformState; until: number }>()
  return {
    state: key => known.get(key)?.state,
    note(key, state, now) {
      known.delete(key)
      known.set(key, { state, until: now + bounds.ms })
      for (const [oldest, { until }] of known) {
        if (known.size <= bounds.informs && until > now) break
        known.delete(oldest)
      }
    },
  }
}

const tag = { integer: 0x02, octets: 0x04, sequence: 0x30, inform: 0xa6 } as const

/** An InformRequest of version 2c by its outer form. */
export function isInform(bytes: Uint8Array): boolean {
  const message = expectElement(bytes, 0, bytes.length, tag.sequence)
  if (message === undefined) return false
  const version = expectElement(bytes, message.start, message.end, tag.integer)
  if (version === undefined) return false
  const community = expectElement(bytes, version.end, message.end, tag.octets)
  if (community === undefined) return false
  return readElement(bytes, community.end, message.end)?.tag === tag.inform
}
