/**
 * Listeners whose datagrams come many at once: a thread of their own reads the sockets, and here
 * they are taken out of the memory that both share. Where the system calls for it are not to be had,
 * there are none.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type { Clock } from '../lib/clock.ts'
import type { Component } from '../lib/component.ts'
import type { Log } from '../lib/log.ts'
import { formatAddress } from '../telemetry/address.ts'
import { readKernelDrops } from './kernel-drops.ts'
import {
  eachFamily,
  type FlowListenerName,
  type Listener,
  type ListenerConfig,
  warnOfTightBuffer,
} from './listen.ts'
import type { SocketThreadData, SocketThreadMessage } from './socket-thread.ts'
import { nameBytes, type Sockets } from './sockets.ts'
import { createTrays, createTraysReader, type Range, slotBytes, type TraysReader } from './trays.ts'

export interface FlowSockets extends Component {
  readonly listeners: readonly Listener[]
}

export interface FlowDatagram {
  listener: FlowListenerName
  /** Valid until `onDatagram` returns. */
  bytes: Uint8Array
  address: string
  port: number
  /** Milliseconds since 1970. */
  received: number
}

type SocketConfig = ListenerConfig & { name: FlowListenerName; bufferBytes: number }

/** 32 MiB: what 100,000 datagrams a second bring in the sixth of a second that somebody is busy. */
const slots = 16_384
/** Between slices of a backlog others have their turn. */
const sliceMs = 5
/** As long as a poll of the thread, and some more. */
const stopMs = 2000
const rememberedSenders = 4096
/** 100,000 datagrams a second with the kernel's bookkeeping, in bytes a microsecond. */
const fastest = 250
const suffix = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

export function createFlowSockets(
  deps: { sockets: Sockets; log: Log; clock: Clock },
  configs: readonly SocketConfig[],
  onDatagram: (datagram: FlowDatagram) => void,
): FlowSockets {
  const { sockets, log, clock } = deps
  const all = configs.map(config => createSocket({ sockets, log }, config))
  let thread: Worker | undefined
  let port: MessagePort | undefined
  let trays: TraysReader | undefined
  let stopping = false
  let draining = false
  const large = new Map<number, Uint8Array>()
  const views: (Uint8Array | undefined)[] = []
  const senderOf = createSenderMemory()

  function drain() {
    draining = false
    const until = clock.monotonic() + sliceMs
    const empty = trays!.drain(range => {
      takeRange(trays!, range)
      return clock.monotonic() < until
    })
    if (!empty) drainLater()
  }

  function drainLater() {
    if (draining) return
    draining = true
    setImmediate(drain)
  }

  function takeRange(from: TraysReader, { first, count, socket, received }: Range) {
    const listener = all[socket]!
    for (let slot = first; slot < first + count; slot++) {
      const bytes = bytesOf(from, slot)
      const at = from.nameAt(slot)
      listener.count(bytes.length)
      const address = senderOf(from.names, at)
      const port = from.names[at + 2]! * 256 + from.names[at + 3]!
      onDatagram({ listener: listener.name, bytes, address, port, received })
    }
  }

  function bytesOf(from: TraysReader, slot: number): Uint8Array {
    const length = from.lengthOf(slot)
    if (length > slotBytes) return largeOne(slot)
    let view = views[slot]
    if (view?.length !== length) {
      view = from.data.subarray(slotBytes * slot, slotBytes * slot + length)
      views[slot] = view
    }
    return view
  }

  /** It was sent before the range that it is in. */
  function largeOne(slot: number): Uint8Array {
    for (;;) {
      const bytes = large.get(slot)
      if (bytes !== undefined) {
        large.delete(slot)
        return bytes
      }
      const next = receiveMessageOnPort(port!)
      if (next === undefined) throw new Error('a large datagram is missing')
      keep(next.message)
    }
  }

  function keep(message: SocketThreadMessage) {
    if (typeof message === 'object') large.set(message.slot, message.bytes)
  }

  return {
    listeners: all,
    async start() {
      stopping = false
      for (const one of all) await one.open()
      const shared = createTrays({ slots })
      trays = createTraysReader(shared)
      const { port1, port2 } = new MessageChannel()
      port = port1
      const reading = Promise.withResolvers<void>()
      port.on('message', (message: SocketThreadMessage) => {
        if (message === 'reading') reading.resolve()
        keep(message)
        drainLater()
      })
      const workerData: SocketThreadData = {
        trays: shared,
        fds: all.map(({ fd }) => fd),
        port: port2,
        longestPause: Math.min(...all.map(({ buffer }) => buffer)) / 4 / fastest,
      }
      thread = new Worker(new URL(`./socket-thread${suffix}`, import.meta.url), {
        workerData,
        transferList: [port2],
      })
      // Nobody would hear anything any more: the process ends, and is started anew.
      thread.on('error', error => {
        throw error
      })
      thread.on('exit', () => {
        if (!stopping) throw new Error('the thread that reads the sockets has ended')
      })
      await reading.promise
    },
    async stop() {
      stopping = true
      const ending = thread
      thread = undefined
      trays?.stop()
      if (ending !== undefined) {
        const late = setTimeout(() => void ending.terminate(), stopMs)
        await new Promise<void>(resolve => {
          ending.once('exit', () => resolve())
        })
        clearTimeout(late)
        // What it has read is taken.
        trays!.drain(range => {
          takeRange(trays!, range)
          return true
        })
      }
      port?.close()
      for (const one of all) one.close()
    },
  }
}

