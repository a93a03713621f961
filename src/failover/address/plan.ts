/** What has to change in the kernel so that it has the virtual addresses that it should have. Pure. */
import { BlockList, isIPv6 } from 'node:net'
import type { VirtualAddress } from './address.ts'

/** A network interface as the kernel shows it. */
export interface Link {
  name: string
  loopback: boolean
  /** Switched on by its administrator. */
  up: boolean
  /** Something answers at the other end of the cable. */
  carrier: boolean
  /** Lower case, with colons; undefined for an interface without. */
  mac: string | undefined
  addresses: LinkAddress[]
}

export interface LinkAddress extends VirtualAddress {
  /** It stays until somebody removes it. What Keepwatch adds ends by itself, unless it is extended. */
  permanent: boolean
}

export interface Intention {
  /** Whether this server should have the addresses now. */
  wanted: boolean
  addresses: readonly VirtualAddress[]
  /** Addresses that were added once, and may still be there. */
  remembered: readonly string[]
  /** Addresses that this server has for itself: never touched, unless it once added them. */
  own: readonly string[]
  /** On which interface they go; by default the one of their network. */
  interface: string | undefined
}

/** One change, as the kernel is told. */
export interface Change {
  do: 'add' | 'delete'
  address: string
  prefix: number
  link: string
}

export interface Plan {
  /** On nobody's interface here: to be added after nobody else has answered for them. */
  add: Change[]
  /** To be carried out at once, in this order. */
  change: Change[]
  /** There as they should be. */
  held: Change[]
  /** What keeps an address from being where it should be, by address. */
  faults: Map<string, string>
}

export function plan(intention: Intention, links: readonly Link[]): Plan {
  const result: Plan = { add: [], change: [], held: [], faults: new Map() }
  const desired = new Map(intention.addresses.map(one => [canonical(one.address), one.prefix]))
  const remembered = new Set(intention.remembered.map(canonical))
  const own = new Set(intention.own.map(canonical).filter(address => !remembered.has(address)))
  for (const [address, prefix] of desired) {
    const found = placesOf(address, links)
    if (own.has(address)) {
      result.faults.set(
        address,
        `${address} is an address that this server has for itself, so it is left alone: choose one ` +
          'that no machine has',
      )
    } else if (intention.wanted) {
      place({ address, prefix }, found, { intention, links, desired, result })
    } else remove(address, found, { intention, links, result })
  }
  for (const address of remembered) {
    if (desired.has(address)) continue
    remove(address, placesOf(address, links), { intention, links, result })
  }
  return result
}

interface Found {
  link: Link
  entry: LinkAddress
}

/**
 * The addresses that this server has already, and not through Keepwatch: whoever sets one of them as
 * a virtual address has mistaken it.
 */
export function alreadyThere(
  { addresses, remembered }: Pick<Intention, 'addresses' | 'remembered'>,
  links: readonly Link[],
): string[] {
  const known = new Set(remembered.map(canonical))
  return addresses
    .map(one => canonical(one.address))
    .filter(address => !known.has(address))
    .filter(address => placesOf(address, links).some(({ entry }) => entry.permanent))
}

function placesOf(address: string, links: readonly Link[]): Found[] {
  return links.flatMap(link =>
    link.addresses
      .filter(entry => canonical(entry.address) === address)
      .map(entry => ({ link, entry })),
  )
}

