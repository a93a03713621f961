/** What the Linux kernel dropped because a UDP socket's buffer was full: `/proc/net/udp`, `udp6`. */
import { readFileSync } from 'node:fs'
import { endianness } from 'node:os'
import { parseAddress } from '../telemetry/address.ts'

/** Drops of the socket bound to the address and port; null where the kernel does not say. */
export function readKernelDrops(address: string, port: number): number | null {
  try {
    const table = readFileSync(address.includes(':') ? '/proc/net/udp6' : '/proc/net/udp', 'latin1')
    return findDrops(table, address, port)
  } catch {
    return null
  }
}

/** The same from the table's text: the last column of the line whose local address it is. */
export function findDrops(table: string, address: string, port: number): number | null {
  // With what precedes the first column: a socket connected to it has it in the second.
  const local = `: ${localAddress(address)}:${port.toString(16).toUpperCase().padStart(4, '0')} `
  const at = table.indexOf(local)
  if (at < 0) return null
  const end = table.indexOf('\n', at)
  const line = table.slice(at, end < 0 ? undefined : end)
  const drops = Number(line.trim().split(/\s+/).at(-1))
  return Number.isSafeInteger(drops) ? drops : null
}

/** As the kernel prints it: words of 32 bits in the host's byte order. */
function localAddress(address: string): string {
  const bytes = Buffer.from(parseAddress(address) ?? new Uint8Array(16))
  const words = address.includes(':') ? bytes : bytes.subarray(12)
  if (endianness() === 'LE') words.swap32()
  return words.toString('hex').toUpperCase()
}