interface Socket extends Listener {
  readonly name: FlowListenerName
  readonly fd: number
  /** Bytes that the kernel granted. */
  readonly buffer: number
  open(): Promise<void>
  close(): void
  count(bytes: number): void
}

function createSocket(
  { sockets, log }: { sockets: Sockets; log: Log },
  config: SocketConfig,
): Socket {
  let fd = -1
  let datagrams = 0
  let bytes = 0
  let buffer = 0
  let bound = { address: config.address, port: config.port }
  return {
    name: config.name,
    get fd() {
      return fd
    },
    get port() {
      return bound.port
    },
    get buffer() {
      return buffer
    },
    async open() {
      fd = await eachFamily(config, 'UDP', async host => {
        const opened = sockets.open(host, bound.port)
        bound = { address: host, port: sockets.portOf(opened) }
        return opened
      })
      // Linux counts its own bookkeeping and says twice what may be used (socket(7), SO_RCVBUF).
      buffer = sockets.setBuffer(fd, config.bufferBytes) / 2
      warnOfTightBuffer(log, config, buffer)
    },
    close() {
      if (fd >= 0) sockets.close(fd)
      fd = -1
    },
    count(length) {
      datagrams++
      bytes += length
    },
    // They begin and end together.
    start: async () => {},
    stop: async () => {},
    state: () => ({
      name: config.name,
      ...bound,
      datagrams,
      bytes,
      kernelDrops: fd < 0 ? null : readKernelDrops(bound.address, bound.port),
      buffer: buffer === 0 ? null : buffer,
    }),
  }
}

/** The text of senders' addresses, made once for those that were heard lately. */
function createSenderMemory(): (names: Uint8Array, at: number) => string {
  const keys = new Uint8Array(nameBytes * rememberedSenders)
  const texts: (string | undefined)[] = new Array(rememberedSenders).fill(undefined)
  const four = 2
  return (names, at) => {
    const isFour = names[at] === four
    const from = isFour ? 4 : 8
    const to = isFour ? 8 : 24
    let hash = 0
    for (let i = from; i < to; i++) hash = Math.imul(hash, 31) + names[at + i]!
    const place = (hash ^ (hash >>> 12)) & (rememberedSenders - 1)
    const key = nameBytes * place
    let known = texts[place]
    for (let i = from; known !== undefined && i < to; i++) {
      if (keys[key + i] !== names[at + i]) known = undefined
    }
    if (known !== undefined && keys[key] === names[at]) return known
    keys.set(names.subarray(at, at + nameBytes), key)
    const text = isFour
      ? names.slice(at + from, at + to).join('.')
      : formatAddress(names, at + from)
    texts[place] = text
    return text
  }
}
