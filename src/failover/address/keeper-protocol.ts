/** What the server and the keeper of its addresses say to each other. */
import type { Hold } from '../states.ts'
import type { VirtualAddress } from './address.ts'

export interface KeeperConfig {
  addresses: readonly VirtualAddress[]
  /** On which interface they go; by default the one of their network. */
  interface?: string | undefined
  /** Of the other server's interfaces: who answers by one of them is fenced. */
  peerMacs: readonly string[]
  /** Addresses by which this server itself is known. */
  own: readonly string[]
}

/** Moments are by CLOCK_MONOTONIC in milliseconds, which all processes of a host share. */
export type KeeperOrder =
  | {
      do: 'open'
      id: number
      /** Where it remembers which addresses were ever added. */
      file: string
      config: KeeperConfig
      hold?: Hold | undefined
      /** Defined if the address is to be held: a keeper that replaces another. */
      term?: number | undefined
    }
  | { do: 'configure'; id: number; config: KeeperConfig }
  | { do: 'hold'; hold?: Hold | undefined }
  | { do: 'take'; id: number; term: number }
  | { do: 'drop'; id: number }
  | { do: 'stop'; id: number }

export type KeeperProblem =
  /** The hold ended before it was extended. */
  | 'expired'
  /** An address that was held was no longer in the kernel. */
  | 'vanished'
  /** A passive server had an address that it must not have. */
  | 'stray'
  | 'kernel'
  | 'probe'
  | 'announce'
  /** What is still sent here after a hand-over cannot be received. */
  | 'linger'
  /** The list of what was ever added could not be read or written. */
  | 'memory'

export type KeeperReport =
  /** The answer to an order; `fault` if it failed. */
  | { say: 'done'; id: number; fault?: string | undefined }
  | { say: 'status'; held: string[]; faults: string[] }
  | { say: 'problem'; reason: KeeperProblem; detail: Record<string, unknown> }
  | { say: 'announced'; address: string }
  | { say: 'conflict'; with: 'peer' | 'stranger'; address: string; macs: string[] }
