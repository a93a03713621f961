/**
 * Memory that two threads share: one receives datagrams into it, the other takes them out, in order.
 * What a system call received is a range of slots; ranges go from one to the other without a lock.
 */
import { nameBytes } from './sockets.ts'

export interface TraysConfig {
  /** A power of two. */
  slots: number
}

/** What both threads need; can be sent to a worker. */
export interface Trays {
  slots: number
  control: SharedArrayBuffer
  /** For each slot a `struct mmsghdr`, then two `struct iovec`, then a name. */
  headers: SharedArrayBuffer
  data: SharedArrayBuffer
}

/** Of a datagram in its slot; what exceeds it goes another way. */
export const slotBytes = 2048
/** Of a `struct mmsghdr` on 64 bits; the length that was received stands at 56. */
const headerBytes = 64
const nameLengthAt = 8
const lengthAt = 56
const vectorBytes = 16
const maxDatagramBytes = 65_536
/** Slots that one call may fill. */
export const mostAtOnce = 256
const ranges = 4096
/** Words of a range: first slot, count, socket, time in two. */
const rangeWords = 5
const word = { published: 0, taken: 1, asleep: 2, stop: 3, first: 8 }

export function createTrays({ slots }: TraysConfig): Trays {
  return {
    slots,
    control: new SharedArrayBuffer(4 * (word.first + ranges * rangeWords)),
    headers: new SharedArrayBuffer(slots * (headerBytes + 2 * vectorBytes + nameBytes)),
    data: new SharedArrayBuffer(slots * slotBytes),
  }
}

/** A run of slots that one call filled. */
export interface Range {
  first: number
  count: number
  /** Index of the socket. */
  socket: number
  /** Milliseconds since 1970. */
  received: number
}

/** The end that receives. */
export interface TraysWriter {
  /** Where a call may write now, and how many datagrams; none if everything is full. */
  room(): { headers: Uint8Array; first: number; count: number } | undefined
  /** The bytes that the datagram in a slot had. */
  lengthOf(slot: number): number
  /** A copy of a datagram that exceeds its slot; undefined if it does not. */
  whole(slot: number): Uint8Array | undefined
  /** @returns whether the other end has to be woken */
  publish(range: Range): boolean
  readonly stopped: boolean
}

/** The end that takes out. */
export interface TraysReader {
  /** Calls `take` for each range that is there until it says false. @returns whether nothing is left */
  drain(take: (range: Range) => boolean): boolean
  lengthOf(slot: number): number
  /** Where its sender's address begins in `names`, as the kernel writes it. */
  nameAt(slot: number): number
  readonly names: Uint8Array
  /** The bytes of all slots. */
  readonly data: Uint8Array
  stop(): void
}

