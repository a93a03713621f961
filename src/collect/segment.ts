/**
 * The sealed file: a header of fixed size, then one Native block of one telemetry table, compressed
 * with zstd. It never changes after it was sealed. Numbers are little-endian:
 *
 *     0  8  magic `KWSEGMNT`      32  8  sequence
 *     8  2  format version        40  8  bytes of the Native block
 *    10  1  kind (kindCodes)      48  8  bytes of the body
 *    11  1  zero                  56  8  first datagram received, ms since 1970
 *    12  4  rows                  64  8  last datagram received, ms since 1970
 *    16 16  collector (UUID)      72 32  SHA-256 of the body
 *                                104  4  CRC-32 of everything before
 *
 * Version 1 ends with the body. In version 2, of a server's own collector, a manifest follows.
 */
import { hash } from 'node:crypto'
import { promisify } from 'node:util'
import { constants, crc32, zstdCompress, zstdDecompress } from 'node:zlib'
import type { Kind } from '../telemetry/table.ts'
import { tables } from '../telemetry/tables.ts'
import { widened } from '../telemetry/widen.ts'
import { decodeManifest, encodeManifest, type Manifest, ManifestDamaged } from './manifest.ts'

export const segmentHeaderBytes = 108
const magic = Buffer.from('KWSEGMNT', 'latin1')
const plainVersion = 1
const manifestVersion = 2
/** A rank, flags, counts and a checksum are the least. */
const leastManifest = 24
const kindCodes: Record<Kind, number> = { flow: 1, syslog: 2, trap: 3, counter: 4, name: 5 }
const kindOfCode = new Map(Object.entries(kindCodes).map(([kind, code]) => [code, kind as Kind]))

/** A segment's identity: no two segments of a deployment share it. */
export interface SegmentId {
  /** UUID of the spool that sealed it. */
  collector: string
  kind: Kind
  /** From 0, without gaps, per collector and kind. */
  sequence: number
}

export interface SegmentHeader extends SegmentId {
  rows: number
  nativeBytes: number
  bodyBytes: number
  /** Behind the body; 0 without a manifest. */
  manifestBytes: number
  firstMs: number
  lastMs: number
  /** SHA-256 of the body, hexadecimal. */
  sha256: string
}

/** What of a segment is known before the spool gives it a sequence. */
export interface Sealed {
  rows: number
  nativeBytes: number
  firstMs: number
  lastMs: number
  /** The zstd-compressed Native block. */
  body: Uint8Array
  manifest?: Manifest | undefined
}

/** A segment as it lies on disk. */
export interface WholeSegment {
  header: SegmentHeader
  body: Buffer
  manifest: Manifest | undefined
}

/** What a server gets of a segment. */
export interface Parcel {
  rows: number
  nativeBytes: number
  body: Uint8Array
  /** Of the body, hexadecimal. */
  sha256: string
}

/** Bytes that are not one whole segment: torn, damaged or of another format. */
export class SegmentDamaged extends Error {
  override name = 'SegmentDamaged'
}

/** A sealed segment's file, in parts. */
export function encodeSegment(id: SegmentId, sealed: Sealed): Uint8Array[] {
  const parts = [encodeSegmentHeader(id, sealed), sealed.body]
  return sealed.manifest === undefined ? parts : [...parts, encodeManifest(sealed.manifest)]
}

/** The header's bytes for a sealed body. */
export function encodeSegmentHeader(id: SegmentId, sealed: Sealed): Buffer {
  const bytes = Buffer.alloc(segmentHeaderBytes)
  magic.copy(bytes, 0)
  bytes.writeUInt16LE(sealed.manifest === undefined ? plainVersion : manifestVersion, 8)
  bytes.writeUInt8(kindCodes[id.kind], 10)
  bytes.writeUInt32LE(sealed.rows, 12)
  Buffer.from(id.collector.replaceAll('-', ''), 'hex').copy(bytes, 16)
  putNumber(bytes, 32, id.sequence)
  putNumber(bytes, 40, sealed.nativeBytes)
  putNumber(bytes, 48, sealed.body.length)
  putNumber(bytes, 56, sealed.firstMs)
  putNumber(bytes, 64, sealed.lastMs)
  hash('sha256', sealed.body, 'buffer').copy(bytes, 72)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 104)), 104)
  return bytes
}

