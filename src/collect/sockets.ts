/**
 * UDP sockets by the system calls of Linux. Node reads one datagram a call, into memory that it
 * allocates for it; recvmmsg(2) reads many into memory that is there.
 */
import { createRequire } from 'node:module'
import { constants, endianness } from 'node:os'
import { parseAddress } from '../telemetry/address.ts'

export interface Sockets {
  /**
   * A socket that is bound and reads nothing yet; `::` takes both families.
   * @throws Error with the `code` that Node's own would have
   */
  open(address: string, port: number): number
  /** Asks for a receive buffer. @returns what was granted */
  setBuffer(fd: number, bytes: number): number
  portOf(fd: number): number
  close(fd: number): void
  /** Waits until one of them can be read or the time is over. @param fds as `pollList` makes it */
  poll(fds: Uint8Array, count: number, timeoutMs: number): number
  /** Reads what is there, without waiting. @returns how many, 0 if there is nothing */
  receive(fd: number, headers: Uint8Array, most: number): number
  sleep(microseconds: number): void
  /** Where an array lies in memory. */
  placeOf(array: Uint8Array): bigint
}

// Linux on 64 bits, <bits/socket.h>, <linux/in6.h>.
const inet = { AF_INET: 2, AF_INET6: 10, SOCK_DGRAM: 2, SOCK_CLOEXEC: 0o2000000 }
const option = { SOL_SOCKET: 1, SO_RCVBUF: 8, IPPROTO_IPV6: 41, IPV6_V6ONLY: 26 }
const dontWait = 0x40
const readable = 1

/** Bytes of a `struct pollfd`. */
const pollBytes = 8
/** Bytes of a `struct sockaddr_in6`, the longer one. */
export const nameBytes = 28

/** A list for `poll`. */
export function pollList(fds: readonly number[]): Uint8Array {
  const list = new Uint8Array(pollBytes * fds.length)
  const view = new DataView(list.buffer)
  for (const [index, fd] of fds.entries()) {
    view.setInt32(pollBytes * index, fd, true)
    view.setInt16(pollBytes * index + 4, readable, true)
  }
  return list
}

/** Whether `poll` has said something of that one. */
export function isReady(list: Uint8Array, index: number): boolean {
  return (list[pollBytes * index + 6]! | list[pollBytes * index + 7]!) !== 0
}

/** Undefined where these calls, or the library that makes them, are not to be had. */
export function loadSockets(): Sockets | undefined {
  const known = process.platform === 'linux' && /^(x64|arm64)$/.test(process.arch)
  if (!known || endianness() !== 'LE') return undefined
  try {
    return bindCalls(createRequire(import.meta.url)('koffi'))
  } catch {
    return undefined
  }
}

function bindCalls(koffi: typeof import('koffi')): Sockets {
  // What the process itself is linked with.
  const libc = koffi.load(null)
  const socket = libc.func('int socket(int domain, int type, int protocol)')
  const bind = libc.func('int bind(int fd, void *address, uint32_t length)')
  const getsockname = libc.func('int getsockname(int fd, void *address, void *length)')
  const getsockopt = libc.func('int getsockopt(int, int, int, void *value, void *length)')
  const setsockopt = libc.func('int setsockopt(int, int, int, void *value, uint32_t length)')
  const close = libc.func('int close(int fd)')
  const poll = libc.func('int poll(void *fds, unsigned long count, int timeout)')
  const recvmmsg = libc.func(
    'int recvmmsg(int fd, void *headers, unsigned int count, int flags, void *timeout)',
  )
  const usleep = libc.func('int usleep(unsigned int microseconds)')

  function check(result: number, call: string): number {
    if (result >= 0) return result
    const errno = koffi.errno()
    const found = Object.entries(constants.errno).find(([, value]) => value === errno)
    const code = found?.[0] ?? `errno ${errno}`
    throw Object.assign(new Error(`${call} ${code}`), { code, syscall: call })
  }

  return {
    open(address, port) {
      const name = nameOf(address, port)
      const domain = address.includes(':') ? inet.AF_INET6 : inet.AF_INET
      const fd = check(socket(domain, inet.SOCK_DGRAM | inet.SOCK_CLOEXEC, 0), 'socket')
      try {
        if (domain === inet.AF_INET6) {
          const off = new Int32Array(1)
          check(setsockopt(fd, option.IPPROTO_IPV6, option.IPV6_V6ONLY, off, 4), 'setsockopt')
        }
        check(bind(fd, name, name.length), 'bind')
        return fd
      } catch (error) {
        close(fd)
        throw error
      }
    },
    setBuffer(fd, bytes) {
      setsockopt(fd, option.SOL_SOCKET, option.SO_RCVBUF, Int32Array.of(bytes), 4)
      const granted = new Int32Array(1)
      const length = Int32Array.of(4)
      check(getsockopt(fd, option.SOL_SOCKET, option.SO_RCVBUF, granted, length), 'getsockopt')
      return granted[0]!
    },
    portOf(fd) {
      const name = new Uint8Array(nameBytes)
      check(getsockname(fd, name, Int32Array.of(nameBytes)), 'getsockname')
      return name[2]! * 256 + name[3]!
    },
    close: fd => void close(fd),
    poll: (fds, count, timeoutMs) => poll(fds, count, timeoutMs),
    receive: (fd, headers, most) => Math.max(0, recvmmsg(fd, headers, most, dontWait, null)),
    sleep: microseconds => void usleep(microseconds),
    placeOf: array => koffi.address(array),
  }
}

/** A `struct sockaddr_in` or `sockaddr_in6`. @throws Error with the code of an address that is none */
function nameOf(address: string, port: number): Uint8Array {
  const bytes = parseAddress(address)
  if (bytes === undefined || address.includes('%')) {
    throw Object.assign(new Error(`bind EINVAL ${address}`), { code: 'EINVAL' })
  }
  const six = address.includes(':')
  const name = new Uint8Array(six ? nameBytes : 16)
  const view = new DataView(name.buffer)
  view.setUint16(0, six ? inet.AF_INET6 : inet.AF_INET, true)
  view.setUint16(2, port)
  if (six) name.set(bytes, 8)
  else name.set(bytes.subarray(12), 4)
  return name
}
