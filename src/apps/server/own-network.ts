import { networkInterfaces } from 'node:os'

/**
 * What this machine is reached at, by its kernel.
 *
 * @param except addresses that move between the servers
 */
export function ownNetwork(except: readonly string[] = []): {
  addresses: string[]
  macs: string[]
} {
  const found = Object.values(networkInterfaces())
    .flatMap(all => all ?? [])
    .filter(({ internal, address }) => !internal && !except.includes(address))
  return {
    addresses: found.flatMap(({ address, scopeid }) => (scopeid ? [] : [address])),
    macs: [...new Set(found.map(({ mac }) => mac))].filter(mac => mac !== '00:00:00:00:00:00'),
  }
}
