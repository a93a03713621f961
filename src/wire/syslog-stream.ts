/**
 * Syslog over a stream: octet counting and line feeds, mixed on one connection (RFC 6587 §3.4,
 * RFC 5425 §4.3), from senders that get either wrong. Of a connection no more is kept than one
 * message and one chunk.
 */
import type { SyslogProblem } from './syslog.ts'
import { isDigit } from './syslog-time.ts'

interface SyslogFramer {
  /** The next bytes of the connection, cut anywhere; not kept by reference. */
  push(chunk: Uint8Array): void
  /** The connection has ended: what is left becomes a message. */
  end(): void
}

const lineFeed = 0x0a
const space = 0x20
const less = 0x3c
/** A count of more digits than this is no count. */
const maxCountDigits = 8
const undecided = -1

/**
 * @param deps.onMessage gets each message, in memory that is valid only during the call
 * @param config.maxBytes of a message; of a longer one the beginning is kept and the rest dropped
 */
export function createSyslogFramer(
  deps: { onMessage: (bytes: Uint8Array) => void; onProblem: (problem: SyslogProblem) => void },
  config: { maxBytes: number } = { maxBytes: 65_536 },
): SyslogFramer {
  const { onMessage, onProblem } = deps
  const { maxBytes } = config
  /** The beginning of a message of which the rest has not come. */
  let held = new Uint8Array(0)
  let heldLength = 0
  /** Bytes of that beginning in which no end was found. */
  let scanned = 0
  /** Bytes of an oversize counted message still to be dropped. */
  let skipping = 0
  /** Inside an oversize message without a count: all is dropped up to the next message. */
  let dropping = false

  function deliver(bytes: Uint8Array, start: number, end: number) {
    while (end > start && isTerminator(bytes[end - 1]!)) end--
    if (end > start) onMessage(bytes.subarray(start, end))
  }

  /** Takes messages from bytes[0, end); gives how much of it is used up. */
  function take(bytes: Uint8Array, end: number): number {
    let at = 0
    while (at < end) {
      const next = takeOne(bytes, at, end)
      if (next === undecided) break
      at = next
      scanned = 0
    }
    return at
  }

  /** What stands at `at`; gives the offset behind it, or −1 if it is not all here. */
  function takeOne(bytes: Uint8Array, at: number, end: number): number {
    if (skipping > 0) {
      const skipped = Math.min(skipping, end - at)
      skipping -= skipped
      return at + skipped
    }
    if (dropping) return drop(bytes, at, end)
    // Blanks lead where a sender separates by more than one byte (ASA: line feed and space).
    if (isTerminator(bytes[at]!) || bytes[at] === space) return at + 1
    const digits = countDigits(bytes, at, end)
    if (digits === undecided) return undecided
    return digits > 0 ? takeCounted(bytes, at, digits, end) : takeLine(bytes, at, end)
  }

  function takeCounted(bytes: Uint8Array, at: number, digits: number, end: number): number {
    let length = 0
    for (let i = 0; i < digits; i++) length = 10 * length + bytes[at + i]! - 0x30
    const start = at + digits + 1
    const stop = start + Math.min(length, maxBytes)
    if (stop > end) return undecided
    if (length > maxBytes) {
      onProblem('oversize')
      deliver(bytes, start, stop)
      skipping = length - maxBytes
      return stop
    }
    if (stop < end && !mayBegin(bytes[stop]!)) {
      // The count is wrong: too large if another frame begins within; else the rest follows.
      onProblem('bad-count')
      for (let i = start + 1; i < stop; i++) {
        if (beginsFrame(bytes, i, end) === 1) {
          deliver(bytes, start, i)
          return i
        }
      }
    }
    deliver(bytes, start, stop)
    return stop
  }

  /**
   * Up to a line feed or NUL. What does not begin with a priority may be the rest of a message that
   * was counted wrong: there a counted frame ends it too.
   */
  function takeLine(bytes: Uint8Array, at: number, end: number): number {
    const isRest = bytes[at] !== less
    const limit = Math.min(end, at + maxBytes)
    for (let i = at + scanned; i < limit; i++) {
      if (bytes[i] === lineFeed || bytes[i] === 0) {
        deliver(bytes, at, i)
        return i + 1
      }
      if (!isRest || i === at) continue
      const begins = beginsFrame(bytes, i, end)
      if (begins === 1) {
        deliver(bytes, at, i)
        return i
      }
      if (begins === undecided) {
        scanned = i - at
        return undecided
      }
    }
    scanned = limit - at
    if (end - at < maxBytes) return undecided
    onProblem('oversize')
    deliver(bytes, at, limit)
    dropping = true
    return limit
  }

  function drop(bytes: Uint8Array, at: number, end: number): number {
    for (let i = at; i < end; i++) {
      if (bytes[i] === lineFeed || bytes[i] === 0) {
        dropping = false
        return i + 1
      }
      const begins = beginsFrame(bytes, i, end)
      if (begins === 1) {
        dropping = false
        return i
      }
      if (begins === undecided) return i > at ? i : undecided
    }
    return end
  }

  function hold(bytes: Uint8Array) {
    const length = heldLength + bytes.length
    if (length > held.length) {
      const grown = new Uint8Array(Math.max(length, Math.min(2 * held.length, maxBytes)))
      grown.set(held.subarray(0, heldLength))
      held = grown
    }
    held.set(bytes, heldLength)
    heldLength = length
  }

  function release(used: number) {
    held.copyWithin(0, used, heldLength)
    heldLength -= used
    // A connection that is quiet between messages keeps nothing.
    if (heldLength === 0) held = new Uint8Array(0)
  }

  return {
    push(chunk) {
      if (heldLength === 0) {
        hold(chunk.subarray(take(chunk, chunk.length)))
      } else {
        hold(chunk)
        release(take(held, heldLength))
      }
    },
    end() {
      if (!dropping && heldLength > 0) {
        const digits = countDigits(held, 0, heldLength)
        if (digits > 0) onProblem('cut-off')
        const start = digits > 0 ? digits + 1 : 0
        deliver(held, start, Math.min(heldLength, start + maxBytes))
      }
      release(heldLength)
      scanned = 0
      skipping = 0
      dropping = false
    },
  }
}

/** Digits of a count that is followed by a space and a priority; 0 if it is none, −1 undecided. */
function countDigits(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at]! < 0x31 || bytes[at]! > 0x39) return 0
  let digits = 1
  while (digits <= maxCountDigits && at + digits < end && isDigit(bytes[at + digits]!)) digits++
  if (digits > maxCountDigits) return 0
  if (at + digits >= end) return undecided
  if (bytes[at + digits] !== space) return 0
  if (at + digits + 1 >= end) return undecided
  return bytes[at + digits + 1] === less ? digits : 0
}

/** Whether a counted frame with a whole priority begins at `at`: 1 yes, 0 no, −1 undecided. */
function beginsFrame(bytes: Uint8Array, at: number, end: number): number {
  if (at > 0 && isDigit(bytes[at - 1]!)) return 0
  const digits = countDigits(bytes, at, end)
  if (digits <= 0) return digits
  let to = at + digits + 2
  const first = to
  while (to < end && to < first + 3 && isDigit(bytes[to]!)) to++
  if (to >= end) return undecided
  return to > first && bytes[to] === 0x3e ? 1 : 0
}

/** What may stand where a message begins: a count, a priority, what separates. */
function mayBegin(byte: number): boolean {
  return byte === less || byte === space || isTerminator(byte) || (byte >= 0x31 && byte <= 0x39)
}

function isTerminator(byte: number): boolean {
  return byte === lineFeed || byte === 0x0d || byte === 0
}
