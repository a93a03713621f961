/**
 * SNMP notifications into rows: traps of version 1 (RFC 1157) in the form of version 2
 * (RFC 3584 §3.1), traps and informs of version 2c (RFC 1901, 3416).
 */
import { formatAddress } from '../telemetry/address.ts'
import type { Batch } from '../telemetry/batch.ts'
import type { trapTable } from '../telemetry/trap.ts'
import {
  type Element,
  expectElement,
  readElement,
  readOid,
  readSigned,
  readUnsigned,
} from './ber.ts'
import { notificationName } from './snmp-names.ts'

/** Why a message is not a row, or not a whole one. */
export type TrapProblem =
  /** Longer than 8 KiB: not stored. */
  | 'oversize'
  /** The message goes on behind the end of the datagram: not stored. */
  | 'truncated'
  /** Not BER, or not the fields of a notification: not stored. */
  | 'malformed'
  /** Version 3, or none that exists: not stored. */
  | 'unsupported-version'
  /** A request or response: not stored. */
  | 'not-a-notification'
  /** More than 256 variables: stored with the first of them. */
  | 'too-many-varbinds'
  /** No snmpTrapOID.0: stored without a name. */
  | 'no-trap-oid'
  /** The datagram goes on behind the message: stored. */
  | 'trailing-bytes'

/** The answer to an inform, to be sent to where it came from once the row is durable. */
interface TrapReply {
  bytes: Uint8Array
}

interface TrapDecoder {
  /**
   * Stores one row if the message is a notification. Never throws on what is in it.
   * @param sender 16 bytes
   * @param received milliseconds since 1970
   * @returns the Response of an inform
   */
  decode(bytes: Uint8Array, sender: Uint8Array, received: number): TrapReply | undefined
}

const maxMessage = 8192
const maxVarbinds = 256
const maxShown = 1024

const tag = {
  integer: 0x02,
  octets: 0x04,
  nil: 0x05,
  oid: 0x06,
  sequence: 0x30,
  ipAddress: 0x40,
  counter32: 0x41,
  gauge32: 0x42,
  timeTicks: 0x43,
  opaque: 0x44,
  counter64: 0x46,
  noSuchObject: 0x80,
  noSuchInstance: 0x81,
  endOfMibView: 0x82,
  response: 0xa2,
  trapV1: 0xa4,
  inform: 0xa6,
  trapV2: 0xa7,
} as const

const oids = {
  sysUpTime: '1.3.6.1.2.1.1.3.0',
  trapOid: '1.3.6.1.6.3.1.1.4.1.0',
  trapEnterprise: '1.3.6.1.6.3.1.1.4.3.0',
  trapAddress: '1.3.6.1.6.3.18.1.3.0',
  trapCommunity: '1.3.6.1.6.3.18.1.4.0',
  genericTraps: '1.3.6.1.6.3.1.1.5',
} as const

interface Varbind {
  oid: string
  type: string
  value: number | string | null
}

/** What either version says. */
interface Notification {
  inform: boolean
  request: number
  uptime: number
  trapOid: string
  /** Contents of an IpAddress of 4 bytes. */
  agent: Element | undefined
  varbinds: Varbind[]
  /** Contents that are a community: not for anybody's eyes. */
  secrets: Element[]
}

