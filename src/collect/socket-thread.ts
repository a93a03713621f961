/**
 * The thread that empties sockets into shared memory. It does nothing else, so that the kernel's
 * buffers stay empty whatever the others are busy with.
 */
import { type MessagePort, workerData } from 'node:worker_threads'
import { isReady, loadSockets, pollList } from './sockets.ts'
import { createTraysWriter, mostAtOnce, slotBytes, type Trays } from './trays.ts'

export interface SocketThreadData {
  trays: Trays
  /** File descriptors of the sockets. */
  fds: readonly number[]
  port: MessagePort
  /** Microseconds in which no buffer of the kernel fills up. */
  longestPause: number
}

/** What it says: once that it reads, then when there is more, and what is larger than its slot. */
export type SocketThreadMessage = 'reading' | 'more' | LargeDatagram

/** It comes before the range that it is in. */
interface LargeDatagram {
  slot: number
  bytes: Uint8Array
}

/** How long a stop may go unnoticed. */
const pollMs = 100
/** Datagrams at a time, for which it pauses: fewer and larger reads cost less. */
const aim = 64
const shortestPause = 200
/** Both threads are behind: the kernel's buffer holds the rest. */
const fullMicroseconds = 500

const { trays, fds, port, longestPause } = workerData as SocketThreadData
const sockets = loadSockets()
if (sockets === undefined) throw new Error('there are no such sockets here')
const writer = createTraysWriter(trays, sockets.placeOf)
const list = pollList(fds)
port.postMessage('reading' satisfies SocketThreadMessage)

/** @returns how many datagrams there were */
function empty(index: number): number {
  let all = 0
  for (;;) {
    const room = writer.room()
    if (room === undefined) {
      if (writer.stopped) return all
      sockets!.sleep(fullMicroseconds)
      continue
    }
    const count = sockets!.receive(fds[index]!, room.headers, room.count)
    if (count === 0) return all
    all += count
    for (let slot = room.first; slot < room.first + count; slot++) {
      if (writer.lengthOf(slot) <= slotBytes) continue
      port.postMessage({ slot, bytes: writer.whole(slot)! } satisfies SocketThreadMessage)
    }
    const wake = writer.publish({ first: room.first, count, socket: index, received: Date.now() })
    if (wake) port.postMessage('more' satisfies SocketThreadMessage)
    if (count < Math.min(room.count, mostAtOnce)) return all
  }
}

let pause = shortestPause
while (!writer.stopped) {
  if (sockets.poll(list, fds.length, pollMs) <= 0) continue
  let most = 0
  for (let index = 0; index < fds.length; index++) {
    if (isReady(list, index)) most = Math.max(most, empty(index))
  }
  if (most > 2 * aim) pause = Math.max(shortestPause, pause / 2)
  else if (most < aim) pause = Math.min(longestPause, pause * 1.25)
  sockets.sleep(Math.round(pause))
}
// What has arrived is read, as far as there is room.
for (let index = 0; index < fds.length; index++) empty(index)
