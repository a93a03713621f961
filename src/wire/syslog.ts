/**
 * Syslog messages into rows: RFC 3164 and RFC 5424, the header of Cisco and its relatives, and the
 * forms of vendors who follow none of them. Every message becomes exactly one row with its bytes as
 * they came; what can be told of it fills the other columns.
 */
import type { Batch } from '../telemetry/batch.ts'
import { noPriority, syslogTable } from '../telemetry/syslog.ts'
import { readBody, readVendorText } from './syslog-body.ts'
import { readHeader } from './syslog-cisco.ts'
import {
  createParts,
  isEmpty,
  type Parts,
  type Range,
  resetParts,
  setRange,
  skipBlanks,
  wordEnd,
} from './syslog-parts.ts'
import { isDigit, readTime, resolveTime } from './syslog-time.ts'

/** What can be wrong with a message or the stream it came in; the message is stored all the same. */
export type SyslogProblem =
  /** Nothing but blanks. */
  | 'empty'
  /** No priority, no time, no known form: only the raw text is stored. */
  | 'unparsed'
  /** A priority above 191 (RFC 5424 §6.2.1). */
  | 'bad-priority'
  /** An RFC 5424 header that ends early. */
  | 'bad-header'
  /** RFC 5424 structured data that does not end, or is none; it stays in the message. */
  | 'bad-structured-data'
  /** The device's time is too far from ours; the receive time stands in. */
  | 'implausible-time'
  /** A count of octets that the next frame contradicts; the framer looks for the next message. */
  | 'bad-count'
  /** A message longer than the bound: its beginning is kept. */
  | 'oversize'
  /** The connection ended inside a message: what came is kept. */
  | 'cut-off'

type Transport = 'udp' | 'tcp' | 'tls'

interface SyslogDecoder {
  /**
   * Stores one row for one message. Never throws on what is in it.
   * @param sender 16 bytes
   * @param received milliseconds since 1970
   */
  decode(bytes: Uint8Array, sender: Uint8Array, transport: Transport, received: number): void
}

/** A day of spooling in a relay, and an hour of summer time. */
const { pastMs: oldest, futureMs: newest } = syslogTable.receipt.near
/** Zones are multiples of a quarter of an hour, at most 14 hours from UTC. */
const zoneStep = 15 * 60_000
const widestZone = 14 * 3_600_000

const encoder = new TextEncoder()
const transports: Record<Transport, Uint8Array> = {
  udp: encoder.encode('udp'),
  tcp: encoder.encode('tcp'),
  tls: encoder.encode('tls'),
}

/**
 * @param config.zone minutes east of UTC of device times that do not say their zone. Without it,
 *   such a time is believed to the quarter of an hour: the zone is the one in which the message
 *   has just been sent, so that a site's logs are not hours away from what else happened.
 */
export function createSyslogDecoder(
  deps: { batch: Batch<typeof syslogTable>; onProblem: (problem: SyslogProblem) => void },
  config: { zone?: number } = {},
): SyslogDecoder {
  const { batch, onProblem } = deps
  const { cells } = batch
  const parts = createParts()

  function putText(column: { setBytes: typeof cells.raw.setBytes }, row: number, range: Range) {
    if (!isEmpty(range)) column.setBytes(row, parts.bytes, range.start, range.end)
  }

  function time(received: number): number {
    let said = resolveTime(parts.time, received, config.zone ?? 0)
    if (Number.isNaN(said)) return received
    const { state, zone } = parts.time
    if (state === 'calendar' && Number.isNaN(zone) && config.zone === undefined) {
      const away = zoneStep * Math.round((said - received) / zoneStep)
      if (Math.abs(away) <= widestZone) said -= away
    }
    if (said >= received - oldest && said <= received + newest) return said
    onProblem('implausible-time')
    return received
  }

  return {
    decode(bytes, sender, transport, received) {
      const row = batch.claim()
      resetParts(parts, bytes)
      readMessage(parts, onProblem)
      cells.time.set(row, time(received))
      cells.received.set(row, received)
      cells.sender.setV6(row, sender, 0)
      const { [transport]: name } = transports
      cells.transport.setBytes(row, name, 0, name.length)
      cells.facility.values[row] = parts.facility
      cells.severity.values[row] = parts.severity
      putText(cells.host, row, parts.host)
      putText(cells.app, row, parts.app)
      putText(cells.proc, row, parts.proc)
      putText(cells.msg_id, row, parts.id)
      putText(cells.structured, row, parts.structured)
      if (parts.message < parts.end) {
        cells.message.setBytes(row, bytes, parts.message, parts.end)
      }
      cells.raw.setBytes(row, bytes, 0, bytes.length)
      batch.commit()
    },
  }
}

