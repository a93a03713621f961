/**
 * The header that Cisco's systems and their relatives write, every part optional and on its own:
 * `[counter: ][host: ][seq: ]["*"|"."]TIME[.mmm][ ZONE]: %FAC[-SUB…]-SEV-MNEM: text`,
 * and the mnemonics of Cisco (`%SYS-5-CONFIG_I`), Huawei and H3C (`%%01IFNET/4/IF_STATE(l)[12]`).
 */
import { noPriority } from '../telemetry/syslog.ts'
import { type Parts, setRange, skipBlanks, wordEnd } from './syslog-parts.ts'
import { isDigit, isLetter, namedZone, readTime } from './syslog-time.ts'

const percent = 0x25
const colon = 0x3a
const space = 0x20
const star = 0x2a
const dash = 0x2d
const slash = 0x2f

/** What may stand before the time; more words than this are text. */
const maxItems = 8
const maxWord = 255
/** A header behind the header of a relay, and one more. */
const maxDepth = 2

/** What was seen before the time. */
interface Before {
  hostStart: number
  hostEnd: number
  /** A counter or sequence number. */
  counted: boolean
  /** `*` or `.` before the time, or a node's name: then a word behind the time is a zone. */
  cisco: boolean
  /** Words without a colon, and the first two of them. */
  words: number
  firstStart: number
  firstEnd: number
  secondStart: number
  secondEnd: number
}

/**
 * Reads a header at `at` up to the text or the mnemonic.
 *
 * @param depth headers already read before it: behind the first one, only a counter or a mnemonic
 *   proves that another follows, because texts begin with times of their own
 * @returns where the body begins, −1 (and nothing written) if this is no such header
 */
export function readHeader(parts: Parts, at: number, depth = 0): number {
  if (depth > maxDepth) return -1
  const { bytes, end, time } = parts
  const before: Before = {
    hostStart: 0,
    hostEnd: 0,
    counted: false,
    cisco: false,
    words: 0,
    firstStart: 0,
    firstEnd: 0,
    secondStart: 0,
    secondEnd: 0,
  }
  for (let items = 0; items < maxItems; items++) {
    at = skipBlanks(bytes, at, end)
    if (at >= end) return -1
    const first = bytes[at]!
    if (first === colon) {
      at++
      continue
    }
    const flagged = isFlag(first)
    const timeAt = flagged ? at + 1 : at
    if (before.words === 0 || isDashedName(bytes, timeAt)) {
      const sure = before.counted || (depth === 0 && before.hostEnd === 0)
      const saved = sure ? undefined : { ...time }
      const behind = readTime(bytes, timeAt, end, time)
      if (behind > 0) {
        before.cisco ||= flagged
        if (saved !== undefined && !mnemonicFollows(parts, behind)) {
          Object.assign(time, saved)
          return -1
        }
        if (first === star) time.state = 'useless'
        return finishHeader(parts, behind, before, depth)
      }
    }
    if (first === percent && mnemonicEnd(bytes, at, end) > 0) {
      if (before.words > 0 || (depth > 0 && !before.counted)) return -1
      takeHost(parts, before)
      return at
    }
    const wordAt = at
    at = wordEnd(bytes, at, end)
    if (at - wordAt > maxWord) return -1
    if (at - wordAt > 1 && bytes[at - 1] === colon) {
      if (isNumber(bytes, wordAt, at - 1)) {
        before.counted = true
      } else {
        before.hostStart = wordAt
        before.hostEnd = at - 1
      }
      before.cisco = true
      continue
    }
    const located = readLocated(parts, wordAt, at, before, depth)
    if (located > 0) return located
    if (++before.words === 1) {
      before.firstStart = wordAt
      before.firstEnd = at
    } else if (before.words === 2) {
      before.secondStart = wordAt
      before.secondEnd = at
    } else {
      return -1
    }
  }
  return -1
}

/** Whether a mnemonic stands behind the time and at most one word that ends in a colon. */
function mnemonicFollows({ bytes, end }: Parts, at: number): boolean {
  if (bytes[at] === colon) at++
  at = skipBlanks(bytes, at, end)
  if (bytes[at] === percent) return true
  at = wordEnd(bytes, at, end)
  if (bytes[at - 1] !== colon) return false
  return bytes[skipBlanks(bytes, at, end)] === percent
}