export function createTrapDecoder(deps: {
  batch: Batch<typeof trapTable>
  onProblem: (problem: TrapProblem) => void
}): TrapDecoder {
  const { batch, onProblem } = deps
  const { cells } = batch
  return {
    decode(bytes, sender, received) {
      const header = readHeader(bytes)
      if (typeof header === 'string') {
        onProblem(header)
        return undefined
      }
      const { version, community, pdu, end } = header
      const notification =
        pdu.tag === tag.trapV1
          ? readTrapV1(bytes, pdu, onProblem)
          : readTrapV2(bytes, pdu, onProblem)
      if (notification === undefined) {
        onProblem('malformed')
        return undefined
      }
      if (end < bytes.length) onProblem('trailing-bytes')
      const { agent, trapOid } = notification
      if (trapOid === '') onProblem('no-trap-oid')

      const row = batch.claim()
      cells.received.set(row, received)
      cells.sender.setV6(row, sender, 0)
      if (agent === undefined) cells.agent.setV6(row, sender, 0)
      else cells.agent.setV4(row, bytes, agent.start)
      cells.version.values[row] = version
      cells.inform.values[row] = notification.inform ? 1 : 0
      cells.request.values[row] = notification.request
      cells.uptime.values[row] = notification.uptime
      cells.oid.setText(row, trapOid)
      cells.name.setText(row, notificationName(trapOid))
      cells.varbinds.setText(row, JSON.stringify(notification.varbinds))
      const raw = masked(bytes, [community, ...notification.secrets])
      cells.raw.setBytes(row, raw, 0, raw.length)
      batch.commit()
      if (!notification.inform) return undefined
      return { bytes: response(bytes.subarray(0, end), community.end, pdu) }
    },
  }
}

/** Message ::= SEQUENCE { version INTEGER, community OCTET STRING, data PDU } (RFC 1157 §4). */
function readHeader(bytes: Uint8Array) {
  if (bytes.length > maxMessage) return 'oversize'
  const message = expectElement(bytes, 0, bytes.length, tag.sequence)
  if (message === undefined) return isCutOff(bytes) ? 'truncated' : 'malformed'
  const { end } = message
  const versionAt = expectElement(bytes, message.start, end, tag.integer)
  if (versionAt === undefined) return 'malformed'
  const version = readSigned(bytes, versionAt)
  if (version !== 0 && version !== 1) return 'unsupported-version'
  const community = expectElement(bytes, versionAt.end, end, tag.octets)
  if (community === undefined) return 'malformed'
  const pdu = readElement(bytes, community.end, end)
  if (pdu === undefined) return 'malformed'
  if (pdu.tag !== tag.trapV1 && pdu.tag !== tag.trapV2 && pdu.tag !== tag.inform) {
    return pdu.tag >= 0xa0 && pdu.tag <= 0xa8 ? 'not-a-notification' : 'malformed'
  }
  return { version: version + 1, community, pdu, end }
}

/** Whether a sequence begins here whose length is more than what has come. */
function isCutOff(bytes: Uint8Array): boolean {
  if (bytes.length === 0 || bytes[0] !== tag.sequence) return false
  const width = bytes.length === 1 || bytes[1]! < 0x80 ? 0 : bytes[1]! & 0x7f
  return bytes[1] !== 0x80 && width <= 4
}

/** Trap-PDU (RFC 1157 §4.1.6), told as RFC 3584 §3.1 translates it; the community is left out. */
function readTrapV1(
  bytes: Uint8Array,
  pdu: Element,
  onProblem: (problem: TrapProblem) => void,
): Notification | undefined {
  const enterpriseAt = expectElement(bytes, pdu.start, pdu.end, tag.oid)
  if (enterpriseAt === undefined) return undefined
  const enterprise = readOid(bytes, enterpriseAt)
  const agent = expectElement(bytes, enterpriseAt.end, pdu.end, tag.ipAddress)
  if (enterprise === undefined || agent === undefined || agent.end - agent.start !== 4) {
    return undefined
  }
  const generic = integerAt(bytes, agent.end, pdu.end, tag.integer)
  if (generic === undefined || generic.value < 0 || generic.value > 6) return undefined
  const specific = integerAt(bytes, generic.end, pdu.end, tag.integer)
  if (specific === undefined) return undefined
  const uptime = integerAt(bytes, specific.end, pdu.end, tag.timeTicks)
  if (uptime === undefined) return undefined
  const trapOid =
    generic.value === 6
      ? `${enterprise}.0.${specific.value >>> 0}`
      : `${oids.genericTraps}.${generic.value + 1}`
  const notification: Notification = {
    inform: false,
    request: 0,
    uptime: uptime.value >>> 0,
    trapOid,
    agent: isZero(bytes, agent) ? undefined : agent,
    varbinds: [
      { oid: oids.sysUpTime, type: 'TimeTicks', value: uptime.value >>> 0 },
      { oid: oids.trapOid, type: 'OBJECT IDENTIFIER', value: trapOid },
    ],
    secrets: [],
  }
  if (!readVarbinds(bytes, uptime.end, pdu.end, notification, onProblem)) return undefined
  const { varbinds } = notification
  const has = (oid: string) => varbinds.some(varbind => varbind.oid === oid)
  if (!has(oids.trapAddress)) {
    varbinds.push({ oid: oids.trapAddress, type: 'IpAddress', value: addressText(bytes, agent) })
  }
  if (!has(oids.trapEnterprise)) {
    varbinds.push({ oid: oids.trapEnterprise, type: 'OBJECT IDENTIFIER', value: enterprise })
  }
  return notification
}