function place(
  one: VirtualAddress,
  found: readonly Found[],
  context: {
    intention: Intention
    links: readonly Link[]
    desired: ReadonlyMap<string, number>
    result: Plan
  },
) {
  const { intention, links, desired, result } = context
  const foreign = found.find(place => isForeign(place, intention))
  if (foreign !== undefined) {
    result.faults.set(one.address, leftAlone(one.address, foreign.link))
    return
  }
  const home = homeOf(one.address, links, intention.interface, desired)
  if (typeof home === 'string') {
    result.faults.set(one.address, home)
    return
  }
  if (!home.up) result.faults.set(one.address, `the interface ${home.name} is down`)
  else if (!home.carrier) {
    result.faults.set(one.address, `the interface ${home.name} has no connection (no carrier)`)
  }
  const here: Change = { do: 'add', ...one, link: home.name }
  const misplaced = found.filter(
    ({ link, entry }) => link.name !== home.name || entry.prefix !== one.prefix,
  )
  const removals = misplaced.map(({ link, entry }) => deletion(link, entry))
  if (misplaced.length < found.length) {
    result.held.push(here)
    result.change.push(...removals)
  } else if (found.length === 0) result.add.push(here)
  // The kernel keeps an IPv4 address once for each prefix, an IPv6 address once for each interface:
  // the one is never absent, the other for the moment between two lines of one batch.
  else if (isIPv6(one.address)) result.change.push(...removals, here)
  else result.change.push(here, ...removals)
}

function remove(
  address: string,
  found: readonly Found[],
  context: { intention: Intention; links: readonly Link[]; result: Plan },
) {
  for (const place of found) {
    if (isForeign(place, context.intention)) {
      context.result.faults.set(address, leftAlone(address, place.link))
    } else context.result.change.push(deletion(place.link, place.entry))
  }
}

function leftAlone(address: string, link: Link): string {
  return (
    `${address} is the only address that this server has on ${link.name}, so it is left alone: ` +
    'choose a virtual address that no machine has'
  )
}

function deletion(link: Link, entry: LinkAddress): Change {
  return { do: 'delete', address: entry.address, prefix: entry.prefix, link: link.name }
}

/**
 * Somebody else gave it to this server, which without it could not be reached on that interface by
 * that version of IP.
 */
function isForeign({ link, entry }: Found, { remembered }: Intention): boolean {
  if (!entry.permanent || remembered.some(one => canonical(one) === canonical(entry.address))) {
    return false
  }
  const others = link.addresses.filter(
    other =>
      other !== entry &&
      isIPv6(other.address) === isIPv6(entry.address) &&
      !other.address.startsWith('fe80:'),
  )
  return others.length === 0
}

/** The interface where an address belongs, or why there is none. */
function homeOf(
  address: string,
  links: readonly Link[],
  chosen: string | undefined,
  virtual: ReadonlyMap<string, number>,
): Link | string {
  const real = links.filter(link => !link.loopback)
  const there = `there are ${real.map(link => describe(link, virtual)).join(', ') || 'none'}`
  if (chosen !== undefined) {
    return real.find(({ name }) => name === chosen) ?? `there is no interface ${chosen}: ${there}`
  }
  let best: { link: Link; prefix: number } | undefined
  for (const link of real) {
    for (const entry of link.addresses) {
      if (virtual.has(canonical(entry.address)) || !contains(entry, address)) continue
      if (best === undefined || entry.prefix > best.prefix) best = { link, prefix: entry.prefix }
    }
  }
  return (
    best?.link ??
    `no interface is in the network of ${address}: ${there}; name one as failover.interface`
  )
}

function describe({ name, addresses }: Link, virtual: ReadonlyMap<string, number>): string {
  const shown = addresses.filter(
    ({ address }) => !address.startsWith('fe80:') && !virtual.has(canonical(address)),
  )
  const list = shown.map(({ address, prefix }) => `${address}/${prefix}`).join(' ')
  return `${name} (${list || 'without an address'})`
}

function contains(network: VirtualAddress, address: string): boolean {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  if (isIPv6(network.address) !== (family === 'ipv6')) return false
  const list = new BlockList()
  list.addSubnet(network.address, network.prefix, family)
  return list.check(address, family)
}

/** One spelling for each address: IPv6 as RFC 5952 has it. */
export function canonical(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address
}

/** As people write it. */
export function written({ address, prefix, link }: Change): string {
  return `${address}/${prefix} on ${link}`
}
