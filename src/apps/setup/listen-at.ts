/** At which addresses a server listens when nobody says otherwise. */
import { networkInterfaces } from 'node:os'

/** All that the machine has: for IPv6 and IPv4, or for IPv4 alone where it has no other. */
export function allAddresses(): string {
  const own = Object.values(networkInterfaces()).flatMap((entries = []) => entries)
  return own.some(({ address }) => address === '::1') ? '::' : '0.0.0.0'
}

/** As the other server does, where that is at all addresses: those of this machine. */
export function listenAt(host: string): string {
  return host === '::' || host === '0.0.0.0' ? allAddresses() : host
}