/** SNMPv2-Trap-PDU and InformRequest-PDU (RFC 3416 §4.2.6, §4.2.7). */
function readTrapV2(
  bytes: Uint8Array,
  pdu: Element,
  onProblem: (problem: TrapProblem) => void,
): Notification | undefined {
  const request = integerAt(bytes, pdu.start, pdu.end, tag.integer)
  if (request === undefined) return undefined
  const status = integerAt(bytes, request.end, pdu.end, tag.integer)
  if (status === undefined) return undefined
  const index = integerAt(bytes, status.end, pdu.end, tag.integer)
  if (index === undefined) return undefined
  const notification: Notification = {
    inform: pdu.tag === tag.inform,
    request: request.value >>> 0,
    uptime: 0,
    trapOid: '',
    agent: undefined,
    varbinds: [],
    secrets: [],
  }
  const whole = readVarbinds(bytes, index.end, pdu.end, notification, onProblem)
  return whole ? notification : undefined
}

/** VarBindList; what names the notification is taken from it on the way. */
function readVarbinds(
  bytes: Uint8Array,
  at: number,
  end: number,
  notification: Notification,
  onProblem: (problem: TrapProblem) => void,
): boolean {
  const list = expectElement(bytes, at, end, tag.sequence)
  if (list === undefined) return false
  let count = 0
  for (let next = list.start; next < list.end; ) {
    if (count++ === maxVarbinds) {
      onProblem('too-many-varbinds')
      return true
    }
    const pair = expectElement(bytes, next, list.end, tag.sequence)
    if (pair === undefined) return false
    const name = expectElement(bytes, pair.start, pair.end, tag.oid)
    if (name === undefined) return false
    const oid = readOid(bytes, name)
    const value = readElement(bytes, name.end, pair.end)
    if (oid === undefined || value === undefined) return false
    const varbind = readValue(bytes, oid, value)
    if (varbind === undefined) return false
    notification.varbinds.push(varbind)
    switch (oid) {
      case oids.sysUpTime:
        if (typeof varbind.value === 'number') notification.uptime = varbind.value
        break
      case oids.trapOid:
        if (value.tag === tag.oid) notification.trapOid = String(varbind.value)
        break
      case oids.trapAddress:
        if (value.tag === tag.ipAddress && value.end - value.start === 4 && !isZero(bytes, value)) {
          notification.agent = value
        }
        break
      case oids.trapCommunity:
        notification.secrets.push(value)
        varbind.value = '*'.repeat(value.end - value.start)
        break
    }
    next = pair.end
  }
  return true
}

