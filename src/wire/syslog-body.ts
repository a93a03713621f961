/**
 * What stands behind a syslog header: a tag, a mnemonic, or the form of a vendor who writes no
 * header at all (Fortinet's key=value, Palo Alto's CSV, MikroTik's topics).
 */
import { noPriority } from '../telemetry/syslog.ts'
import { readMnemonic, readSlashed } from './syslog-cisco.ts'
import {
  isEmpty,
  type Parts,
  type Range,
  setRange,
  skipBlanks,
  startsWith,
  wordEnd,
} from './syslog-parts.ts'
import { isDigit, isLetter, readTime } from './syslog-time.ts'

const space = 0x20
const colon = 0x3a
const comma = 0x2c
const openBracket = 0x5b
const maxTag = 64

/** Reads the body at `at` into app, proc, id and message. */
export function readBody(parts: Parts, at: number) {
  const { bytes, end } = parts
  at = skipBlanks(bytes, at, end)
  parts.message = at
  if (at >= end) return
  if (bytes[at] === 0x25) {
    const text = readMnemonic(parts, at)
    if (text >= 0) parts.message = text
    return
  }
  if (readFortinet(parts, at) || readPaloAlto(parts, at) || readTopics(parts, at)) return
  const slashed = readSlashed(parts, at)
  if (slashed >= 0) {
    parts.message = slashed
    return
  }
  at = skipSeverityWord(parts, at)
  const tagged = readTag(parts, at)
  if (tagged < 0) readUntagged(parts, at)
  else readText(parts, tagged)
}

/** The text behind a tag, which may begin with a mnemonic of its own. */
function readText(parts: Parts, at: number) {
  const { bytes, end } = parts
  at = skipBlanks(bytes, at, end)
  parts.message = at
  const text = bytes[at] === 0x25 ? readMnemonic(parts, at) : readEventTag(parts, at)
  if (text >= 0) parts.message = text
}

/** Forms that name their vendor in a header of RFC 5424 too, whose fields are already taken. */
export function readVendorText(parts: Parts, at: number) {
  if (!readFortinet(parts, at) && !readPaloAlto(parts, at)) readText(parts, at)
}

/** `name: `, `name[123]: `, `name[123] `; gives where the text begins, −1 if there is no tag. */
function readTag(parts: Parts, start: number): number {
  const { bytes, end, app, proc } = parts
  const stop = Math.min(end, start + maxTag)
  let at = start
  while (at < stop && isTagByte(bytes[at]!)) at++
  if (at === start) return -1
  const nameEnd = at
  if (bytes[at] === openBracket) {
    const procAt = ++at
    while (at < stop && bytes[at] !== 0x5d && bytes[at] !== space) at++
    if (bytes[at] !== 0x5d) return -1
    setRange(proc, procAt, at)
    at++
    if (at < end && bytes[at] !== colon && bytes[at] !== space) {
      setRange(proc, 0, 0)
      return -1
    }
    if (bytes[at] === colon) at++
    setRange(app, start, nameEnd)
    return at
  }
  if (bytes[at] !== colon) return -1
  at++
  if (at < end && bytes[at] !== space && bytes[at] !== 0x25) return -1
  if (isEmpty(app)) {
    setRange(app, start, nameEnd)
    return at
  }
  // The program stood before the time already: this word is the kind of the message.
  setRange(parts.id, start, nameEnd)
  return at
}

/** Junos: `UI_COMMIT_COMPLETED: text`, capitals with at least one underscore. */
function readEventTag(parts: Parts, start: number): number {
  const { bytes, end } = parts
  let underscores = 0
  let at = start
  const stop = Math.min(end, start + 128)
  for (; at < stop; at++) {
    const byte = bytes[at]!
    if (byte === 0x5f) underscores++
    else if (!(byte >= 0x41 && byte <= 0x5a) && !isDigit(byte)) break
  }
  if (underscores === 0 || bytes[at] !== colon) return -1
  setRange(parts.id, start, at)
  return skipBlanks(bytes, at + 1, end)
}

