/**
 * The manifest of a segment: which datagrams its rows came from. With it the servers of a pair
 * agree on each datagram that both received: whose rows are stored, and whose are left out.
 */
import { crc32 } from 'node:zlib'

export interface Manifest {
  /** Who took a datagram under the higher rank keeps it, see `rankOf`. */
  readonly rank: number
  /** The first datagram began in the segment before. */
  readonly continues: boolean
  /** Of each datagram in the order of decoding; 0: rows that came over a connection. */
  readonly hashes: Float64Array
  /** How many rows the segment has up to the end of each datagram. */
  readonly ends: Uint32Array
  /** Who sent them: listener, space, address. */
  readonly sources: readonly string[]
}

/** Bytes that are no manifest. */
export class ManifestDamaged extends Error {
  override name = 'ManifestDamaged'
}

/** A later term goes before an earlier one, and within a term the active before the standby. */
export function rankOf(term: number, active: boolean): number {
  return 2 * term + (active ? 1 : 0)
}

export function termOf(rank: number): number {
  return Math.floor(rank / 2)
}

export const emptyManifest: Manifest = {
  rank: 0,
  continues: false,
  hashes: new Float64Array(0),
  ends: new Uint32Array(0),
  sources: [],
}

/** Notes datagrams while a batch fills. */
export interface ManifestBuilder {
  /** A datagram begins. */
  open(hash: number, source: string): void
  /** It is decoded; the batch has so many rows now. */
  close(rows: number): void
  /** Rows that came in no datagram. */
  stream(rows: number): void
  /** What was noted, for a segment of so many rows; also within a datagram, which then goes on. */
  seal(rows: number, rank: number): Manifest
  /** Hashes of what is not sealed yet. */
  pending(): Float64Array
}

const firstCapacity = 1024
const maxDatagrams = 262_144

export function createManifestBuilder(): ManifestBuilder {
  let hashes = new Float64Array(firstCapacity)
  let ends = new Uint32Array(firstCapacity)
  let count = 0
  let current = 0
  let continues = false
  const sources = new Set<string>()

  function put(hash: number, rows: number) {
    // Datagrams without any rows, until there are some again: not worth more memory.
    if (count >= maxDatagrams && rows === 0) count = 0
    if (count === hashes.length) {
      const [moreHashes, moreEnds] = [new Float64Array(2 * count), new Uint32Array(2 * count)]
      moreHashes.set(hashes)
      moreEnds.set(ends)
      hashes = moreHashes
      ends = moreEnds
    }
    hashes[count] = hash
    ends[count++] = rows
  }

  return {
    open(hash, source) {
      current = hash
      sources.add(source)
    },
    close(rows) {
      put(current, rows)
      current = 0
    },
    stream(rows) {
      if (count > 0 && hashes[count - 1] === 0) ends[count - 1] = rows
      else put(0, rows)
    },
    seal(rows, rank) {
      const within = current !== 0
      if (within) put(current, rows)
      const sealed = {
        rank,
        continues,
        hashes: hashes.slice(0, count),
        ends: ends.slice(0, count),
        sources: [...sources],
      }
      continues = within
      count = 0
      sources.clear()
      return sealed
    },
    pending: () => hashes.subarray(0, count),
  }
}

/** Rank, flags, counts, hashes, ends, sources, CRC-32 of all that; little-endian. */
export function encodeManifest(manifest: Manifest): Buffer {
  const { hashes, ends, sources } = manifest
  const names = Buffer.from(sources.join('\n'))
  const bytes = Buffer.alloc(fixedBytes + 12 * hashes.length + names.length + 4)
  bytes.writeDoubleLE(manifest.rank, 0)
  bytes.writeUInt32LE(manifest.continues ? 1 : 0, 8)
  bytes.writeUInt32LE(hashes.length, 12)
  bytes.writeUInt32LE(names.length, 16)
  let at = fixedBytes
  for (const hash of hashes) at = bytes.writeDoubleLE(hash, at)
  for (const end of ends) at = bytes.writeUInt32LE(end, at)
  at += names.copy(bytes, at)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, at)), at)
  return bytes
}

const fixedBytes = 20

/** The rank alone, from the first eight bytes. */
export function readRank(bytes: Buffer): number {
  return bytes.readDoubleLE(0)
}

/** @throws ManifestDamaged */
export function decodeManifest(bytes: Buffer): Manifest {
  if (bytes.length < fixedBytes + 4) throw new ManifestDamaged('the manifest is cut off')
  const count = bytes.readUInt32LE(12)
  const nameBytes = bytes.readUInt32LE(16)
  const end = fixedBytes + 12 * count + nameBytes
  if (bytes.length !== end + 4) throw new ManifestDamaged('the manifest has another length')
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) {
    throw new ManifestDamaged('the manifest’s checksum is wrong')
  }
  const hashes = new Float64Array(count)
  const ends = new Uint32Array(count)
  for (let i = 0; i < count; i++) {
    hashes[i] = bytes.readDoubleLE(fixedBytes + 8 * i)
    ends[i] = bytes.readUInt32LE(fixedBytes + 8 * count + 4 * i)
  }
  const names = bytes.toString('utf8', end - nameBytes, end)
  return {
    rank: bytes.readDoubleLE(0),
    continues: bytes.readUInt32LE(8) === 1,
    hashes,
    ends,
    sources: names === '' ? [] : names.split('\n'),
  }
}

/** The row ranges [from, to) of the datagrams at these places, in rising order. */
export function rowsOf(manifest: Manifest, places: readonly number[]): [number, number][] {
  return places.map(place => [
    place === 0 ? 0 : manifest.ends[place - 1]!,
    manifest.ends[place] ?? 0,
  ])
}

/** What remains of a manifest without the datagrams at these places. */
export function withoutDatagrams(manifest: Manifest, places: readonly number[]): Manifest {
  const gone = new Set(places)
  const hashes: number[] = []
  const ends: number[] = []
  let removed = 0
  manifest.hashes.forEach((hash, place) => {
    const before = place === 0 ? 0 : manifest.ends[place - 1]!
    const end = manifest.ends[place]!
    if (gone.has(place)) {
      removed += end - before
      return
    }
    hashes.push(hash)
    ends.push(end - removed)
  })
  return {
    ...manifest,
    continues: manifest.continues && !gone.has(0),
    hashes: Float64Array.from(hashes),
    ends: Uint32Array.from(ends),
  }
}