function readValue(bytes: Uint8Array, oid: string, element: Element): Varbind | undefined {
  const of = (type: string, value: number | string | null | undefined) =>
    value === undefined ? undefined : { oid, type, value }
  switch (element.tag) {
    case tag.integer:
      return of('INTEGER', readSigned(bytes, element))
    case tag.octets:
      return of('OCTET STRING', octetText(bytes, element))
    case tag.nil:
      return of('NULL', null)
    case tag.oid:
      return of('OBJECT IDENTIFIER', readOid(bytes, element))
    case tag.ipAddress:
      return of('IpAddress', addressText(bytes, element))
    case tag.counter32:
      return of('Counter32', unsigned32(bytes, element))
    case tag.gauge32:
      return of('Gauge32', unsigned32(bytes, element))
    case tag.timeTicks:
      return of('TimeTicks', unsigned32(bytes, element))
    case tag.opaque:
      return of('Opaque', hex(bytes, element))
    case tag.counter64:
      // As text, because JSON's numbers end at 2^53.
      return of('Counter64', readUnsigned(bytes, element))
    case tag.noSuchObject:
      return of('noSuchObject', null)
    case tag.noSuchInstance:
      return of('noSuchInstance', null)
    case tag.endOfMibView:
      return of('endOfMibView', null)
    default:
      return of(`tag ${element.tag}`, hex(bytes, element))
  }
}

function integerAt(bytes: Uint8Array, at: number, end: number, wanted: number) {
  const element = expectElement(bytes, at, end, wanted)
  if (element === undefined) return undefined
  const value = readSigned(bytes, element)
  return value === undefined ? undefined : { value, end: element.end }
}

/** Senders that forget the leading zero byte mean 2^31 and up, not a negative number. */
function unsigned32(bytes: Uint8Array, element: Element): number | undefined {
  const value = readSigned(bytes, element)
  return value === undefined ? undefined : value >>> 0
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** Control characters that no text has; tab and the ends of lines are let through. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unprintable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/

/** Text if it is UTF-8 that can be printed (a NUL at the end is C's, not the text's), else hex. */
function octetText(bytes: Uint8Array, element: Element): string {
  const { start } = element
  const end =
    element.end > start + 1 && bytes[element.end - 1] === 0 ? element.end - 1 : element.end
  let text: string
  try {
    text = utf8.decode(bytes.subarray(start, end))
  } catch {
    return hex(bytes, element)
  }
  if (unprintable.test(text)) return hex(bytes, element)
  return text.length > maxShown ? `${text.slice(0, maxShown).toWellFormed()}…` : text
}

function hex(bytes: Uint8Array, { start, end }: Element): string {
  let text = '0x'
  const stop = Math.min(end, start + maxShown)
  for (let i = start; i < stop; i++) text += bytes[i]!.toString(16).padStart(2, '0')
  return stop < end ? `${text}…` : text
}

function addressText(bytes: Uint8Array, element: Element): string {
  const { start, end } = element
  if (end - start === 4) return bytes.subarray(start, end).join('.')
  return end - start === 16 ? formatAddress(bytes, start) : hex(bytes, element)
}

function isZero(bytes: Uint8Array, { start, end }: Element): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false
  return true
}

/** A copy with asterisks in place of the secrets, so that lengths stay true. */
function masked(bytes: Uint8Array, secrets: readonly Element[]): Uint8Array {
  // Not slice(): that of a Buffer shares its memory.
  const copy = new Uint8Array(bytes)
  for (const { start, end } of secrets) copy.fill(0x2a, start, end)
  return copy
}

/** Response-PDU: the inform with another tag and no error (RFC 3416 §4.2.7). */
function response(message: Uint8Array, pduAt: number, pdu: Element): Uint8Array {
  const copy = new Uint8Array(message)
  const request = readElement(message, pdu.start, pdu.end)!
  const status = readElement(message, request.end, pdu.end)!
  const index = readElement(message, status.end, pdu.end)!
  copy.fill(0, status.start, status.end)
  copy.fill(0, index.start, index.end)
  copy[pduAt] = tag.response
  return copy
}