/** Bodies without a tag, told by their first word; otherwise all of it is text. */
function readUntagged(parts: Parts, start: number) {
  const { bytes, end } = parts
  const stop = wordEnd(bytes, start, end)
  const next = skipBlanks(bytes, stop, end)
  if (next >= end) return
  if (startsWith(bytes, start, end, 'fpc') && isNumber(bytes, start + 3, stop)) {
    // Junos: a line card's own kernel writes its name without a colon.
    setRange(parts.app, start, stop)
    parts.message = next
  } else if (isNumber(bytes, start, stop) && stop - start === 5) {
    // ProCurve: the number of the event before the program.
    const tagged = readTag(parts, next)
    if (tagged < 0) return
    setRange(parts.id, start, stop)
    parts.message = skipBlanks(bytes, tagged, end)
  }
}

/** SONiC writes the severity between host and tag: `sonic NOTICE swss#orchagent: text`. */
function skipSeverityWord(parts: Parts, at: number): number {
  const { bytes, end } = parts
  const first = bytes[at]!
  if (first < 0x41 || first > 0x5a) return at
  const stop = wordEnd(bytes, at, end)
  const severity = severityWord(bytes, at, stop)
  if (severity === noPriority) return at
  const next = skipBlanks(bytes, stop, end)
  const tagStop = wordEnd(bytes, next, end)
  if (bytes[tagStop - 1] !== colon) return at
  if (parts.severity === noPriority) parts.severity = severity
  parts.message = next
  return next
}

/**
 * FortiOS: `date=2019-04-04 time=09:19:21 devname="fw01" logid="0100044546" level="notice" …`.
 * `eventtime` is in seconds, milli-, micro- or nanoseconds since 1970, depending on the release.
 */
function readFortinet(parts: Parts, start: number): boolean {
  const { bytes, end, time } = parts
  if (!startsWith(bytes, start, end, 'date=') && !startsWith(bytes, start, end, 'logver='))
    return false
  const date: Range = { start: 0, end: 0 }
  const clock: Range = { start: 0, end: 0 }
  const zone: Range = { start: 0, end: 0 }
  let eventTime = Number.NaN
  let at = start
  while (at < end) {
    at = skipBlanks(bytes, at, end)
    const keyAt = at
    while (at < end && bytes[at] !== 0x3d && bytes[at] !== space) at++
    if (bytes[at] !== 0x3d) continue
    const keyLength = at - keyAt
    const quoted = bytes[at + 1] === 0x22
    const valueAt = quoted ? at + 2 : at + 1
    at = valueAt
    if (quoted) {
      while (at < end && bytes[at] !== 0x22) at += bytes[at] === 0x5c ? 2 : 1
      at = Math.min(at, end)
    } else {
      while (at < end && bytes[at] !== space) at++
    }
    const is = (key: string) => key.length === keyLength && startsWith(bytes, keyAt, end, key)
    switch (bytes[keyAt]) {
      case 0x64: // d
        if (is('date')) setRange(date, valueAt, at)
        else if (is('devname') && isEmpty(parts.host)) setRange(parts.host, valueAt, at)
        break
      case 0x65: // e
        if (is('eventtime')) eventTime = epochOf(bytes, valueAt, at)
        break
      case 0x6c: // l
        if (is('logid') || is('log_id')) setRange(parts.id, valueAt, at)
        else if (is('level') && parts.severity === noPriority) {
          parts.severity = severityWord(bytes, valueAt, at)
        }
        break
      case 0x74: // t
        if (is('time')) setRange(clock, valueAt, at)
        else if (is('tz')) setRange(zone, valueAt, at)
        else if (is('type') && isEmpty(parts.app)) setRange(parts.app, valueAt, at)
        break
    }
    if (quoted) at++
  }
  parts.message = start
  if (!Number.isNaN(eventTime)) {
    time.state = 'epoch'
    time.epoch = eventTime
  } else if (time.state === 'none' && !isEmpty(date) && !isEmpty(clock)) {
    readDateAndClock(parts, date, clock, zone)
  }
  return true
}

function readDateAndClock(parts: Parts, date: Range, clock: Range, zone: Range) {
  const { bytes } = parts
  const text = new Uint8Array(
    date.end - date.start + clock.end - clock.start + zone.end - zone.start + 1,
  )
  text.set(bytes.subarray(date.start, date.end))
  text[date.end - date.start] = space
  text.set(bytes.subarray(clock.start, clock.end), date.end - date.start + 1)
  text.set(bytes.subarray(zone.start, zone.end), text.length - (zone.end - zone.start))
  readTime(text, 0, text.length, parts.time)
}

