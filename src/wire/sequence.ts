/**
 * Loss by sequence numbers modulo 2^32, tolerant of reordering, duplicates and restarts.
 * The unit is the format's: flows (NetFlow 5 and 7), datagrams (NetFlow 9, sFlow), data records (IPFIX).
 */
export interface SequenceTracker {
  /** Units that never came. */
  readonly lost: number
  /**
   * @param sequence of the datagram
   * @param units by which it raises the sequence; undefined if it could not be read to its end
   */
  see(sequence: number, units: number | undefined): void
}

/** Gaps that may still be filled by datagrams that come late. */
const maxGaps = 16
/** A jump forward of more than this is a restart, not loss. */
const maxLoss = 1 << 24
/** So many datagrams in a row from behind, filling no gap, are a restart and not duplicates. */
const restartAfter = 3

export function createSequenceTracker(): SequenceTracker {
  let next = -1
  let lost = 0
  let behind = 0
  const gaps: { from: number; units: number }[] = []

  /** Takes units that came late out of a gap; false if none misses them. */
  function fill(sequence: number, units: number): boolean {
    for (const [index, gap] of gaps.entries()) {
      const offset = (sequence - gap.from) >>> 0
      if (offset >= gap.units) continue
      const filled = Math.min(units, gap.units - offset)
      lost -= filled
      const rest = gap.units - offset - filled
      if (offset === 0 && rest === 0) gaps.splice(index, 1)
      else if (offset === 0) gaps[index] = { from: (gap.from + filled) >>> 0, units: rest }
      else {
        gap.units = offset
        if (rest > 0) note((sequence + filled) >>> 0, rest)
      }
      return true
    }
    return false
  }

  function note(from: number, units: number) {
    if (gaps.length === maxGaps) gaps.shift()
    gaps.push({ from, units })
  }

  return {
    get lost() {
      return lost
    },
    see(sequence, units) {
      const ahead = next < 0 ? 0 : (sequence - next) | 0
      if (ahead < 0 && ahead > -maxLoss) {
        if (fill(sequence, units ?? 1)) return
        if (++behind < restartAfter) return
        gaps.length = 0
      } else if (ahead > 0 && ahead <= maxLoss) {
        lost += ahead
        note(next, ahead)
      } else if (ahead !== 0) gaps.length = 0
      behind = 0
      next = units === undefined ? -1 : (sequence + units) >>> 0
    },
  }
}