/** IOS-XR: `host RP/0/RSP0/CPU0:Mar 28 15:08:30.941 UTC: `, the time glued to the node's name. */
function readLocated(
  parts: Parts,
  wordAt: number,
  wordStop: number,
  before: Before,
  depth: number,
): number {
  const { bytes, end, time } = parts
  let at = wordAt
  let slashes = 0
  while (at < wordStop && bytes[at] !== colon) if (bytes[at++] === slash) slashes++
  if (slashes === 0 || before.words > 1) return -1
  const flag = bytes[at + 1]!
  const behind = readTime(bytes, isFlag(flag) ? at + 2 : at + 1, end, time)
  if (behind < 0) return -1
  if (flag === star) time.state = 'useless'
  before.cisco = true
  if (before.words === 1) {
    before.hostStart = before.firstStart
    before.hostEnd = before.firstEnd
    before.words = 0
  }
  return finishHeader(parts, behind, before, depth)
}

/** What follows the time: a zone, a host, or nothing; gives where the body begins. */
function finishHeader(parts: Parts, at: number, before: Before, depth: number): number {
  const { bytes, end, time, host } = parts
  takeHost(parts, before)
  at = skipBlanks(bytes, at, end)
  let wordStop = wordEnd(bytes, at, end)
  const zone = namedZone(bytes, at, wordStop)
  if (zone !== undefined) {
    time.zone = zone
    at = skipBlanks(bytes, wordStop, end)
    wordStop = wordEnd(bytes, at, end)
  }
  if (bytes[at] === colon && (at + 1 === end || !isDigit(bytes[at + 1]!))) {
    return skipBlanks(bytes, at + 1, end)
  }
  if (isText(bytes, at, wordStop)) return at
  const next = skipBlanks(bytes, wordStop, end)
  if (bytes[wordStop - 1] === colon) {
    if (isZone(parts, at, wordStop - 1, next, before)) {
      time.zone = namedZone(bytes, at, wordStop - 1) ?? time.zone
      return next
    }
    const nested = readHeader(parts, at, depth + 1)
    return nested >= 0 ? nested : at
  }
  const named = before.hostEnd > 0 || before.words > 0
  if (next >= end || named) return at
  setRange(host, at, wordStop)
  // ASA puts its colon between blanks: `host : %ASA-6-…`.
  const body = bytes[next] === colon && bytes[next + 1] === space ? next + 2 : next
  const nested = readHeader(parts, body, depth + 1)
  return nested >= 0 ? nested : skipBlanks(bytes, body, end)
}

function takeHost({ host, app }: Parts, before: Before) {
  if (before.hostEnd > 0) setRange(host, before.hostStart, before.hostEnd)
  if (before.words > 0) setRange(host, before.firstStart, before.firstEnd)
  if (before.words > 1) setRange(app, before.secondStart, before.secondEnd)
}

/** `*`: the clock was never set. `.`: the clock has lost its source. */
function isFlag(byte: number): boolean {
  return byte === star || byte === 0x2e
}

/** `2018-Nov- 9`: consoles put words without a colon before such a time. */
function isDashedName(bytes: Uint8Array, at: number): boolean {
  return bytes[at + 4] === dash && isLetter(bytes[at + 5]!) && isDigit(bytes[at]!)
}

/** Whether the word before a colon and behind the time names a zone, not a host or a program. */
function isZone(
  { bytes, time }: Parts,
  start: number,
  end: number,
  next: number,
  before: Before,
): boolean {
  if (namedZone(bytes, start, end) !== undefined) return true
  let upper = true
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    if (!isLetter(byte) && byte !== 0x2b && byte !== dash && byte !== 0x5f && !isDigit(byte)) {
      return false
    }
    if (byte >= 0x61) upper = false
  }
  if (isNumber(bytes, start, end)) return false
  if (before.cisco) return true
  return bytes[next] === percent && (upper || time.fine)
}

/** Words that no host is named by: the body has begun. */
function isText(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes[start] === percent) return true
  for (let i = start; i < end; i++) {
    switch (bytes[i]) {
      case 0x22: // "
      case 0x2c: // ,
      case 0x3c: // <
      case 0x3d: // =
      case 0x5b: // [
      case 0x7c: // |
        return true
    }
  }
  return false
}