function epochOf(bytes: Uint8Array, start: number, end: number): number {
  if (!isNumber(bytes, start, end)) return Number.NaN
  // Ten digits are seconds; whatever follows is a fraction.
  if (end - start < 10 || end - start > 19) return Number.NaN
  let milliseconds = 0
  for (let i = 0; i < 13; i++) {
    milliseconds = 10 * milliseconds + (start + i < end ? bytes[start + i]! - 0x30 : 0)
  }
  return milliseconds
}

/** PAN-OS: `1,2018/01/05 10:00:00,007200001,CONFIG,0,…`; the type becomes the id. */
function readPaloAlto(parts: Parts, start: number): boolean {
  const { bytes, end, time } = parts
  let at = start
  while (at < end && isDigit(bytes[at]!)) at++
  if (bytes[at] !== comma || at - start > 4 || bytes[at + 5] !== 0x2f) return false
  const dateAt = ++at
  const serialAt = nextField(bytes, at, end)
  const typeAt = nextField(bytes, serialAt, end)
  const typeStop = nextField(bytes, typeAt, end) - 1
  if (typeStop <= typeAt || typeStop - typeAt > 32) return false
  for (let i = typeAt; i < typeStop; i++)
    if (!isLetter(bytes[i]!) && bytes[i] !== dashByte) return false
  if (time.state === 'none') readTime(bytes, dateAt, Math.min(end, serialAt - 1), time)
  setRange(parts.id, typeAt, typeStop)
  parts.message = start
  return true
}

const dashByte = 0x2d

/** Behind the next comma, or behind the end plus one. */
function nextField(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && bytes[at] !== comma) at++
  return at + 1
}

/** RouterOS: `system,info,account user admin logged in`; the topics become the program. */
function readTopics(parts: Parts, start: number): boolean {
  const { bytes, end } = parts
  const stop = wordEnd(bytes, start, Math.min(end, start + maxTag))
  let topicAt = start
  let worst: number = noPriority
  let commas = 0
  for (let at = start; at <= stop; at++) {
    const byte = at < stop ? bytes[at]! : comma
    if (byte === comma) {
      if (at < stop) commas++
      worst = Math.min(worst, severityWord(bytes, topicAt, at))
      topicAt = at + 1
    } else if (byte < 0x21 || byte > 0x7a || (byte >= 0x41 && byte <= 0x5a) || byte === colon) {
      return false
    }
  }
  if (commas === 0 || worst === noPriority) return false
  if (parts.severity === noPriority) parts.severity = worst
  setRange(parts.app, start, stop)
  parts.message = skipBlanks(bytes, stop, end)
  return true
}

/** 0–7 of a severity's name in either case, 255 if it is none. */
function severityWord(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < 3 || end - start > 11) return noPriority
  switch (bytes[start]! | 0x20) {
    case 0x61:
      return same(bytes, start, end, 'alert') ? 1 : noPriority
    case 0x63:
      return same(bytes, start, end, 'critical') || same(bytes, start, end, 'crit') ? 2 : noPriority
    case 0x64:
      return same(bytes, start, end, 'debug') ? 7 : noPriority
    case 0x65:
      if (same(bytes, start, end, 'error') || same(bytes, start, end, 'err')) return 3
      return same(bytes, start, end, 'emergency') ? 0 : noPriority
    case 0x69:
      return same(bytes, start, end, 'info') || same(bytes, start, end, 'information')
        ? 6
        : noPriority
    case 0x6e:
      return same(bytes, start, end, 'notice') || same(bytes, start, end, 'notification')
        ? 5
        : noPriority
    case 0x77:
      return same(bytes, start, end, 'warning') || same(bytes, start, end, 'warn') ? 4 : noPriority
    default:
      return noPriority
  }
}

function same(bytes: Uint8Array, start: number, end: number, word: string): boolean {
  if (end - start !== word.length) return false
  for (let i = 0; i < word.length; i++) {
    if ((bytes[start + i]! | 0x20) !== word.charCodeAt(i)) return false
  }
  return true
}

function isNumber(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (!isDigit(bytes[i]!)) return false
  return end > start
}

/** Anything that is printed, save what ends a tag or never stands in one. */
function isTagByte(byte: number): boolean {
  switch (byte) {
    case colon:
    case openBracket:
    case 0x22: // "
    case comma:
    case 0x3c: // <
    case 0x3d: // =
    case 0x7c: // |
      return false
    default:
      return byte > space && byte !== 0x7f
  }
}
