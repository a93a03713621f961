/** Lines for `ip -batch` (iproute2). */
import { isIPv6 } from 'node:net'
import type { Change } from './plan.ts'

/** By then the kernel has found time. */
const aheadSeconds = 2

/** An address of IPv6 is no source of connections of this server's own (RFC 6724). */
export function addressLine(
  what: Change['do'] | 'change',
  { address, prefix, link }: Omit<Change, 'do'>,
  seconds: number,
): string {
  const subject = `address ${what} ${address}/${prefix} dev ${link}`
  if (what === 'delete') return subject
  return isIPv6(address)
    ? `${subject} nodad valid_lft ${seconds} preferred_lft 0`
    : `${subject} valid_lft ${seconds} preferred_lft ${seconds}`
}

/**
 * A new address of IPv6 is the kernel's own only once its route is there, for which the kernel finds
 * time a moment later: too late for what comes upon the first announcement.
 */
export function linesAhead({ do: change, address }: Change): string[] {
  return change === 'add' && isIPv6(address) ? [routeToSelf(address, aheadSeconds).add] : []
}

/** Where an address goes on being the kernel's own when it has left its interface. */
export function lingerLines(address: string, seconds: number): { add: string; delete: string } {
  if (isIPv6(address)) return routeToSelf(address, seconds)
  const place = `${address}/32 dev lo`
  return {
    add: `address replace ${place} valid_lft ${seconds} preferred_lft 0`,
    delete: `address delete ${place}`,
  }
}

/**
 * With it the kernel receives what is sent to an address of IPv6, at once and for so long, and does
 * not answer for it.
 */
function routeToSelf(address: string, seconds: number): { add: string; delete: string } {
  const route = `local ${address} dev lo table local`
  return { add: `route replace ${route} expires ${seconds}`, delete: `route delete ${route}` }
}
