/** Figures and addresses as people read and compare them. Pure. */
import { BlockList, isIP, isIPv6 } from 'node:net'

export function bytes(count: number): string {
  for (const [unit, size] of [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
  ] as const) {
    if (count >= size) return `${rounded(count / size)} ${unit}`
  }
  return `${Math.round(count / 1024)} KiB`
}

export function bits(perSecond: number): string {
  return perSecond >= 1e9
    ? `${rounded(perSecond / 1e9)} Gbit/s`
    : `${rounded(perSecond / 1e6)} Mbit/s`
}

export function milliseconds(count: number): string {
  return count >= 1000 ? `${rounded(count / 1000)} s` : `${rounded(count)} ms`
}

function rounded(value: number): string {
  return value >= 10 ? value.toFixed(0) : value.toFixed(1)
}

export function list(items: readonly string[]): string {
  return items.join(', ')
}

export function sameAddress(one: string, two: string): boolean {
  return canonical(one) === canonical(two)
}

/** `2001:db8::1` for every way to write it; names as they are. */
function canonical(address: string): string {
  const bare = address.replace(/%.*$/, '')
  return isIPv6(bare) ? new URL(`http://[${bare}]`).hostname : bare
}

export function isLoopback(address: string): boolean {
  if (isIP(address) === 0) return address === 'localhost' || address.startsWith('/')
  return address.startsWith('127.') || canonical(address) === '[::1]'
}

/** Whether an address lies in the network of another that has this prefix. */
export function inNetwork(address: string, of: { address: string; prefix: number }): boolean {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  if (isIPv6(of.address) !== isIPv6(address)) return false
  const network = new BlockList()
  network.addSubnet(of.address.replace(/%.*$/, ''), of.prefix, family)
  return network.check(address, family)
}