/** @param placeOf where an array lies in memory */
export function createTraysWriter(
  trays: Trays,
  placeOf: (array: Uint8Array) => bigint,
): TraysWriter {
  const { slots } = trays
  const control = new Int32Array(trays.control)
  const headers = new Uint8Array(trays.headers)
  const words = new Int32Array(trays.headers)
  const data = new Uint8Array(trays.data)
  const excess = new Uint8Array(mostAtOnce * (maxDatagramBytes - slotBytes))
  layOut(trays, { headers: placeOf(headers), data: placeOf(data), excess: placeOf(excess) })
  /** Each is made once. */
  const begins = Array.from({ length: slots }, (_, slot) => headers.subarray(headerBytes * slot))
  let next = 0

  function roomAt(): number {
    const published = control[word.published]!
    const taken = Atomics.load(control, word.taken)
    if (published === taken) {
      // All of it is free: the same memory again, which is in the processor's cache.
      next = 0
      return slots
    }
    if (((published - taken) | 0) >= ranges) return 0
    const oldest = control[placeOfRange(taken)]!
    if (next > oldest) {
      if (next < slots) return slots - next
      next = 0
    }
    return oldest - next
  }

  return {
    room() {
      const count = Math.min(roomAt(), mostAtOnce)
      return count === 0 ? undefined : { headers: begins[next]!, first: next, count }
    },
    lengthOf: slot => words[(headerBytes * slot + lengthAt) / 4]!,
    whole(slot) {
      const length = words[(headerBytes * slot + lengthAt) / 4]!
      if (length <= slotBytes) return undefined
      const bytes = new Uint8Array(length)
      bytes.set(data.subarray(slotBytes * slot, slotBytes * (slot + 1)))
      const at = (slot % mostAtOnce) * (maxDatagramBytes - slotBytes)
      bytes.set(excess.subarray(at, at + length - slotBytes), slotBytes)
      return bytes
    },
    publish({ first, count, socket, received }) {
      // The kernel has put the length of a name there, which bounds the next one.
      for (let slot = first; slot < first + count; slot++) {
        words[(headerBytes * slot + nameLengthAt) / 4] = nameBytes
      }
      const published = control[word.published]!
      const at = placeOfRange(published)
      control[at] = first
      control[at + 1] = count
      control[at + 2] = socket
      control[at + 3] = received
      control[at + 4] = received / 0x1_0000_0000
      next = first + count
      Atomics.store(control, word.published, (published + 1) | 0)
      return Atomics.compareExchange(control, word.asleep, 1, 0) === 1
    },
    get stopped() {
      return Atomics.load(control, word.stop) === 1
    },
  }
}

export function createTraysReader(trays: Trays): TraysReader {
  const control = new Int32Array(trays.control)
  const words = new Int32Array(trays.headers)
  const range: Range = { first: 0, count: 0, socket: 0, received: 0 }

  return {
    drain(take) {
      for (;;) {
        const taken = control[word.taken]!
        if (Atomics.load(control, word.published) === taken) {
          Atomics.store(control, word.asleep, 1)
          // It may have been published between the look and the sleep.
          if (Atomics.load(control, word.published) === taken) return true
          Atomics.store(control, word.asleep, 0)
        }
        const at = placeOfRange(taken)
        range.first = control[at]!
        range.count = control[at + 1]!
        range.socket = control[at + 2]!
        range.received = (control[at + 3]! >>> 0) + control[at + 4]! * 0x1_0000_0000
        const goOn = take(range)
        Atomics.store(control, word.taken, (taken + 1) | 0)
        if (!goOn) return false
      }
    },
    lengthOf: slot => words[(headerBytes * slot + lengthAt) / 4]!,
    nameAt: slot => namesAt(trays.slots) + nameBytes * slot,
    names: new Uint8Array(trays.headers),
    data: new Uint8Array(trays.data),
    stop: () => void Atomics.store(control, word.stop, 1),
  }
}

/** Places of ranges are used in turn; their numbers may wrap at 2^32. */
function placeOfRange(number: number): number {
  return word.first + rangeWords * (number & (ranges - 1))
}

function namesAt(slots: number): number {
  return slots * (headerBytes + 2 * vectorBytes)
}

/** Makes each header say where its datagram goes: into its slot, and what exceeds it elsewhere. */
function layOut(
  { slots, headers }: Trays,
  places: { headers: bigint; data: bigint; excess: bigint },
): void {
  const view = new DataView(headers)
  const pointer = (at: number, place: bigint) => view.setBigUint64(at, place, true)
  const restBytes = maxDatagramBytes - slotBytes
  for (let slot = 0; slot < slots; slot++) {
    const header = headerBytes * slot
    const vector = headerBytes * slots + 2 * vectorBytes * slot
    pointer(header, places.headers + BigInt(namesAt(slots) + nameBytes * slot))
    view.setUint32(header + nameLengthAt, nameBytes, true)
    pointer(header + 16, places.headers + BigInt(vector))
    pointer(header + 24, 2n)
    pointer(vector, places.data + BigInt(slotBytes * slot))
    pointer(vector + 8, BigInt(slotBytes))
    pointer(vector + vectorBytes, places.excess + BigInt(restBytes * (slot % mostAtOnce)))
    pointer(vector + vectorBytes + 8, BigInt(restBytes))
  }
}
