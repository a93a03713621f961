/** How the network finds the active server. */
import type { Hold } from '../states.ts'

/**
 * All calls may be repeated and change nothing then; a drop while a take is still under way wins.
 * Whatever it keeps outside of this process is gone, without help of this process's main loop, when
 * the hold is over or the process ends.
 */
export interface AddressAdapter {
  /** Gets ready, and drops what a crash left behind. */
  start(): Promise<void>
  /** Drops and leaves nothing behind. */
  stop(): Promise<void>
  /**
   * Makes the network reach this server. Resolves as soon as it can be reached, and at the latest
   * after a second: what is still wrong then is in `status` and tried again and again.
   */
  take(term: number): Promise<void>
  /** Makes sure that the network no longer finds this server. @throws Error if it still might */
  drop(): Promise<void>
  /** Until when it may be kept, told at each renewal, before `take` too; undefined: no longer. */
  hold(hold: Hold | undefined): void
  status(): AddressStatus
}

export interface AddressStatus {
  type: 'none' | 'virtual-ip' | 'virtual-name'
  /** The addresses or the name, as people write them: `192.0.2.10/24 on eth0`. */
  what: string[]
  /** Whether the network finds this server there. */
  held: boolean
  /** What a person should know or do, undefined if nothing. */
  fault: string | undefined
}

/** As a person sets it; the two servers share it. */
export type Connection =
  | { type: 'none' }
  | { type: 'virtual-ip'; addresses: readonly VirtualAddress[] }
  | ({ type: 'virtual-name' } & VirtualName)

export interface VirtualAddress {
  /** IPv4 or IPv6. */
  address: string
  /** Length of the network's prefix: 24 for a netmask of 255.255.255.0. */
  prefix: number
}

/** RFC 2136, signed by RFC 8945. */
export interface VirtualName {
  /** `keepwatch.example.net` */
  name: string
  /** Undefined: found by asking for the name's SOA. */
  zone?: string | undefined
  /** Address or name of the primary name server, with `:port` if it is not 53. */
  server: string
  /** Seconds that others may remember the answer. */
  ttl: number
  tsig?: { name: string; algorithm: string; secret: string } | undefined
}