function isNumber(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (!isDigit(bytes[i]!)) return false
  return end > start
}

/** The colon that ends the mnemonic whose `%` is at `at`, −1 if there is none. */
function mnemonicEnd(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at + 1] === 0x24) return at + 1
  if (bytes[at + 1] === percent) return isDigit(bytes[at + 2]!) ? at + 1 : -1
  const first = bytes[at + 1]!
  if (!(first >= 0x41 && first <= 0x5a)) return -1
  const stop = Math.min(end, at + 128)
  let to = at + 2
  while (to < stop && isIdByte(bytes[to]!)) to++
  if (bytes[to] === space) to++
  return to < end && bytes[to] === colon ? to : -1
}

/**
 * Reads the mnemonic at a `%` into the id, and the severity if the message had no priority.
 * @returns where the text begins, −1 if what stands there is no mnemonic
 */
export function readMnemonic(parts: Parts, at: number): number {
  const { bytes, end } = parts
  if (bytes[at + 1] === percent) return readSlashed(parts, at + 4)
  if (bytes[at + 1] === 0x24) return readVdc(parts, at)
  const stop = mnemonicEnd(bytes, at, end)
  if (stop < 0) return -1
  const idEnd = bytes[stop - 1] === space ? stop - 1 : stop
  setRange(parts.id, at + 1, idEnd)
  if (parts.severity === noPriority) {
    for (let i = idEnd - 1; i > at + 2; i--) {
      if (bytes[i] === dash && bytes[i - 2] === dash) {
        parts.severity = severityOf(bytes[i - 1]!)
        break
      }
    }
  }
  return skipBlanks(bytes, stop + 1, end)
}

/** NX-OS: `%$ VDC-1 %$ %SYS-…`. */
function readVdc(parts: Parts, at: number): number {
  const { bytes, end } = parts
  const stop = Math.min(end - 1, at + 80)
  for (let i = at + 2; i < stop; i++) {
    if (bytes[i] !== percent || bytes[i + 1] !== 0x24) continue
    const next = skipBlanks(bytes, i + 2, end)
    return bytes[next] === percent && bytes[next + 1] !== 0x24 ? readMnemonic(parts, next) : next
  }
  return -1
}

/**
 * Huawei and H3C: `MODULE/4/BRIEF`, then `(l)` for the kind, `[12]` for a counter, a colon.
 * @returns where the text begins, −1 if what stands there is no such id
 */
export function readSlashed(parts: Parts, start: number): number {
  const { bytes, end } = parts
  const stop = Math.min(end, start + 128)
  let at = start
  while (at < stop && isIdByte(bytes[at]!)) at++
  if (at === start || bytes[at] !== slash) return -1
  if (!isDigit(bytes[at + 1]!) || bytes[at + 2] !== slash) return -1
  const severity = bytes[at + 1]!
  const briefAt = at + 3
  at = briefAt
  while (at < stop && isIdByte(bytes[at]!)) at++
  if (at === briefAt) return -1
  const idEnd = at
  if (bytes[at] === 0x28 && bytes[at + 2] === 0x29) at += 3
  if (bytes[at] === 0x5b) {
    let close = at + 1
    while (close < stop && isDigit(bytes[close]!)) close++
    if (bytes[close] === 0x5d) at = close + 1
  }
  if (bytes[at] === space && bytes[at + 1] === colon) at++
  if (at < end && bytes[at] !== colon && bytes[at] !== space && bytes[at] !== 0x3b) return -1
  setRange(parts.id, start, idEnd)
  if (parts.severity === noPriority) parts.severity = severityOf(severity)
  return skipBlanks(bytes, at + 1, end)
}

/** 0–7, or the letter that small switches write instead. */
function severityOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x37) return byte - 0x30
  switch (byte) {
    case 0x41: // alert
      return 1
    case 0x43: // critical
      return 2
    case 0x45: // error
      return 3
    case 0x57: // warning
      return 4
    case 0x4e: // notice
      return 5
    case 0x49: // informational
      return 6
    case 0x44: // debug
      return 7
    default:
      return noPriority
  }
}

function isIdByte(byte: number): boolean {
  return isLetter(byte) || isDigit(byte) || byte === dash || byte === 0x5f || byte === 0x2e
}
