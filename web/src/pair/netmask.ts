/** What people type for the size of a network: `24`, `/24`, `255.255.255.0`. Pure. */

const byteOf = /^(?:25[0-5]|2[0-4]\d|1?\d?\d)$/

/** Four bytes; undefined if it is not an IPv4 address or netmask. */
function bytesOf(text: string): number[] | undefined {
  const parts = text.split('.')
  return parts.length === 4 && parts.every(part => byteOf.test(part))
    ? parts.map(Number)
    : undefined
}

export function isIpv4(text: string): boolean {
  return bytesOf(text) !== undefined
}

/** Good enough to tell a person of a slip; the server is strict. */
export function isIpv6(text: string): boolean {
  if (!/^[0-9a-f:.]+$/i.test(text) || !text.includes(':')) return false
  return URL.canParse(`http://[${text}]/`)
}

/** The length of the prefix, or in words why there is none. */
export function prefixOf(text: string, address: string): number | string {
  const six = address.includes(':')
  const most = six ? 128 : 32
  const plain = text.trim().replace(/^\//, '')
  if (plain === '') return six ? 'like 64' : 'like 24, or 255.255.255.0'
  if (/^\d{1,3}$/.test(plain)) {
    const length = Number(plain)
    return length >= 1 && length <= most ? length : `from 1 to ${most}`
  }
  const bytes = bytesOf(plain)
  if (bytes === undefined) {
    return six ? 'the length of the prefix, like 64' : 'like 24, or a netmask like 255.255.255.0'
  }
  if (six) return 'an IPv6 address has a length, like 64, no netmask'
  const bits = bytes.map(byte => byte.toString(2).padStart(8, '0')).join('')
  if (!/^1+0*$/.test(bits)) return 'not a netmask: its ones come first, as in 255.255.255.0'
  return bits.lastIndexOf('1') + 1
}