function readMessage(parts: Parts, onProblem: (problem: SyslogProblem) => void) {
  const { bytes, end } = parts
  let at = skipMark(bytes, 0, end)
  while (at < end && bytes[at]! <= space) at++
  if (at >= end) {
    parts.message = end
    return onProblem('empty')
  }
  parts.message = at
  at = readPriority(parts, at, onProblem)
  if (isRfc5424(bytes, at, end)) return readRfc5424(parts, at + 2, onProblem)
  const version = isEpochForm(bytes, at) ? 2 : 0
  const body = readHeader(parts, at + version)
  readBody(parts, body < 0 ? at : body)
  const { severity, time, id, app, host } = parts
  const silent = severity === noPriority && time.state === 'none'
  if (silent && isEmpty(id) && isEmpty(app) && isEmpty(host)) onProblem('unparsed')
}

const space = 0x20
const dash = 0x2d

/** UTF-8's byte order mark. */
function skipMark(bytes: Uint8Array, at: number, end: number): number {
  const marked = bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf
  return marked && at + 3 <= end ? at + 3 : at
}

/** `<PRI>`; gives the offset behind it. */
function readPriority(
  parts: Parts,
  at: number,
  onProblem: (problem: SyslogProblem) => void,
): number {
  const { bytes, end } = parts
  if (bytes[at] !== 0x3c) return at
  let priority = 0
  let digits = 0
  while (digits < 4 && isDigit(bytes[at + 1 + digits]!)) {
    priority = 10 * priority + bytes[at + 1 + digits]! - 0x30
    digits++
  }
  if (digits === 0 || bytes[at + 1 + digits] !== 0x3e || at + 1 + digits >= end) return at
  if (priority > 191 || digits > 3) onProblem('bad-priority')
  else {
    parts.facility = priority >> 3
    parts.severity = priority & 7
  }
  return at + digits + 2
}

/** Version 1, then a time or nothing: a Cisco counter would have a colon. */
function isRfc5424(bytes: Uint8Array, at: number, end: number): boolean {
  if (bytes[at] !== 0x31 || bytes[at + 1] !== space || at + 4 > end) return false
  if (bytes[at + 2] === dash) return bytes[at + 3] === space
  return isDigit(bytes[at + 2]!) && isDigit(bytes[at + 5]!) && bytes[at + 6] === dash
}

/** Meraki: version 1, then seconds since 1970. */
function isEpochForm(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] !== 0x31 || bytes[at + 1] !== space) return false
  return isDigit(bytes[at + 2]!) && bytes[at + 12] === 0x2e
}

/** RFC 5424 §6 behind the version; NILVALUE is `-`. */
function readRfc5424(parts: Parts, at: number, onProblem: (problem: SyslogProblem) => void) {
  const { bytes, end, time, host, app, proc, id } = parts
  const timeEnd = wordEnd(bytes, at, end)
  if (readTime(bytes, at, end, time) !== timeEnd) time.state = 'none'
  at = skipBlanks(bytes, timeEnd, end)
  for (const range of [host, app, proc, id]) {
    if (at >= end) return endEarly(parts, onProblem)
    const fieldEnd = wordEnd(bytes, at, end)
    const nil = bytes[at] === dash && fieldEnd === at + 1
    if (!nil) setRange(range, at, fieldEnd)
    at = skipBlanks(bytes, fieldEnd, end)
  }
  if (at >= end) return endEarly(parts, onProblem)
  const behind = structuredEnd(bytes, at, end)
  if (behind < 0) {
    onProblem('bad-structured-data')
  } else {
    if (bytes[at] !== dash) setRange(parts.structured, at, behind)
    at = skipBlanks(bytes, behind, end)
  }
  at = skipMark(bytes, at, end)
  const named = { start: id.start, end: id.end }
  readVendorText(parts, at)
  // The header's own id goes before what looks like one in the text.
  if (!isEmpty(named) && named.start !== id.start) {
    setRange(id, named.start, named.end)
    parts.message = at
  }
}

function endEarly(parts: Parts, onProblem: (problem: SyslogProblem) => void) {
  parts.message = parts.end
  onProblem('bad-header')
}

/** Behind STRUCTURED-DATA (RFC 5424 §6.3): `-`, or elements whose quoted values escape `"\]`. */
function structuredEnd(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] === dash) return at + 1 === end || bytes[at + 1] === space ? at + 1 : -1
  if (bytes[at] !== 0x5b) return -1
  let quoted = false
  for (; at < end; at++) {
    const byte = bytes[at]!
    if (quoted) {
      if (byte === 0x5c) at++
      else if (byte === 0x22) quoted = false
    } else if (byte === 0x22) {
      quoted = true
    } else if (byte === 0x5d && bytes[at + 1] !== 0x5b) {
      return at + 1 === end || bytes[at + 1] === space ? at + 1 : -1
    }
  }
  return -1
}
