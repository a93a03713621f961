/** Where the parts of a syslog message lie in its bytes: what every form is read into. */
import { noPriority } from '../telemetry/syslog.ts'
import { createDeviceTime, type DeviceTime } from './syslog-time.ts'

/** A range of the message's bytes; empty where start = end. */
export interface Range {
  start: number
  end: number
}

/** One is made per decoder and used for every message, so that a message costs no object. */
export interface Parts {
  bytes: Uint8Array
  /** Behind the last byte that is text: what trails of NUL, CR, LF and blanks is outside. */
  end: number
  facility: number
  severity: number
  readonly time: DeviceTime
  readonly host: Range
  readonly app: Range
  readonly proc: Range
  readonly id: Range
  readonly structured: Range
  /** Where the text after the header begins. */
  message: number
}

export function createParts(): Parts {
  const range = () => ({ start: 0, end: 0 })
  return {
    bytes: new Uint8Array(),
    end: 0,
    facility: noPriority,
    severity: noPriority,
    time: createDeviceTime(),
    host: range(),
    app: range(),
    proc: range(),
    id: range(),
    structured: range(),
    message: 0,
  }
}

export function resetParts(parts: Parts, bytes: Uint8Array) {
  let end = bytes.length
  while (end > 0 && bytes[end - 1]! <= space) end--
  parts.bytes = bytes
  parts.end = end
  parts.facility = noPriority
  parts.severity = noPriority
  parts.time.state = 'none'
  setRange(parts.host, 0, 0)
  setRange(parts.app, 0, 0)
  setRange(parts.proc, 0, 0)
  setRange(parts.id, 0, 0)
  setRange(parts.structured, 0, 0)
  parts.message = 0
}

export function setRange(range: Range, start: number, end: number) {
  range.start = start
  range.end = end
}

export function isEmpty(range: Range): boolean {
  return range.start === range.end
}

const space = 0x20

/** The first byte from `at` on that is no blank. */
export function skipBlanks(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && (bytes[at] === space || bytes[at] === 0x09)) at++
  return at
}

/** The next blank from `at` on, or `end`. */
export function wordEnd(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && bytes[at]! > space) at++
  return at
}

/** Whether `text` (ASCII) stands at `at`. */
export function startsWith(bytes: Uint8Array, at: number, end: number, text: string): boolean {
  if (at + text.length > end) return false
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false
  return true
}