/** Reads a header and compares the file's size with what it says. @throws SegmentDamaged */
export function parseSegmentHeader(bytes: Buffer, fileBytes: number): SegmentHeader {
  if (bytes.length < segmentHeaderBytes) throw new SegmentDamaged('shorter than its header')
  if (!bytes.subarray(0, 8).equals(magic)) throw new SegmentDamaged('not a segment')
  if (crc32(bytes.subarray(0, 104)) !== bytes.readUInt32LE(104)) {
    throw new SegmentDamaged('the header’s checksum is wrong')
  }
  const version = bytes.readUInt16LE(8)
  if (version !== plainVersion && version !== manifestVersion) {
    throw new SegmentDamaged(`format ${version} is not known`)
  }
  const kind = kindOfCode.get(bytes.readUInt8(10))
  if (kind === undefined) throw new SegmentDamaged('the kind is not known')
  const bodyBytes = takeNumber(bytes, 48)
  const manifestBytes = fileBytes - segmentHeaderBytes - bodyBytes
  if (version === plainVersion ? manifestBytes !== 0 : manifestBytes < leastManifest) {
    throw new SegmentDamaged(`${fileBytes} bytes with a body of ${bodyBytes}`)
  }
  return {
    collector: formatUuid(bytes.subarray(16, 32)),
    kind,
    sequence: takeNumber(bytes, 32),
    rows: bytes.readUInt32LE(12),
    nativeBytes: takeNumber(bytes, 40),
    bodyBytes,
    manifestBytes,
    firstMs: takeNumber(bytes, 56),
    lastMs: takeNumber(bytes, 64),
    sha256: bytes.toString('hex', 72, 104),
  }
}

/** A whole segment, its body and manifest proven by checksum. @throws SegmentDamaged */
export function parseSegment(file: Buffer): WholeSegment {
  const header = parseSegmentHeader(file, file.length)
  const end = segmentHeaderBytes + header.bodyBytes
  const body = file.subarray(segmentHeaderBytes, end)
  if (hash('sha256', body) !== header.sha256) {
    throw new SegmentDamaged('the body’s checksum is wrong')
  }
  if (header.manifestBytes === 0) return { header, body, manifest: undefined }
  try {
    return { header, body, manifest: decodeManifest(file.subarray(end)) }
  } catch (error) {
    if (!(error instanceof ManifestDamaged)) throw error
    throw new SegmentDamaged(error.message)
  }
}

/** Where in the file the rank of its manifest stands: `readRank` reads 8 bytes. */
export function rankPlace({ bodyBytes }: SegmentHeader): number {
  return segmentHeaderBytes + bodyBytes
}

const compressAsync = promisify(zstdCompress)
const decompressAsync = promisify(zstdDecompress)
// One large output chunk instead of many 16 KiB ones: each costs a trip to the thread pool.
const chunkSize = 1024 * 1024

/** zstd's fastest regular one. */
export const bodyLevel = 1

/** A Native block as the body of a segment, off the main thread. */
export function compressBody(native: Uint8Array): Promise<Buffer> {
  return compressAsync(native, {
    chunkSize,
    pledgedSrcSize: native.length,
    params: { [constants.ZSTD_c_compressionLevel]: bodyLevel },
  })
}

/** The Native block of a body. Rejects on what is not zstd and beyond `maxBytes`. */
export function decompressBody(body: Uint8Array, maxBytes: number): Promise<Buffer> {
  return decompressAsync(body, { chunkSize, maxOutputLength: maxBytes })
}

/** What is sent of a segment that was read whole, or was just written anew. */
export function parcelOf(segment: WholeSegment | Sealed): Parcel {
  const { body } = segment
  if ('header' in segment) {
    const { rows, nativeBytes, sha256 } = segment.header
    return { rows, nativeBytes, body, sha256 }
  }
  const { rows, nativeBytes } = segment
  return { rows, nativeBytes, body, sha256: hash('sha256', body) }
}

/** The same for a server that wants every column in its own type. */
export async function forOlder(kind: Kind, { rows, nativeBytes, body }: Parcel): Promise<Parcel> {
  const native = widened(await decompressBody(body, nativeBytes), tables[kind])
  const wide = await compressBody(native)
  return { rows, nativeBytes: native.length, body: wide, sha256: hash('sha256', wide) }
}

/** The rows that a Native block says it has, undefined if it does not begin like one. */
export function nativeRows(native: Uint8Array): number | undefined {
  let at = 0
  let value = 0
  for (let number = 0; number < 2; number++) {
    value = 0
    let byte = 0x80
    for (let shift = 0; byte >= 0x80; shift += 7) {
      if (at === native.length || shift > 28) return undefined
      byte = native[at++]!
      value += (byte & 0x7f) * 2 ** shift
    }
  }
  return value
}

function putNumber(bytes: Buffer, at: number, value: number) {
  bytes.writeBigUInt64LE(BigInt(Math.max(0, Math.trunc(value))), at)
}

function takeNumber(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at))
}

/** 16 bytes as a UUID's text. */
function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex')
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-')
}
