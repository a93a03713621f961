/**
 * IP addresses as 16 bytes in network order, IPv4 in the mapped form ::ffff:a.b.c.d
 * (RFC 4291 §2.5.5.2), and as text (RFC 5952; mapped addresses as plain IPv4).
 */

/** Text of the 16 bytes at `offset`. */
export function formatAddress(bytes: Uint8Array, offset = 0): string {
  if (isMapped(bytes, offset)) {
    return `${bytes[offset + 12]}.${bytes[offset + 13]}.${bytes[offset + 14]}.${bytes[offset + 15]}`
  }
  const groups: number[] = []
  for (let i = 0; i < 16; i += 2) groups.push((bytes[offset + i]! << 8) | bytes[offset + i + 1]!)
  const gap = longestZeroRun(groups)
  const hex = groups.map(group => group.toString(16))
  if (gap.length < 2) return hex.join(':')
  return `${hex.slice(0, gap.start).join(':')}::${hex.slice(gap.start + gap.length).join(':')}`
}

/** The 16 bytes of an address in text, undefined if it is none. A zone (`%eth0`) is dropped. */
export function parseAddress(text: string): Uint8Array | undefined {
  const zone = text.indexOf('%')
  if (zone >= 0) text = text.slice(0, zone)
  const bytes = new Uint8Array(16)
  if (!text.includes(':')) {
    bytes[10] = 0xff
    bytes[11] = 0xff
    return putV4(text, bytes, 12) ? bytes : undefined
  }
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!)
  const tail = halves.length === 2 ? parseGroups(halves[1]!) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 16 - head.length - tail.length
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined
  bytes.set(head, 0)
  bytes.set(tail, 16 - tail.length)
  return bytes
}

/** Bytes of colon-separated groups, the last of which may be a dotted IPv4 address. */
function parseGroups(text: string): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [index, group] of groups.entries()) {
    if (index === groups.length - 1 && group.includes('.')) {
      const v4 = new Uint8Array(4)
      if (!putV4(group, v4, 0)) return undefined
      bytes.push(...v4)
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 0xff)
    }
  }
  return bytes.length > 16 ? undefined : bytes
}

function putV4(text: string, bytes: Uint8Array, at: number): boolean {
  const parts = text.split('.')
  if (parts.length !== 4) return false
  for (const [index, part] of parts.entries()) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return false
    bytes[at + index] = Number(part)
  }
  return true
}

function isMapped(bytes: Uint8Array, offset: number): boolean {
  if (bytes[offset + 10] !== 0xff || bytes[offset + 11] !== 0xff) return false
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return false
  return true
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue
    if (i - start > best.length) best = { start, length: i - start }
    start = i + 1
  }
  return best
}

/** As an IPv6 column takes it. */
export function mapped(address: string): string {
  return address.includes(':') ? address : `::ffff:${address}`
}
