/** What the process of a server's own collector and the server say to each other over IPC. */
import type { ClaimAnswer, ClaimStored, CollectorState } from '../../collect/link.ts'
import type { ListenerName, StreamTls } from '../../collect/listen.ts'
import type { CollectorSettings, PairConfig } from '../../collect/settings.ts'
import type { Identity } from '../../lib/tls.ts'
import type { InterfaceCounters } from '../../telemetry/counter.ts'

export interface NamedServer {
  name: string
  url: string
}

export type OwnCollectorOrder =
  | {
      type: 'open'
      settings: CollectorSettings
      pair: PairConfig
      identity: Identity
      version: string
      log: 'debug' | 'info' | 'warn' | 'error' | 'silent'
      streamTls: StreamTls | undefined
    }
  /**
   * Each second. `storing`: segments of the other server that are being stored at this moment.
   * `answering`: addresses of the pair that this host has.
   */
  | {
      type: 'role'
      id: number
      active: boolean
      term: number
      storing: string[]
      answering: readonly string[]
    }
  | { type: 'servers'; servers: NamedServer[] }
  | {
      type: 'claim'
      id: number
      segment: string
      manifest: Uint8Array
      ageMs: number
      stored: ClaimStored
    }
  /** The other server's collector is active, and is heard. */
  | { type: 'alive' }
  /** The other server's collector begins to listen; answered by `heard`. */
  | { type: 'hello'; id: number; server: string }
  /** What an exporter has told by SNMP. */
  | { type: 'counters'; exporter: string; counters: readonly InterfaceCounters[] }
  /** `storing`: what is still being stored. */
  | { type: 'ended'; segment: string; stored: boolean; storing: string[] }
  | { type: 'stop' }

export type OwnCollectorReport =
  | { type: 'ready'; collector: string; ports: Partial<Record<ListenerName, number>> }
  | { type: 'failed'; message: string }
  /** The role, or the hello, of that order is taken note of. */
  | { type: 'heard'; id: number }
  | { type: 'claimed'; id: number; answer: ClaimAnswer }
  | { type: 'not-claimed'; id: number; message: string }
  | { type: 'state'; state: CollectorState; ports: Partial<Record<ListenerName, number>> }
